"""The features of each tier, in order, as data: name -> function of the bars (and of the VIX)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd

from fts.features import indicators as ta
from fts.raising import quoted

WARM_UP = 199  # rows; sma_200 is the slowest: the first 199 rows of a history are not used


class FeatureUnknown(ValueError):
    """A feature is NaN where it must have a value, or inputs of a tier are missing."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a feature: bars up to some day, and VIX closes up to the same day."""

    bars: pd.DataFrame
    vix: pd.Series | None = None
    _columns: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def column(self, name: str) -> np.ndarray:
        """Returns one column of the bars as float64[T]; cached, because many features use the same."""
        if name not in self._columns:
            self._columns[name] = self.bars[name].to_numpy(np.float64)
        return self._columns[name]

    def until(self, last: pd.Timestamp) -> Inputs:
        """Returns the inputs known on the evening of `last`."""
        return Inputs(self.bars.loc[:last], None if self.vix is None else self.vix.loc[:last])

    def first(self, rows: int) -> Inputs:
        """The first `rows` bars and the VIX up to their last day; columns that were asked for are only cut."""
        vix = None if self.vix is None else self.vix.loc[: self.bars.index[rows - 1]]
        return Inputs(self.bars.iloc[:rows], vix, {name: values[:rows] for name, values in self._columns.items()})


Feature = Callable[[Inputs], np.ndarray]  # float64[T], one value per bar, NaN while warming up


def build(bars: pd.DataFrame, tier: str, vix: pd.Series | None = None) -> pd.DataFrame:
    """Returns the tier's features without the warm-up: T-199 rows of float64, index as `bars`.

    For tiers with VIX features the rows outside the VIX history are dropped. Raises FeatureUnknown.
    """
    if needs_vix(tier) and vix is None:
        raise FeatureUnknown(f"tier {tier} needs VIX closes; give them, or take tier a25")
    features = compute(Inputs(bars, vix), TIERS[tier])
    first = first_day(bars, tier, vix)
    features = features.iloc[:0] if first is None else features.loc[first:]
    if vix is not None and needs_vix(tier):
        features = features.loc[: vix.index[-1]]
    for name in features.columns:
        if len(holes := np.flatnonzero(~np.isfinite(features[name].to_numpy()))):
            day = features.index[holes[0]]
            raise FeatureUnknown(
                f"{name} is not a number on {day:%Y-%m-%d} ({len(holes)} such days): a flat price or no volume? "
                "correct the bars of that time, or take another tier"
            )
    return features


def first_day(bars: pd.DataFrame, tier: str, vix: pd.Series | None = None) -> pd.Timestamp | None:
    """Returns the first day whose features are kept, after the warm-up of bars and VIX; None if there is none."""
    days = bars.index[WARM_UP:]
    if vix is not None and needs_vix(tier):
        days = days[days >= vix.index[min(ta.VIX_WARM_UP, len(vix) - 1)]]
    return days[0] if len(days) else None


def compute(inputs: Inputs, features: Mapping[str, Feature]) -> pd.DataFrame:
    """Returns all rows, including the warm-up (NaN)."""
    return pd.DataFrame({name: function(inputs) for name, function in features.items()}, index=inputs.bars.index)


def needs_vix(tier: str) -> bool:
    return any(name in _VIX for name in tier_features(tier))


def levels_of(tier: str) -> tuple[int, ...]:
    """Returns the indices of the tier's features in units of price or volume."""
    return tuple(n for n, name in enumerate(tier_features(tier)) if name in LEVELS)


def tier_features(tier: str) -> Mapping[str, Feature]:
    if tier not in TIERS:
        raise FeatureUnknown(f"no tier {quoted(tier, 40)}, there are {', '.join(TIERS)}")
    return TIERS[tier]


def _bar(function: Callable[..., np.ndarray], *columns: str, **arguments: int) -> Feature:
    """Makes a feature of some columns of the bars."""

    def feature(inputs: Inputs) -> np.ndarray:
        return function(*map(inputs.column, columns), **arguments)

    return feature


def _weekly(function: Callable[..., np.ndarray], **arguments: int) -> Feature:
    """Makes a feature of the closes of finished weeks."""

    def feature(inputs: Inputs) -> np.ndarray:
        return ta.of_finished_weeks(inputs.bars["Close"], lambda closes: function(closes, **arguments))

    return feature


