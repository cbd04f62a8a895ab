"""Every indicator against a slow reference in plain Python, or against TA-Lib called directly."""

import math
from itertools import pairwise
from statistics import fmean, pstdev, stdev

import numpy as np
import pandas as pd
import pytest
import talib

from fts.data.sources import bundled_sp500, bundled_vix
from fts.features import indicators as ta
from fts.features.tiers import TIERS, WARM_UP, FeatureUnknown, Inputs, build, compute, levels_of
from fts.study import recipe
from tests.data.made import make_bars

BARS = make_bars(500, seed=3)
C, H, L, OPENS, V = (BARS[n].to_numpy() for n in ("Close", "High", "Low", "Open", "Volume"))


def slow_ema(values, days):
    """TA-Lib's: begins with the mean of the first `days` values."""
    out = [math.nan] * (days - 1) + [fmean(values[:days])]
    for v in values[days:]:
        out.append(out[-1] + (v - out[-1]) * 2 / (days + 1))
    return out


def slow_dema(values, days):
    one = slow_ema(values, days)
    two = [math.nan] * (days - 1) + slow_ema(one[days - 1 :], days)
    return [2 * a - b for a, b in zip(one, two, strict=True)]


def slow_rsi(values, periods):
    moves = [b - a for a, b in pairwise(values)]
    gain, loss = (fmean(max(s * m, 0) for m in moves[:periods]) for s in (1, -1))
    out = [math.nan] * periods + [100 * gain / (gain + loss)]
    for m in moves[periods:]:
        gain = (gain * (periods - 1) + max(m, 0)) / periods
        loss = (loss * (periods - 1) + max(-m, 0)) / periods
        out.append(100 * gain / (gain + loss))
    return out


def slow_stochrsi(values):
    rsi = slow_rsi(values, 14)
    out = [math.nan] * 20  # 14 for the RSI, 4 for its range, 2 for the smoothing of %D that TA-Lib waits for
    for t in range(20, len(values)):
        window = rsi[t - 4 : t + 1]
        out.append(100 * (rsi[t] - min(window)) / (max(window) - min(window)))
    return out


def slow_atr(high, low, close, days):
    ranges = [max(h - low_, abs(h - c), abs(low_ - c)) for h, low_, c in zip(high[1:], low[1:], close, strict=False)]
    out = [math.nan] * days + [fmean(ranges[:days])]
    for r in ranges[days:]:
        out.append((out[-1] * (days - 1) + r) / days)
    return out


def slow_obv(close, volume):
    out = [volume[0]]
    for t in range(1, len(close)):
        out.append(out[-1] + volume[t] * ((close[t] > close[t - 1]) - (close[t] < close[t - 1])))
    return out


def rolling(function, values, days):
    return [math.nan] * (days - 1) + [function(values[t - days + 1 : t + 1]) for t in range(days - 1, len(values))]


@pytest.mark.parametrize(
    ("found", "slow"),
    [
        (ta.sma(C, days=12), rolling(fmean, list(C), 12)),
        (ta.dema(C, days=9), slow_dema(list(C), 9)),
        (ta.dema(C, days=90), slow_dema(list(C), 90)),
        (ta.rsi(C, periods=14), slow_rsi(list(C), 14)),
        (ta.stochrsi(C), slow_stochrsi(list(C))),
        (ta.obv(C, V), slow_obv(C.tolist(), V.tolist())),
        (ta.atr(H, L, C, days=14), slow_atr(list(H), list(L), list(C), 14)),
        (
            ta.bb_percent_b(C, days=20),
            rolling(lambda w: (w[-1] - fmean(w) + 2 * pstdev(w)) / (4 * pstdev(w)), list(C), 20),
        ),
        (
            ta.vwap(C, V, days=20),
            rolling(lambda w: sum(c * v for c, v in w) / sum(v for _, v in w), list(zip(C, V, strict=True)), 20),
        ),
        (
            ta.percentile(C, days=60),
            rolling(lambda w: 100 * sum(x < w[-1] for x in w[:-1]) / 59, list(C), 60),
        ),
        (ta.zscore(C, days=20), rolling(lambda w: (w[-1] - fmean(w)) / stdev(w), list(C), 20)),
        (ta.percent_change(C, days=5), rolling(lambda w: 100 * (w[-1] - w[0]) / w[0], list(C), 6)),
        (ta.log_return(C, days=5), rolling(lambda w: math.log(w[-1] / w[0]), list(C), 6)),
        (ta.volatility(C, days=5), rolling(lambda w: pstdev(math.log(b / a) for a, b in pairwise(w)), list(C), 6)),
        (ta.sma_ratio(C, days=12), rolling(lambda w: w[-1] / fmean(w) - 1, list(C), 12)),
        (ta.gap(OPENS, C), [math.nan, *(o / c - 1 for o, c in zip(OPENS[1:], C[:-1], strict=True))]),
        (ta.bar_range(H, L, C), [(h - low) / c for h, low, c in zip(H, L, C, strict=True)]),
    ],
    ids=[
        "sma",
        "dema_9",
        "dema_90",
        "rsi",
        "stochrsi",
        "obv",
        "atr",
        "bb",
        "vwap",
        "percentile",
        "zscore",
        "change",
        "return",
        "volatility",
        "ratio",
        "gap",
        "range",
    ],
)
def test_an_indicator_equals_its_slow_reference(found, slow):
    np.testing.assert_allclose(found, slow, rtol=1e-7, atol=1e-7)


