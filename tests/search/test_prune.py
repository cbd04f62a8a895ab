"""A pruner decides from recorded epochs alone, and the replay of recorded searches judges it by them."""

from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from benchmarks.pruning import Pool, judge, pools, replay, synthetic, waiting
from fts.jobs.api.halving import Halving
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pruner import line_ahead, rungs, should_prune
from fts.jobs.search.pure_pruner import PurePruner
from fts.state import transitions
from fts.state.values import Direction
from fts.study.cell import CellSpec
from tests.state.helpers import claimed, epoch, new_db, spec, started

THIRD = Halving(first_rung=3, growth=3, keep=1 / 3, trailing=None)


def runs(*finals):
    return [PastTrial(n, {}, "complete", v, {e: v + 1 / e for e in range(1, 28)}) for n, v in enumerate(finals)]


def test_halving_keeps_the_best_third_at_each_rung():
    rivals = runs(0.5, 0.6, 0.7, 0.8, 0.9)
    hopeless = {e: 0.95 + 1 / e for e in (1, 2, 3)}
    promising = {e: 0.4 + 1 / e for e in (1, 2, 3)}
    assert "the best 33% need" in should_prune("halving", rivals, 5, hopeless, rule=THIRD)
    assert should_prune("halving", rivals, 5, promising, rule=THIRD) is None
    assert should_prune("halving", rivals, 5, hopeless | {4: 9.0}, rule=THIRD) is None, (
        "between rungs nothing is decided"
    )


def test_maximizing_turns_the_rule_round():
    rivals = runs(0.5, 0.6, 0.7, 0.8, 0.9)
    assert should_prune("halving", rivals, 5, {3: 2.0}, direction=Direction.MAXIMIZE, rule=THIRD) is None
    assert should_prune("halving", rivals, 5, {3: 0.1}, direction=Direction.MAXIMIZE, rule=THIRD)


def test_the_median_rule_waits_for_enough_rivals():
    assert should_prune("median", runs(0.5, 0.5), 2, {5: 9.0}) is None
    assert "median" in should_prune("median", runs(0.5, 0.5, 0.6, 0.7, 0.8), 5, {5: 9.0})


def test_rungs_grow_by_a_factor():
    assert rungs(30, THIRD) == [3, 9, 27]
    assert rungs(30, Halving(first_rung=2, growth=4)) == [2, 8]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0.1, 2.0), max_size=12),
    st.sampled_from(["median", "percentile", "halving"]),
    st.sampled_from([THIRD, Halving(1, 9, 0.3, None), Halving(1, 9, 0.3, None, margin=0.01), Halving(keep=1.0)]),
    st.integers(0, 10),
    st.sampled_from(Direction),
)
def test_the_line_ahead_is_what_decides_there(finals, pruner, rule, epoch, direction):
    """Who stands on it there goes on, who stands a hair behind it ends, and before it nobody is judged."""
    rivals, rule = runs(*finals), replace(rule, trailing=None)
    found = line_ahead(pruner, rivals, len(finals), epoch, 12, direction, rule)
    at, line = found or (13, 0.0)
    behind = line + direction.key(1e-6)

    def decided(upto, value):
        return should_prune(pruner, rivals, len(finals), dict.fromkeys(range(1, upto + 1), value), direction, rule)

    assert not any(decided(e, behind) for e in range(epoch + 1, at)) or pruner != "halving"
    if found:
        assert at > epoch and decided(at, line) is None and decided(at, behind)


def test_no_line_ahead_without_a_pruner_or_behind_the_last_rung():
    assert line_ahead("none", runs(0.5, 0.6, 0.7, 0.8), 4, 1, 25) is None
    assert line_ahead("halving", runs(0.5, 0.6, 0.7, 0.8), 4, 1, 25)[0] == 9
    assert line_ahead("halving", runs(0.5, 0.6, 0.7, 0.8), 4, 9, 25) is None
    assert line_ahead("halving", runs(0.5, 0.6, 0.7, 0.8), 4, 1, 8) is None
    assert line_ahead("halving", runs(0.5, 0.6), 2, 1, 25) is None, "too few came there"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.1, 2.0), min_size=0, max_size=12), st.sampled_from(["median", "halving"]))
def test_later_trials_never_change_an_earlier_decision(finals, pruner):
    epochs = {e: 1.0 + 1 / e for e in range(1, 10)}
    earlier = runs(*finals)
    later = [PastTrial(n + 50, {}, "complete", 0.1, dict.fromkeys(range(1, 28), 0.1)) for n in range(5)]
    assert should_prune(pruner, earlier, 40, epochs) == should_prune(pruner, earlier + later, 40, epochs)


def test_a_trial_that_does_not_lead_and_has_stopped_to_improve_ends():
    rivals, rule = runs(0.5, 0.6), replace(THIRD, trailing=2)
    resting = {1: 0.9, 2: 0.7, 3: 0.58, 4: 0.6, 5: 0.61}
    assert "not better for 2 epochs" in should_prune("halving", rivals, 2, resting, rule=rule)
    assert should_prune("halving", rivals, 2, {e: v for e, v in resting.items() if e < 5}, rule=rule) is None
    assert should_prune("halving", rivals, 2, resting, rule=THIRD) is None


def test_the_trial_in_the_lead_keeps_all_its_patience():
    leading = {1: 0.9, 2: 0.4, 3: 0.41, 4: 0.42, 5: 0.43, 6: 0.44}
    assert should_prune("halving", runs(0.5, 0.6), 2, leading, rule=replace(THIRD, trailing=2)) is None


