"""Walk-forward winners beside the baselines of their folds: what may be said of them, and the page that says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fts.analysis.answers import answers
from fts.analysis.baselines import on_folds
from fts.analysis.report import write_report
from fts.analysis.study_data import StudyData, WalkRow, baseline_row
from fts.analysis.summarise import Group, summarise
from fts.analysis.walked import section, walked
from fts.scores.folds import luck_of, measured, over_folds, paired
from fts.scores.metrics import auc
from tests.analysis.tables import study

N, FOLDS = 600, 4  # 150 days a fold
DAYS = pd.bdate_range("2010-01-04", periods=N).to_numpy().astype("datetime64[D]")
TASK = "threshold_1pct walk-forward:4of6"


def made(skill: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that know so much of them."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(N)
    y = (signal + rng.standard_normal(N) > 0.6).astype(float)
    noise = np.random.default_rng([seed, 1]).standard_normal(N)
    return y, 1 / (1 + np.exp(0.6 - skill * signal - 0.5 * noise))


def with_walk(skill: float, seeds: int = 3, chosen_from: int = 450) -> StudyData:
    y, rival = made(0.6, 99)
    p_SN = tuple(made(skill, seed)[1] for seed in range(seeds))
    lucks = {m: luck_of([[float(over_folds(m, y, p, FOLDS)[0]) for p in p_SN]]) for m in ("auc", "log_loss")}
    row = WalkRow("phase6a_2M_h1_threshold_1pct", "2M", 1, "threshold_1pct", TASK, "a25", "d" * 32, FOLDS,
                  DAYS[chosen_from], DAYS, y, p_SN, 3, lucks)  # fmt: skip
    beside = tuple(
        baseline_row(TASK, 1, "a25", "d" * 32, name, "last row", pd.DataFrame({"date": DAYS, "y": y, "p": p}))
        for name, p in (("class prior", np.full(N, 0.3)), ("logistic regression", rival), ("HAR volatility", rival))
    )
    data = study([("2M", 1)], n=4)
    return replace(data, walks=(row,), baselines=(*data.baselines, *beside))


@pytest.fixture(scope="module")
def groups() -> tuple[Group, ...]:
    return summarise(study([("2M", 1)], n=4))


def test_an_auc_over_folds_is_the_mean_of_theirs_whatever_lies_between_their_levels():
    y, p = made(0.8, 0)
    shifted = p / 4 + np.repeat([0.0, 0.5, 0.1, 0.7], N // FOLDS)
    assert over_folds("auc", y, shifted, FOLDS)[0] == pytest.approx(over_folds("auc", y, p, FOLDS)[0])
    assert over_folds("auc", y, p, FOLDS)[0] == pytest.approx(np.mean([auc(*half, None) for half in zip(
        np.split(y, FOLDS), np.split(p, FOLDS), strict=True)]))  # fmt: skip
    (plain,) = (b.result for b in with_walk(0.6).baselines if b.task == TASK and b.result.name == "HAR volatility")
    assert on_folds(plain, y, FOLDS, 1).auc == pytest.approx(over_folds("auc", y, plain.predictions, FOLDS)[0])


def test_equal_predictions_differ_by_nothing_and_the_luck_of_seeds_widens_an_interval():
    y, good = made(0.8, 0)
    pair, bad = [good, made(0.8, 1)[1]], [made(0.1, seed)[1] for seed in (2, 3)]
    same = paired("auc", y, pair, pair, FOLDS, 1, None)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    plain = paired("auc", y, pair, bad, FOLDS, 1, None)
    assert 0.1 < plain.low < plain.value < plain.high
    luck = luck_of([[0.7, 0.8], [0.6, 0.65]])
    assert luck is not None and luck.freedom == 2 and luck_of([[0.7], [0.6]]) is None
    wider = paired("auc", y, pair, bad, FOLDS, 1, luck)
    assert wider.value == plain.value and wider.low < plain.low - 0.05 and wider.high > plain.high + 0.05
    few = measured("auc", y, pair[:1], FOLDS, 1, luck)
    assert few.high - few.low > wider.high - wider.low - 0.2, "one training has more luck than a mean of two"


@pytest.mark.parametrize(
    ("skill", "seeds", "chosen_from", "answer"),
    [
        (2.0, 3, 450, "yes"),
        (2.0, 1, 450, "perhaps"),  # one seed says nothing of the next
        (2.0, 3, 100, "perhaps"),  # the winner was chosen on nearly all of these days
        (0.6, 3, 450, "not shown"),
        (-0.6, 3, 450, "not so far"),  # 26 trials are missing
        (-0.6, 1, 450, "cannot say"),  # one seed says nothing of the next, for better or worse
    ],
)
def test_what_is_said_of_a_winner_on_folds(
    groups: tuple[Group, ...], skill: float, seeds: int, chosen_from: int, answer: str
):
    found = answers(groups, (), walked(with_walk(skill, seeds, chosen_from)))
    assert [one.answer for one in found[:2]] == [answer, answer], found
    assert all("4 folds" in one.sentence for one in found[:2])
    if answer == "cannot say":
        assert "`fts replicate phase6a_2M_h1_threshold_1pct --folds 4of6 --seeds 3`" in found[0].sentence


@pytest.mark.slow  # the figures of a page take 5 s
def test_the_page_shows_walk_forward_first(tmp_path: Path):
    page = write_report(with_walk(0.6), tmp_path).read_text()
    assert page.index('id="walk-forward"') < page.index('id="matrix"') and "600 days in 4 folds" in page


def test_the_loss_stands_beside_the_lowest_loss_and_not_that_of_the_best_ranks():
    data = with_walk(0.6)
    y, ranks = made(2.0, 98)
    sure = baseline_row(TASK, 1, "a25", "d" * 32, "trees", "last row",
                        pd.DataFrame({"date": DAYS, "y": y, "p": 0.9 + 0.1 * ranks}))  # fmt: skip
    ((one,), (plain,)) = (walked(replace(data, baselines=each)) for each in ((*data.baselines, sure), data.baselines))
    assert one.baseline is not None and plain.baseline is not None
    assert one.baseline.rival.result.name == "trees" != one.baseline.lowest.result.name
    assert one.baseline.loss == plain.baseline.loss and one.baseline.auc.value < plain.baseline.auc.value


def test_a_row_of_the_walk_forward_table():
    assert section(walked(with_walk(0.6, 2)))["tables"][0]["rows"][1][1] == ("2M", "2 of 3 seeds", "")
    (table,) = section(walked(with_walk(0.6)))["tables"]
    row = dict(zip(table["rows"][0][1:], table["rows"][1][1:], strict=True))
    assert row["winner"] == ("2M", "3 seeds", "")
    assert row["AUC − baseline"][2].split(":")[0] in ("logistic regression", "HAR volatility")
    assert row["before the search"][2] == "450 days" and len(row["AUC"][2].split()) == FOLDS
