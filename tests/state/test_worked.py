"""The time of work of a job that was interrupted is that of its epochs, now and in a replay."""

from __future__ import annotations

from fts.state import queries, replay, transitions
from fts.state.db import Database
from fts.state.spent import covered
from fts.state.values import Cause, TrialStatus
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
    assert replay.rebuild(db, db.now() + 1).worked == {1: 90.0}


def test_a_function_tells_no_seconds_and_its_processes_stand_for_them(db: Database) -> None:
    """Else a search that was extended, or whose worker was stopped, has no forecast."""
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    began = db.now()
    transitions.finish_trial(db, claim, trial, TrialStatus.COMPLETE, Cause.FINISHED, value=1.0)
    transitions.pause(db, [1])
    transitions.pause_running(db, claim)
    (seconds,) = queries.snapshot(db).worked.values()
    assert seconds > 0
    assert replay.rebuild(db, db.now() + 1).worked == {1: seconds}
    assert replay.rebuild(db, began).worked in ({}, {1: 0.0})


def test_trials_side_by_side_share_their_time(db: Database) -> None:
    enqueued(db, 1)
    db.execute_sql("UPDATE job SET spec = json_set(spec, '$.parallel', 3)")
    claim = claimed(db)
    for n in range(3):
        transitions.start_trial(db, claim, n, params={}, effective={}, seed=1, parallel=3)
    transitions.pause(db, [1])
    transitions.pause_running(db, claim)
    spans = {1: (100.0, 160.0), 2: (110.0, 130.0), 3: (200.0, 230.0)}
    for trial, (began, ended) in spans.items():
        db.execute_sql("UPDATE attempt SET began_at = ?, ended_at = ? WHERE trial_id = ?", (began, ended, trial))
    assert queries.snapshot(db).worked == {1: 90.0} == {1: covered(spans.values())}
