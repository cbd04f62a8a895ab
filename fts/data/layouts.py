"""Reads files of bars in the layouts of public sources, or says what was recognised and which option helps."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from fts.data.amounts import decimal_sign, is_null, read_numbers
from fts.data.bars import refuse_swapped
from fts.data.columns import (
    COLUMNS,
    PRICES,
    Header,
    columns_are,
    field_of,
    pick_columns,
    plain_name,
    recognised,
    source_of,
    with_tickers,
)
from fts.data.dates import looks_like_day, read_days
from fts.data.faults import BadBars
from fts.data.text import SEPARATOR_NAMES, read_cells

_EVENT = re.compile(r".*\b(dividend|splits?|distribution|capital gains?)\b.*", re.IGNORECASE)  # in the place of a price
HEADER_WITHIN = 50  # rows: some sources write titles and addresses above their header


@dataclass(frozen=True)
class Reading:
    """How a person wants a file to be read; what is not given is found by the file's own evidence."""

    columns: Mapping[str, str] = field(default_factory=dict)  # open -> the column's name
    date_format: str | None = None  # dd/mm/yyyy or %d/%m/%Y
    name: str | None = None  # which of several stocks
    decimal: str | None = None  # . or ,


@dataclass(frozen=True)
class Layout:
    """What was recognised in a file."""

    source: str  # Alpha Vantage
    order: str  # oldest first
    dates: str  # the form they were written in: day/month/year
    text: str  # comma, decimal point, UTF-8
    columns: dict[str, str]  # Open -> 1. open
    adjusted: str  # as far as it can be told
    notes: tuple[str, ...] = ()  # what was left out or changed
    name: str | None = None  # of the stock that was chosen from several


@dataclass(frozen=True)
class _Table:
    """A file as columns: text cells, numbers or times."""

    header: Header
    columns: list[np.ndarray]
    text: str  # how it was written
    numbers: np.ndarray  # of the rows in the file, from 1
    separator: str = ""
    notes: tuple[str, ...] = ()
    name: str | None = None  # of the stock that was chosen

    def rows(self, kept: np.ndarray, *notes: str) -> _Table:
        cut = [column[kept] for column in self.columns]
        return replace(self, columns=cut, numbers=self.numbers[kept], notes=(*self.notes, *notes))

    def texts(self, i: int) -> list[str]:
        return [_text(cell) for cell in self.columns[i]]


def read_file(path: Path, reading: Reading, wanted: tuple[str, ...] = COLUMNS) -> tuple[pd.DataFrame, Layout]:
    """Date and the wanted columns, oldest first, not yet judged; the index holds the rows' numbers in the file.

    A file without volume has no column Volume. Raises BadBars when the layout is not recognised.
    """
    table = _parquet(path) if is_parquet(path) else _csv(path, reading)
    return _frame(table, reading, wanted, path.name)


def read_frame(
    frame: pd.DataFrame, origin: str, reading: Reading, wanted: tuple[str, ...] = COLUMNS
) -> tuple[pd.DataFrame, Layout]:
    """The same for a table in memory."""
    return _frame(_of_frame(frame), reading, wanted, origin)


def is_parquet(path: Path) -> bool:
    """By its first bytes; by its ending where it has none."""
    with path.open("rb") as source:
        start = source.read(4)
    return start == b"PAR1" or (not start and path.suffix.lower() == ".parquet")


def _parquet(path: Path) -> _Table:
    try:
        return _of_frame(pd.read_parquet(path))
    except (ValueError, OSError, TypeError) as error:  # pyarrow's parse errors are ValueErrors
        reason = (str(error).splitlines() or ["empty"])[0][:160]
        raise BadBars(f"{path.name}: cannot be read as parquet ({reason})") from None


def _of_frame(frame: pd.DataFrame) -> _Table:
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.copy(deep=False)
        frame.index = frame.index.set_names(
            [name or _index_name(frame.index, i) for i, name in enumerate(frame.index.names)]
        )
        clash = [str(name) for name in frame.index.names if name in frame.columns]
        frame = frame.reset_index(drop=bool(clash))
    if isinstance(frame.columns, pd.MultiIndex):
        header = _levels([tuple(map(str, label)) for label in frame.columns])
    else:
        header = with_tickers([str(name) for name in frame.columns])
    columns = [_array(frame.iloc[:, i]) for i in range(frame.shape[1])]
    return _Table(header, columns, "parquet", np.arange(1, len(frame) + 1))


