"""All trials against all baselines: the best of many as good ones is no discovery, a better one is found."""

import numpy as np
import pytest

from fts.analysis.reality_check import FEWEST_DAYS, MOST_IN_SET, reality_check, superior_p

DAYS, TRIALS = 400, 30


def losses(rng, skill=0.0, trials=TRIALS):
    """Daily losses of a baseline and of trials that are as good as it, the first by `skill` better."""
    baseline = 0.6 + 0.2 * rng.standard_normal(DAYS)
    found = baseline[:, None] + 0.1 * rng.standard_normal((DAYS, trials))
    found[:, 0] -= skill
    return found, {"logistic regression (last row)": baseline, "class prior (nothing)": baseline + 0.05}


@pytest.mark.slow  # a simulation of three seconds; `python -m benchmarks claims` has it larger
def test_the_best_of_many_trials_that_are_as_good_as_the_baseline_is_called_better_in_at_most_one_of_ten():
    found = [reality_check(*losses(np.random.default_rng(n)), horizon=1) for n in range(20)]
    assert sum(check.some_trial_is_better for check in found) <= 2
    assert all("logistic regression (last row)" in check.baselines_in_set for check in found if check.p_value > 0.2)


def test_a_trial_that_is_better_is_found_and_leaves_the_baselines_behind():
    check = reality_check(*losses(np.random.default_rng(0), skill=0.06), horizon=1)
    assert check.some_trial_is_better and check.p_value < 0.01
    assert (check.n_in_set, check.baselines_in_set) == (1, ())
    assert check.rival == "logistic regression (last row)"


def test_a_thousand_trials_are_judged_without_the_set_that_compares_every_pair():
    check = reality_check(*losses(np.random.default_rng(0), skill=0.06, trials=7 * MOST_IN_SET), horizon=1)
    assert check.some_trial_is_better and (check.n_in_set, check.baselines_in_set) == (None, ())


def test_models_of_equal_losses_stay_or_leave_together():
    found, baselines = losses(np.random.default_rng(0), skill=0.06, trials=3)
    twice = np.column_stack([found, found[:, 0]])
    check = reality_check(twice, baselines | {"copy": found[:, 0]}, horizon=1)
    assert (check.n_in_set, check.baselines_in_set) == (2, ("copy",))
    alone = reality_check(found[:, :1], {"copy": found[:, 0]}, horizon=1)
    assert (alone.p_value, alone.n_in_set, alone.baselines_in_set) == (1.0, 1, ("copy",))


@pytest.mark.parametrize(
    ("days", "names", "horizon"), [(FEWEST_DAYS - 1, 1, 1), (DAYS, 0, 1), (DAYS, 1, DAYS // 2 + 1)]
)
def test_nothing_is_said_of_few_days_or_without_a_baseline(days, names, horizon):
    found, baselines = losses(np.random.default_rng(0))
    few = {name: values[:days] for name, values in list(baselines.items())[:names]}
    assert reality_check(found[:days], few, horizon) is None


def test_a_trial_that_equals_the_rival_makes_no_other_trial_better():
    rng = np.random.default_rng(0)
    rival, worse = rng.random(150), 2 + rng.random(150)
    assert superior_p(np.stack([worse, rival], axis=1), rival, 1) == superior_p(worse[:, None], rival, 1) > 0.2
    assert superior_p(np.stack([rival, rival], axis=1), rival, 1) == 1.0
