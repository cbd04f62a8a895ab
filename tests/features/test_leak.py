"""No feature sees tomorrow: cut the future away and no bit of the past changes; a planted leak is named."""

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from fts.data.sources import bundled_sp500, bundled_vix
from fts.features import indicators as ta
from fts.features.leak import LeakyFeature, default_cuts, truncation_check
from fts.features.tiers import TIERS, Inputs, compute
from tests.data.made import make_bars


def naive_weekly_rsi(inputs: Inputs) -> np.ndarray:
    """What the earlier scripts did: the week's own Friday, shown from Monday on."""
    weekly = inputs.bars["Close"].resample("W-FRI").last().dropna()
    rsi = pd.Series(talib.RSI(weekly.to_numpy(), 14), index=weekly.index)
    return rsi.reindex(inputs.bars.index, method="bfill").to_numpy()


def test_the_tier_does_not_see_tomorrow_on_the_sp500():  # a20 is a part of a25
    bars = bundled_sp500().iloc[-900:]
    assert len(truncation_check(bars, "a25")) == 900


def test_the_ratios_do_not_see_tomorrow():
    ratios = {name: feature for name, feature in TIERS["a39"].items() if name not in TIERS["a25"]}
    assert len(truncation_check(bundled_sp500().iloc[-700:], ratios)) == 700


def test_the_vix_tier_does_not_see_tomorrow():
    bars, vix = bundled_sp500(), bundled_vix()
    recent = bars.loc[vix.index[0] :].iloc[:600]
    truncation_check(recent, {name: TIERS["c"][name] for name in TIERS["c"] if name not in TIERS["a25"]}, vix)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 698), min_size=1, max_size=6))
def test_no_cut_of_any_history_changes_the_past(seed, places):
    bars = make_bars(700, seed)
    truncation_check(bars, "a25", cuts=[bars.index[p] for p in places])


def test_a_naive_weekly_feature_is_named_with_its_first_day():
    bars = bundled_sp500()
    with pytest.raises(LeakyFeature, match="rsi_weekly sees the future") as error:
        truncation_check(bars, {**TIERS["a20"], "rsi_weekly": naive_weekly_rsi})
    assert error.value.feature == "rsi_weekly"
    assert f"{error.value.day:%Y-%m-%d}" in str(error.value)


@pytest.mark.parametrize(
    ("name", "leak"),
    [
        ("tomorrow", lambda i: i.bars["Close"].shift(-1).to_numpy()),
        ("whole_mean", lambda i: (i.bars["Close"] - i.bars["Close"].mean()).to_numpy()),
        ("centred", lambda i: i.bars["Close"].rolling(5, center=True).mean().to_numpy()),
        ("last_bit", lambda i: i.bars["Close"].to_numpy() * (1 + 1e-16 * len(i.bars) * 8)),
    ],
)
def test_other_ways_to_leak_are_named_too(name, leak):
    with pytest.raises(LeakyFeature, match=f"{name} sees the future"):
        truncation_check(make_bars(600), {"Close": TIERS["a25"]["Close"], name: leak})


def ahead_on(when):
    """The next day's close on some days, the own day's on all others."""

    def feature(inputs: Inputs) -> np.ndarray:
        close = inputs.bars["Close"]
        return np.where(when(inputs.bars.index), close.shift(-1), close).astype(np.float64)

    return feature


def third_fridays(days: pd.DatetimeIndex) -> np.ndarray:
    return (days.day_of_week == 4) & (days.day > 14) & (days.day < 22)


def backfilled(inputs: Inputs) -> np.ndarray:
    """A column with a hole every fifty days, filled with what came after it."""
    close = inputs.bars["Close"].copy()
    close[np.arange(len(close)) % 50 == 7] = np.nan
    return close.bfill().to_numpy()


@pytest.mark.parametrize(
    "leak",
    [
        ahead_on(lambda days: days.day < 4),
        ahead_on(third_fridays),
        ahead_on(lambda days: days.month == 12),
        ahead_on(lambda days: days.isin(make_bars(600).index[[401]])),
        ahead_on(lambda days: days.isin(make_bars(600).index[np.random.default_rng(1).choice(598, 60)])),
        backfilled,
    ],
    ids=["first days of a month", "expiry Fridays", "December", "one day", "sixty fixed days", "filled backwards"],
)
def test_a_leak_on_a_few_days_is_found_on_its_first_one(leak):
    bars = make_bars(600)
    with pytest.raises(LeakyFeature, match="planted sees the future"):
        truncation_check(bars, {"Close": TIERS["a25"]["Close"], "planted": leak})


def test_a_feature_that_only_looks_back_passes_day_by_day_and_is_not_tried_twice():
    bars, calls = make_bars(300), []

    def behind(inputs: Inputs) -> np.ndarray:
        calls.append(len(inputs.bars))
        return inputs.bars["Close"].shift(1).to_numpy()

    assert len(truncation_check(bars, {"behind": behind})) == 300
    assert set(calls) == set(range(1, 301))
    calls.clear()
    truncation_check(bars, {"behind": behind})
    assert len(calls) < 20


def test_the_cuts_fall_on_every_weekday():
    assert {d.day_of_week for d in default_cuts(bundled_sp500().index)} == set(range(5))
    assert all(d in make_bars(5).index for d in default_cuts(make_bars(5).index))


def test_every_day_of_a_week_shows_the_week_before_also_around_holidays():
    bars = bundled_sp500()
    found = compute(Inputs(bars), {"rsi_weekly": TIERS["a20"]["rsi_weekly"]})["rsi_weekly"]
    close: dict[tuple[int, int], float] = {}
    for day, price in bars["Close"].items():
        close[day.isocalendar()[:2]] = price  # the last day of the week stays
    weeks = list(close)
    rsi = dict(zip(weeks[1:], talib.RSI(np.array(list(close.values())), 14)[:-1], strict=True))
    expected = [rsi.get(day.isocalendar()[:2], np.nan) for day in bars.index]
    np.testing.assert_array_equal(found, expected)


def test_good_friday_and_the_closed_week_of_2001_follow_the_same_rule():
    close = pd.Series(
        [1.0, 2.0, 3.0, 4.0, 5.0],
        # Maundy Thursday and Easter Monday; then the Monday of the week that closed on the 11th, and those around it
        index=pd.DatetimeIndex(["2001-04-12", "2001-04-16", "2001-09-03", "2001-09-10", "2001-09-17"]),
    )
    assert ta.of_finished_weeks(close, lambda weekly: weekly)[1:].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_week_that_is_not_over_is_not_seen_even_on_its_friday():
    friday = pd.Timestamp("2018-12-14")
    bars = bundled_sp500().loc[:friday].copy()
    feature = {"x": TIERS["a20"]["rsi_weekly"]}
    before = compute(Inputs(bars), feature)["x"].iloc[-5:].to_numpy()
    bars.loc[friday, "Close"] *= 1.5
    np.testing.assert_array_equal(compute(Inputs(bars), feature)["x"].iloc[-5:], before)
    assert len(set(before)) == 1
