"""Lays out rows as aligned columns of text, as wide as their content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jobs.glance import words
from jobs.glance.sanitize import clean

GAP = "  "


def layout(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()) -> list[str]:
    """The head line and one line per row; `right` names the columns that hold numbers. None is a dash."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max([words.width(name), *(words.width(row[n]) for row in cells)]) for n, name in enumerate(columns)]
    numbers = set(right)
    return [_line(row, columns, widths, numbers) for row in [list(columns), *cells]]


def _line(row: Sequence[str], columns: Sequence[str], widths: Sequence[int], right: set[str]) -> str:
    parts = [
        words.fit_right(text, width) if name in right else words.fit(text, width)
        for text, name, width in zip(row, columns, widths, strict=True)
    ]
    return GAP.join(parts).rstrip()


def _text(value: Any) -> str:
    return "—" if value is None or value == "" else clean(str(value))
