"""Reads numbers in the notations of people and programs: $1,234.50, 1.234,56, 1'234.5, (1.2), 3.4M."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from fts.data.faults import BadBars
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NULLS = frozenset(
    {"", "-", "--", "---", "–", "—", ".", "n/a", "na", "nan", "null", "none", "nil", "#n/a", "#n/a n/a", "<na>", "nat"}
)
_SUFFIX = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_DRESS = re.compile(r"[\s\u00a0\u202f'’$€£¥₹]|usd|eur|gbp|chf|jpy", re.IGNORECASE)  # ’ separates thousands
_DOT = re.compile(r"[^.]*\.(?:\d{1,2}|\d{4,})|0?\.\d+|.*,.*\.\d*|[^.,]*,\d{3},[\d,.]*")
_COMMA = re.compile(r"[^,]*,(?:\d{1,2}|\d{4,})|0?,\d+|.*\..*,\d*|[^.,]*\.\d{3}\.[\d,.]*")
_THREE = re.compile(r"-?\d{1,3},\d{3}")
_PLAIN = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_GROUPED = {
    ".": re.compile(r"-?\d{1,3}(?:,\d{2,3})*(?:\.\d*)?"),  # 1,23,456 is Indian grouping
    ",": re.compile(r"-?\d{1,3}(?:\.\d{3})*(?:,\d*)?"),
}


def is_null(cell: str) -> bool:
    """Whether the cell means that there is no value."""
    return cell.strip().lower() in NULLS


def decimal_sign(prices: Iterable[Sequence[str]], volume: Sequence[str], origin: str) -> str:
    """Returns `.` or `,`, from all cells. Raises BadBars if they contradict each other or are ambiguous."""
    columns = [list(column) for column in prices]
    if not any("," in cell or cell.count(".") > 1 for column in (*columns, volume) for cell in column):
        return "."
    cells = {_bare(cell) for column in columns for cell in column}
    both = cells | {_bare(cell) for cell in volume}
    dot = sorted(cell for cell in both if _DOT.fullmatch(cell))
    comma = sorted(cell for cell in both if _COMMA.fullmatch(cell))
    if dot and comma:
        raise BadBars(
            f"{origin}: {quoted(dot[0], 30)} has a decimal point and {quoted(comma[0], 30)} a decimal comma; write "
            "all numbers the "
            "same way, or choose the right one with --decimal"
        )
    if not dot and not comma and (three := sorted(cell for cell in cells if _THREE.fullmatch(cell))):
        raise BadBars(
            f"{origin}: {quoted(three[0], 30)} may be {three[0].replace(',', '')} or {three[0].replace(',', '.')}; "
            "choose the sign before the decimals with --decimal . or --decimal ,"
        )
    return "," if comma else "."


def read_numbers(cells: Sequence[str], decimal: str) -> np.ndarray:
    """Returns float64; NaN for a cell that is not a number."""
    return np.array([_number(cell, decimal) for cell in cells], dtype=np.float64)


def _bare(cell: str) -> str:
    """Returns only the digits and signs of a cell."""
    bare = _DRESS.sub("", cell).replace("−", "-").strip("()%+")  # the typographic minus sign
    return bare[:-1] if bare[-1:].lower() in _SUFFIX else bare


def _number(cell: str, decimal: str) -> float:
    if _PLAIN.fullmatch(cell) and decimal == ".":
        return float(cell)
    if is_null(cell):
        return float("nan")
    worn = _DRESS.sub("", cell).replace("−", "-")  # the typographic minus sign
    sign = -1.0 if worn.startswith("(") and worn.endswith(")") else 1.0
    worn = worn.strip("()").removeprefix("+")
    times = _SUFFIX.get(worn[-1:].lower(), 1.0)
    bare = worn[:-1] if times != 1.0 else worn
    if _GROUPED[decimal].fullmatch(bare):
        bare = bare.replace("," if decimal == "." else ".", "").replace(",", ".")
    elif decimal == ",":
        bare = bare.replace(",", ".") if bare.count(",") == 1 and "." not in bare else bare
    return sign * times * float(bare) if _PLAIN.fullmatch(bare) else float("nan")
