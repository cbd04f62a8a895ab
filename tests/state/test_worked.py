"""The time of work of a job that was interrupted is that of its epochs, now and in a replay."""

from __future__ import annotations

from fts.state import queries, transitions
from fts.state.db import Database
from tests.state.helpers import claimed, enqueued, epoch, started


def test_the_time_of_work_is_that_of_the_epochs_of_an_interrupted_job(db: Database) -> None:
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    for n in (1, 2, 3):
        transitions.record_epoch(db, claim, trial, epoch(n, seconds=30.0))
    assert queries.worked(db) == {}  # never interrupted: its clock is right
    transitions.pause(db, [1])
    transitions.pause_running(db, claim)
    assert queries.snapshot(db).worked == {1: 90.0}
    assert queries.snapshot_at(db, db.now() + 1).worked == {1: 90.0}
