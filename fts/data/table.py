"""Reads a file as a table: finds the header among other lines, and its columns and rows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fts.data.amounts import read_numbers
from fts.data.columns import COLUMNS, FileHeader, field_of, plain_name, recognised, with_tickers
from fts.data.dates import looks_like_day
from fts.data.faults import BadBars
from fts.data.text import read_cells
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HEADER_WITHIN = 50  # rows: some sources write titles and addresses above the header


@dataclass(frozen=True)
class TextTable:
    """A file as columns of text cells, numbers or times."""

    header: FileHeader
    columns: list[np.ndarray]
    text: str  # encoding of the text
    numbers: np.ndarray  # row numbers in the file, from 1
    separator: str = ""
    notes: tuple[str, ...] = ()
    name: str | None = None  # of the chosen stock

    def rows(self, kept: np.ndarray, *notes: str) -> TextTable:
        cut = [column[kept] for column in self.columns]
        return replace(self, columns=cut, numbers=self.numbers[kept], notes=(*self.notes, *notes))

    def texts(self, i: int) -> list[str]:
        return [text_of(cell) for cell in self.columns[i]]


def read_table(path: Path, asked: Mapping[str, str]) -> TextTable:
    """Reads the table of a file; `asked`: column names given by the user, which identify the header. Raises BadBars."""
    return _parquet(path) if is_parquet(path) else _csv(path, asked)


def is_parquet(path: Path) -> bool:
    """Detects parquet by the first bytes; by the suffix if the file is empty."""
    with path.open("rb") as source:
        start = source.read(4)
    return start == b"PAR1" or (not start and path.suffix.lower() == ".parquet")


def _parquet(path: Path) -> TextTable:
    try:
        return _of_frame(pd.read_parquet(path))
    except (ValueError, OSError, TypeError) as error:  # pyarrow's parse errors are ValueErrors
        reason = (str(error).splitlines() or ["empty"])[0][:160]
        raise BadBars(f"{path.name}: cannot be read as parquet ({reason})") from None


def _of_frame(frame: pd.DataFrame) -> TextTable:
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
    return TextTable(header, columns, "parquet", np.arange(1, len(frame) + 1))


def _index_name(index: pd.Index, level: int) -> str:
    values = index.get_level_values(level)
    return "Date" if isinstance(values, pd.DatetimeIndex) or (len(values) and looks_like_day(str(values[0]))) else ""


def _levels(labels: list[tuple[str, ...]]) -> FileHeader:
    """Returns a header for columns of two levels: fields and tickers, in either order."""
    first = sum(field_of(label[0]) is not None for label in labels)
    second = sum(field_of(label[1]) is not None for label in labels)
    at, other = (0, 1) if first >= second else (1, 0)
    names = [
        label[at] if field_of(label[at]) else label[other] if field_of(label[other]) == "Date" else label[at]
        for label in labels
    ]
    tickers = [None if field_of(name) == "Date" else label[other] for name, label in zip(names, labels, strict=True)]
    return FileHeader(tuple(names), tuple(tickers), 2)


def _array(column: pd.Series) -> np.ndarray:
    """Returns numbers as float64 or int64, times without their zone, everything else as text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        times = pd.DatetimeIndex(column)
        return (times.tz_localize(None) if times.tz is not None else times).to_numpy()
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return np.array([text_of(cell) for cell in column], dtype=object)
    if pd.api.types.is_integer_dtype(column) and not column.hasnans:
        return column.to_numpy(dtype=np.int64)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def text_of(cell: object) -> str:
    if cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and cell != cell):
        return ""
    if isinstance(cell, datetime.datetime | datetime.date):
        return str(cell)
    return str(cell).strip()


def _csv(path: Path, asked: Mapping[str, str]) -> TextTable:
    read = read_cells(path, lambda rows: max((_like_header(row, asked) for row in rows[:HEADER_WITHIN]), default=0))
    rows, notes = read.rows, list(read.notes)
    scores = [_like_header(row, asked) for row in rows[:HEADER_WITHIN]]
    at = int(np.argmax(scores))
    if scores[at] < 2:
        header, start = _no_header(rows, asked, path.name)
        notes += [] if start else ["no header line: the columns were taken by their order"]
    else:
        header, start = _header(rows, at)
        above = at - (header.lines > 1 and start - at < header.lines)
        if above > 0:
            notes.append(f"{above} line{plural_s(above)} above the header left out")
    body = rows[start:]
    header = _unnamed_index(header, body, asked)
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
    table = TextTable(header, columns, read.encoding, numbers, read.separator, tuple(notes))
    return _without_repeats(table)