def _index_name(index: pd.Index, level: int) -> str:
    values = index.get_level_values(level)
    return "Date" if isinstance(values, pd.DatetimeIndex) or (len(values) and looks_like_day(str(values[0]))) else ""


def _levels(labels: list[tuple[str, ...]]) -> Header:
    """Columns of two levels: the one that names fields, and the tickers."""
    first = sum(field_of(label[0]) is not None for label in labels)
    second = sum(field_of(label[1]) is not None for label in labels)
    at, other = (0, 1) if first >= second else (1, 0)
    names = [
        label[at] if field_of(label[at]) else label[other] if field_of(label[other]) == "Date" else label[at]
        for label in labels
    ]
    tickers = [None if field_of(name) == "Date" else label[other] for name, label in zip(names, labels, strict=True)]
    return Header(tuple(names), tuple(tickers), 2)


def _array(column: pd.Series) -> np.ndarray:
    """Numbers as float64 or whole numbers, times without their zone, everything else as text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        times = pd.DatetimeIndex(column)
        return (times.tz_localize(None) if times.tz is not None else times).to_numpy()
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return np.array([_text(cell) for cell in column], dtype=object)
    if pd.api.types.is_integer_dtype(column) and not column.hasnans:
        return column.to_numpy(dtype=np.int64)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _text(cell: object) -> str:
    if cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and cell != cell):
        return ""
    if isinstance(cell, datetime.datetime | datetime.date):
        return str(cell)
    return str(cell).strip()


def _csv(path: Path, reading: Reading) -> _Table:
    read = read_cells(path, lambda rows: max((_like_header(row, reading) for row in rows[:HEADER_WITHIN]), default=0))
    rows, notes = read.rows, list(read.notes)
    scores = [_like_header(row, reading) for row in rows[:HEADER_WITHIN]]
    at = int(np.argmax(scores))
    if scores[at] < 2:
        header, start = _no_header(rows, reading, path.name)
        notes += [] if start else ["no header line: the columns were taken by their order"]
    else:
        header, start = _header(rows, at)
        above = at - (header.lines > 1 and start - at < header.lines)
        if above > 0:
            notes.append(f"{above} line{_s(above)} above the header left out")
    body = rows[start:]
    header = _unnamed_index(header, body, reading)
    numbers = np.arange(1, len(body) + 1)
    width = len(header.names)
    for number, row in zip(numbers, body, strict=True):
        if len(row) > width and any(row[width:]):
            raise BadBars(
                f"{path.name}: row {number} has {len(row)} cells, the header {width}; put numbers with commas into "
                "quotes, or use semicolons between the columns"
            )
    filled = [row[:width] + [""] * (width - len(row)) for row in body]
    columns = [np.array([row[i] for row in filled], dtype=object) for i in range(width)]
    table = _Table(header, columns, read.encoding, numbers, read.separator, tuple(notes))
    return _without_repeats(table)


def _like_header(row: Sequence[str], reading: Reading) -> int:
    asked = {plain_name(name) for name in reading.columns.values() if not name.isdigit()}  # those are positions
    names = {plain_name(cell) for cell in row} - {""}
    return recognised(row) + (len(asked & names) if asked else 0)


def _header(rows: list[list[str]], at: int) -> tuple[Header, int]:
    """The header that begins or ends in row `at`, and where the data begin."""
    names, start = rows[at], at + 1
    below = rows[at + 1] if at + 1 < len(rows) else []
    above = rows[at - 1] if at else []
    if _names_tickers(names, below):
        tickers, start = below, at + 2
    elif _names_tickers(names, above, spread=True):
        tickers = _spread(above)
    else:
        return with_tickers(names), start
    lines = 2
    if start < len(rows) and field_of(rows[start][0]) == "Date" and not any(rows[start][1:]):
        names, start, lines = [rows[start][0], *names[1:]], start + 1, 3
    elif not any(field_of(name) == "Date" for name in names):
        names = ["Date", *names[1:]]
    elif field_of(names[0]) != "Date":  # a numbered index, below the word Price
        names = ["", *names[1:]]
    known = [
        None if field_of(name) in (None, "Date") or i >= len(tickers) else tickers[i] or None
        for i, name in enumerate(names)
    ]
    return Header(tuple(names), tuple(known), lines), start


def _names_tickers(names: list[str], row: list[str], spread: bool = False) -> bool:
    """Is this the line of tickers beside a line of fields (yfinance: Ticker,SPX,SPX,...)?"""
    fields = [i for i, name in enumerate(names) if i and field_of(name) in COLUMNS]
    if len(fields) < 2 or len(row) < len(names) - 1 or looks_like_day(row[0]):
        return False
    if row[0].lower() not in ("", "ticker", "tickers", "symbol", "symbols", "price"):
        return False
    cells = _spread(row) if spread else row
    return all(i < len(cells) and cells[i] and not _is_number(cells[i]) for i in fields)


def _spread(row: list[str]) -> list[str]:
    """Merged cells of a spreadsheet leave blanks to the right."""
    spread: list[str] = []
    for i, cell in enumerate(row):
        spread.append(cell or (spread[-1] if i > 1 else ""))
    return spread


def _is_number(cell: str) -> bool:
    return bool(np.isfinite(read_numbers([cell], ".")[0]) or np.isfinite(read_numbers([cell], ",")[0]))


def _no_header(rows: list[list[str]], reading: Reading, origin: str) -> tuple[Header, int]:
    """Date, perhaps a time, then Open High Low Close and perhaps Volume, as MetaTrader writes them; or as asked.

    A first line of words above a line with a date is a header in a language that is not known here.
    """
    first = rows[0]
    if len(rows) > 1 and len(first) > 1 and all(first) and not any(map(_is_number, first)) and _is_dated(rows[1]):
        return Header(tuple(first), (None,) * len(first)), 1
    if reading.columns and all(name.isdigit() for name in reading.columns.values()):
        return Header(tuple(str(i) for i in range(1, len(first) + 1)), (None,) * len(first), 0), 0
    timed = len(first) > 1 and ":" in first[1] and not looks_like_day(first[1])
    begin = 2 if timed else 1
    numbers = 0
    while begin + numbers < len(first) and _is_number(first[begin + numbers]):
        numbers += 1
    if not looks_like_day(first[0]) or numbers not in (4, 5) or begin + numbers != len(first):
        raise BadBars(
            f"{origin}: no line names the columns (the first line is {' | '.join(first)!r:.90}); add a header such as "
            "Date,Open,High,Low,Close,Volume, or name each column by its position with --columns "
            "date=1,open=2,high=3,low=4,close=5,volume=6"
        )
    names = ["Date", *(["clock"] if timed else []), *COLUMNS[:numbers]]
    return Header(tuple(names), (None,) * len(names), 0), 0


def _is_dated(row: list[str]) -> bool:
    return any(_is_day(cell) for cell in row)


def _unnamed_index(header: Header, body: list[list[str]], reading: Reading) -> Header:
    """R and pandas leave the first column's name blank or out: it holds the dates where no other column does."""
    names, tickers = list(header.names), list(header.tickers)
    if body and all(len(row) == len(names) + 1 and row[-1] for row in body[:20]):
        names, tickers = ["", *names], [None, *tickers]
    if "date" in reading.columns or any(field_of(name) == "Date" for name in names) or not body:
        return Header(tuple(names), tuple(tickers), header.lines)
    dated = [i for i in range(len(names)) if all(len(row) > i and _is_day(row[i]) for row in body[:5])]
    if len(dated) == 1 and field_of(names[dated[0]]) is None:
        names[dated[0]] = "Date"
    return Header(tuple(names), tuple(tickers), header.lines)


