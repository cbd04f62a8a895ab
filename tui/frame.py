"""Reads a screen as lines of spans: the lines of each pane at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.scrollbar import ScrollBar

from fts.jobs.status import formatting
from fts.tui.widgets.lines import Lines
from fts.tui.widgets.scrollbar import cells

if TYPE_CHECKING:
    from textual.geometry import Region
    from textual.screen import Screen

    from fts.tui.render.text import Line, Span

Cell = tuple[str, str]  # (character, role); the character is "" in the second column of a wide one


def frame_of(screen: Screen[object]) -> list[Line]:
    """Returns the lines of a screen, exactly as many lines and columns as it has."""
    width, height = screen.size
    rows: list[list[Cell]] = [[(" ", "")] * width for _ in range(height)]
    for region, lines in placed(screen):
        for n, line in enumerate(lines[: region.height]):
            row = rows[region.y + n]
            row[region.x : region.right] = _cells(line, region.width)
    for bar in (bar for bar in screen.query(ScrollBar) if bar.is_on_screen):
        seen = bar.region.intersection(screen.size.region)
        for n, char in enumerate(cells(bar, bar.region.height)[: seen.height] if seen.area else ()):
            rows[seen.y + n][seen.x] = (char, "")
    return [_spans(row) for row in rows]


def placed(screen: Screen[object]) -> list[tuple[Region, list[Line]]]:
    """Returns region and lines of each visible widget. The key bar comes last, because it covers others."""
    shown = [widget for widget in screen.query(Lines) if widget.is_on_screen and widget.visible and widget.region.area]
    shown.sort(key=lambda widget: widget.layer == "over")
    return [(widget.region.intersection(screen.size.region), widget.lines) for widget in shown]


def _cells(line: Line, width: int) -> list[Cell]:
    cells: list[Cell] = []
    for text, role in line:
        if text.isascii():
            cells += [(char, role) for char in text]
            continue
        for char in text:
            columns = formatting.width(char)
            if columns == 0 and cells:
                cells[-1] = (cells[-1][0] + char, role)  # an accent joins the character before it
            cells += [(char, role), *[("", role)] * (columns - 1)][: max(columns, 0)]
    return [*cells, *[(" ", "")] * (width - len(cells))][:width]


def _spans(row: list[Cell]) -> Line:
    spans: list[Span] = []
    for char, role in row:
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + char, role)
        else:
            spans.append((char, role))
    return tuple(spans)
