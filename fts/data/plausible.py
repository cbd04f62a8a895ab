"""Finds problems by comparing the rows of checked bars: jumps, splits, gaps, weekends, repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fts.data.faults import BadBars, ImplausibleBars
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOVE = 0.25  # |log return|: 1987-10-19, the largest day of the S&P 500, had 0.229
VIX_MOVE = 1.2  # 2018-02-05, the largest day of the VIX, had 0.768; a lost decimal sign makes 2.3
CLOSED = 5  # weekdays in a row without a bar: New York was closed for 4 after 2001-09-10
REPEATED = 3  # rows in a row that also occur elsewhere in the file
FLAT = 5  # bars in a row with high = low
FLAT_SHARE = 0.02  # of all bars
SPARSE = 20  # bars that span more than twice as many weekdays
HOLIDAYS = 30  # weekdays without a bar within YEAR rows: China closes for about 20, New York for 9
LOSSY = 60  # of them: as if a whole weekday were missing
YEAR = 250
NO_VOLUME = 20  # bars in a row: those of vwap_20
VOLUME = 100  # times the median of the 40 days around
SPIKE = 40  # rows within which a reverted jump was a wrong unit, not a split
SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 20, 25, 30, 40, 50, 1.5, 2.5)
SPLIT_ROOM = 0.06  # |log|: how much a price moves by itself on the day of a split
OLDEST = np.datetime64("1900-01-01")

KINDS = {  # kind for --accept -> its meaning
    "moves": "a price that jumps by more than a quarter within a day",
    "splits": "a jump that looks like a stock split without adjustment",
    "gaps": "more than five weekdays in a row without a bar",
    "spacing": "bars that are not daily",
    "weekends": "bars on Saturdays or Sundays",
    "repeats": "bars that repeat earlier bars",
    "flat": "bars with the same high and low",
    "future": "days in the future",
    "old": "days before 1900",
    "no-volume": "no volume, or the same on each day",
    "volume": "a volume a hundred times that of the days around, or none for weeks",
}


@dataclass(frozen=True)
class Implausible:
    """A finding that is rare in daily bars of a market."""

    kind: str  # of KINDS
    text: str
    spoils: bool = True  # whether it corrupts labels or features: refused unless accepted

    @property
    def sentence(self) -> str:
        return f"{self.kind}: {self.text}"


def find_implausible(bars: pd.DataFrame, now: pd.Timestamp | None = None) -> tuple[Implausible, ...]:
    """Returns the findings in checked bars (fts.data.bars.check_bars), or in checked closes (a frame of Close)."""
    days = bars.index.to_numpy().astype("datetime64[D]")
    found = [*_of_days(days, _today(now))]
    if "Open" in bars:
        found += [*_of_prices(bars, days), *_repeats(bars, days), *_flat(bars, days), *_volume(bars, days)]
    else:
        found += _jumps(bars["Close"].to_numpy(), days, VIX_MOVE)
        # labels use only bars, and a build refuses closes in which more than 1 % of their days are missing
        found = [replace(f, spoils=f.spoils and f.kind not in ("gaps", "spacing", "weekends")) for f in found]
    return tuple(found)


def check_accepted(names: Iterable[str]) -> frozenset[str]:
    """Returns the accepted kinds. Raises BadBars for an unknown kind."""
    asked = frozenset(name.strip() for name in names if name.strip())
    if unknown := sorted(asked - set(KINDS)):
        raise BadBars(f"--accept does not know {quoted(unknown[0], 40)}; choose from {', '.join(KINDS)}")
    return asked


def refuse_implausible(findings: Sequence[Implausible], accepted: Iterable[str], origin: str) -> None:
    """Raises ImplausibleBars if a finding corrupts labels and its kind was not accepted."""
    wrong = [f for f in findings if f.spoils and f.kind not in set(accepted)]
    if wrong:
        kinds = ",".join(dict.fromkeys(f.kind for f in (*wrong, *findings) if f.spoils))
        raise ImplausibleBars(
            f"{origin}: {'; '.join(f.sentence for f in wrong)}; correct the bars, or keep them as they are with "
            f"--accept {kinds}"
        )


def largest_move(bars: pd.DataFrame) -> tuple[float, pd.Timestamp] | None:
    """Returns the largest |log return| from close to close, signed, and its day."""
    moves = np.diff(np.log(bars["Close"].to_numpy()))
    if not len(moves):
        return None
    i = int(np.abs(moves).argmax())
    return float(moves[i]), bars.index[i + 1]


def widest_gap(days: np.ndarray) -> tuple[int, np.datetime64] | None:
    """Returns the most weekdays in a row without a bar, and the day before them."""
    missing = missing_weekdays(days)
    if not len(missing) or not missing.max() > 0:
        return None
    return int(missing.max()), days[int(missing.argmax())]


def missing_weekdays(days: np.ndarray) -> np.ndarray:
    """Returns the number of weekdays missing between neighbouring days."""
    return np.busday_count(days[:-1] + 1, days[1:])


def _today(now: pd.Timestamp | None) -> np.datetime64:
    """Returns the latest date anywhere on earth: a bar of Auckland is dated tomorrow in New York."""
    latest = now if now is not None else pd.Timestamp.now("UTC").tz_localize(None) + pd.Timedelta(hours=14)
    return np.datetime64(latest.date(), "D")


def _of_days(days: np.ndarray, today: np.datetime64) -> Iterator[Implausible]:
    missing = missing_weekdays(days)
    weekend = np.flatnonzero(~np.is_busday(days))
    seven = len(weekend) > len(days) / 5  # crypto: two days of seven are weekends
    if len(days) > 2 and np.median(missing) > 0:
        step = np.median(np.diff(days).astype(int))
        yield Implausible("spacing", f"half of the rows are {step:g} or more days apart: the model reads daily bars")
    else:
        yield from _gaps(days, np.maximum(missing, np.diff(days).astype(int) - 1) if seven else missing)
        yield from _sparse(days, missing)
    if len(weekend):
        first = days[weekend[0]]
        yield Implausible("weekends", f"{_count(len(weekend), 'bar')} on Saturdays or Sundays, the first on {first}")
    if coming := int((days > today).sum()):
        yield Implausible("future", f"{coming} of {len(days)} rows lie in the future, the last on {days[-1]}")
    if old := int((days < OLDEST).sum()):
        yield Implausible(
            "old",
            f"{_count(old, 'row')} before 1900, the first on {days[0]}: a wrong century or a wrong form of dates?",
        )


def _gaps(days: np.ndarray, missing: np.ndarray) -> Iterator[Implausible]:
    wide = np.flatnonzero(missing > CLOSED)
    if len(wide):
        i = int(missing.argmax())
        yield Implausible(
            "gaps",
            f"{_count(len(wide), 'gap')} of more than {CLOSED} weekdays, the longest of {missing[i]} between {days[i]} "
            f"and {days[i + 1]}: the model reads the rows before and after a gap as neighbouring trading days",
        )


def _sparse(days: np.ndarray, missing: np.ndarray) -> Iterator[Implausible]:
    """Finds a period of weekly bars, or of bars every other day, in a daily history."""
    if len(missing) < SPARSE:
        return
    short = np.where(missing > CLOSED, 0, missing)  # wider ones are gaps
    in_row = np.convolve(short, np.ones(SPARSE, dtype=np.int64), "valid")
    weekly = np.convolve(short >= 3, np.ones(4, dtype=np.int64), "valid") == 4
    wrong = np.flatnonzero(in_row > SPARSE)
    if not len(wrong) and not weekly.any():
        yield from _lossy(days, short)
        return
    i = int(wrong[0]) if len(wrong) else int(np.flatnonzero(weekly)[0])
    yield Implausible("spacing", f"for weeks after {days[i]} most weekdays have no bar: the model reads daily bars")


def _lossy(days: np.ndarray, missing: np.ndarray) -> Iterator[Implausible]:
    """Finds single days that are missing all over the history."""
    if len(missing) < YEAR:
        return
    in_year = np.convolve(missing, np.ones(YEAR, dtype=np.int64), "valid")
    if (most := int(in_year.max())) > HOLIDAYS:
        i = int(in_year.argmax())
        yield Implausible(
            "spacing",
            f"{most} weekdays have no bar between {days[i]} and {days[i + YEAR]}, more than the holidays of a market: "
            "rows are lost",
            spoils=most > LOSSY,
        )


def _of_prices(bars: pd.DataFrame, days: np.ndarray) -> Iterator[Implausible]:
    open_, high, low, close = (bars[name].to_numpy() for name in ("Open", "High", "Low", "Close"))
    jumps = list(_jumps(close, days, MOVE))
    yield from jumps
    named = bool(jumps)
    top, bottom = np.log(high / np.maximum(open_, close)), np.log(np.minimum(open_, close) / low)
    within = np.maximum.reduce([top, bottom, np.abs(np.log(close / open_))])
    over = np.abs(np.log(open_[1:] / close[:-1]))
    if len(wide := np.flatnonzero(within > MOVE)):
        i = int(within.argmax())
        what = (
            f"{_count(len(wide), 'bar')} with a high or low more than 25 % from open and close, the widest on {days[i]}"
        )
        yield Implausible("moves", what)
    elif not named and len(over) and over.max() > MOVE:
        i = int(over.argmax())
        yield Implausible("moves", f"the open of {days[i + 1]} is {open_[i + 1]:g} after a close of {close[i]:g}")


def _jumps(close: np.ndarray, days: np.ndarray, limit: float) -> Iterator[Implausible]:
    """Compares closes: reverted jumps are a wrong unit, jumps by a round factor look like splits."""
    move = np.diff(np.log(close))
    wide = np.flatnonzero(np.abs(move) > limit)
    splits = [i for i in wide if limit == MOVE and _split_ratio(move[i]) and not _taken_back(close, int(i))]
    others = [i for i in wide if i not in set(splits)]
    if splits:
        i = int(splits[0])
        like = "jump that looks like a split" if len(splits) == 1 else "jumps that look like splits"
        yield Implausible(
            "splits",
            f"{len(splits)} {like}, the first on {days[i + 1]} (close {close[i]:g}, then {close[i + 1]:g}, "
            f"{_split_ratio(move[i])}): take adjusted prices",
        )
    if others:
        i = int(max(others, key=lambda at: abs(move[at])))
        yield Implausible(
            "moves",
            f"{_count(len(others), 'day')} with a move of more than {np.expm1(limit):.0%} up or "
            f"{-np.expm1(-limit):.0%} down, the largest on {days[i + 1]} (close {close[i]:g}, then {close[i + 1]:g})",
        )


def _split_ratio(move: float) -> str | None:
    """Returns `2:1` for a price that halved, `1:10` for one that rose tenfold; None for other moves."""
    for ratio in SPLITS:
        if abs(abs(move) - np.log(ratio)) < SPLIT_ROOM:
            return f"{_whole(ratio)}" if move < 0 else ":".join(reversed(_whole(ratio).split(":")))
    return None


def _whole(ratio: float) -> str:
    return f"{ratio:g}:1" if float(ratio).is_integer() else f"{2 * ratio:g}:2"


def _taken_back(close: np.ndarray, i: int) -> bool:
    """Whether one jump within SPIKE rows reverts this move, before or after it."""
    move = np.diff(np.log(close))
    near = np.r_[move[max(0, i - SPIKE) : i], move[i + 1 : i + 1 + SPIKE]]
    return bool((np.abs(near + move[i]) < 2 * SPLIT_ROOM).any())


def _repeats(bars: pd.DataFrame, days: np.ndarray) -> Iterator[Implausible]:
    """Finds bars that repeat the prices of the day before, or a run of rows copied from elsewhere."""
    rows = np.ascontiguousarray(bars[["Open", "High", "Low", "Close"]].to_numpy())
    _, group = np.unique(rows, axis=0, return_inverse=True)
    group = group.ravel()
    order = np.argsort(group, kind="stable")
    before = np.full(len(group), -1)
    same = group[order[1:]] == group[order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    lag = np.where(before >= 0, np.arange(len(group)) - before, 0)
    least = np.where(lag == 1, 2, REPEATED)
    long = [(start, stop) for start, stop in _runs(lag) if lag[start] and stop - start >= least[start]]
    single = int((lag == 1).sum())
    if long:
        start, stop = max(long, key=lambda run: run[1] - run[0])
        rows_ = sum(stop - start for start, stop in long)
        earlier = "the day before" if lag[start] == 1 else f"the bars from {days[before[start]]}"
        yield Implausible(
            "repeats",
            f"{_count(rows_, 'bar')} with the same prices as earlier bars, the longest run from {days[start]} to "
            f"{days[stop - 1]} (repeats {earlier})",
        )
    elif single:
        first = days[int((lag == 1).argmax())]
        text = f"{_count(single, 'bar')} with the same prices as the day before, the first on {first}"
        yield Implausible("repeats", text, spoils=single > max(5, len(days) / 50))


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Returns start and stop of each run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    return list(zip(np.r_[0, edges].tolist(), np.r_[edges, len(values)].tolist(), strict=True))


def _flat(bars: pd.DataFrame, days: np.ndarray) -> Iterator[Implausible]:
    flat = (bars["High"] == bars["Low"]).to_numpy()
    longest = max((run for run in _runs(flat) if flat[run[0]]), key=lambda run: run[1] - run[0], default=(0, 0))
    length, share = longest[1] - longest[0], flat.mean() if len(flat) else 0.0
    if length >= FLAT or (share > FLAT_SHARE and flat.sum() > 1):
        where = f"the longest run from {days[longest[0]]} to {days[longest[1] - 1]}"
        yield Implausible(
            "flat",
            f"{_count(int(flat.sum()), 'bar')} with the same high and low, {where}: does the file have closes only?",
        )


def _volume(bars: pd.DataFrame, days: np.ndarray) -> Iterator[Implausible]:
    volume = bars["Volume"].to_numpy()
    if len(volume) > 1 and (volume == volume[0]).all():
        yield Implausible(
            "no-volume",
            "no volume, or the same on each day: features made of it (obv, adosc, vwap_20, volume_ratio) say nothing",
        )
        return
    empty = max(
        (run for run in _runs(volume == 0) if volume[run[0]] == 0), key=lambda run: run[1] - run[0], default=(0, 0)
    )
    if empty[1] - empty[0] >= NO_VOLUME:
        what = f"no volume on {_count(empty[1] - empty[0], 'bar')} from {days[empty[0]]} to {days[empty[1] - 1]}"
        yield Implausible(
            "volume", f"{what}: vwap_20 or volume_ratio is NaN there; cut the history, or fill the volume"
        )
    around = bars["Volume"].where(volume > 0).rolling(2 * 20 + 1, center=True, min_periods=20).median().to_numpy()
    if len(wide := np.flatnonzero(volume > VOLUME * around)):
        i = int(wide[0])
        yield Implausible(
            "volume",
            f"{_count(len(wide), 'bar')} with more than {VOLUME} times the volume of the days around, the first on "
            f"{days[i]} ({volume[i]:g}, usual {around[i]:g})",
        )
    at = bars["Volume"].where(volume > 0)
    before, after = (side.rolling(20, min_periods=20).median().to_numpy() for side in (at, at[::-1]))
    step = np.abs(np.log(after[::-1][1:] / before[:-1])) if len(volume) > 40 else np.zeros(0)
    if np.nanmax(step, initial=0.0) > np.log(VOLUME):
        i = int(np.nanargmax(step))
        yield Implausible(
            "volume",
            f"the usual volume is {before[i]:g} up to {days[i]} and {after[::-1][i + 1]:g} from {days[i + 1]} on: "
            "another unit?",
        )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
