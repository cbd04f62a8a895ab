"""A job is given up for what no other trial can mend; a trial that diverged is a result of its parameters."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor.backoff import recorded_tries
from fts.jobs.supervisor.history import BEGINS_AGAIN, FAILURES_IN_A_ROW, FailuresInOrder, failures_in_a_row
from fts.jobs.supervisor.retry_limits import tries_without_progress
from fts.jobs.watchdog.stop_request import StopReason
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.errors import WrongStatus
from fts.state.values import Attempt, Cause, TrialStatus
from fts.study.matrix import make_cells, write
from tests.chaos.study import make_data
from tests.fts_process import Study
from tests.state.helpers import claimed, enqueued, epoch, new_db, started

ENDS = {
    "e": (TrialStatus.FAILED, Cause.CODE_ERROR),
    "s": (TrialStatus.FAILED, Cause.STALLED),
    "d": (TrialStatus.FAILED, Cause.DIVERGED),
    "c": (TrialStatus.COMPLETE, Cause.FINISHED),
    "p": (TrialStatus.PRUNED, Cause.PRUNED),
}


@pytest.mark.parametrize(
    ("ends", "given_up"),
    [
        ("", False), ("ee", False), ("eee", True), ("ecee", False), ("ceee", True), ("eeee", True), ("ese", True),
        ("eepe", False), ("ddd", False), ("edede", True), ("dddddd", False), ("eeedc", False), ("e-e-e", True),
    ],
)  # fmt: skip
def test_three_failures_in_a_row_are_enough_unless_the_trials_diverged(ends, given_up):
    trials = [
        SimpleNamespace(status=ENDS[e][0], cause=ENDS[e][1], ended_at=float(n))
        if e in ENDS
        else SimpleNamespace(status=TrialStatus.INTERRUPTED, cause=Cause.CODE_ERROR, ended_at=None)  # was put back
        for n, e in enumerate(ends)
    ]
    assert (failures_in_a_row(trials) >= FAILURES_IN_A_ROW) is given_up
    assert failures_in_a_row(trials[::-1]) == failures_in_a_row(trials), "the order is that of their ends"


def test_a_cell_that_diverges_whatever_it_tries_has_failed_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    places = Places(tmp_path / "outputs" / "fts.db", make_data(tmp_path / "data"))
    fields = {"context": 20, "effective_batch": 32, "min_positives": 3, "split": {"train": 0.6, "val": 0.3}}
    cell = make_cells(places, ("tiny",), (1,), 4, 2, "threshold_1pct", "a20", **fields)[0]
    mad = {"learning_rate": {"kind": "choice", "choices": [1e30]}, "warmup_steps": {"kind": "choice", "choices": [1]}}
    db = open_database(places.db)
    job_id = write(db, [replace(cell, space=cell.space | mad)])[0].job_id

    assert run_job(places, WorkerSettings(poll_s=0.1, stall={}), job_id, Console(live=False)) == 1
    job = queries.job(db, job_id)
    assert (job.status, job.trials_failed, job.cause) == ("failed", 4, "diverged")
    assert job.message == "4 trials: 4 diverged; none is complete"
    first = queries.trial(db, job_id, 0)
    assert first.message is not None
    assert first.message.startswith("loss is nan at epoch 1, step 2, learning rate 9.9e+29"), first.message
    with pytest.raises(WrongStatus, match="nothing is left to run: 4 trials: 4 failed for good"):
        transitions.retry(db, [job_id])
    db.close()


@pytest.mark.parametrize(
    ("ends", "given_up_at"),
    [
        ("eee", 2),
        ("ee-e", None),
        ("e-ee", None),
        ("ecee", None),
        ("eceee", 4),
        ("edee", 3),
        ("-eee", None),
        ("cceeee", 4),
    ],
)
def test_side_by_side_failures_count_by_number_whoever_ends_first(ends, given_up_at):
    """A trial (-) that still runs, or that a retry has put back, keeps what comes after it from being counted."""
    settled = {
        n: SimpleNamespace(status=ENDS[e][0], cause=ENDS[e][1], ended_at=100.0 - n, badges=(), number=n, id=n)
        for n, e in enumerate(ends)
        if e in ENDS
    }
    counted = FailuresInOrder()
    for n in sorted(settled, reverse=True):  # the last one ends first
        counted.add({n: settled[n]})
    assert (counted.last and counted.last[0]) == given_up_at


@pytest.mark.parametrize("set_back_s", [0.0, 3600.0])
def test_what_failed_before_a_retry_does_not_count_whatever_the_clock_says(tmp_path, set_back_s):
    db = new_db(tmp_path)
    (job,) = enqueued(db)
    claim = claimed(db)
    failed = started(db, claim, 0)
    transitions.finish_trial(db, claim, failed, TrialStatus.FAILED, Cause.DIVERGED)  # a retry does not run it again
    tried = started(db, claim, 1)
    fail_attempts(db, claim, tried, 2)
    transitions.fail_job(db, claim, Cause.MACHINE_ERROR, "tried often enough")
    transitions.retry(db, [job])
    db.execute_sql("UPDATE event SET at = at + ? WHERE verb = 'retried'", (set_back_s,))
    assert not queries.failed_before(db, job, 0), "nobody has asked to go on"
    claim = claimed(db, claim.worker_id)
    transitions.resume_trial(db, claim, tried)
    fail_attempts(db, claim, tried, 3)
    later = started(db, claim, 2, parallel=2)
    transitions.finish_trial(db, claim, later, TrialStatus.FAILED, Cause.CODE_ERROR)

    begins = queries.claimed_since(db, job, BEGINS_AGAIN)
    assert begins == claim.token == 2
    assert queries.failed_before(db, job, begins) == {failed}
    counted = FailuresInOrder(frozenset({failed, tried}))
    counted.add(
        {
            trial.number: replace(trial, status=TrialStatus.FAILED, cause=Cause.DATA_ERROR)
            for trial in queries.trials(db, job)[:2]
        }
    )
    assert counted.last is None
    counted.add({2: replace(queries.trial(db, job, 2), cause=Cause.DATA_ERROR)})
    assert counted.last is not None
    attempts = queries.attempts(db, tried)
    assert len(tries_without_progress(attempts, [])) == 5
    assert len(tries_without_progress([one for one in attempts if one.token >= begins], [])) == 3


@pytest.mark.parametrize(("gained_in", "in_vain"), [(None, 4), (1, 4), (3, 2), (4, 1)])
def test_tries_count_from_the_last_that_gained_something(gained_in, in_vain):
    """By their order: the clock is set back by an hour after the second one."""
    attempts = [
        Attempt(1, n, 1, "lab", 100 + n, began, began + 9.0, StopReason.MACHINE)
        for n, began in enumerate((5000.0, 5010.0, 1420.0, 1430.0), start=1)
    ]
    gained = [] if gained_in is None else [attempts[gained_in - 1].began_at + 5.0]
    assert len(tries_without_progress(attempts, gained)) == in_vain


def fail_attempts(db, claim, trial, times):
    """So many processes of a running trial end by the machine; the trial is interrupted after each of them."""
    for n in range(times):
        if n:
            transitions.resume_trial(db, claim, trial)
        transitions.record_attempt_ended(db, claim, trial, StopReason.MACHINE)
        transitions.interrupt_trial(db, claim, trial, Cause.MACHINE_ERROR)


@pytest.mark.parametrize("parallel", ["1", "2"])
def test_scattered_failures_that_a_retry_runs_one_after_another_end_no_job(tmp_path: Path, parallel: str) -> None:
    """By number there is a complete trial between them; by time there was none, and a done job failed."""
    made = Study(tmp_path / "study")
    (made.folder / "train.py").write_text(
        "def objective(trial):\n    x = trial.suggest_float('x', 0, 1)\n    return x / (trial.number % 2 - 1)\n"
    )
    words = ("enqueue", "train.py:objective", "--parallel", parallel, "--trials")
    made.ok(*words, "7")
    made.ok("worker", "--until-empty")
    made.ok("retry", "1")
    made.ok(*words, "9")
    made.ok("worker", "--until-empty")
    assert made.one("SELECT status || trials_complete || trials_failed FROM job") == "done54"


def test_the_tries_of_a_trial_are_counted_without_its_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read at each claim for every trial that waits after a machine fault: a second for 100,000 epochs."""
    db = new_db(tmp_path)
    enqueued(db)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, epoch(1))
    transitions.record_attempt_ended(db, claim, trial, StopReason.MACHINE)
    monkeypatch.setattr(queries, "epochs", None)
    assert len(recorded_tries(db, claim.job_id, trial)) == 1
