"""Records the state of nodes, and the orders of people to them.

Each node is a flag `node:NAME`, which an older fts ignores.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fts.state.errors import NoSuchRow, WrongStatus
from fts.state.models import ALL, FlagRow
from fts.state.rows import NODE, to_node
from fts.state.transitions.base import MAX_JSON, emit, fenced_trial, finite, get_flag, this_person, to_json, transaction
from fts.state.values import Claim, Node, NodeState, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fts.state.db import Database

KEPT = (NodeState.DRAINING, NodeState.QUARANTINED)  # only a person ends these states
ASKS = {"drain": NodeState.DRAINING, "quarantine": NodeState.QUARANTINED, "release": NodeState.UP}


@contextmanager
def fenced(db: Database, claim: Claim, trial_id: int) -> Iterator[None]:
    """Holds the write lock, so that no other worker can take over the trial in this block. Raises StaleToken if one
    has."""
    with transaction(db):
        fenced_trial(db, claim, trial_id)
        yield


def record_nodes(db: Database, reported: Iterable[Node]) -> None:
    """Records the reported states of nodes, without an event. Keeps a person's order and a quarantine."""
    with transaction(db):
        for node in reported:
            before = _known(db, node.id)
            if before is not None and before.state in KEPT:
                node = dataclasses.replace(node, state=before.state, reason=before.reason)
            if before is not None:
                node = dataclasses.replace(node, losses=before.losses, failures=before.failures)
            _put(db, node)


def forget_nodes(db: Database, node_ids: Iterable[str]) -> None:
    """Deletes the nodes of a worker that has stopped; keeps those that a person must release."""
    with transaction(db):
        for node_id in node_ids:
            known = _known(db, node_id)
            if known is not None and known.state in KEPT:
                _put(db, dataclasses.replace(known, trials=()))
            else:
                FlagRow.delete().where(FlagRow.name == NODE + node_id).execute(db)


def forget_nodes_of_worker(db: Database, worker_id: int | None) -> None:
    """Deletes the nodes of a worker that has died or stopped; keeps those that a person must release."""
    rows = db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith(NODE)))
    known = [node for node in map(to_known, rows) if node is not None]
    forget_nodes(db, [node.id for node in known if node.worker_id == worker_id])


def node_failed(db: Database, node: Node, what: str, allowed: int, who: str) -> Node:
    """Counts a loss or a failed start of a node (`what`: losses or failures); quarantines it after `allowed` in a row.
    Returns its new state."""
    with transaction(db):
        before = _known(db, node.id) or node
        counts: dict[str, Any] = {"losses": before.losses, "failures": before.failures}
        counts[what] += 1
        state, reason = (before.state, before.reason) if before.state in KEPT else (node.state, node.reason)
        if counts[what] >= allowed and state is not NodeState.QUARANTINED:
            state, reason = NodeState.QUARANTINED, f"{counts[what]} {what} in a row, the last: {node.reason}"
        now = dataclasses.replace(node, state=state, reason=reason, **counts)
        _put(db, now)
        words = f"node {node.id}: {node.reason}"
        if state is NodeState.QUARANTINED and before.state is not state:
            words += f"; nothing is placed there until `fts nodes release {node.id}`"
        verb = Verb.NODE_QUARANTINED if state is NodeState.QUARANTINED else Verb.NODE_LOST
        if (state, reason) != (before.state, before.reason) or counts[what] == 1:  # not each minute of an outage
            emit(db, verb, who, words, data={"node": node.id, "state": state, **counts})
    return now


def quarantine_node(db: Database, node: Node, reason: str, who: str) -> None:
    """Quarantines a node at once, for example because it runs other code."""
    with transaction(db):
        before = _known(db, node.id)
        if before is not None and before.state is NodeState.QUARANTINED:
            return
        _put(db, dataclasses.replace(node, state=NodeState.QUARANTINED, reason=reason))
        words = f"node {node.id} is quarantined: {reason}"
        emit(db, Verb.NODE_QUARANTINED, who, words, data={"node": node.id, "state": NodeState.QUARANTINED})


def node_served(db: Database, node_id: str) -> None:
    """Resets the node's counts of losses and failures, after a trial ended there."""
    before = to_known(get_flag(db, NODE + node_id))
    if before is None or not (before.losses or before.failures):
        return
    with transaction(db):
        now = _known(db, node_id)
        if now is not None:
            _put(db, dataclasses.replace(now, losses=0, failures=0))


def ask_node(db: Database, node_id: str, ask: str, who: str | None = None) -> Node:
    """Records a person's order to a node: drain, quarantine or release. Raises NoSuchRow, WrongStatus."""
    who = who or this_person()
    with transaction(db):
        before = _known(db, node_id)
        if before is None:
            raise NoSuchRow(f"no node is called {node_id}; `fts nodes` lists them")
        if before.state is ASKS[ask] or (ask == "release" and before.state not in KEPT):
            raise WrongStatus(f"nothing to do: node {node_id} is {before.state}")
        reason = None if ask == "release" else f"by {who}"
        counts: dict[str, Any] = {"losses": 0, "failures": 0} if ask == "release" else {}
        now = dataclasses.replace(before, state=ASKS[ask], reason=reason, **counts)
        _put(db, now)
        words = {"drain": "takes no further trial", "quarantine": "is quarantined", "release": "may run trials again"}
        data = {"node": node_id, "state": now.state, "before": before.state}
        emit(db, Verb.NODE_ASKED, who, f"node {node_id} {words[ask]}", data=data)
    return now


def _known(db: Database, node_id: str) -> Node | None:
    return to_known(get_flag(db, NODE + node_id))


def to_known(row: Any) -> Node | None:
    """Returns the node; None if its flag is missing or unreadable."""
    try:
        return None if row is None else to_node(row)
    except ValueError:
        return None


def _put(db: Database, node: Node) -> None:
    content = {
        field.name: getattr(node, field.name) for field in dataclasses.fields(node) if field.name not in ("id", "at")
    }
    value = to_json(finite(content), NODE + node.id, MAX_JSON)
    row = {"name": NODE + node.id, "value": value, "reason": node.reason, "who": None, "at": db.now()}
    FlagRow.insert(row).on_conflict_replace().execute(db)
