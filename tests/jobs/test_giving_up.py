"""A job is given up for what no other trial can mend; a trial that diverged is a result of its parameters."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor.history import FAILURES_IN_A_ROW, FailuresInOrder, failures_in_a_row
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.errors import WrongStatus
from fts.state.values import Cause, TrialStatus
from fts.study.matrix import make_cells, write
from tests.chaos.study import make_data

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
        n: SimpleNamespace(status=ENDS[e][0], cause=ENDS[e][1], ended_at=100.0 - n, badges=(), number=n)
        for n, e in enumerate(ends)
        if e in ENDS
    }
    counted = FailuresInOrder(since=0.0)
    for n in sorted(settled, reverse=True):  # the last one ends first
        counted.add({n: settled[n]})
    assert (counted.last and counted.last[0]) == given_up_at


def test_failures_before_a_retry_or_an_extension_do_not_count():
    counted = FailuresInOrder(since=50.0)
    for n, ended_at in enumerate((10.0, 20.0, 30.0, 60.0, 70.0)):
        counted.add({n: SimpleNamespace(status="failed", cause=Cause.CODE_ERROR, ended_at=ended_at, badges=())})
    assert counted.last is None
    counted.add({5: SimpleNamespace(status="failed", cause=Cause.CODE_ERROR, ended_at=80.0, badges=())})
    assert counted.last is not None