def test_a_margin_keeps_who_is_close_behind_the_line():
    rivals = runs(0.5, 0.6, 0.7, 0.8, 0.9)
    close = {3: 0.6 + 1 / 3 + 0.01}
    assert should_prune("halving", rivals, 5, close, rule=THIRD)
    assert should_prune("halving", rivals, 5, close, rule=replace(THIRD, margin=0.02)) is None


def test_the_first_trials_may_be_free():
    rivals = runs(0.5, 0.6, 0.7, 0.8)
    assert should_prune("halving", rivals, 4, {3: 2.0}, rule=replace(THIRD, startup=5)) is None
    assert should_prune("halving", rivals, 4, {3: 2.0}, rule=THIRD)


def test_more_patience_is_epochs_in_which_nothing_happens_up_to_the_end():
    assert waiting((0.6, 0.5, 0.55), 4, 25) == (0.6, 0.5, 0.55, 0.55, 0.55, 0.55, 0.55)
    assert waiting((0.6, 0.5, 0.55), 4, 5) == (0.6, 0.5, 0.55, 0.55, 0.55)
    assert waiting((0.6, 0.5, 0.55), -6, 25) == (0.6, 0.5, 0.55), "less patience than it had is not replayed"


def test_a_search_that_is_not_pruned_costs_everything_and_misses_nothing():
    pool = synthetic(0)
    judged = judge(pool, "none", orders=5)
    assert (judged.share, judged.reached, judged.regret_max) == (1.0, 1.0, 0.0)


def test_a_replay_spends_what_its_pruner_let_run():
    falling, flat = (0.9, 0.6, 0.5, 0.4), (1.0, 1.0, 1.0, 1.0)
    pool = Pool("made", (falling, falling, *[flat] * 4))
    run = replay(pool, range(6), "halving", THIRD)
    assert run.value == 0.4
    assert run.epochs == 4 + 4 + 4 * 3, "each flat one is ended at the first rung"


def test_a_late_bloomer_is_a_miss_and_counts_as_one():
    early, late = (0.6, 0.55, 0.5, 0.5), (0.9, 0.9, 0.9, 0.1)
    pool = Pool("made", (*[early] * 5, late))
    judged = judge(pool, "halving", THIRD, orders=40)
    assert judged.reached < 0.5 and judged.regret_max == pytest.approx(0.4)


def test_only_random_unpruned_searches_can_be_put_in_another_order(tmp_path):
    db = new_db(tmp_path)
    random_cell = spec(1, trials_wanted=12, spec=cell_spec("random", "none"))
    pruned_cell = spec(3, trials_wanted=12, spec=cell_spec("tpe", "halving"))
    transitions.enqueue(db, [random_cell, pruned_cell], "ada@lab")
    for claim in (claimed(db), claimed(db)):
        for number in range(12):
            trial = started(db, claim, number)
            for n in (1, 2):
                transitions.record_epoch(db, claim, trial, epoch(n, val_loss=0.7 / n + number / 100))
            transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.35 + number / 100, best_epoch=2)
    db.close()
    (pool,) = pools(tmp_path / "outputs" / "fts.db", [])
    assert len(pool.curves) == 12 and pool.curves[1] == pytest.approx((0.71, 0.36))
    with pytest.raises(SystemExit, match="no cell with 10 complete trials"):
        pools(tmp_path / "outputs" / "fts.db", ["2M/h3"])


def cell_spec(sampler: str, pruner: str) -> dict[str, Any]:
    cell = CellSpec(
        "phase6a_2M_h1_threshold_1pct", "2M", 1, "threshold_1pct", "a25", "SPX.dataset.a25", "0" * 32, 12, 2, {},
        sampler=sampler, pruner=pruner,
    )  # fmt: skip
    return cell.to_json()


STATES = st.sampled_from([*[TrialState.COMPLETE] * 3, TrialState.PRUNED, TrialState.FAIL])
CURVES = st.dictionaries(st.integers(0, 6), st.floats(-1e6, 1e6), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(STATES, CURVES), max_size=14),
    CURVES,
    st.floats(0.0, 100.0),
    st.sampled_from(["minimize", "maximize"]),
)
def test_the_percentile_rule_is_optunas_to_the_last_bit(earlier, curve, percentile, direction):
    study = optuna.create_study(direction=direction)
    for state, told in earlier:
        value = 0.0 if state is TrialState.COMPLETE else None
        study.add_trial(optuna.trial.create_trial(state=state, value=value, intermediate_values=told))
    running = optuna.trial.create_trial(state=TrialState.RUNNING, intermediate_values=curve)
    running.number = len(earlier)
    theirs = optuna.pruners.PercentilePruner(percentile).prune(study, running)
    assert PurePruner("percentile", percentile=percentile).prune(study, running) == bool(theirs)
    history = [PastTrial(n, {}, state.name.lower(), None, told) for n, (state, told) in enumerate(earlier)]
    line = line_ahead("percentile", history, len(earlier), 2, 9, Direction(direction), percentile=percentile)
    there = [told[3] for state, told in earlier if state is TrialState.COMPLETE and 3 in told]
    if line is not None:
        share = percentile if direction == "minimize" else 100 - percentile
        assert line == (3, float(np.nanpercentile(np.array(there), share)))
