"""A skill of one kind of market is found there and nowhere else, and the page says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fts.analysis.regimes import FEWEST, THIRDS, nervousness, regimes, section, volatility
from fts.analysis.summarise import summarise
from fts.jobs.settings import Places
from fts.study import dataset
from fts.study.report_data import vix_of
from tests.analysis.tables import study


def test_skill_in_nervous_markets_alone_is_seen_there_alone() -> None:
    rng = np.random.default_rng(0)
    days = pd.bdate_range("2010-01-04", periods=1500)
    known = np.repeat([0.01, 0.02, 0.03], 500) + rng.random(1500) * 0.001
    y = (rng.random(1500) < 0.4).astype(float)
    p = np.where(known > 0.025, 0.3 * y, 0.0) + rng.random(1500)
    found = {one.name: one for one in regimes(y, [p], rng.random(1500), days, known, 1)}
    assert [name for name in found if name in THIRDS] == list(THIRDS)
    assert sum(found[name].n for name in THIRDS) == 1500 == sum(one.n for one in found.values() if one.name.isdigit())
    assert found["nervous"].gain.low > 0
    assert all(found[name].gain.covers(0.0) for name in ("calm", "middling"))
    assert abs(found["calm"].auc - 0.5) < 0.08 < found["nervous"].auc - 0.5


def test_days_of_one_fold_alone_are_compared_and_seeds_are_averaged() -> None:
    rng = np.random.default_rng(3)
    days, fold = pd.bdate_range("2010-01-04", periods=600), np.repeat([0.0, 1.0], 300)
    y = (rng.random(600) < 0.3 + 0.2 * fold).astype(float)
    p_SN = [0.2 * y + rng.random(600) for _ in range(2)]
    shifted = [p + 5 * fold for p in p_SN]  # the second fold's model speaks on another scale
    one, two = (
        {each.name: each for each in regimes(y, p, None, days, rng.random(600) * 0 + 0.01, 1, 2)}
        for p in (p_SN, shifted)
    )
    assert one == two and set(one) >= {"2010", "2011"}
    first = days.year == 2010
    assert one["2010"].auc == pytest.approx(np.mean([roc_auc_score(y[first], p[first]) for p in p_SN]))


def test_a_regime_with_few_days_of_a_class_is_left_out() -> None:
    days = pd.bdate_range("2010-01-04", periods=300)
    y = np.zeros(300)
    y[: FEWEST - 1] = 1
    assert regimes(y, [np.linspace(0, 1, 300)], None, days, np.full(300, np.nan), 1) == []


def test_the_volatility_of_a_day_knows_no_later_one() -> None:
    prices = pd.DataFrame({"Close": np.exp(np.random.default_rng(1).normal(0, 0.01, 200).cumsum())})
    whole = volatility(prices)
    for day in (30, 120, 199):
        assert volatility(prices.iloc[: day + 1]).iloc[-1] == whole.iloc[day]


def test_the_page_has_a_table_for_each_cell_with_prices() -> None:
    of_two = study([("2M", 1), ("2M", 3)], n=4)
    prices = pd.DataFrame(
        {"Close": 100.0 + np.random.default_rng(2).normal(0, 1, 660).cumsum(), "High": 200.0},
        index=pd.bdate_range("2015-01-02", periods=660),
    )
    groups = summarise(of_two)
    assert section(of_two, groups)["tables"] == []
    shown = section(replace(of_two, prices={"d" * 32: prices}), groups)["tables"]
    assert [table["title"] for table in shown] == [
        f"2M at h{h}, 640 days, thirds by the volatility of 20 days" for h in (1, 3)
    ]
    assert [row[0][0] for row in shown[0]["rows"][1:4]] == list(THIRDS)
    assert all("logistic regression" in row[-1] for row in shown[0]["rows"][1:])


def test_the_vix_decides_where_it_covers_the_days_and_the_title_says_so() -> None:
    of_one = study([("2M", 1)], n=4)
    days = pd.bdate_range("2015-01-02", periods=640)
    prices = pd.DataFrame({"Close": np.linspace(100, 120, 640), "High": 200.0}, index=days)
    vix = pd.Series(np.linspace(10, 40, 640), index=days)
    for start, words in ((100, "by the VIX, known on 540 of 640 days"), (300, "by the volatility of 20 days")):
        told, values = nervousness(replace(of_one, vix=vix.iloc[start:]), prices, days)
        assert told == words
        assert (np.isfinite(values).sum() == 540) == (start == 100)


def test_the_vix_of_a_report_is_the_registered_one_else_the_bundled_one(tmp_path: Path) -> None:
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    bundled = vix_of(places)
    assert bundled is not None and str(bundled.index[0])[:10] == "2014-01-03"
    file = tmp_path / "VIX.csv"
    bundled.iloc[:300].rename("Close").to_csv(file, index_label="Date")
    dataset.register(places.data, file, "VIX")
    own = vix_of(places)
    assert own is not None and len(own) == 300