def test_tiers_hand_talib_the_columns_they_name():
    table = compute(Inputs(BARS), TIERS["a20"])
    expected = {f"dema_{n}": talib.DEMA(C, n) for n in (9, 10, 20, 25, 90)}
    expected |= {f"sma_{n}": talib.SMA(C, n) for n in (12, 50, 100, 200)}
    expected |= {"rsi_daily": talib.RSI(C, 14), "macd_line": talib.MACD(C)[0], "obv": talib.OBV(C, V)}
    expected |= {"stochrsi_daily": talib.STOCHRSI(C, 14, 5, 3)[0], "adosc": talib.ADOSC(H, L, C, V, 3, 10)}
    expected |= {"atr_14": talib.ATR(H, L, C, 14), "adx_14": talib.ADX(H, L, C, 14)}
    for name, values in expected.items():
        np.testing.assert_array_equal(table[name], values, err_msg=name)


def test_the_tiers_are_the_studys_in_order():
    a20 = (
        "dema_9 dema_10 sma_12 dema_20 dema_25 sma_50 dema_90 sma_100 sma_200 rsi_daily rsi_weekly stochrsi_daily "
        "stochrsi_weekly macd_line obv adosc atr_14 adx_14 bb_percent_b vwap_20"
    )
    vix = "vix_close vix_sma_10 vix_sma_20 vix_percentile_60d vix_zscore_20d vix_regime vix_change_1d vix_change_5d"
    assert " ".join(TIERS["a20"]) == a20
    assert list(TIERS["a25"]) == ["Open", "High", "Low", "Close", "Volume", *TIERS["a20"]]
    assert list(TIERS["c"]) == [*TIERS["a25"], *vix.split()]
    ratios = (
        "return_1d return_5d return_20d gap range atr_14_ratio volatility_5d volatility_20d volatility_60d "
        "sma_12_ratio sma_50_ratio sma_200_ratio macd_ratio volume_ratio"
    )
    free = "rsi_daily rsi_weekly stochrsi_daily stochrsi_weekly adx_14 bb_percent_b"
    assert " ".join(TIERS["r20"]) == f"{ratios} {free}"
    assert list(TIERS["a39"]) == [*TIERS["a25"], *ratios.split()]


def test_the_memory_plan_knows_widths_and_levels_of_every_tier():
    assert {tier: len(names) for tier, names in TIERS.items()} == recipe.FEATURES
    assert {tier: levels_of(tier) for tier in TIERS} == recipe.LEVELS


@pytest.mark.parametrize("tier", ["r20", "a39"])
def test_ratios_are_the_same_at_any_level_of_prices_and_volumes(tier):
    scaled = BARS.copy()
    scaled[["Open", "High", "Low", "Close"]] *= 6.5
    scaled["Volume"] *= 1000
    free = [name for n, name in enumerate(TIERS[tier]) if n not in levels_of(tier)]
    mine, theirs = (build(bars, tier)[free] for bars in (BARS, scaled))
    np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)
    moved = [name for name in TIERS["a25"] if name not in free]
    assert tier == "r20" or (build(scaled, tier)[moved] / build(BARS, tier)[moved] > 6.49).all(axis=None)


def test_the_warm_up_of_the_sp500_leaves_4832_rows():
    assert WARM_UP == 199
    for tier, width in (("a20", 20), ("a25", 25)):
        features = build(bundled_sp500(), tier)
        assert features.shape == (4832, width) and np.isfinite(features.to_numpy()).all()


def test_vix_features_begin_when_the_slowest_of_them_is_known():
    features = build(bundled_sp500(), "c", bundled_vix())
    assert features.shape == (1198, 33) and str(features.index[0].date()) == "2014-03-31"
    with pytest.raises(FeatureUnknown, match="tier c needs VIX"):
        build(bundled_sp500(), "c")


def test_a_day_the_vix_lacks_keeps_the_value_of_the_day_before():
    vix = pd.Series([14.0, 15.0, 24.9, 25.0], index=BARS.index[[0, 1, 3, 4]])
    table = compute(Inputs(BARS.iloc[:6], vix), {n: TIERS["c"][n] for n in ("vix_close", "vix_regime")})
    assert table["vix_close"].tolist() == [14.0, 15.0, 15.0, 24.9, 25.0, 25.0]
    assert table["vix_regime"].tolist() == [0, 1, 1, 1, 2, 2]


def test_a_feature_without_a_number_is_named_with_its_day():
    flat = make_bars(300)
    flat.iloc[240:270, flat.columns.get_loc("Volume")] = 0
    with pytest.raises(FeatureUnknown, match=f"vwap_20 is not a number on {flat.index[259]:%Y-%m-%d}"):
        build(flat, "a25")


def test_an_unknown_tier_names_the_known_ones():
    with pytest.raises(FeatureUnknown, match="a20, a25, c"):
        build(BARS, "a26")
