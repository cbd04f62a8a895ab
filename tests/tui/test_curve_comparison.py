"""The running trial against the others at the same epoch, each rate with its count."""

from dataclasses import asdict, replace
from statistics import median

import pytest

from fts.jobs.api.halving import Halving
from fts.jobs.status import summary as glances
from fts.state.values import Direction, JobStatus, TrialStatus
from fts.tui.data.curve_comparison import ENOUGH, compare, train_val_gap
from fts.tui.data.view import Details, View
from fts.tui.widgets import learning_curve
from tests.tui.values import NOW, make_epochs, make_job, make_snapshot, make_trial, make_worker


def field(tops, pruned=()):
    trials, curves = [], {}
    for n, top in enumerate(tops):
        short = n in pruned
        status = "pruned" if short else "complete"
        trials.append(make_trial(n, 1, n, status, epochs=5 if short else 10, value=top))
        curves[n] = make_epochs(n, 5 if short else 10, top, NOW)
    return trials, curves


def running(top=0.67, epochs=4):
    return make_trial(99, 1, 99, "running", epochs=epochs), make_epochs(99, epochs, top, NOW)


def test_the_median_and_the_middle_half_are_those_of_the_same_epoch():
    trials, curves = field((0.64, 0.65, 0.66, 0.67, 0.68))
    live, curve = running()
    found = compare(live, trials[4], [*trials, live], curves | {99: curve})
    at_3 = sorted(curves[n][2].val_auc for n in range(5))
    assert dict(found.median)[3.0] == pytest.approx(at_3[2])
    assert next((low, high) for x, low, high in found.band if x == 3.0) == pytest.approx((at_3[1], at_3[3]))
    assert found.others == 5


def test_too_few_trials_give_no_chance():
    trials, curves = field((0.65,) * (ENOUGH - 1))
    live, curve = running()
    found = compare(live, trials[0], [*trials, live], curves | {99: curve})
    assert (found.beats_best, found.pruned_later) == (None, None)


def test_the_chance_counts_gains_from_here():
    trials, curves = field((0.60, 0.61, 0.62, 0.63, 0.64))
    ahead, curve = running(top=0.70)
    assert compare(ahead, trials[4], trials, curves | {99: curve}).beats_best == (5, 5)
    behind, curve = running(top=0.50)
    assert compare(behind, trials[4], trials, curves | {99: curve}).beats_best == (0, 5)


def test_the_prune_line_is_what_the_cells_own_rule_will_ask_for():
    trials, curves = field((0.60, 0.61, 0.62, 0.63, 0.64, 0.65), pruned=(0, 1))
    live, curve = running()
    rule = asdict(Halving(first_rung=3, growth=3, keep=0.4))
    spec = {"objective": "val_auc", "epochs": 20, "pruner": "halving", "halving": rule}

    def seen(live, curve, curves=curves, **changes):
        job = make_job(1, "2M", 1, "running", spec=spec | changes)
        snapshot = make_snapshot(jobs=(job,), trials=(live,), epochs=curve)
        known = Details(1, (*trials, live), curves | {99: curve})
        view = View(glances.look(snapshot, NOW), known, job_id=1, trial_id=99)
        found = learning_curve.comparison_of(view, live)
        return found.prune_at, found.prune_line

    # four came to epoch 9, with the live one five, of whom two go on
    assert seen(live, curve) == (9, pytest.approx(max(e.val_auc for e in curves[4][:9])))
    assert seen(*running(epochs=9)) == (None, None), "the next rung lies behind its last epoch"
    middle = pytest.approx(median(curves[n][4].val_auc for n in range(6)))
    assert seen(live, curve, pruner="median", halving=None) == (5, middle)
    assert seen(live, curve, pruner="none", halving=None) == (None, None)
    assert seen(live, curve, {n: curves[n] for n in (1, 2, 3, 4, 5)}) == (None, None), "one curve is not at hand"
    assert compare(live, trials[5], trials, curves | {99: curve}).pruned_later == (2, 6)


def test_a_loss_is_better_when_smaller():
    trials, curves = field((0.60,) * 5)
    trials = [replace(t, objective="val_loss", direction=Direction.MINIMIZE, value=0.60) for t in trials]
    live, curve = running()
    live = replace(live, objective="val_loss", direction=Direction.MINIMIZE, status=TrialStatus.RUNNING)
    better = tuple(replace(e, val_loss=e.val_loss - 0.2) for e in curve)
    assert compare(live, trials[0], trials, curves | {99: better}).beats_best == (5, 5)


def test_the_gap_is_that_of_the_latest_epoch_or_of_the_best_one():
    curve = make_epochs(1, 5, 0.68, 0.0)
    assert train_val_gap(curve) == pytest.approx(0.6 - curve[-1].val_auc)
    assert train_val_gap(curve, 2) == pytest.approx(0.6 - curve[1].val_auc)
    assert train_val_gap(()) is None
    assert train_val_gap(curve, 99) is None


def test_the_end_of_a_trial_is_never_past_and_nobody_ends_a_lost_one():
    epochs = make_epochs(1, 4, 0.67, NOW)
    seconds, last = epochs[-1].seconds, epochs[-1].at
    live = make_trial(1, 5, 0, "running", epochs=4)
    job = make_job(5, "2M", 1, "running", worker_id=1, lease_until=NOW + 50, spec={"objective": "val_auc", "epochs": 6})

    def end(now, heartbeat_at):
        worker = make_worker(heartbeat_at=heartbeat_at)
        snapshot = make_snapshot(jobs=(job,), trials=(live,), epochs=epochs, workers=(worker,))
        return learning_curve.trial_end(View(glances.look(snapshot, now), job_id=5), live)

    assert end(last + 1, last) == last + 2 * seconds
    slow = last + 5 * seconds  # its fifth epoch takes five times the usual time, and is not done
    assert end(slow, slow) == slow + seconds
    assert end(slow, last) is None
    waiting = replace(job, status=JobStatus.PAUSED)
    view = View(glances.look(make_snapshot(jobs=(waiting,), trials=(live,), epochs=epochs), slow), job_id=5)
    assert learning_curve.trial_end(view, live) is None, "stopped at a checkpoint: nobody works on it"