def _vix(function: Callable[..., np.ndarray], **arguments: int) -> Feature:
    """Makes a feature of the VIX closes, computed on the VIX's own days, then aligned to the days of the bars.

    The VIX closes at 16:15 New York time, the bars at 16:00; a decision for tomorrow may use both.
    """

    def feature(inputs: Inputs) -> np.ndarray:
        assert inputs.vix is not None, "a VIX feature was asked for without VIX closes"
        values = pd.Series(function(inputs.vix.to_numpy(np.float64), **arguments), index=inputs.vix.index)
        # a day missing in the VIX keeps the last value; the join check allows this on at most 1 % of the days
        return values.reindex(inputs.bars.index, method="ffill").to_numpy()

    return feature


_A20: dict[str, Feature] = {
    "dema_9": _bar(ta.dema, "Close", days=9),
    "dema_10": _bar(ta.dema, "Close", days=10),
    "sma_12": _bar(ta.sma, "Close", days=12),
    "dema_20": _bar(ta.dema, "Close", days=20),
    "dema_25": _bar(ta.dema, "Close", days=25),
    "sma_50": _bar(ta.sma, "Close", days=50),
    "dema_90": _bar(ta.dema, "Close", days=90),
    "sma_100": _bar(ta.sma, "Close", days=100),
    "sma_200": _bar(ta.sma, "Close", days=200),
    "rsi_daily": _bar(ta.rsi, "Close", periods=14),
    "rsi_weekly": _weekly(ta.rsi, periods=14),
    "stochrsi_daily": _bar(ta.stochrsi, "Close"),
    "stochrsi_weekly": _weekly(ta.stochrsi),
    "macd_line": _bar(ta.macd_line, "Close"),
    "obv": _bar(ta.obv, "Close", "Volume"),
    "adosc": _bar(ta.adosc, "High", "Low", "Close", "Volume"),
    "atr_14": _bar(ta.atr, "High", "Low", "Close", days=14),
    "adx_14": _bar(ta.adx, "High", "Low", "Close", days=14),
    "bb_percent_b": _bar(ta.bb_percent_b, "Close", days=20),
    "vwap_20": _bar(ta.vwap, "Close", "Volume", days=20),
}

_RAW: dict[str, Feature] = {c: _bar(np.array, c) for c in ("Open", "High", "Low", "Close", "Volume")}

_VIX: dict[str, Feature] = {
    "vix_close": _vix(np.array),
    "vix_sma_10": _vix(ta.sma, days=10),
    "vix_sma_20": _vix(ta.sma, days=20),
    "vix_percentile_60d": _vix(ta.percentile, days=60),
    "vix_zscore_20d": _vix(ta.zscore, days=20),
    "vix_regime": _vix(ta.vix_regime),
    "vix_change_1d": _vix(ta.percent_change, days=1),
    "vix_change_5d": _vix(ta.percent_change, days=5),
}

_RATIOS: dict[str, Feature] = {  # relative to the close: they mean the same at any price level
    "return_1d": _bar(ta.log_return, "Close", days=1),
    "return_5d": _bar(ta.log_return, "Close", days=5),
    "return_20d": _bar(ta.log_return, "Close", days=20),
    "gap": _bar(ta.gap, "Open", "Close"),
    "range": _bar(ta.bar_range, "High", "Low", "Close"),
    "atr_14_ratio": _bar(ta.atr_ratio, "High", "Low", "Close", days=14),
    "volatility_5d": _bar(ta.volatility, "Close", days=5),
    "volatility_20d": _bar(ta.volatility, "Close", days=20),
    "volatility_60d": _bar(ta.volatility, "Close", days=60),
    "sma_12_ratio": _bar(ta.sma_ratio, "Close", days=12),
    "sma_50_ratio": _bar(ta.sma_ratio, "Close", days=50),
    "sma_200_ratio": _bar(ta.sma_ratio, "Close", days=200),
    "macd_ratio": _bar(ta.macd_ratio, "Close"),
    "volume_ratio": _bar(ta.sma_ratio, "Volume", days=20),
}

_UNIT_FREE = ("rsi_daily", "rsi_weekly", "stochrsi_daily", "stochrsi_weekly", "adx_14", "bb_percent_b")  # of a20
LEVELS = frozenset({*_RAW, *_A20}) - {*_UNIT_FREE}  # in units of price or volume: a partial norm normalises these

TIERS: Mapping[str, Mapping[str, Feature]] = MappingProxyType(
    {
        "a20": _A20,
        "a25": {**_RAW, **_A20},
        "c": {**_RAW, **_A20, **_VIX},
        "r20": {**_RATIOS, **{name: _A20[name] for name in _UNIT_FREE}},
        "a39": {**_RAW, **_A20, **_RATIOS},
    }
)
