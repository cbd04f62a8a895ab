"""Checks daily bars row by row, and reports the first problem in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fts.data.columns import COLUMNS, PRICES
from fts.data.dates import read_days, swapped_day
from fts.data.faults import BadBars
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COLUMNS", "PRICES", "BadBars", "check_bars", "check_closes"]

# Adjusted prices are a product of two rounded numbers: a close may be above its own high by one in the last digit.
TOLERANCE = 1e-6  # relative
ROW = "row"  # name of an index that holds the rows' numbers in the file


def check_bars(frame: pd.DataFrame, origin: str, min_rows: int = 1) -> pd.DataFrame:
    """Returns the bars in one form: index `Date` (midnight, no time zone, rising), float64 Open High Low Close Volume.

    `frame` has the dates as index or as column `Date`; other columns are dropped. `origin` is the file or source that
    the error names. Rows are counted from 1, or are those of an index called `row`. Raises BadBars.
    """
    rows = _rows(frame)
    frame = _named(frame, origin)
    if len(frame) < max(1, min_rows):
        raise BadBars(f"{origin}: {len(frame)} rows, at least {max(1, min_rows)} are needed; give it a longer history")
    days = _Days(_dates(frame["Date"], origin, rows), rows, origin)
    values = {name: _numbers(frame[name], days) for name in COLUMNS}
    for name in PRICES:
        days.refuse(values[name] <= 0, name, lambda i, v=values[name]: f"price is {v[i]:g}, expected > 0")
    volume = values["Volume"]
    days.refuse(volume < 0, "Volume", lambda i: f"volume is {volume[i]:g}, expected >= 0")
    _check_order(values, days)
    return pd.DataFrame(values, index=days.dates)


def check_closes(frame: pd.DataFrame, origin: str) -> pd.Series:
    """Returns the column Close of an index such as the VIX, checked like bars, without days that have no value."""
    named = _named(frame, origin, wanted=("Close",))
    there = named["Close"].notna().to_numpy()
    rows, named = _rows(frame)[there], named[there]
    if named.empty:
        raise BadBars(f"{origin}: no row with a Close")
    days = _Days(_dates(named["Date"], origin, rows), rows, origin)
    close = _numbers(named["Close"], days)
    days.refuse(close <= 0, "Close", lambda i: f"value is {close[i]:g}, expected > 0")
    return pd.Series(close, index=days.dates, name="Close")


class _Days:
    """The checked dates, for errors that name row, day and column."""

    def __init__(self, dates: pd.DatetimeIndex, rows: np.ndarray, origin: str) -> None:
        self.dates, self.rows, self.origin = dates, rows, origin

    def refuse(self, wrong: np.ndarray, column: str, what: Callable[..., str]) -> None:
        if len(found := np.flatnonzero(wrong)):
            i = int(found[0])
            more = f" (and {len(found) - 1} more rows)" if len(found) > 1 else ""
            where = f"row {self.rows[i]} ({self.dates[i]:%Y-%m-%d}), column {column}"
            raise BadBars(f"{self.origin}: {where}: {what(i)}{more}")


def _rows(frame: pd.DataFrame) -> np.ndarray:
    return frame.index.to_numpy() if frame.index.name == ROW else np.arange(1, len(frame) + 1)


def _named(frame: pd.DataFrame, origin: str, wanted: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    """Returns the wanted columns and Date under their standard names, ignoring case."""
    if not any(str(c).lower() == "date" for c in frame.columns) and _holds_dates(frame.index):
        frame = frame.rename_axis("Date").reset_index()
    found: dict[str, object] = {}
    for column in frame.columns:
        name = str(column).strip().capitalize()
        if name in found and name in ("Date", *wanted):
            raise BadBars(f"{origin}: two columns are called {name} ({found[name]!r} and {column!r}); keep one")
        found.setdefault(name, column)
    if missing := [name for name in ("Date", *wanted) if name not in found]:
        raise BadBars(
            f"{origin}: column {', '.join(missing)} is missing; found {', '.join(map(str, frame.columns)) or 'none'}, "
            f"expected Date, {', '.join(wanted)}"
        )
    return pd.DataFrame({name: frame[found[name]].array for name in ("Date", *wanted)})


def _holds_dates(index: pd.Index) -> bool:
    return isinstance(index, pd.DatetimeIndex) or str(index.name).lower() == "date"


def _dates(column: pd.Series, origin: str, rows: np.ndarray) -> pd.DatetimeIndex:
    """Returns calendar days: a time zone is dropped, not converted, and 05:00 becomes midnight (lesson 26)."""
    if pd.api.types.is_datetime64_any_dtype(column):
        times = pd.DatetimeIndex(column)
        days = (times.tz_localize(None) if times.tz is not None else times).to_numpy().astype("datetime64[D]")
    else:
        cells = ["" if pd.isna(cell) else str(cell) for cell in column]
        days = read_days(cells, origin, rows=rows.tolist()).values
        if len(wrong := np.flatnonzero(np.isnat(days))) and (cell := cells[wrong[0]]).strip():
            raise BadBars(
                f"{origin}: row {rows[wrong[0]]}, column Date: {quoted(cell, 40)} is not a date, expected 2018-12-31"
            )
    if len(missing := np.flatnonzero(np.isnat(days))):
        raise BadBars(f"{origin}: row {rows[missing[0]]}, column Date: no date")
    _check_rising(days, origin, rows)
    return pd.DatetimeIndex(days.astype("datetime64[us]"), name="Date")


def _check_rising(days: np.ndarray, origin: str, rows: np.ndarray) -> None:
    step = np.diff(days).astype(int)
    if not len(wrong := np.flatnonzero(step <= 0)):
        return
    i = int(wrong[0])
    where = f"{origin}: row {rows[i + 1]}, column Date"
    refuse_swapped(days, origin, rows)
    if step[i] == 0:
        raise BadBars(f"{where}: {days[i]} is there twice (row {rows[i]} too); keep one")
    if len(np.unique(days)) < len(days):
        raise BadBars(
            f"{where}: {days[i + 1]} follows {days[i]}, and some days are there twice: several series in one file? "
            "keep one series, then sort its rows by date"
        )
    raise BadBars(f"{where}: {days[i + 1]} follows {days[i]}; sort the rows by date")


def refuse_swapped(days: np.ndarray, origin: str, rows: np.ndarray) -> None:
    """Raises BadBars if some rows have day and month exchanged, as spreadsheets do; sorting cannot repair that."""
    if (i := swapped_day(days)) is not None:
        raise BadBars(
            f"{origin}: row {rows[i]}, column Date: {days[i]} must be {_turned(days[i])}: day and month are "
            "exchanged in some rows, as spreadsheets do; take the dates from the source again"
        )


def _turned(day: np.datetime64) -> str:
    year, month, number = str(day).split("-")
    return f"{year}-{number}-{month}"


def _numbers(column: pd.Series, days: _Days) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    days.refuse(
        ~np.isfinite(values),
        str(column.name),
        lambda i: f"value is {quoted(column.iloc[[i]].tolist()[0], 40)}, expected a finite number",
    )
    return values


def _check_order(values: dict[str, np.ndarray], days: _Days) -> None:
    high, low = values["High"], values["Low"]
    days.refuse(low > high * (1 + TOLERANCE), "High", lambda i: f"high {high[i]:g} is below the low {low[i]:g}")
    for name in ("Open", "Close"):
        v = values[name]
        days.refuse(
            v > high * (1 + TOLERANCE),
            "High",
            lambda i, v=v, n=name: f"high {high[i]:g} is below the {n.lower()} {v[i]:g}",
        )
        days.refuse(
            v < low * (1 - TOLERANCE),
            "Low",
            lambda i, v=v, n=name: f"low {low[i]:g} is above the {n.lower()} {v[i]:g}",
        )
