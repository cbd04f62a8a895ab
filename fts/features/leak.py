"""Checks that no feature of this data uses the future: a day's value must be the same if the history ends on that day.

Ten cuts find the common leaks quickly; then every single day is tested as the last one, because a leak of one day
on a few dates shows in no other cut. The stored value of a day is compared with the value computed from the bars up to
that day. The check does not cover other data, bars that were corrected later (adjusted prices, revised volumes), labels
or splits.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fts.features.tiers import Feature, Inputs, tier_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LeakyFeature(ValueError):
    """A feature's past value changed when later bars were removed."""

    def __init__(self, feature: str, day: pd.Timestamp, cut: pd.Timestamp) -> None:
        super().__init__(
            f"{feature} sees the future: its value on {day:%Y-%m-%d} ({day:%a}) changes when the data ends on "
            f"{'that day' if cut == day else f'{cut:%Y-%m-%d}'}; it may only use bars up to its own day"
        )
        self.feature, self.day = feature, day


_PROVEN: set[tuple[str, tuple[Feature, ...]]] = set()  # histories that this process has checked day by day


def truncation_check(
    bars: pd.DataFrame,
    tier: str | Mapping[str, Feature],
    vix: pd.Series | None = None,
    cuts: Sequence[pd.Timestamp] | None = None,
    used_from: pd.Timestamp | None = None,
) -> tuple[pd.Timestamp, ...]:
    """Recomputes every feature of `tier` on data that ends at each of `cuts`, and returns the cuts.

    Default: `default_cuts`, then every day from `used_from` on, the first day whose values are kept. 5,031 days of
    25 features take about 10 s. Raises LeakyFeature with the feature and the first changed day.
    """
    features = tier_features(tier) if isinstance(tier, str) else tier
    inputs = Inputs(bars, vix)
    whole = {name: function(inputs) for name, function in features.items()}
    chosen = tuple(default_cuts(pd.DatetimeIndex(bars.index)) if cuts is None else cuts)
    for cut in chosen:
        known = inputs.until(cut)
        for name, function in features.items():
            past = function(known)
            changed = _changed(past, whole[name][: len(past)])
            if len(changed):
                raise LeakyFeature(name, bars.index[changed[0]], cut)
    if cuts is not None:
        return chosen
    tried = bars.index if used_from is None else bars.index[bars.index >= used_from]
    _every_day(inputs, features, whole, first=len(bars) - len(tried))
    return tuple(tried)


def _every_day(
    inputs: Inputs, features: Mapping[str, Feature], whole: Mapping[str, np.ndarray], first: int = 0
) -> None:
    """Raises LeakyFeature for the first day from row `first` on whose values change when the history ends on it."""
    proven = f"{first} {_fingerprint(inputs)}", tuple(features.values())
    if proven in _PROVEN:
        return
    stored = np.stack([whole[name] for name in features], axis=1)
    for row, day in enumerate(inputs.bars.index[first:], first):
        known = inputs.first(row + 1)
        told = np.array([function(known)[-1] for function in features.values()])
        for place in _changed(told, stored[row]):
            raise LeakyFeature(list(features)[place], day, day)
    _PROVEN.add(proven)


def _fingerprint(inputs: Inputs) -> str:
    """Returns the md5 of days and values."""
    found = hashlib.md5(usedforsecurity=False)
    for table in (inputs.bars, inputs.vix):
        if table is not None:
            found.update(pd.util.hash_pandas_object(table).to_numpy().tobytes())
    return found.hexdigest()


def default_cuts(dates: pd.DatetimeIndex) -> list[pd.Timestamp]:
    """Returns two days of each weekday, spread over the history after the warm-up, and the day before the last.

    Each weekday, because a feature that leaks within the week does not change when the data ends on a Friday.
    """
    start = min(250, len(dates) // 2)
    places = np.linspace(start, max(start, len(dates) - 2), 10).astype(int)
    cuts = {dates[len(dates) - 2]} if len(dates) > 1 else set()
    for i, place in enumerate(places):
        same_day = np.flatnonzero(dates.day_of_week[: place + 1] == i % 5)
        cuts.add(dates[same_day[-1] if len(same_day) else place])
    return sorted(cuts)


def _changed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns positions where two float64 columns differ in a bit; two NaNs are equal, whatever their bits."""
    different = a.view(np.int64) != b.view(np.int64)
    return np.flatnonzero(different & ~(np.isnan(a) & np.isnan(b)))