def _like_header(row: Sequence[str], asked: Mapping[str, str]) -> int:
    wanted = {plain_name(name) for name in asked.values() if not name.isdecimal()}  # numbers are positions
    return recognised(row) + len(wanted & ({plain_name(cell) for cell in row} - {""}))


def _header(rows: list[list[str]], at: int) -> tuple[FileHeader, int]:
    """Returns the header that starts or ends in row `at`, and the row where the data starts."""
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
    return FileHeader(tuple(names), tuple(known), lines), start


def _names_tickers(names: list[str], row: list[str], spread: bool = False) -> bool:
    """Whether this is the line of tickers next to a line of fields (yfinance: Ticker,SPX,SPX,...)."""
    fields = [i for i, name in enumerate(names) if i and field_of(name) in COLUMNS]
    if len(fields) < 2 or len(row) < len(names) - 1 or looks_like_day(row[0]):
        return False
    if row[0].lower() not in ("", "ticker", "tickers", "symbol", "symbols", "price"):
        return False
    cells = _spread(row) if spread else row
    return all(i < len(cells) and cells[i] and not is_number(cells[i]) for i in fields)


def _spread(row: list[str]) -> list[str]:
    """Fills the blanks that merged cells of a spreadsheet leave to their right."""
    spread: list[str] = []
    for i, cell in enumerate(row):
        spread.append(cell or (spread[-1] if i > 1 else ""))
    return spread


def is_number(cell: str) -> bool:
    return bool(np.isfinite(read_numbers([cell], ".")[0]) or np.isfinite(read_numbers([cell], ",")[0]))


def _no_header(rows: list[list[str]], asked: Mapping[str, str], origin: str) -> tuple[FileHeader, int]:
    """Returns columns in MetaTrader's order (Date, time, Open, High, Low, Close, Volume), or positions as asked.

    A first line of words above a line with a date is a header in an unknown language.
    """
    first = rows[0]
    if len(rows) > 1 and len(first) > 1 and all(first) and not any(map(is_number, first)) and _is_dated(rows[1]):
        return FileHeader(tuple(first), (None,) * len(first)), 1
    if asked and all(name.isdecimal() for name in asked.values()):
        return FileHeader(tuple(str(i) for i in range(1, len(first) + 1)), (None,) * len(first), 0), 0
    timed = len(first) > 1 and ":" in first[1] and not looks_like_day(first[1])
    begin = 2 if timed else 1
    numbers = 0
    while begin + numbers < len(first) and is_number(first[begin + numbers]):
        numbers += 1
    if not looks_like_day(first[0]) or numbers not in (4, 5) or begin + numbers != len(first):
        raise BadBars(
            f"{origin}: no line names the columns (the first line is {quoted(' | '.join(first), 90)}); add a header "
            "such as "
            "Date,Open,High,Low,Close,Volume, or name each column by its position with --columns "
            "date=1,open=2,high=3,low=4,close=5,volume=6"
        )
    names = ["Date", *(["clock"] if timed else []), *COLUMNS[:numbers]]
    return FileHeader(tuple(names), (None,) * len(names), 0), 0


def _is_dated(row: list[str]) -> bool:
    return any(_is_day(cell) for cell in row)


def _unnamed_index(header: FileHeader, body: list[list[str]], asked: Mapping[str, str]) -> FileHeader:
    """Names the first column, which R and pandas leave blank or out, Date if no other column has dates."""
    names, tickers = list(header.names), list(header.tickers)
    if body and all(len(row) == len(names) + 1 and row[-1] for row in body[:20]):
        names, tickers = ["", *names], [None, *tickers]
    if "date" in asked or any(field_of(name) == "Date" for name in names) or not body:
        return FileHeader(tuple(names), tuple(tickers), header.lines)
    dated = [i for i in range(len(names)) if all(len(row) > i and _is_day(row[i]) for row in body[:5])]
    if len(dated) == 1 and field_of(names[dated[0]]) is None:
        names[dated[0]] = "Date"
    return FileHeader(tuple(names), tuple(tickers), header.lines)


def _is_day(cell: str) -> bool:
    return looks_like_day(cell) and not cell.lstrip("-").isdecimal() and not is_number(cell)


def _without_repeats(table: TextTable) -> TextTable:
    """Drops repeated header lines, where one file was appended to another."""
    known = [i for i, name in enumerate(table.header.names) if field_of(name) is not None][:6]
    if not known or not len(table.numbers):
        return table
    same = np.logical_and.reduce([table.columns[i] == table.header.names[i] for i in known])
    if not same.any():
        return table
    return table.rows(~same, f"{same.sum()} repeated header line{plural_s(same.sum())} left out")


def plural_s(n: int) -> str:
    return "" if n == 1 else "s"
