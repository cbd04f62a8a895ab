"""Horizon variance: a planted difference is found, none is not, and too little data is said to be too little."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from fts.analysis.horizon import (
    HorizonEffect,
    _with_holm,
    at_the_edge,
    detectable_eta_squared,
    horizon_variance,
    top_trials,
)
from fts.analysis.trials_table import placed
from tests.analysis.tables import trial_table

ALL = [(budget, horizon) for budget in ("2M", "20M", "200M") for horizon in (1, 3, 5)]


def with_dropouts(cells, best, **options):
    tables = [trial_table([(b, h)], best_dropout=best[h], **options) for b, h in cells]
    return pd.concat(tables, ignore_index=True)


def test_a_planted_horizon_effect_is_found_and_named():
    study = horizon_variance(with_dropouts(ALL, {1: 0.15, 3: 0.35, 5: 0.55}), permutations=500)
    assert study.verdict == "no"
    assert [effect.name for effect in study.effects if effect.differs] == ["dropout"]
    assert "dropout" in study.sentence
    assert study.sentence.endswith("Confirmed for dropout: the budgets agree also when each cell counts once.")
    medians = next(effect.medians for effect in study.effects if effect.name == "dropout")
    assert medians[1] < medians[3] < medians[5]


def test_one_budget_alone_is_never_sure():
    study = horizon_variance(with_dropouts(ALL[:3], {1: 0.15, 3: 0.35, 5: 0.55}), permutations=500)
    assert study.verdict == "perhaps not"
    assert "This is only a hint" in study.sentence


def test_without_an_effect_the_answer_is_yes_with_what_could_have_been_missed():
    study = horizon_variance(trial_table(ALL, n=50), permutations=500)
    assert study.verdict == "yes"
    assert "80 % probability" in study.sentence
    assert study.detectable < 0.2


@pytest.mark.slow  # a simulation; `python -m benchmarks claims` has it larger
def test_no_effect_is_rarely_called_one():
    verdicts = [horizon_variance(trial_table(ALL[:3], seed=s), permutations=200).verdict for s in range(24)]
    assert sum(verdict in ("no", "perhaps not") for verdict in verdicts) <= 4  # 5 % of 24, and room for chance


def test_few_trials_cannot_say():
    study = horizon_variance(trial_table(n=6))
    assert study.verdict == "cannot say"
    assert "the longest search has 6" in study.sentence
    assert horizon_variance(trial_table([("2M", 1)])).verdict == "cannot say"
    assert horizon_variance(trial_table([])).verdict == "cannot say"


def test_a_difference_that_small_samples_would_miss_is_not_called_absent():
    study = horizon_variance(trial_table([("2M", 1), ("2M", 3)], n=12), permutations=200)
    assert study.verdict == "cannot say"
    assert "so few trials" in study.sentence


def test_reused_diverged_and_unfinished_trials_do_not_count_as_top():
    table = trial_table(n=20)
    table.loc[0, "status"] = "pruned"
    table.at[1, "badges"] = ("reused",)
    table.at[2, "badges"] = ("diverged",)
    table.loc[:2, "value"] = 0.0
    assert not set(top_trials(table).query("horizon == 1")["number"]) & {0, 1, 2}


def test_a_parameter_that_never_varies_has_no_effect():
    study = horizon_variance(trial_table(n=40, dropout=0.5), permutations=200)
    assert "dropout" not in [effect.name for effect in study.effects]


def test_more_trials_detect_smaller_effects():
    assert detectable_eta_squared(30, 3, 1, 5) > detectable_eta_squared(90, 3, 1, 5)
    assert detectable_eta_squared(90, 3, 1, 1) == pytest.approx(0.103, abs=0.01)  # Cohen's f 0.34 at power 0.8
    assert detectable_eta_squared(4, 3, 1, 1) is None


def pruned_search(**options):
    """Of 30 trials the best four of each cell are complete; the others went at epochs 8, 4 and 2, the worst first."""
    table = trial_table(n=30, **options)
    for _, rows in table.groupby("experiment"):
        order = rows.sort_values("value").index
        table.loc[order[4:], "status"] = "pruned"
        for first, last, epoch in ((4, 8, 8), (8, 15, 4), (15, 30, 2)):
            table.loc[order[first:last], "epochs"] = epoch
            table.loc[order[first:last], "value"] += 0.3 / epoch  # what they would have reached nobody knows
    return table


def test_pruned_trials_rank_behind_those_that_went_on():
    table = pruned_search()
    one = placed(table).query("horizon == 1")
    assert list(one["status"][:4]) == ["complete"] * 4
    assert list(one["epochs"][4:]) == sorted(one["epochs"][4:], reverse=True)
    assert len(one) == 30


def test_a_pruned_search_can_be_compared_between_horizons():
    study = horizon_variance(pruned_search(best_dropout=0.3), permutations=200)
    assert study.horizons == (1, 3, 5)
    assert set(study.top_per_cell.values()) == {6}


def test_top_trials_at_the_end_of_what_was_searched_are_told():
    cut_off = at_the_edge(trial_table(n=30, best_lr=3e-3, best_dropout=0.35))
    assert ("2M", "learning rate", "upper") in [found[:3] for found in cut_off]
    inside = at_the_edge(trial_table(n=60, best_lr=3e-4, best_dropout=0.35, noise=0.0))
    assert "dropout" not in [found[1] for found in inside]


@pytest.mark.slow  # two seconds against statsmodels
def test_the_correction_is_holms():
    for seed in range(20):
        p = np.random.default_rng(seed).random(7) ** 3
        effects = [HorizonEffect("x", "x", 0.1, 0.1, float(one), 1.0, None, {}, 9) for one in p]
        assert [e.p_holm for e in _with_holm(effects)] == pytest.approx(multipletests(p, method="holm")[1])
