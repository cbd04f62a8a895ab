"""Reads files of bars in the layouts of public sources, and reports the recognised layout or the option that helps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fts.data.amounts import decimal_sign, is_null, read_numbers
from fts.data.bars import refuse_swapped
from fts.data.columns import COLUMNS, PRICES, FileHeader, columns_are, field_of, pick_columns, plain_name, source_of
from fts.data.dates import looks_like_day, read_days
from fts.data.faults import BadBars
from fts.data.table import TextTable, is_number, plural_s, read_table, text_of
from fts.data.text import SEPARATOR_NAMES
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# text in place of a price
_EVENT = re.compile(r".*\b(dividend|splits?|distribution|capital gains?)\b.*", re.IGNORECASE)


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file; fields that are not given are detected from the file."""

    columns: Mapping[str, str] = field(default_factory=dict)  # open -> the column's name
    date_format: str | None = None  # dd/mm/yyyy or %d/%m/%Y
    name: str | None = None  # one of several stocks
    decimal: str | None = None  # . or ,


@dataclass(frozen=True)
class Layout:
    """The recognised layout of a file."""

    source: str  # Alpha Vantage
    order: str  # oldest first
    dates: str  # their written format: day/month/year
    text: str  # comma, decimal point, UTF-8
    columns: dict[str, str]  # Open -> 1. open
    adjusted: str  # whether prices are adjusted, if known
    notes: tuple[str, ...] = ()  # what was dropped or changed
    name: str | None = None  # of the stock chosen among several


def read_file(path: Path, reading: ReadOptions, wanted: tuple[str, ...] = COLUMNS) -> tuple[pd.DataFrame, Layout]:
    """Returns Date and the wanted columns, oldest first, unchecked; the index holds the row numbers of the file.

    A file without volume has no column Volume. Raises BadBars if the layout is not recognised.
    """
    return _frame(read_table(path, reading.columns), reading, wanted, path.name)


def _frame(table: TextTable, reading: ReadOptions, wanted: tuple[str, ...], origin: str) -> tuple[pd.DataFrame, Layout]:
    table = _of_ticker(table, reading, origin)
    found = pick_columns(table.header.names, reading.columns, origin)
    _require(found, wanted, table.header.names, origin)
    prices = [name for name in PRICES if name in found and name in wanted]
    table = _trimmed(_of_name(table, found, reading, origin), found, prices)
    if not len(table.numbers):
        raise BadBars(f"{origin}: 0 rows below the header; give it a longer history")
    days, form = _days(table, found["Date"], reading, origin)
    decimal = reading.decimal or _decimal(table, found, prices, origin)
    chosen = [name for name in wanted if name in found]
    values = {name: _values(table, found[name], decimal) for name in chosen}
    if "Volume" in values:
        _two_volumes(table, found, values, decimal)
    notes = list(table.notes)
    adjusted = _adjusted(table, found, reading, values, decimal, notes)
    frame = pd.DataFrame(values, index=pd.Index(table.numbers, name="row"))
    frame.insert(0, "Date", pd.DatetimeIndex(days.astype("datetime64[us]")))
    if "Volume" in values and _empty(table, found["Volume"]):
        frame = frame.drop(columns="Volume")
    frame, order = _oldest_first(_with_prices(frame, table, found, prices, notes), table, found, origin)
    sign = {".": "decimal point", ",": "decimal comma"}[decimal]
    text = (
        table.text
        if not table.separator
        else f"{SEPARATOR_NAMES.get(table.separator, table.separator)}, {sign}, {table.text}"
    )
    mapped = {name: table.header.names[found[name]] for name in ("Date", *chosen)}
    return frame, Layout(source_of(table.header), order, form, text, mapped, adjusted, tuple(notes), table.name)


def _of_ticker(table: TextTable, reading: ReadOptions, origin: str) -> TextTable:
    """Selects the columns of one ticker, if the header names tickers."""
    known = list(dict.fromkeys(ticker for ticker in table.header.tickers if ticker))
    if not known:
        return table
    if len(known) > 1 or reading.name is not None:
        chosen = _chosen(known, reading.name, "columns of", origin)
    else:
        chosen = known[0]
    kept = [i for i, ticker in enumerate(table.header.tickers) if ticker in (None, chosen)]
    header = FileHeader(tuple(table.header.names[i] for i in kept), (chosen,) * len(kept), table.header.lines)
    note = f"{chosen}, one of {len(known)} in the file" if len(known) > 1 else f"the header names {chosen}"
    columns = [table.columns[i] for i in kept]
    return replace(table, header=header, columns=columns, notes=(*table.notes, note), name=chosen)


