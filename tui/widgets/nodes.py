"""The nodes: other machines that run trials for a worker. One line for all, some lines and charts for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.nodes import line as in_one_line
from fts.jobs.status.nodes import state_of
from fts.state.values import NodeState
from fts.tui.render.text import Line, line, rule, wrapped
from fts.tui.widgets import node_charts

if TYPE_CHECKING:
    from fts.state.values import Node
    from fts.tui.data.view import View

RECENT_S = 15.0  # a smaller age is not shown, so that an idle screen stays still
ROLES = {
    NodeState.UP: "", NodeState.DRAINING: "look", NodeState.SILENT: "retrying", NodeState.LOST: "failed",
    NodeState.QUARANTINED: "failed",
}  # fmt: skip


def brief(view: View, width: int) -> list[Line]:
    """Paints `4 nodes, 13/16 slots, 1 silent 40 s`; nothing without nodes."""
    text = in_one_line(view.snapshot.nodes, view.now)
    return [line((formatting.cut(f"{text}  (4 shows each)", width), "dim"))] if text else []


def rows(view: View, width: int) -> list[Line]:
    """Paints each node with state, slots, trials, hardware and charts; nothing without nodes."""
    found = view.snapshot.nodes
    if not found:
        return []
    lines: list[Line] = [(), rule(formatting.count(len(found), "node"), "", width)]
    for node in found:
        lines += [line((row, ROLES.get(node.state, ""))) for row in wrapped(sentence(node, view.now), width - 1)]
        lines += node_charts.rows(node, width)
    return lines


def sentence(node: Node, now: float) -> str:
    """Returns `gpu3: up · 3 of 4 slots: 20M/h3 t5, 20M/h5 t2 · H100, 80 GB · 61°C`."""
    state = state_of(node, now)
    parts = [
        f"{state}: {node.reason}" if node.reason else state,
        f"{node.busy} of {formatting.count(node.slots, 'slot')}",
    ]
    if node.trials:
        parts[-1] += f": {', '.join(node.trials)}"
    quiet = None if node.heard_at is None else now - node.heard_at
    if quiet is None:
        parts.append("no message yet")
    elif quiet > RECENT_S and not state.startswith("silent"):
        parts.append(f"last heard {formatting.when(node.heard_at or 0.0, now)}")
    machine = [node.hardware or ", ".join(node.gpus), formatting.size(node.memory) if node.memory else ""]
    parts.append(", ".join(part for part in machine if part))
    heat = node.vitals.get("temperature")
    parts.append(f"{heat:.0f}°C" if isinstance(heat, int | float) else "")
    name = node.id if node.host in ("", node.id) else f"{node.id} ({node.host})"
    return f"{name}: {' · '.join(part for part in parts if part)}"
