"""Lays out rows as aligned columns of text, as wide as their content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP = "  "


def layout(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()) -> list[str]:
    """Returns the head line and one line per row; `right`: the columns to align right, for numbers. None becomes a
    dash."""
    lines = [[clean(name) for name in columns], *([_text(value) for value in row] for row in rows)]
    widths = [max(formatting.width(line[n]) for line in lines) for n in range(len(columns))]
    numbers = set(right)
    return [_line(line, columns, widths, numbers) for line in lines]


def _line(row: Sequence[str], columns: Sequence[str], widths: Sequence[int], right: set[str]) -> str:
    parts = [
        formatting.fit_right(text, width) if name in right else formatting.fit(text, width)
        for text, name, width in zip(row, columns, widths, strict=True)
    ]
    return GAP.join(parts).rstrip()


def _text(value: Any) -> str:
    return "—" if value is None or value == "" else clean(str(value))


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> list[str]:
    """Returns the lines of a Markdown table; `right` as in `layout`."""
    numbers = set(right)
    lines = [list(columns), ["---:" if name in numbers else "---" for name in columns], *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
