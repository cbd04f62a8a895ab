"""Ways in which real files of bars go wrong between their rows, for tests."""

from collections.abc import Callable

import numpy as np
import pandas as pd

PRICES = ["Open", "High", "Low", "Close"]


def _scaled(bars: pd.DataFrame, start: int, stop: int, factor: float) -> pd.DataFrame:
    bars = bars.copy()
    bars.iloc[start:stop, :4] *= factor
    return bars


def _thinned(bars: pd.DataFrame, start: int, stop: int, every: int) -> pd.DataFrame:
    kept = np.ones(len(bars), dtype=bool)
    kept[start:stop] = np.arange(stop - start) % every == 0
    return bars[kept]


def _moved(bars: pd.DataFrame, i: int, date: pd.Timestamp) -> pd.DataFrame:
    index = bars.index.to_numpy().copy()
    index[i] = date.to_datetime64()
    return bars.set_axis(pd.DatetimeIndex(index, name="Date")).sort_index()


def _weekend(bars: pd.DataFrame, at: int, days: int) -> pd.DataFrame:
    """The bar of the next Friday, dated so many days later."""
    i = next(i for i in range(at, len(bars)) if bars.index[i].day_of_week == 4)
    return _moved(bars, i, bars.index[i] + pd.Timedelta(days=days))


def _later(bars: pd.DataFrame, days: int) -> pd.DataFrame:
    return bars.set_axis((bars.index + pd.Timedelta(days=days)).rename("Date"))


def _repeated(bars: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
    bars = bars.copy()
    bars.iloc[start:stop, :4] = bars.iloc[start - 1, :4].to_numpy()
    return bars


def _copied(bars: pd.DataFrame, source: int, target: int, rows: int) -> pd.DataFrame:
    bars = bars.copy()
    bars.iloc[target : target + rows] = bars.iloc[source : source + rows].to_numpy()
    return bars


def _flat(bars: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
    bars = bars.copy()
    for name in PRICES:
        bars.iloc[start:stop, bars.columns.get_loc(name)] = bars["Close"].iloc[start:stop]
    return bars


def _one(bars: pd.DataFrame, i: int, name: str, factor: float) -> pd.DataFrame:
    bars = bars.copy()
    bars.iloc[i, bars.columns.get_loc(name)] *= factor
    return bars


def _from(bars: pd.DataFrame, start: int, stop: int, factor: float) -> np.ndarray:
    """The volume, some of it times a factor."""
    at = np.arange(len(bars))
    return np.where((at >= start) & (at < stop), bars["Volume"] * factor, bars["Volume"])


# what is done to real bars at a place i -> the kinds of findings of which one must be made
SPOILS: dict[str, tuple[Callable[[pd.DataFrame, int], pd.DataFrame], set[str]]] = {
    "ten days x 100": (lambda b, i: _scaled(b, i, i + 10, 100), {"moves"}),
    "ten days / 100": (lambda b, i: _scaled(b, i, i + 10, 0.01), {"moves"}),
    "one day x 10": (lambda b, i: _scaled(b, i, i + 1, 10), {"moves"}),
    "one day x 1.5": (lambda b, i: _scaled(b, i, i + 1, 1.5), {"moves"}),
    "thirty days x 2": (lambda b, i: _scaled(b, i, i + 30, 2), {"moves"}),
    "one high x 2": (lambda b, i: _one(b, i, "High", 2), {"moves"}),
    "one low / 2": (lambda b, i: _one(b, i, "Low", 0.5), {"moves"}),
    "a split 2:1": (lambda b, i: _scaled(b, i, len(b), 1 / 2), {"splits"}),
    "a split 3:2": (lambda b, i: _scaled(b, i, len(b), 2 / 3), {"splits"}),
    "a split 4:1": (lambda b, i: _scaled(b, i, len(b), 1 / 4), {"splits"}),
    "a split 20:1": (lambda b, i: _scaled(b, i, len(b), 1 / 20), {"splits"}),
    "a reverse split 1:10": (lambda b, i: _scaled(b, i, len(b), 10), {"splits"}),
    "another currency from a day on": (lambda b, i: _scaled(b, i, len(b), 1.38), {"moves", "splits"}),
    "750 rows left out": (lambda b, i: b.drop(b.index[i : i + 750]), {"gaps"}),
    "eight rows left out": (lambda b, i: b.drop(b.index[i : i + 8]), {"gaps"}),
    "weekly throughout": (lambda b, i: b.iloc[i % 5 :: 5], {"spacing"}),
    "monthly throughout": (lambda b, i: b.iloc[i % 21 :: 21], {"spacing"}),
    "every other day throughout": (lambda b, i: b.iloc[i % 2 :: 2], {"spacing"}),
    "weekly for 300 days": (lambda b, i: _thinned(b, i, i + 300, 5), {"spacing"}),
    "every third day for 300 days": (lambda b, i: _thinned(b, i, i + 300, 3), {"spacing"}),
    "monthly for 300 days": (lambda b, i: _thinned(b, i, i + 300, 21), {"gaps"}),
    "a Friday dated Saturday": (lambda b, i: _weekend(b, i, 1), {"weekends"}),
    "a Friday dated Sunday": (lambda b, i: _weekend(b, i, 2), {"weekends"}),
    "three equal bars": (lambda b, i: _repeated(b, i, i + 2), {"repeats"}),
    "ten equal bars": (lambda b, i: _repeated(b, i, i + 9), {"repeats"}),
    "two equal bars": (lambda b, i: _repeated(b, i, i + 1), {"repeats"}),
    "a week copied": (lambda b, i: _copied(b, i - 5, i, 5), {"repeats"}),
    "a quarter copied from elsewhere": (lambda b, i: _copied(b, i % 500, i + 600, 60), {"repeats"}),
    "flat for twenty days": (lambda b, i: _flat(b, i, i + 20), {"flat"}),
    "closes alone": (lambda b, i: _flat(b, 0, len(b)), {"flat"}),
    "twenty years later": (lambda b, i: _later(b, 7 * 52 * 20), {"future"}),
    "the last bar dated 2206": (lambda b, i: _moved(b, len(b) - 1, pd.Timestamp("2206-01-02")), {"future"}),
    "a century earlier": (lambda b, i: _later(b, -36_526), {"old"}),
    "the first bar dated 1899": (lambda b, i: _moved(b, 0, pd.Timestamp("1899-12-29")), {"old"}),
    "no volume": (lambda b, i: b.assign(Volume=0.0), {"no-volume"}),
    "no volume for a month": (lambda b, i: b.assign(Volume=_from(b, i, i + 21, 0)), {"volume"}),
    "another unit of volume from a day on": (lambda b, i: b.assign(Volume=_from(b, i, len(b), 1000)), {"volume"}),
    "one volume x 1000": (lambda b, i: _one(b, i, "Volume", 1000), {"volume"}),
    "no Mondays": (lambda b, i: b[b.index.day_of_week != 0], {"spacing"}),
    "a constant volume": (lambda b, i: b.assign(Volume=100.0), {"no-volume"}),
}  # fmt: skip