def _chosen(known: Sequence[str], name: str | None, what: str, origin: str) -> str:
    """Returns the chosen series. Raises BadBars with the list of those in the file."""
    listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    if name is None:
        raise BadBars(f"{origin}: holds {what} {len(known)} stocks ({listed}); choose one with --name {known[0]}")
    if name in known:
        return name
    alike = [one for one in known if one.casefold() == name.strip().casefold()]
    if len(alike) == 1:
        return alike[0]
    raise BadBars(f"{origin}: no stock is called {quoted(name, 40)}; the file has {listed}")


def _of_name(table: TextTable, found: dict[str, int], reading: ReadOptions, origin: str) -> TextTable:
    """Selects the rows of one stock, if a column names the stock of each row."""
    if "Name" not in found:
        if reading.name is not None and not any(table.header.tickers):
            raise BadBars(
                f"{origin}: --name {quoted(reading.name, 40)} needs a column with the names of stocks; none was found; "
                f"{columns_are(table.header.names)}; choose it with --columns name=..."
            )
        return table
    names = np.array(table.texts(found["Name"]), dtype=object)
    blank = names == ""
    known = list(dict.fromkeys(names[~blank]))
    if len(known) < 2 and reading.name is None:
        return table
    chosen = _chosen(known, reading.name, "rows of", origin)
    note = f"{chosen}, one of {len(known)} in the file" if len(known) > 1 else f"all rows are of {chosen}"
    return replace(table.rows(names == chosen, note), name=chosen)


def _require(found: dict[str, int], wanted: tuple[str, ...], names: Sequence[str], origin: str) -> None:
    missing = [name for name in ("Date", *wanted) if name not in found and name != "Volume"]
    if missing:
        options = ",".join(f"{name.lower()}=..." for name in missing)
        raise BadBars(
            f"{origin}: column {', '.join(missing)} is missing; {columns_are(names)}; choose it with --columns "
            f"{options}"
        )


def _trimmed(table: TextTable, found: dict[str, int], prices: list[str]) -> TextTable:
    """Drops units below the header and a footer: rows there without a date and without a price."""
    if table.columns[found["Date"]].dtype != object:
        return table
    empty = np.zeros(len(table.numbers), dtype=bool)
    for rows in (range(min(3, len(empty))), range(len(empty) - 1, -1, -1)):
        for i in rows:
            if empty[i] or looks_like_day(text_of(table.columns[found["Date"]][i])):
                break
            if any(_is_price(table.columns[found[name]][i]) for name in prices):
                break
            empty[i] = True
    if not empty.any():
        return table
    return table.rows(~empty, f"{empty.sum()} line{plural_s(empty.sum())} without date and prices left out")


def _is_price(cell: object) -> bool:
    return is_number(cell) if isinstance(cell, str) else isinstance(cell, float | int | np.number) and cell == cell


def _days(table: TextTable, i: int, reading: ReadOptions, origin: str) -> tuple[np.ndarray, str]:
    column = table.columns[i]
    if np.issubdtype(column.dtype, np.datetime64):
        days, form = column.astype("datetime64[D]"), "times"
        if len(wrong := np.flatnonzero(np.isnat(days))):
            raise BadBars(f"{origin}: row {table.numbers[wrong[0]]}, column Date: no date")
        return days, form
    cells = table.texts(i)
    read = read_days(cells, origin, reading.date_format, table.numbers.tolist())
    if len(wrong := np.flatnonzero(np.isnat(read.values))):
        cell, row = cells[wrong[0]], table.numbers[wrong[0]]
        if not cell or is_null(cell):
            raise BadBars(f"{origin}: row {row}, column Date: no date")
        what = f"a date like {reading.date_format}" if reading.date_format else "a date"
        cure = "" if reading.date_format else ", expected 2018-12-31; give the form with --date-format"
        raise BadBars(f"{origin}: row {row}, column Date: {quoted(cell, 40)} is not {what}{cure}")
    return read.values, read.form


def _decimal(table: TextTable, found: dict[str, int], prices: list[str], origin: str) -> str:
    texts = {name: table.texts(i) for name, i in found.items() if table.columns[i].dtype == object}
    return decimal_sign([texts[name] for name in prices if name in texts], texts.get("Volume", []), origin)


def _values(table: TextTable, i: int, decimal: str) -> np.ndarray:
    """Returns float64, or objects with the text of cells that are not numbers, so that an error can show it."""
    column = table.columns[i]
    if column.dtype != object:
        return column.astype(np.float64)
    numbers = read_numbers(column.tolist(), decimal)
    if not len(wrong := np.flatnonzero(np.isnan(numbers))):
        return numbers
    mixed = numbers.astype(object)
    mixed[wrong] = [cell if cell else np.nan for cell in column[wrong]]
    return mixed


def _floats(values: np.ndarray) -> np.ndarray:
    """Returns floats; NaN for a cell that is not a number."""
    return pd.to_numeric(pd.Series(values), errors="coerce").to_numpy()


def _empty(table: TextTable, i: int) -> bool:
    column = table.columns[i]
    return bool(
        all(is_null(cell) for cell in column) if column.dtype == object else np.isnan(column.astype(float)).all()
    )


