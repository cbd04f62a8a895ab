"""Small charts of a node's memory, temperature and GPU over the last hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.actions.run import heat_limits
from fts.jobs.status import formatting
from fts.tui.data.gaps import binned

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.state.values import Node
    from fts.tui.render.text import Line, Span

COLUMNS = 12  # of each chart
LEAST = 2  # points that a chart needs
COOL = 30.0  # °C at the bottom of the temperature chart


def rows(node: Node, width: int) -> list[Line]:
    """Paints `  mem ▂▃▅▆▇ 62%  heat ▁▂▄ 61°C  gpu ▇▇▆ 97%` in as few lines as fit; nothing without measurements."""
    hot = heat_limits()
    charts = [
        _chart(node, 1, "mem", (0.0, 1.0), lambda value: f"{100 * value:.0f}%"),
        _chart(node, 2, "heat", (COOL, hot.critical), lambda value: f"{value:.0f}°C", hot.warning),
        _chart(node, 3, "gpu", (0.0, 100.0), lambda value: f"{value:.0f}%"),
    ]
    lines: list[Line] = []
    for chart in filter(None, charts):
        joined = (*lines[-1], *chart) if lines else chart
        if lines and sum(formatting.width(text) for text, _ in joined) <= width:
            lines[-1] = joined
        else:
            lines.append(chart)
    return lines


def _chart(
    node: Node,
    which: int,
    name: str,
    span: tuple[float, float],
    words: Callable[[float], str],
    limit: float | None = None,
) -> tuple[Span, ...]:
    points = [(point[0], value) for point in node.past if (value := point[which]) is not None]
    if len(points) < LEAST:
        return ()
    latest = points[-1][1]
    role = "look" if limit is not None and latest >= limit else ""
    drawn = formatting.spark(binned(points, COLUMNS, points[-1][0]), *span)
    return ((f"  {name} ", "dim"), (formatting.fit(drawn, COLUMNS), role or "running"), (f" {words(latest)}", role))
