"""A rule without skill is rarely told apart from luck; costs, targets and ends of trades are counted to the cent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fts.analysis.economic import (
    FIRST,
    NoPrices,
    Rule,
    best_of_none,
    deflated_sharpe,
    in_upper,
    sharpe,
    tenths,
    trade,
)
from fts.analysis.economic_section import section
from fts.analysis.report import write_report
from fts.analysis.summarise import summarise
from tests.analysis.pages import unwritten
from tests.analysis.tables import study
from tests.analysis.test_beyond_volatility import HAR, with_forecasts

FREE = Rule(horizon=3, percent=1.0, on_high=True, cost=0.0)


def made(days: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_t(5, days) * 0.008 + 0.0003))
    index = pd.bdate_range("2001-01-01", periods=days)
    return pd.DataFrame({"High": close * (1 + np.abs(rng.normal(0, 0.004, days))), "Close": close}, index=index)


def predicted(prices: pd.DataFrame, p: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"date": prices.index[: len(p)], "y": np.zeros(len(p)), "p": p})


def one_purchase(prices: pd.DataFrame, last: int) -> pd.DataFrame:
    """Probabilities of which only that of day FIRST + 1 is bought."""
    p = np.full(last, 0.5)
    p[FIRST + 1] = 0.9
    return predicted(prices, p)


def flat(days: int = FIRST + 12) -> pd.DataFrame:
    index = pd.bdate_range("2001-01-01", periods=days)
    return pd.DataFrame({"High": 100.0, "Close": 100.0}, index=index)


def test_a_purchase_is_sold_at_the_target_when_a_high_reaches_it() -> None:
    prices = flat()
    prices.iloc[FIRST + 3, 0] = 105.0  # the second day after the purchase
    found = trade(prices, one_purchase(prices, FIRST + 8), FREE)
    assert found.trades == 1 and found.invested.sum() == 2
    assert found.returns.sum() == pytest.approx(0.01)


def test_without_the_target_it_is_sold_after_the_horizon_and_each_trade_costs_twice() -> None:
    prices = flat()
    found = trade(prices, one_purchase(prices, FIRST + 8), Rule(3, 1.0, on_high=True, cost=0.001))
    assert found.trades == 1 and found.invested.sum() == 3
    assert found.returns.sum() == pytest.approx(-0.002)


def test_on_closes_it_is_sold_at_the_close_that_reached_the_target() -> None:
    prices = flat()
    prices.iloc[FIRST + 2 :, 1] = 104.0
    found = trade(prices, one_purchase(prices, FIRST + 8), Rule(3, 1.0, on_high=False, cost=0.0))
    assert found.invested.sum() == 1 and found.returns.sum() == pytest.approx(0.04)


@pytest.mark.parametrize("spoilt", ["missing", "zero", "last day"])
def test_days_without_a_price_are_not_traded(spoilt: str) -> None:
    prices = flat(FIRST + 1 if spoilt == "last day" else FIRST + 12)
    if spoilt != "last day":
        prices.iloc[FIRST + 3, 1] = np.nan if spoilt == "missing" else 0.0
    with pytest.raises(NoPrices):
        trade(prices, predicted(prices, np.full(len(prices), 0.5)), FREE)


def test_nothing_that_comes_later_changes_what_was_bought() -> None:
    p = np.random.default_rng(0).random(300)
    whole = in_upper(p)
    for day in (FIRST, 100, 217):
        assert (in_upper(p[: day + 1]) == whole[: day + 1]).all()
    assert not whole[:FIRST].any() and 0.1 < whole[FIRST:].mean() < 0.3


def test_always_in_the_market_is_no_timing() -> None:
    """Held from the first day to the last, it earns what the index does, and its timing is nothing."""
    prices = made(400)
    found = trade(prices, predicted(prices, np.arange(400) / 400), Rule(1, 99.0, on_high=True, cost=0.0))
    assert found.invested.mean() == 1 and np.allclose(found.returns, found.market) and np.allclose(found.timing, 0)


def test_of_thirty_trials_without_skill_the_best_is_rarely_told_apart_from_luck() -> None:
    """At 95 %: in at most 5 of 100 studies; the plain Sharpe ratio of the same winner says it in many of them."""
    told = plain = 0
    studies, trials, rule = 60, 30, Rule(3, 99.0, on_high=True, cost=0.0)
    for seed in range(studies):
        prices, rng = made(320, seed), np.random.default_rng(1000 + seed)
        shared = rng.random(320)  # trials of one search resemble each other
        mixed = (0.4 * shared + 0.6 * rng.random(320) for _ in range(trials))
        timing = [trade(prices, predicted(prices, p), rule).timing for p in mixed]
        best = max(timing, key=sharpe)
        told += deflated_sharpe(best, best_of_none([sharpe(one) for one in timing], trials)) > 0.95
        plain += deflated_sharpe(best, 0.0) > 0.95
    assert told <= 0.05 * studies + 2, told
    assert plain > 0.3 * studies, plain


def test_knowing_tomorrow_is_told_apart() -> None:
    prices = made(500)
    close = prices["Close"].to_numpy()
    ahead = np.append(close[1:] / close[:-1], 1.0)
    rng = np.random.default_rng(0)
    others = [sharpe(trade(prices, predicted(prices, rng.random(500)), FREE).timing) for _ in range(20)]
    found = trade(prices, predicted(prices, ahead), Rule(1, 99.0, on_high=True))
    assert deflated_sharpe(found.timing, best_of_none(others, 100)) > 0.99


def test_more_trials_raise_what_luck_may_bring() -> None:
    few, many = best_of_none([0.01, -0.02, 0.03], 10), best_of_none([0.01, -0.02, 0.03], 1000)
    assert 0 < few < many
    with pytest.raises(ValueError, match="1 trials, expected at least 2"):
        best_of_none([0.1], 10)


def test_tenths_say_what_was_promised_and_what_came() -> None:
    prices = made(700)
    rng = np.random.default_rng(3)
    p = rng.random(650)
    table = predicted(prices, p).assign(y=(rng.random(650) < p).astype(float))
    found = tenths(prices, table, 1)
    assert [one.n for one in found] == [65] * 10
    assert all(one.low <= one.came <= one.high for one in found)
    assert sum(one.low <= one.promised <= one.high for one in found) >= 8
    assert found[0].promised < found[-1].promised and found[0].came < found[-1].came


def test_days_without_a_price_are_refused() -> None:
    prices = made(200)
    with pytest.raises(NoPrices, match="30 predicted days, expected more than 60"):
        trade(prices, predicted(prices, np.full(30, 0.5)), FREE)
    with pytest.raises(NoPrices):
        trade(prices.drop(prices.index[80]), predicted(prices, np.full(150, 0.5)), FREE)


def test_the_page_says_what_it_is_not_and_of_how_many_trials_the_winner_was_the_best() -> None:
    of_two = study([("2M", 1), ("2M", 3)])
    groups = summarise(of_two)
    prices = made(660).set_axis(pd.bdate_range("2015-01-02", periods=660))
    assert section(of_two, groups)["tables"] == []
    shown = section(replace(of_two, prices={"d" * 32: prices}), groups)
    table, *by_tenth = shown["tables"]
    assert "no advice" in shown["note"] and len(by_tenth) == 2 and len(by_tenth[0]["rows"]) == 11
    (cell,) = [cell for cell in groups[0].cells if cell.horizon == 1]
    assert table["rows"][1][1] == ("2M transformer", f"best of {cell.looks} trials", "")
    assert table["rows"][1][-1] == ("—", "cannot say: one trial", "")  # only the winner has predictions


def test_the_page_holds_both_sections(tmp_path: Path) -> None:
    of_one = with_forecasts(study([("2M", 1)], n=4), (HAR, 0.3))
    prices = made(660).set_axis(pd.bdate_range("2015-01-02", periods=660))
    with unwritten():
        page = write_report(replace(of_one, prices={"d" * 32: prices}), tmp_path).read_text()
    for id_, title in (
        ("volatility", "Better than a volatility forecast?"),
        ("worth", "What would it have been worth?"),
    ):
        assert f'<section id="{id_}">' in page and f'href="#{id_}"' in page and title in page
    assert "<summary>2M at h1: days by probability, lowest tenth first</summary>" in page


def test_a_horizon_of_half_the_days_leaves_out_what_needs_intervals_and_the_page_is_made(tmp_path: Path) -> None:
    of_one = with_forecasts(study([("2M", 1)], n=4), (HAR, 0.3))
    far = replace(
        of_one,
        trials=of_one.trials.assign(horizon=400),
        cells=of_one.cells.assign(horizon=400),
        baselines=tuple(replace(row, horizon=400) for row in of_one.baselines),
        prices={"d" * 32: made(660).set_axis(pd.bdate_range("2015-01-02", periods=660))},
    )
    page = write_report(far, tmp_path).read_text()
    assert "What would it have been worth?" in page, "the rule itself needs no interval"
    assert "lowest tenth first" not in page and "In which markets?" not in page
