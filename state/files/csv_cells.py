"""Writes tables as CSV without cells that a spreadsheet would evaluate."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # what spreadsheets evaluate


def csv_text(names: Iterable[str], rows: Iterable[Iterable[Any]], end: str = "\n") -> str:
    """Returns a CSV file: a line of names, then the rows, each cell through csv_cell; None is an empty cell."""
    import csv  # here, not above: not every command that opens the database writes tables
    import io

    out = io.StringIO(newline="")
    usual = csv.writer(out, lineterminator=end)
    quoted = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    for row in (names, *rows):
        cells = [csv_cell(value) for value in row]
        broken = any(isinstance(cell, str) and "\r" in cell for cell in cells)  # csv does not quote \r by itself
        (quoted if broken else usual).writerow(cells)
    return out.getvalue()


def csv_cell(value: Any) -> Any:
    """Returns the value for a CSV cell: lists and objects as JSON.

    Text that a spreadsheet would evaluate gets a leading apostrophe.
    """
    if isinstance(value, dict | list):
        return json.dumps(value)
    return f"'{value}" if isinstance(value, str) and _is_formula(value.lstrip("'")) else value


def from_csv_cell(text: str) -> str:
    """Reverts csv_cell for text."""
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    return text.startswith(FORMULA) and not NUMBER.fullmatch(text)
