"""Nodes: what a worker knows of the machines that run its trials, and what a person asked of them.

Each is a flag `node:NAME`, so that an older fts reads past it.
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

KEPT = (NodeState.DRAINING, NodeState.QUARANTINED)  # until a person says otherwise
ASKS = {"drain": NodeState.DRAINING, "quarantine": NodeState.QUARANTINED, "release": NodeState.UP}


@contextmanager
def fenced(db: Database, claim: Claim, trial_id: int) -> Iterator[None]:
    """Nobody else can take the trial over meanwhile. Raises StaleToken where somebody has."""
    with transaction(db):
        fenced_trial(db, claim, trial_id)
        yield


def nodes_heard(db: Database, told: Iterable[Node]) -> None:
    """How they are now; no event. What a person asked, and a quarantine, stay."""
    with transaction(db):
        for node in told:
            before = _known(db, node.id)
            if before is not None and before.state in KEPT:
                node = dataclasses.replace(node, state=before.state, reason=before.reason)
            if before is not None:
                node = dataclasses.replace(node, losses=before.losses, failures=before.failures)
            _put(db, node)


def nodes_left(db: Database, node_ids: Iterable[str]) -> None:
    """Their worker has left; only what a person has to release stays on record."""
    with transaction(db):
        for node_id in node_ids:
            known = _known(db, node_id)
            if known is not None and known.state in KEPT:
                _put(db, dataclasses.replace(known, trials=()))
            else:
                FlagRow.delete().where(FlagRow.name == NODE + node_id).execute(db)


def nodes_of_worker_left(db: Database, worker_id: int) -> None:
    """It died: nobody looks after its nodes any more."""
    rows = db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith(NODE)))
    known = [node for node in map(to_known, rows) if node is not None]
    nodes_left(db, [node.id for node in known if node.worker_id == worker_id])


def node_failed(db: Database, node: Node, what: str, allowed: int, who: str) -> Node:
    """It was lost, or could not start a trial: `what` is losses or failures. After `allowed` in a row, quarantine."""
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
        emit(db, verb, who, words, data={"node": node.id, "state": state, **counts})
    return now


def quarantine_node(db: Database, node: Node, reason: str, who: str) -> None:
    """At once: it runs other code."""
    with transaction(db):
        before = _known(db, node.id)
        if before is not None and before.state is NodeState.QUARANTINED:
            return
        _put(db, dataclasses.replace(node, state=NodeState.QUARANTINED, reason=reason))
        words = f"node {node.id} is quarantined: {reason}"
        emit(db, Verb.NODE_QUARANTINED, who, words, data={"node": node.id, "state": NodeState.QUARANTINED})


def node_served(db: Database, node_id: str) -> None:
    """A trial came to its end there: what went wrong before is forgotten."""
    before = to_known(get_flag(db, NODE + node_id))
    if before is None or not (before.losses or before.failures):
        return
    with transaction(db):
        now = _known(db, node_id)
        if now is not None:
            _put(db, dataclasses.replace(now, losses=0, failures=0))


def ask_node(db: Database, node_id: str, ask: str, who: str | None = None) -> Node:
    """drain, quarantine or release, by a person. Raises NoSuchRow, WrongStatus."""
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
    """None: it is not there, or nobody can read it."""
    try:
        return None if row is None else to_node(row)
    except ValueError:
        return None


def _put(db: Database, node: Node) -> None:
    told = {
        field.name: getattr(node, field.name) for field in dataclasses.fields(node) if field.name not in ("id", "at")
    }
    value = to_json(finite(told), NODE + node.id, MAX_JSON)
    row = {"name": NODE + node.id, "value": value, "reason": node.reason, "who": None, "at": db.now()}
    FlagRow.insert(row).on_conflict_replace().execute(db)
