"""Describes nodes (other machines that run trials): the state of one, a line about all, where a trial ran."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean
from fts.state.values import Node, NodeState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Attempt, Epoch

SILENT_S = 60.0  # an older row belongs to a worker that died


def state_of(node: Node, now: float) -> str:
    """Returns the state of a node: `up`, `silent 40 s`, `quarantined`."""
    quiet_s = now - node.heard_at if node.heard_at is not None else None
    # a row in the future is older than a clock that was set back: a live worker would have written another since
    left = node.state in (NodeState.UP, NodeState.SILENT) and abs(now - node.at) > SILENT_S
    if node.state is NodeState.SILENT or left:
        silent_s = quiet_s if quiet_s is not None else now - node.at
        return f"silent {formatting.spell(silent_s)}" if silent_s >= 0 else "silent since the clock was set back"
    return node.state.value


def line(nodes: Sequence[Node], now: float) -> str:
    """Returns `4 nodes, 13/16 slots, 1 silent 40 s, 1 quarantined: it runs another fts`; empty without nodes."""
    if not nodes:
        return ""
    usable = [node for node in nodes if node.state in (NodeState.UP, NodeState.SILENT)]
    busy, slots = sum(node.busy for node in usable), sum(node.slots for node in usable)
    parts = [formatting.count(len(nodes), "node"), f"{busy}/{slots} slots"]
    others = [node for node in nodes if state_of(node, now) != "up"]
    counted = Counter(node.state.value for node in others if node.state not in (NodeState.UP, NodeState.SILENT))
    parts += [f"1 {state_of(node, now)}" for node in others if node.state in (NodeState.UP, NodeState.SILENT)][:3]
    for state, count in sorted(counted.items()):
        reason = next((node.reason for node in others if node.state.value == state and node.reason), None)
        parts.append(f"{count} {state}" + (f": {clean(reason)[:80]}" if reason else ""))
    return ", ".join(parts)


def ran_on(attempts: Sequence[Attempt], epochs: Sequence[Epoch], step: str) -> str:
    """Returns `ran on gpu2 (epoch 1-14), gpu1 (epoch 15-20)`; empty if no attempt has a host."""
    parts: list[tuple[str, list[int]]] = []
    for one in attempts:
        if one.host is None:
            continue
        until = float("inf") if one.ended_at is None else one.ended_at
        told = [epoch.epoch for epoch in epochs if one.began_at <= epoch.at <= until]
        if parts and parts[-1][0] == one.host:
            parts[-1][1].extend(told)
        else:
            parts.append((one.host, told))
    words = []
    for host, told in parts:
        span = f"{min(told)}-{max(told)}" if len(told) > 1 else "".join(map(str, told))
        words.append(clean(host) + (f" ({step} {span})" if told else ""))
    return f"ran on {', '.join(words)}" if words else ""
