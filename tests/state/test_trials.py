"""A trial's way: started in turn, recorded exactly once, ended with its scores."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import pytest

from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.errors import BadRow, LabelClash, ResumeMismatch, WrongStatus
from fts.state.values import Cause, Claim, TrialStatus
from tests.state.helpers import claimed, enqueued, epoch, interrupt, started, verbs, worker


@pytest.fixture
def claim(db: Database) -> Claim:
    enqueued(db)
    return claimed(db)


def end(db: Database, claim: Claim, trial: int, value: float | None, status: str = "complete", **more: Any) -> bool:
    return transitions.finish_trial(db, claim, trial, status, Cause.FINISHED, value=value, **more)


def test_trials_are_numbered_from_zero_without_a_gap(db: Database, claim: Claim) -> None:
    with pytest.raises(WrongStatus, match="number 0, not 1"):
        started(db, claim, 1)
    end(db, claim, started(db, claim, 0), 0.6)
    with pytest.raises(WrongStatus, match="number 1, not 0"):
        started(db, claim, 0)
    started(db, claim, 1)


def test_an_interrupted_trial_goes_before_a_new_one(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    interrupt(db, claim, Cause.OUT_OF_MEMORY)
    with pytest.raises(WrongStatus, match="trial 0 of job 1 is interrupted: it must run first"):
        started(db, claim, 1)
    transitions.resume_trial(db, claim, trial, pid=7, pid_started=2.0)
    assert queries.trial(db, 1, 0).pid == 7


def test_an_epoch_is_recorded_once_however_often_it_is_repeated(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, epoch(1))
    transitions.record_epoch(db, claim, trial, epoch(1, seconds=9.0, samples_per_s=1.0))
    (stored,) = queries.epochs(db, trial)
    assert stored.seconds == 2.0
    assert queries.trial_by_id(db, trial).train_seconds == 2.0


def test_another_result_for_a_recorded_epoch_is_refused_and_told(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, epoch(1))
    with pytest.raises(ResumeMismatch, match=r"val_loss was 0.69, now 0.5"):
        transitions.record_epoch(db, claim, trial, epoch(1, val_loss=0.5))
    assert queries.epochs(db, trial)[0].val_loss == 0.69
    assert "resume_mismatch" in verbs(db, 1)


def test_epochs_come_in_order(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    with pytest.raises(WrongStatus, match="epoch 1 comes next, not 2"):
        transitions.record_epoch(db, claim, trial, epoch(2))


def test_a_diverged_epoch_keeps_its_nan_and_its_infinity(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    row = epoch(1, train_loss=math.nan, val_loss=math.inf, val_auc=None)
    transitions.record_epoch(db, claim, trial, row)
    transitions.record_epoch(db, claim, trial, row)  # the same again, although nan differs from nan
    (stored,) = queries.epochs(db, trial)
    assert math.isnan(stored.train_loss) and math.isinf(stored.val_loss) and stored.val_auc is None


def test_whatever_number_is_written_can_be_read(db: Database, claim: Claim) -> None:
    """Penalties of 1e60 are usual; what is too large for the square of it to be a number counts as infinite."""
    numbers = {"a": 1e60, "b": -1e100, "c": 1e101, "d": -sys.float_info.max, "e": math.inf, "f": math.nan}
    for number, value in enumerate(numbers.values()):
        trial = started(db, claim, number)
        transitions.record_epoch(db, claim, trial, {"epoch": 1, "value": value, "metrics": numbers})
        (stored,) = queries.epochs(db, trial)
        assert stored.unreadable is None and stored.metrics["a"] == 1e60 and set(stored.metrics) == set(numbers)
        sound = abs(value) <= 1e100
        assert (stored.value == value) if sound else not math.isfinite(stored.value or math.nan)
        end(db, claim, trial, value if sound else None, status="complete" if sound else "failed", last_value=value)
    found = queries.trials(db, 1)
    assert [trial.value for trial in found] == [1e60, -1e100, None, None, None, None]
    assert not any(trial.unreadable for trial in found) and queries.job(db, 1).best_value == -1e100


def test_every_digit_survives(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, epoch(1, val_loss=0.1 + 0.2, learning_rate=5e-324))
    (stored,) = queries.epochs(db, trial)
    assert (stored.val_loss, stored.learning_rate) == (0.1 + 0.2, 5e-324)


@pytest.mark.parametrize(
    ("objective", "values", "best"), [("val_loss", [0.6, 0.5, 0.7], 1), ("val_auc", [0.6, 0.5, 0.7], 2)]
)
def test_the_best_trial_follows_the_objective(
    db: Database, claim: Claim, objective: str, values: list[float], best: int
) -> None:
    for number, value in enumerate(values):
        end(db, claim, started(db, claim, number, objective=objective), value)
    assert queries.job(db, 1).best_trial == best


def test_diverged_pruned_and_failed_trials_are_never_best(db: Database, claim: Claim) -> None:
    assert end(db, claim, started(db, claim, 0), 0.6)
    assert not end(db, claim, started(db, claim, 1), 0.1, badges=["diverged"])
    assert not end(db, claim, started(db, claim, 2), 0.1, status="pruned")
    assert not end(db, claim, started(db, claim, 3), None, status="failed")
    job = queries.job(db, 1)
    assert (job.best_trial, job.trials_complete, job.trials_pruned, job.trials_failed) == (0, 2, 1, 1)
    assert verbs(db, 1).count("new_best") == 1


def test_a_complete_trial_has_a_finite_value(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    for value in (None, math.nan, math.inf, 1e300):
        with pytest.raises(BadRow, match="finite value"):
            end(db, claim, trial, value)


def test_an_ended_trial_cannot_end_again(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    end(db, claim, trial, 0.6)
    with pytest.raises(WrongStatus, match="trial 0 of job 1 is complete, expected running"):
        end(db, claim, trial, 0.1)
    assert queries.trial(db, 1, 0).value == 0.6


def test_a_trial_of_another_job_is_out_of_reach(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    transitions.enqueue(db, [{**_other_spec()}])
    other = claimed(db, worker(db, pid=2))
    with pytest.raises(WrongStatus, match="belongs to job 1, not to job 2"):
        transitions.record_epoch(db, other, trial, epoch(1))


def _other_spec() -> dict[str, Any]:
    from tests.state.helpers import spec

    return spec(3)


def test_two_horizons_with_the_same_labels_are_an_error(db: Database, claim: Claim) -> None:
    facts = {"label_md5": "abc", "data_md5": "d1", "n_val": 442, "n_pos": 99}
    transitions.record_started(db, claim, started(db, claim), facts)
    transitions.enqueue(db, [_other_spec()])
    other = claimed(db, worker(db, pid=2))
    trial = started(db, other)
    with pytest.raises(LabelClash, match=r"phase6a_2M_h3.*exactly the labels of phase6a_2M_h1"):
        transitions.record_started(db, other, trial, facts)
    assert queries.trial_by_id(db, trial).label_md5 is None
    transitions.record_started(db, other, trial, facts | {"data_md5": "d2"})  # other data, no clash


def test_what_the_trial_found_is_stored_field_by_field(db: Database, claim: Claim) -> None:
    facts = {
        "n_params": 2_000_001, "prior_loss": 0.66, "base_rate": 0.35, "code_commit": "abc", "code_dirty": True,
        "recipe": {"optimizer": "adamw"}, "micro_batch": 64, "accumulation": 4, "predicted_bytes": 2**33,
    }  # fmt: skip
    trial = started(db, claim)
    transitions.record_started(db, claim, trial, facts)
    stored = queries.trial_by_id(db, trial)
    assert {name: getattr(stored, name) for name in facts} == facts
    transitions.record_started(db, claim, trial, {"status": "complete", "gates": 3})  # no columns for facts
    transitions.record_progress(db, claim, trial, {"gates": 4, "layers": [2, 2], "n_val": 442})
    stored = queries.trial_by_id(db, trial)
    assert (stored.status.value, stored.n_val) == ("running", 442)
    assert stored.facts == {"status": "complete", "gates": 4, "layers": [2, 2]}
    with pytest.raises(BadRow, match="n_val is a str"):
        transitions.record_started(db, claim, trial, {"n_val": "442"})


def test_history_holds_all_a_sampler_needs(db: Database, claim: Claim) -> None:
    for number in range(3):
        trial = started(db, claim, number)
        for n in range(1, 4):
            transitions.record_epoch(db, claim, trial, epoch(n))
        if number < 2:
            end(db, claim, trial, 0.6)
    told = queries.history(db, 1)
    assert [(t.number, t.status, len(epochs)) for t, epochs in told] == [
        (0, TrialStatus.COMPLETE, 3),
        (1, TrialStatus.COMPLETE, 3),
        (2, TrialStatus.RUNNING, 3),
    ]
    assert told[0][0].params["dropout"] == 0.5


def test_curves_are_what_history_holds_of_the_objective(db: Database, claim: Claim) -> None:
    first = started(db, claim, 0)
    for n, loss in enumerate((0.6, float("inf"), float("nan"), 0.5), start=1):
        transitions.record_epoch(db, claim, first, epoch(n) | {"val_loss": loss})
    end(db, claim, first, 0.5)
    second = started(db, claim, 1)
    transitions.record_epoch(db, claim, second, epoch(1) | {"val_loss": 0.7})
    ended, running = queries.curves(db, 1)
    assert (ended.number, ended.status, ended.value, ended.epochs) == (0, "complete", 0.5, {1: 0.6, 4: 0.5})
    assert (running.number, running.status, running.value, running.epochs) == (1, "running", None, {1: 0.7})
    history = {trial.number: trial for trial, _ in queries.history(db, 1)}
    assert ended.params == history[0].params
    assert queries.curves(db, 2) == ()


def test_a_starting_worker_learns_which_children_to_reap(db: Database, claim: Claim) -> None:
    started(db, claim, pid=4711, pid_started=12.5, host="lab")
    (child,) = queries.running_children(db, "lab")
    assert (child.pid, child.pid_started, child.job_id, child.number) == (4711, 12.5, 1, 0)
    assert queries.running_children(db, "elsewhere") == ()


def test_checkpoints_are_listed_newest_first(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    for step in (10, 20):
        transitions.record_checkpoint(
            db, claim, trial, step=step, epoch=1, path=f"c/{step}", bytes=24_000_000, md5="x", seconds=0.03
        )
    assert [row["step"] for row in queries.checkpoints(db, trial)] == [20, 10]
    assert [row["step"] for row in queries.checkpoints(db, trial, limit=1)] == [20]


def test_the_last_epoch_is_that_of_the_whole_curve(db: Database, claim: Claim) -> None:
    trial = started(db, claim)
    assert queries.last_epoch(db, trial) is None
    for n in (1, 2):
        transitions.record_epoch(db, claim, trial, epoch(n))
    assert queries.last_epoch(db, trial) == queries.epochs(db, trial)[-1]


def test_as_many_trials_run_at_once_as_the_caller_says_and_no_more(db: Database, claim: Claim) -> None:
    start = partial(transitions.start_trial, db, claim, params={}, effective={}, seed=1, parallel=2)
    start(0)
    second = start(1)
    with pytest.raises(WrongStatus, match="trial 0 of job 1 is running: it must run first"):
        start(2)
    transitions.release_job(db, claim, Cause.DRAINED)
    assert [trial.status for trial in queries.trials(db, 1)] == ["interrupted", "interrupted"]
    assert queries.attempts(db, second)[0].how == "drained"
