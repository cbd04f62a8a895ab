"""What is wrong between the rows of real bars is found wherever it stands, and real bars are left in peace."""

import numpy as np
import pandas as pd
import pytest

from fts.data.bars import check_bars
from fts.data.faults import BadBars, ImplausibleBars
from fts.data.plausible import KINDS, check_accepted, find_implausible, refuse_implausible
from fts.data.sources import bundled, bundled_vix
from fts.features.tiers import TIERS, Inputs
from tests.data.spoils import SPOILS

REAL = {ticker: bundled(ticker) for ticker in ("SPX", "IXIC")}


def kinds(bars):
    return {finding.kind for finding in find_implausible(bars)}


@pytest.mark.parametrize("ticker", REAL)
def test_real_bars_are_left_in_peace(ticker):
    assert find_implausible(REAL[ticker]) == ()
    for start, stop in ((0, 300), (600, 900), (4700, 5031), (672, 674)):  # the last: around 2001-09-11
        assert find_implausible(REAL[ticker].iloc[start:stop]) == ()


def test_the_vix_as_a_vix_is_left_in_peace():
    closes = bundled_vix().to_frame()
    assert find_implausible(closes) == ()
    assert kinds(closes.assign(Close=closes["Close"].where(np.arange(len(closes)) != 700, closes["Close"] / 10))) == {
        "moves"
    }


def spoil_everywhere(name: str, times: int) -> None:
    """The spoil at random places of both indices, and checks that one of its kinds is found each time."""
    spoil, wanted = SPOILS[name]
    rng = np.random.default_rng(len(name))
    for turn in range(times):
        bars = REAL[("SPX", "IXIC")[turn % 2]]
        i = int(rng.integers(10, len(bars) - 1400))
        found = find_implausible(check_bars(spoil(bars, i), name))
        assert wanted & {finding.kind for finding in found}, (name, turn, i, found)
        if name != "two equal bars":  # which happens to bonds, and is only a warning
            with pytest.raises(ImplausibleBars, match="--accept"):
                refuse_implausible(found, (), name)
        refuse_implausible(found, {finding.kind for finding in found}, name)


@pytest.mark.parametrize("name", SPOILS)
def test_a_spoil_is_found_wherever_it_stands(name):
    spoil_everywhere(name, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOILS)
def test_a_spoil_is_found_at_two_hundred_places(name):
    spoil_everywhere(name, 200)


def test_accepting_one_kind_lets_no_other_slip_through():
    bars = REAL["SPX"].drop(REAL["SPX"].index[1000:1750])
    bars.iloc[2000:, :4] /= 2
    found = find_implausible(bars)
    assert {"gaps", "splits"} <= {finding.kind for finding in found}
    with pytest.raises(ImplausibleBars, match=r"^f: splits: .* with --accept .*splits.*") as error:
        refuse_implausible(found, {"gaps", "moves"}, "f")
    assert "gaps:" not in str(error.value)


def test_what_cannot_be_accepted_is_refused_with_what_can():
    assert check_accepted(["gaps", " moves", ""]) == {"gaps", "moves"}
    with pytest.raises(BadBars, match=f"'all'; choose from {', '.join(KINDS)}"):
        check_accepted(["all"])


def test_crypto_needs_its_weekends_accepted_and_nothing_else():
    """Bars on each day of the week, moves of up to 18 %."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2017-01-01", periods=1500, name="Date")
    close = 1000 * np.exp(np.cumsum(np.clip(rng.normal(0, 0.04, 1500), -0.2, 0.2)))
    open_ = close * np.exp(rng.normal(0, 0.01, 1500))
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
    bars = pd.DataFrame({"Open": open_, "High": high, "Low": low, "Close": close, "Volume": rng.random(1500)}, days)
    assert kinds(bars) == {"weekends"}
    assert kinds(bars.drop(days[700:706])) == {"weekends", "gaps"}


def test_the_largest_real_day_of_the_index_is_no_finding():
    """1987-10-19: the S&P 500 fell from 282.70 to 224.84, and its low was 224.83 after an open of 282.70."""
    bars = REAL["SPX"].iloc[:300].copy()
    bars.iloc[150:, :4] *= 224.84 / 282.70
    bars.iloc[150, 0] = bars.iloc[150, 1] = bars.iloc[149, 3]
    bars.iloc[150, 2] = bars.iloc[150, 3] = bars.iloc[149, 3] * 224.84 / 282.70
    assert find_implausible(bars) == ()


def test_a_wrong_unit_is_told_from_a_split():
    bars = REAL["SPX"].iloc[:600].copy()
    bars.iloc[300:310, :4] *= 2
    assert kinds(bars) == {"moves"}
    bars = REAL["SPX"].iloc[:600].copy()
    bars.iloc[300:, :4] /= 4
    (split,) = find_implausible(bars)
    assert f"on {bars.index[300]:%Y-%m-%d}" in split.text and "4:1" in split.text


def test_single_days_lost_all_over_are_a_warning():
    bars = REAL["SPX"][np.random.default_rng(0).random(len(REAL["SPX"])) > 0.1]
    (finding,) = find_implausible(bars)
    assert finding.kind == "spacing" and "rows are lost" in finding.text and not finding.spoils


def test_bars_without_volume_name_every_feature_that_needs_it():
    bars = REAL["SPX"].iloc[:600]
    (found,) = find_implausible(bars.assign(Volume=0.0))
    other = Inputs(bars.assign(Volume=bars["Volume"].iloc[::-1].to_numpy()))
    for tier in ("r20", "a20", "a25", "a39"):
        for name, feature in TIERS[tier].items():
            if name != "Volume":  # the column itself
                needed = not np.array_equal(feature(Inputs(bars)), feature(other), equal_nan=True)
                assert (name in found.text) == needed, (tier, name)