def _is_day(cell: str) -> bool:
    return looks_like_day(cell) and not cell.lstrip("-").isdigit() and not _is_number(cell)


def _without_repeats(table: _Table) -> _Table:
    """Without header lines in the middle, where somebody appended one file to another."""
    known = [i for i, name in enumerate(table.header.names) if field_of(name) is not None][:6]
    if not known or not len(table.numbers):
        return table
    same = np.logical_and.reduce([table.columns[i] == table.header.names[i] for i in known])
    if not same.any():
        return table
    return table.rows(~same, f"{same.sum()} repeated header line{_s(same.sum())} left out")


def _frame(table: _Table, reading: Reading, wanted: tuple[str, ...], origin: str) -> tuple[pd.DataFrame, Layout]:
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


def _of_ticker(table: _Table, reading: Reading, origin: str) -> _Table:
    """The columns of one ticker, where the header names tickers."""
    known = list(dict.fromkeys(ticker for ticker in table.header.tickers if ticker))
    if not known:
        return table
    if len(known) > 1 or reading.name is not None:
        chosen = _chosen(known, reading.name, "columns of", origin)
    else:
        chosen = known[0]
    kept = [i for i, ticker in enumerate(table.header.tickers) if ticker in (None, chosen)]
    header = Header(tuple(table.header.names[i] for i in kept), (chosen,) * len(kept), table.header.lines)
    note = f"{chosen}, one of {len(known)} in the file" if len(known) > 1 else f"the header names {chosen}"
    columns = [table.columns[i] for i in kept]
    return replace(table, header=header, columns=columns, notes=(*table.notes, note), name=chosen)


