"""Decides whether daily bars can be believed, and says in one sentence why not."""

from __future__ import annotations

import numpy as np
import pandas as pd

PRICES = ("Open", "High", "Low", "Close")
COLUMNS = (*PRICES, "Volume")
# Adjusted prices are a product of two rounded numbers: a close may stand one last digit above its own high.
TOLERANCE = 1e-6  # relative


class BadBars(ValueError):
    """Bars that must not become a data set: the message names file, row and column."""


def check_bars(frame: pd.DataFrame, origin: str, min_rows: int = 1) -> pd.DataFrame:
    """The same bars in one shape: index `Date` (midnight, no time zone, rising), float64 Open High Low Close Volume.

    `frame` has the dates as index or as column `Date`; other columns are left out. `origin` is the file or source that
    the sentence names. Rows are counted from 1. Raises BadBars.
    """
    frame = _named(frame, origin)
    if len(frame) < max(1, min_rows):
        raise BadBars(f"{origin}: {len(frame)} rows, at least {max(1, min_rows)} are needed; give it a longer history")
    dates = _dates(frame["Date"], origin)
    values = {name: _numbers(frame[name], dates, origin) for name in COLUMNS}
    for name in PRICES:
        _refuse(values[name] <= 0, dates, origin, name, lambda i, v=values[name]: f"price is {v[i]:g}, expected > 0")
    volume = values["Volume"]
    _refuse(volume < 0, dates, origin, "Volume", lambda i: f"volume is {volume[i]:g}, expected >= 0")
    _check_order(values, dates, origin)
    return pd.DataFrame(values, index=dates)


def check_closes(frame: pd.DataFrame, origin: str) -> pd.Series:
    """The column Close of an index such as the VIX, checked like bars; days without a value (holidays) are left out."""
    frame = _named(frame, origin, wanted=("Close",)).dropna(subset=["Close"])
    if frame.empty:
        raise BadBars(f"{origin}: no row with a Close")
    dates = _dates(frame["Date"], origin)
    close = _numbers(frame["Close"], dates, origin)
    _refuse(close <= 0, dates, origin, "Close", lambda i: f"value is {close[i]:g}, expected > 0")
    return pd.Series(close, index=dates, name="Close")


def _named(frame: pd.DataFrame, origin: str, wanted: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    """The wanted columns and Date under their usual names, whatever their case was."""
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


def _dates(column: pd.Series, origin: str) -> pd.DatetimeIndex:
    """Calendar days: a time zone is dropped, not converted, and 05:00 becomes midnight of the same day (lesson 26)."""
    if pd.api.types.is_numeric_dtype(column):
        raise BadBars(f"{origin}: row 1, column Date: {column.iloc[0]} is a number, expected a date like 2018-12-31")
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = pd.DatetimeIndex(column)
    else:
        dates = pd.DatetimeIndex([_day(text, row, origin) for row, text in enumerate(column, start=1)])
    if dates.tz is not None:
        dates = dates.tz_localize(None)
    if len(missing := np.flatnonzero(dates.isna())):
        raise BadBars(f"{origin}: row {missing[0] + 1}, column Date: no date")
    dates = pd.DatetimeIndex(dates.normalize().astype("datetime64[us]"), name="Date")
    step = np.diff(dates.to_numpy().astype("datetime64[D]")).astype(int)
    if len(wrong := np.flatnonzero(step <= 0)):
        i = int(wrong[0])
        if step[i] == 0:
            raise BadBars(
                f"{origin}: row {i + 2}, column Date: {dates[i]:%Y-%m-%d} is there twice (row {i + 1} too); keep one"
            )
        raise BadBars(
            f"{origin}: row {i + 2}, column Date: {dates[i + 1]:%Y-%m-%d} follows {dates[i]:%Y-%m-%d}; "
            "sort the rows by date"
        )
    return dates


def _day(text: object, row: int, origin: str) -> pd.Timestamp:
    """One date, with its own time zone dropped: a column across daylight saving holds two offsets."""
    try:
        stamp = pd.Timestamp(text)  # type: ignore[arg-type]  # whatever it is, pandas says whether it is a date
    except (ValueError, TypeError):
        raise BadBars(f"{origin}: row {row}, column Date: {text!r:.40} is not a date, expected 2018-12-31") from None
    return stamp if stamp is pd.NaT else stamp.tz_localize(None)


def _numbers(column: pd.Series, dates: pd.DatetimeIndex, origin: str) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse(
        ~np.isfinite(values),
        dates,
        origin,
        str(column.name),
        lambda i: f"value is {column.iloc[[i]].tolist()[0]!r:.40}, expected a finite number",
    )
    return values


def _check_order(values: dict[str, np.ndarray], dates: pd.DatetimeIndex, origin: str) -> None:
    high, low = values["High"], values["Low"]
    _refuse(
        low > high * (1 + TOLERANCE), dates, origin, "High", lambda i: f"high {high[i]:g} is below the low {low[i]:g}"
    )
    for name in ("Open", "Close"):
        v = values[name]
        _refuse(
            v > high * (1 + TOLERANCE),
            dates,
            origin,
            "High",
            lambda i, v=v, n=name: f"high {high[i]:g} is below the {n.lower()} {v[i]:g}",
        )
        _refuse(
            v < low * (1 - TOLERANCE),
            dates,
            origin,
            "Low",
            lambda i, v=v, n=name: f"low {low[i]:g} is above the {n.lower()} {v[i]:g}",
        )


def _refuse(wrong, dates, origin, column, what) -> None:  # type: ignore[no-untyped-def]  # private, five callers above
    if len(rows := np.flatnonzero(wrong)):
        i = int(rows[0])
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise BadBars(f"{origin}: row {i + 1} ({dates[i]:%Y-%m-%d}), column {column}: {what(i)}{more}")
