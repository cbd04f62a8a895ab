"""A job whose trials fail one after the other is given up, whatever happened between them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from jobs.commands.matrix import make_cells, write
from jobs.progress import Progress
from jobs.settings import Places, WorkerSettings
from jobs.supervisor import fails_again_and_again
from jobs.worker import run_job
from state import queries, transitions
from state.db import open_database
from state.values import TrialStatus
from tests.chaos.study import make_data


@pytest.mark.parametrize(
    ("ends", "given_up"),
    [("", False), ("ff", False), ("fff", True), ("fcff", False), ("cfff", True), ("ffff", False), ("ffffff", True)],
)
def test_three_failures_in_a_row_are_enough_and_three_more_after_a_retry(ends, given_up):
    kinds = {"f": TrialStatus.FAILED, "c": TrialStatus.COMPLETE}
    trials = [SimpleNamespace(status=kinds[letter], ended_at=1.0) for letter in ends]
    assert fails_again_and_again(trials) is given_up


def test_a_cell_that_diverges_whatever_it_tries_ends_after_three_trials_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    places = Places(tmp_path / "outputs" / "fts.db", make_data(tmp_path / "data"))
    fields = {"context": 20, "effective_batch": 32, "min_positives": 3, "split": {"train": 0.6, "val": 0.3}}
    cell = make_cells(places, ("tiny",), (1,), 10, 2, "threshold_1pct", "a20", **fields)[0]
    mad = {"learning_rate": {"kind": "choice", "choices": [1e30]}, "warmup_steps": {"kind": "choice", "choices": [1]}}
    db = open_database(places.db)
    job_id = write(db, [replace(cell, space=cell.space | mad)])[0].job_id

    for tries in (3, 6):
        run_job(places, WorkerSettings(poll_s=0.1, stall={}), job_id, Progress(live=False))
        job = queries.job(db, job_id)
        assert (job.status, job.trials_failed, job.cause) == ("failed", tries, "diverged")
        assert job.message is not None and job.message.startswith(f"trial {tries - 1} failed: ")
        transitions.retry(db, [job_id])
