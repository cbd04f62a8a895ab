"""Writes the node rows of the database: state, running trials, and readings of the last hours."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.jobs.executors.node_history import NodeHistory
from fts.jobs.executors.remote import gpus_of
from fts.jobs.executors.remote_watchdog import reading_of
from fts.state import queries, transitions
from fts.state.errors import StateError
from fts.state.values import Node, NodeState

if TYPE_CHECKING:
    from collections.abc import Container

    from fts.jobs.executors.command import CommandExecutor


class NodeRows:
    """The node rows of one executor."""

    def __init__(self, executor: CommandExecutor) -> None:
        self._executor = executor
        self.known: dict[str, Node] = {}  # as last written; without lost ones
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # held from a look at the agents until it is written
        self._running: dict[int, str] = {}  # slot -> its trial
        self._past: dict[str, NodeHistory] = {}  # node -> its readings

    def node(self, name: str, hello: dict[str, Any] | None = None, **more: Any) -> Node:
        """Returns the row of a node, updated with what its agent has reported."""
        executor = self._executor
        known: dict[str, Any] = {"state": NodeState.UP, "executor": executor.name, "worker_id": executor.worker_id}
        if hello:
            reading = reading_of(hello.get("reading"))
            known |= {name: str(hello.get(name) or "")[:300] for name in ("host", "fingerprint", "hardware")}
            known |= {"gpus": tuple(one.name for one in gpus_of(hello)), "memory": reading.total}
        before = self.known.get(name) or queries.node(executor.db, name)
        slots = next((place.slots for place in executor.places if place.fixed and place.name == name), None)
        known["slots"] = slots or max(1, sum(one.node == name for one in executor.slots if one.channel is not None))
        base = before or Node(name, NodeState.UP, 0.0)
        return replace(base, **known | more)

    def set_running(self, slot: int, trial: str | None) -> None:
        """Sets the trial shown for a slot; None: no trial."""
        with self._lock:
            if trial is None:
                self._running.pop(slot, None)
            else:
                self._running[slot] = trial

    def refresh(self, drained: Container[str], due: bool) -> bool:
        """Writes all rows if it is `due` or a state has changed; returns whether it did. Raises StateError."""
        with self._writing:
            states = self._current(drained)
            found = {node.id for node in states}
            fixed = {place.name for place in self._executor.places if place.fixed}
            left = [node for name, node in self.known.items() if name not in found]
            states += [replace(node, state=NodeState.UP, reason=None, trials=()) for node in left if node.id in fixed]
            gone = {node.id: node for node in left if node.id not in fixed}  # the engine may never name them again
            due |= bool(gone) or any(self.known.get(node.id, node).state is not node.state for node in states)
            if due:
                self._put([*states, *(replace(node, trials=()) for node in gone.values())])
                rows = {name: queries.node(self._executor.db, name) for name in gone}
                counted = {name for name, row in rows.items() if row is not None and (row.losses or row.failures)}
                transitions.forget_nodes(self._executor.db, set(gone) - counted)
                for name in gone:
                    del self.known[name]
            return due

    def lost(self, node: Node, what: str, allowed: int) -> Node:
        """Counts a loss or failure of a node; returns its new row."""
        with self._writing:
            self.known.pop(node.id, None)
            node = replace(node, trials=(), heard_at=None)
            return transitions.node_failed(self._executor.db, node, what, allowed, self._executor.who)

    def _current(self, drained: Container[str]) -> list[Node]:
        found: dict[str, Node] = {}
        with self._lock:
            running = dict(self._running)
        for slot in self._executor.slots:
            channel = slot.channel
            if channel is None or channel.hello is None:
                continue
            quiet = channel.silent_s > 3 * channel.beat_s
            trial = running.get(slot.index)
            before = found.get(slot.node)
            node = before or self.node(slot.node, channel.hello)
            vitals = {name: value for name, value in channel.vitals.items() if isinstance(value, int | float)}
            reading = channel.vitals.get("reading")
            vitals |= reading if isinstance(reading, dict) else {}
            found[slot.node] = replace(
                node,
                state=NodeState.SILENT if quiet else node.state,
                reason=f"nothing heard for {channel.silent_s:.0f} s" if quiet else drain_reason(slot.node, drained),
                heard_at=time.time() - channel.silent_s,
                trials=(*(before.trials if before else ()), *([trial] if trial else [])),
                past=self._past.setdefault(slot.node, NodeHistory()).add(slot.sensors.read()),
                vitals={name: one for name, one in vitals.items() if isinstance(one, int | float)},
            )
        return list(found.values())

    def write(self, node: Node) -> None:
        with self._writing, contextlib.suppress(StateError):  # the next refresh writes it
            self._put([node])

    def _put(self, states: list[Node]) -> None:
        self.known |= {node.id: node for node in states}
        if states:
            transitions.record_nodes(self._executor.db, states)


def drain_reason(node: str, drained: Container[str]) -> str | None:
    return "Slurm drains it: its trial continues, no other starts" if node in drained else None