def _two_volumes(table: TextTable, found: dict[str, int], values: dict[str, np.ndarray], decimal: str) -> None:
    """Uses the tick volume if the volume is 0: MetaTrader writes 0 for currencies, and the number of price changes."""
    ticks = [i for i, name in enumerate(table.header.names) if plain_name(name) in ("tickvol", "tickvolume")]
    volume = values["Volume"]
    if ticks and ticks[0] != found["Volume"] and volume.dtype != object and not volume.any():
        found["Volume"] = ticks[0]
        values["Volume"] = _values(table, ticks[0], decimal)


def _adjusted(
    table: TextTable,
    found: dict[str, int],
    reading: ReadOptions,
    values: dict[str, np.ndarray],
    decimal: str,
    notes: list[str],
) -> str:
    """Says whether the prices are adjusted, if known; scales the bar if the adjusted close was chosen."""
    close = found.get("Close")
    raw = next(
        (i for i, n in enumerate(table.header.names) if plain_name(n) in ("close", "closeprice") and i != close), None
    )
    if close is not None and field_of(table.header.names[close]) == "Adjusted":
        if raw is None or not {"open", "high", "low"}.isdisjoint(reading.columns):
            return "adjusted, by the column's name"
        factor = _floats(values["Close"]) / _floats(_values(table, raw, decimal))
        for name in ("Open", "High", "Low"):
            if name in values:
                values[name] = _floats(values[name]) * factor
        notes.append("Open, High and Low were scaled by the adjusted close over the close")
        return "adjusted (the whole bar was scaled to the adjusted close)"
    if close is None or "Adjusted" not in found:
        return "unknown whether adjusted (the file has no column of adjusted closes)"
    name = table.header.names[found["Adjusted"]]
    other, mine = _floats(_values(table, found["Adjusted"], decimal)), _floats(values["Close"])
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.nanmax(np.abs(mine / other - 1)) if len(mine) and np.isfinite(other).any() else np.nan
    if apart < 1e-6:
        return f"adjusted, or nothing to adjust: {name} equals Close"
    cure = f"--columns 'close={name}' takes the adjusted bars"
    return f"not adjusted: {name} differs from Close by up to {apart:.0%} ({cure})"


def _with_prices(
    frame: pd.DataFrame, table: TextTable, found: dict[str, int], prices: list[str], notes: list[str]
) -> pd.DataFrame:
    """Drops days without any price: Yahoo's null rows, and its lines of dividends and splits."""
    none, event = np.ones(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
    for name in prices:
        column = table.columns[found[name]]
        if column.dtype != object:
            none &= np.isnan(column.astype(float))
            continue
        said = np.array([_EVENT.fullmatch(cell) is not None for cell in column])
        none &= said | np.array([is_null(cell) for cell in column])
        event |= said
    if not none.any() or none.all():
        return frame
    for which, what in ((none & ~event, "day{} without any price"), (none & event, "line{} of dividends or splits")):
        if which.any():
            first = frame["Date"][which].min()
            notes.append(f"{which.sum()} {what.format(plural_s(which.sum()))} left out, the first {first:%Y-%m-%d}")
    return frame[~none]


def _oldest_first(
    frame: pd.DataFrame, table: TextTable, found: dict[str, int], origin: str
) -> tuple[pd.DataFrame, str]:
    """Reverses a file with the newest row first. Raises BadBars for a day that occurs twice with different prices."""
    step = np.diff(frame["Date"].to_numpy().astype("datetime64[D]")).astype(int)
    if len(step) and (step < 0).all():
        return frame.iloc[::-1], "newest first, now reversed"
    again = frame["Date"].duplicated(keep=False)
    other = again & ~frame.duplicated(keep=False)
    if other.any():
        refuse_swapped(frame["Date"].to_numpy().astype("datetime64[D]"), origin, frame.index.to_numpy())
        day = frame["Date"][other].iloc[0]
        one, two = frame.index[(frame["Date"] == day).to_numpy()][:2]
        raise BadBars(
            f"{origin}: {day:%Y-%m-%d} is there twice with different prices (rows {one} and {two}): several stocks in "
            f"one file, or bars of less than a day; {_series_column(table, found)}"
        )
    return frame, "oldest first"


def _series_column(table: TextTable, found: dict[str, int]) -> str:
    """Suggests the option that helps: the column that may name the stocks, or one bar per day."""
    for i, name in enumerate(table.header.names):
        if i in found.values() or table.columns[i].dtype != object or field_of(name) == "Date":
            continue
        values = {str(value) for value in table.columns[i]}
        named = not any(is_number(value) or ":" in value for value in values)
        if named and 1 < len(values) <= max(2, len(table.numbers) // 2):
            return f"choose one with --columns name={name!r} --name {min(values)!r}"
    return "keep one row for each day"