def _chosen(known: Sequence[str], name: str | None, what: str, origin: str) -> str:
    """The asked one of several series. Raises BadBars with those there are."""
    listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    if name is None:
        raise BadBars(f"{origin}: holds {what} {len(known)} stocks ({listed}); choose one with --name {known[0]}")
    if name in known:
        return name
    alike = [one for one in known if one.casefold() == name.strip().casefold()]
    if len(alike) == 1:
        return alike[0]
    raise BadBars(f"{origin}: no stock is called {name!r:.40}; the file has {listed}")


def _of_name(table: _Table, found: dict[str, int], reading: Reading, origin: str) -> _Table:
    """The rows of one stock, where a column names the stock of each row."""
    if "Name" not in found:
        if reading.name is not None and not any(table.header.tickers):
            raise BadBars(
                f"{origin}: --name {reading.name!r:.40} needs a column with the names of stocks; none was found; "
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
    lacking = [name for name in ("Date", *wanted) if name not in found and name != "Volume"]
    if lacking:
        options = ",".join(f"{name.lower()}=..." for name in lacking)
        raise BadBars(
            f"{origin}: column {', '.join(lacking)} is missing; {columns_are(names)}; choose it with --columns "
            f"{options}"
        )


def _trimmed(table: _Table, found: dict[str, int], prices: list[str]) -> _Table:
    """Without units below the header and without a footer: rows there that hold neither a date nor a price."""
    if table.columns[found["Date"]].dtype != object:
        return table
    empty = np.zeros(len(table.numbers), dtype=bool)
    for rows in (range(min(3, len(empty))), range(len(empty) - 1, -1, -1)):
        for i in rows:
            if empty[i] or looks_like_day(_text(table.columns[found["Date"]][i])):
                break
            if any(_is_price(table.columns[found[name]][i]) for name in prices):
                break
            empty[i] = True
    if not empty.any():
        return table
    return table.rows(~empty, f"{empty.sum()} line{_s(empty.sum())} without date and prices left out")


def _is_price(cell: object) -> bool:
    return _is_number(cell) if isinstance(cell, str) else isinstance(cell, float | int | np.number) and cell == cell


def _days(table: _Table, i: int, reading: Reading, origin: str) -> tuple[np.ndarray, str]:
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
        raise BadBars(f"{origin}: row {row}, column Date: {cell!r:.40} is not {what}{cure}")
    return read.values, read.form


def _decimal(table: _Table, found: dict[str, int], prices: list[str], origin: str) -> str:
    texts = {name: table.texts(i) for name, i in found.items() if table.columns[i].dtype == object}
    return decimal_sign([texts[name] for name in prices if name in texts], texts.get("Volume", []), origin)


def _values(table: _Table, i: int, decimal: str) -> np.ndarray:
    """float64; the cell itself, as text, where it is no number, so that the sentence can show it."""
    column = table.columns[i]
    if column.dtype != object:
        return column.astype(np.float64)
    numbers = read_numbers(column.tolist(), decimal)
    if not len(wrong := np.flatnonzero(np.isnan(numbers))):
        return numbers
    mixed = numbers.astype(object)
    mixed[wrong] = [cell if cell else np.nan for cell in column[wrong]]
    return mixed


def _empty(table: _Table, i: int) -> bool:
    column = table.columns[i]
    return bool(
        all(is_null(cell) for cell in column) if column.dtype == object else np.isnan(column.astype(float)).all()
    )


def _two_volumes(table: _Table, found: dict[str, int], values: dict[str, np.ndarray], decimal: str) -> None:
    """MetaTrader writes 0 as the volume of currencies, and the number of price changes beside it."""
    ticks = [i for i, name in enumerate(table.header.names) if plain_name(name) in ("tickvol", "tickvolume")]
    volume = values["Volume"]
    if ticks and ticks[0] != found["Volume"] and volume.dtype != object and not volume.any():
        found["Volume"] = ticks[0]
        values["Volume"] = _values(table, ticks[0], decimal)


def _adjusted(
    table: _Table,
    found: dict[str, int],
    reading: Reading,
    values: dict[str, np.ndarray],
    decimal: str,
    notes: list[str],
) -> str:
    """Whether the prices are adjusted, as far as the file tells; scales the bar to an adjusted close asked for."""
    close = found.get("Close")
    raw = next(
        (i for i, n in enumerate(table.header.names) if plain_name(n) in ("close", "closeprice") and i != close), None
    )
    if close is not None and field_of(table.header.names[close]) == "Adjusted":
        if raw is None or not {"open", "high", "low"}.isdisjoint(reading.columns):
            return "adjusted, by the column's name"
        factor = pd.to_numeric(pd.Series(values["Close"]), errors="coerce").to_numpy() / read_numbers(
            [str(cell) for cell in table.columns[raw]], decimal
        )
        for name in ("Open", "High", "Low"):
            if name in values:
                values[name] = pd.to_numeric(pd.Series(values[name]), errors="coerce").to_numpy() * factor
        notes.append("Open, High and Low were scaled by the adjusted close over the close")
        return "adjusted (the whole bar was scaled to the adjusted close)"
    if close is None or "Adjusted" not in found:
        return "unknown whether adjusted (the file has no column of adjusted closes)"
    name = table.header.names[found["Adjusted"]]
    other = pd.to_numeric(pd.Series(_values(table, found["Adjusted"], decimal)), errors="coerce").to_numpy()
    mine = pd.to_numeric(pd.Series(values["Close"]), errors="coerce").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.nanmax(np.abs(mine / other - 1)) if len(mine) and np.isfinite(other).any() else np.nan
    if apart < 1e-6:
        return f"adjusted, or nothing to adjust: {name} equals Close"
    cure = f"--columns 'close={name}' takes the adjusted bars"
    return f"not adjusted: {name} differs from Close by up to {apart:.0%} ({cure})"


def _with_prices(
    frame: pd.DataFrame, table: _Table, found: dict[str, int], prices: list[str], notes: list[str]
) -> pd.DataFrame:
    """Without days on which a source wrote no price: Yahoo's null rows, and its lines of dividends and splits."""
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
            notes.append(f"{which.sum()} {what.format(_s(which.sum()))} left out, the first {first:%Y-%m-%d}")
    return frame[~none]


def _oldest_first(frame: pd.DataFrame, table: _Table, found: dict[str, int], origin: str) -> tuple[pd.DataFrame, str]:
    """Newest first is turned round; a day that is there twice with other prices belongs to another series."""
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


def _series_column(table: _Table, found: dict[str, int]) -> str:
    """What helps: the column that may name the stocks, or one bar a day."""
    for i, name in enumerate(table.header.names):
        if i in found.values() or table.columns[i].dtype != object or field_of(name) == "Date":
            continue
        values = {str(value) for value in table.columns[i]}
        named = not any(_is_number(value) or ":" in value for value in values)
        if named and 1 < len(values) <= max(2, len(table.numbers) // 2):
            return f"choose one with --columns name={name!r} --name {min(values)!r}"
    return "keep one row for each day"


def _s(n: int) -> str:
    return "" if n == 1 else "s"
