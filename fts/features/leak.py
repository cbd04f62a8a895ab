"""Proves that no feature sees tomorrow: computed on a history that ends earlier, no bit of the past may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fts.features.tiers import Feature, Inputs, compute, tier_features


class LeakyFeature(ValueError):
    """A feature of the past changed when the future was cut away."""

    def __init__(self, feature: str, day: pd.Timestamp, cut: pd.Timestamp) -> None:
        super().__init__(
            f"{feature} sees the future: its value on {day:%Y-%m-%d} ({day:%a}) is another one when the data ends on "
            f"{cut:%Y-%m-%d}; it may only use bars up to its own day"
        )
        self.feature, self.day = feature, day


def truncation_check(
    bars: pd.DataFrame,
    tier: str | Mapping[str, Feature],
    vix: pd.Series | None = None,
    cuts: Sequence[pd.Timestamp] | None = None,
) -> tuple[pd.Timestamp, ...]:
    """Recompute every feature of `tier` on data that ends at each of `cuts` (default: `default_cuts`), and return them.

    Raises LeakyFeature naming the feature and the first day that changed.
    """
    features = tier_features(tier) if isinstance(tier, str) else tier
    inputs = Inputs(bars, vix)
    whole = compute(inputs, features)
    chosen = tuple(default_cuts(pd.DatetimeIndex(bars.index)) if cuts is None else cuts)
    for cut in chosen:
        past = compute(inputs.until(cut), features)
        for name in features:
            changed = _changed(past[name].to_numpy(), whole[name].to_numpy()[: len(past)])
            if len(changed):
                raise LeakyFeature(name, past.index[changed[0]], cut)
    return chosen


def default_cuts(dates: pd.DatetimeIndex) -> list[pd.Timestamp]:
    """Two days of each weekday, spread over the history after the warm-up, and the day before the last.

    Each weekday, because a feature that leaks within the week looks clean when the data ends on a Friday.
    """
    start = min(250, len(dates) // 2)
    places = np.linspace(start, max(start, len(dates) - 2), 10).astype(int)
    cuts = {dates[len(dates) - 2]} if len(dates) > 1 else set()
    for i, place in enumerate(places):
        same_day = np.flatnonzero(dates.day_of_week[: place + 1] == i % 5)
        cuts.add(dates[same_day[-1] if len(same_day) else place])
    return sorted(cuts)


def _changed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Positions where two float64 columns differ in a bit; two unknowns are equal whatever their NaN's bits are."""
    different = a.view(np.int64) != b.view(np.int64)
    return np.flatnonzero(different & ~(np.isnan(a) & np.isnan(b)))
