"""Reads a column of dates as calendar days, from the whole column, and refuses an ambiguous one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fts.data.faults import BadBars
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

_REST = r"(?:[T ,].*)?"  # a time of day, a time zone
_ISO = re.compile(rf"(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}}){_REST}")
_COMPACT = re.compile(rf"(\d{{4}})(\d\d)(\d\d)(?:\d{{6}}|{_REST})")
_SHORT = re.compile(rf"(\d{{1,2}})[-/. ](\d{{1,2}})[-/. ](\d{{4}}|\d\d){_REST}")
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY_NAMED = re.compile(rf"{_WEEKDAY}(\d{{1,2}})[\s./-]*([a-z]{{3,9}})\.?[\s,./-]*(\d{{4}}|\d\d){_REST}", re.IGNORECASE)
_NAMED_DAY = re.compile(rf"{_WEEKDAY}([a-z]{{3,9}})\.?[\s./-]*(\d{{1,2}})[\s,./-]+(\d{{4}}){_REST}", re.IGNORECASE)
_YEAR_NAMED = re.compile(rf"(\d{{4}})[\s./-]*([a-z]{{3,9}})\.?[\s./-]*(\d{{1,2}}){_REST}", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.0*)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# seconds, milliseconds, microseconds or nanoseconds since 1970, by the size of the number
_EPOCHS = ((10**17, "ns", 10**9), (10**14, "us", 10**6), (10**11, "ms", 10**3), (10**8, "s", 1))
CLOSED_DAYS = 10  # largest number of days in a row without a bar
TURNED = 3  # rows with day and month exchanged that are no coincidence
_EXCEL = (10_000, 80_000)  # days since 1899-12-30: 1927 to 2119
_ORDERS = {"dmy": "day/month/year", "mdy": "month/day/year", "ymd": "year/month/day"}
_FORMATS = {"dmy": "%d{0}%m{0}{1}", "mdy": "%m{0}%d{0}{1}", "ymd": "{1}{0}%m{0}%d"}
_DIRECTIVES = (
    ("yyyy", "%Y"),
    ("mmmm", "%B"),
    ("mmm", "%b"),
    ("yy", "%y"),
    ("mm", "%m"),
    ("dd", "%d"),
)


@dataclass(frozen=True)
class Days:
    """A column of calendar days, and their written format."""

    values: np.ndarray  # datetime64[D], NaT for a cell that is not a date
    form: str  # 2018-12-31, day/month/year, milliseconds since 1970


def looks_like_day(cell: str) -> bool:
    """Whether this cell may be a date in a supported format."""
    cell = cell.strip()
    forms = (_ISO, _COMPACT, _SHORT, _NUMBER)
    return any(form.fullmatch(cell) for form in forms) or _named(cell) is not None


def read_days(
    cells: Sequence[str], origin: str, date_format: str | None = None, rows: Sequence[int] | None = None
) -> Days:
    """Returns the days of text cells. `rows`: row numbers in the file, for errors. Raises BadBars if ambiguous."""
    cells = [cell.strip() for cell in cells]
    numbers = list(rows) if rows is not None else list(range(1, len(cells) + 1))
    if date_format is not None:
        return _by_format(cells, date_format)
    filled = [cell for cell in cells if cell]
    if filled and all(_NUMBER.fullmatch(cell) for cell in filled):
        return _of_numbers(cells, origin, numbers)
    short = [_SHORT.fullmatch(cell) for cell in cells]
    if any(short):
        return _of_short(cells, short, origin, numbers)
    return Days(_parts([_long(cell) for cell in cells]), "2018-12-31" if _any_iso(filled) else "named months")


def strptime_format(text: str) -> str:
    """Converts `dd/mm/yyyy` or `%d/%m/%Y` to `%d/%m/%Y`. Raises BadBars without day, month or year."""
    found = text
    if "%" not in text:
        found = text.lower()
        for word, directive in _DIRECTIVES:
            found = found.replace(word, directive)
    wanted = ("dj", "mbBj", "yY")
    if not all(any(f"%{letter}" in found for letter in letters) for letters in wanted) and not re.search(
        r"%[DFxcs]", found
    ):
        raise BadBars(
            f"date format {quoted(text, 40)} has no day, month and year; expected one such as dd/mm/yyyy or %d/%m/%Y"
        )
    return found


def swapped_day(days: np.ndarray) -> int | None:
    """Returns the first day with day and month exchanged, if exchanging such days puts all days in order; else None."""
    months = days.astype("datetime64[M]")
    year, month = months.astype("datetime64[Y]"), months.astype(np.int64) % 12
    day = (days - months.astype("datetime64[D]")).astype(np.int64)
    other = (year.astype("datetime64[M]") + day).astype("datetime64[D]") + month  # day 3 of month 2: day 2 of month 3
    for start in (days[0], other[0]):
        last, turned = start - 1, []
        for i in range(len(days)):
            either = sorted({days[i], other[i]} if day[i] < 12 else {days[i]})
            after = next((one for one in either if 0 < (one - last).astype(int) <= CLOSED_DAYS), None)
            if after is None:
                break
            turned += [i] if days[i] != after else []
            last = after
        else:
            if len(turned) >= TURNED:
                return turned[0]
    return None


def _by_format(cells: list[str], date_format: str) -> Days:
    form = strptime_format(date_format)
    days = np.full(len(cells), np.datetime64("NaT", "D"))
    for i, cell in enumerate(cells):
        try:
            days[i] = np.datetime64(datetime.strptime(cell, form).date(), "D")
        except ValueError:
            continue  # the caller names the cell
    return Days(days, date_format)


def _any_iso(cells: list[str]) -> bool:
    return any(_ISO.fullmatch(cell) or _COMPACT.fullmatch(cell) for cell in cells[:20])


def _long(cell: str) -> tuple[int, int, int] | None:
    """Returns year, month, day of a cell with an unambiguous format."""
    if match := _ISO.fullmatch(cell) or _COMPACT.fullmatch(cell):
        return int(match[1]), int(match[2]), int(match[3])
    return _named(cell)


def _named(cell: str) -> tuple[int, int, int] | None:
    """Parses 3 Jan 2018, Jan 3, 2018, Thu Jan 3 2018, 2018-Jan-03."""
    for form, order in ((_DAY_NAMED, (2, 1, 0)), (_NAMED_DAY, (2, 0, 1)), (_YEAR_NAMED, (0, 1, 2))):
        if (match := form.fullmatch(cell)) and (month := match.groups()[order[1]].lower()[:3]) in _MONTHS:
            year, day = (int(match.groups()[order[i]]) for i in (0, 2))
            return _century(year), _MONTHS.index(month) + 1, day
    return None


def _century(year: int) -> int:
    return year if year > 99 else year + (1900 if year >= 69 else 2000)


def _parts(found: Sequence[tuple[int, int, int] | None]) -> np.ndarray:
    """Returns datetime64[D] of year, month, day; NaT for None and for a 30th of February."""
    table = pd.DataFrame([part or (0, 0, 0) for part in found], columns=["year", "month", "day"])
    days = np.full(len(found), np.datetime64("NaT", "D"))
    year, month, day = (table[name].to_numpy(np.int64) for name in table.columns)
    sound = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    first = (year[sound] - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month[sound] - 1)
    exact = first.astype("datetime64[D]") + (day[sound] - 1)
    exact[exact.astype("datetime64[M]") != first] = np.datetime64("NaT", "D")
    days[sound] = exact
    return days


def _of_numbers(cells: list[str], origin: str, rows: list[int]) -> Days:
    """Parses 20181231, seconds to nanoseconds since 1970, or Excel's day numbers. Raises BadBars for other numbers."""
    values = [int(cell.split(".")[0]) if cell else None for cell in cells]
    known = [value for value in values if value is not None]
    if all(18_000_101 <= value <= 22_001_231 for value in known):
        return Days(
            _parts([(v // 10_000, v // 100 % 100, v % 100) if v is not None else None for v in values]), "20181231"
        )
    if all(_EXCEL[0] <= value <= _EXCEL[1] for value in known):
        start = np.datetime64("1899-12-30", "D")
        return Days(np.array([start + v if v else np.datetime64("NaT", "D") for v in values]), "Excel's day numbers")
    largest = max(abs(value) for value in known)
    for least, unit, per_s in _EPOCHS:
        if least <= largest < 2**63:
            words = {"ns": "nano", "us": "micro", "ms": "milli", "s": ""}[unit] + "seconds since 1970"
            return _of_epochs(values, per_s, words)
    first = next(i for i, value in enumerate(values) if value is not None)
    raise BadBars(
        f"{origin}: row {rows[first]}, column Date: {cells[first]:.24} is a number, expected a date like 2018-12-31; "
        "say what it means with --date-format"
    )


def _of_epochs(values: list[int | None], per_s: int, words: str) -> Days:
    seconds = np.array([np.iinfo(np.int64).min if v is None else v // per_s for v in values], dtype=np.int64)
    days = seconds.astype("datetime64[s]").astype("datetime64[D]")
    return Days(_local(days, bool((seconds % 86_400 != 0).any())), words)


def _local(days: np.ndarray, has_hours: bool) -> np.ndarray:
    """Corrects UTC days: midnight in Tokyo is 15:00 UTC of the day before, so Sundays occur and Fridays do not."""
    weekday = (days[~np.isnat(days)].astype(np.int64) + 3) % 7  # 0: Monday
    counts = np.bincount(weekday, minlength=7)
    ahead = has_hours and counts[6] > 0.1 * counts.sum() and counts[4] == 0 and counts[5] == 0
    return days + 1 if ahead else days


def _of_short(cells: list[str], short: list[re.Match[str] | None], origin: str, rows: list[int]) -> Days:
    """Parses dates like 13/01/1999 in the order that fits the whole column. Raises BadBars if it is ambiguous."""
    if mixed := [i for i, match in enumerate(short) if match is None and _long(cells[i]) is not None]:
        like = next(cells[i] for i, match in enumerate(short) if match)
        raise BadBars(
            f"{origin}: row {rows[mixed[0]]}, column Date: {quoted(cells[mixed[0]], 30)} has another form than "
            f"{quoted(like, 30)} in another row; write all dates as 2018-12-31"
        )
    found = [(int(m[1]), int(m[2]), int(m[3])) if m else None for m in short]
    kinds = ("dmy", "mdy", "ymd") if all(m is None or len(m[3]) == 2 for m in short) else ("dmy", "mdy")
    read = {kind: _ordered(found, kind) for kind in kinds}
    sound = [
        kind for kind in kinds if not any(m is not None and np.isnat(d) for m, d in zip(short, read[kind], strict=True))
    ]
    if "ymd" in sound and len(sound) > 1 and not _one_way(read["ymd"]):
        sound.remove("ymd")
    if len(sound) == 1:
        return Days(read[sound[0]], _ORDERS[sound[0]])
    raise BadBars(_ambiguous(cells, short, read, sound, origin, rows))


def _one_way(days: np.ndarray) -> bool:
    step = np.diff(days[~np.isnat(days)]).astype(np.int64)
    return bool((step > 0).all() or (step < 0).all())


def _ordered(found: list[tuple[int, int, int] | None], kind: str) -> np.ndarray:
    year, month, day = (kind.index(letter) for letter in "ymd")
    return _parts([(_century(part[year]), part[month], part[day]) if part is not None else None for part in found])


def _ambiguous(
    cells: list[str],
    short: list[re.Match[str] | None],
    read: dict[str, np.ndarray],
    sound: list[str],
    origin: str,
    rows: list[int],
) -> str:
    where = [i for i, match in enumerate(short) if match]
    if sound:
        i = where[0]
        sign = re.sub(r"\d", "", cells[i])[:1]
        year = "%y" if "ymd" in read else "%Y"
        forms = " or ".join(_FORMATS[kind].format(sign, year) for kind in sound)
        return (
            f"{origin}: row {rows[i]}, column Date: day and month are ambiguous in {quoted(cells[i], 30)}, and no row "
            "tells "
            f"them apart; say which comes first with --date-format {forms}"
        )
    wrong = {kind: next(i for i in where if np.isnat(days[i])) for kind, days in read.items()}
    if all(np.isnat(read[kind][wrong["dmy"]]) for kind in read):
        i = wrong["dmy"]
        return f"{origin}: row {rows[i]}, column Date: {quoted(cells[i], 40)} is not a date, expected 2018-12-31"
    day, month = wrong["mdy"], wrong["dmy"]  # each row is valid only in the other order
    return (
        f"{origin}: column Date: row {rows[day]} has the day first ({quoted(cells[day], 30)}), row {rows[month]} the "
        f"month ({quoted(cells[month], 30)}); write all dates in one order"
    )
