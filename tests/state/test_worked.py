"""The time of work of a trial and of its job: what its epochs tell, else what its processes ran."""

from __future__ import annotations

import sqlite3
import time

import pytest

from fts.jobs.records.results import spent
from fts.state import queries, replay, transitions
from fts.state.db import Database
from fts.state.trial_usage import spent_s, union_s
from fts.state.values import Cause, TrialStatus
from tests.state.helpers import claimed, enqueued, epoch, interrupt, started


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
    while db.now() == began:  # the database's clock counts milliseconds
        pass
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
    assert queries.snapshot(db).worked == {1: 90.0} == {1: union_s(spans.values())}
    assert replay.rebuild(db, db.now() + 1).worked == {1: 90.0}
    db.execute_sql("UPDATE attempt SET ended_at = ? WHERE trial_id = 3", (db.now() + 90,))
    assert replay.rebuild(db, db.now() + 1).worked == {1: 60.0}, "up to that time"


def test_a_past_time_is_rebuilt_from_more_trials_than_sqlite_has_parameters(db: Database) -> None:
    """Most builds of SQLite accept 32,766; a few cells of a cheap function have more trials together."""
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.finish_trial(db, claim, trial, TrialStatus.COMPLETE, Cause.FINISHED, value=1.0)
    transitions.pause(db, [1])
    transitions.pause_running(db, claim)
    columns = [
        row[1] for row in db.execute_sql("PRAGMA table_info(trial)").fetchall() if row[1] not in ("id", "number")
    ]
    copied = f"SELECT {', '.join(columns)}, ? FROM trial WHERE id = {trial}"
    for number in range(1, 30):
        db.execute_sql(f"INSERT INTO trial ({', '.join(columns)}, number) {copied}", (number,))
    db.connection().setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 20)
    assert replay.rebuild(db, db.now() + 1).jobs[0].trials_complete == 30
    db.execute_sql("UPDATE trial SET ended_at = ended_at + 10, started_at = started_at + 10 WHERE number > 0")
    replay.rebuild(db, db.now() + 1)


NIGHT_S = 36_000.0  # without power


def lost_for_a_night(db: Database, trial: int, ran_s: float, heard_s: float) -> None:
    """The trial's only attempt began a night ago; its worker was last heard of `heard_s` seconds later."""
    began = db.now() - NIGHT_S
    db.execute_sql("UPDATE attempt SET began_at = ? WHERE trial_id = ?", (began, trial))
    db.execute_sql("UPDATE event SET at = ? WHERE verb = 'trial_facts'", (began,))
    db.execute_sql("UPDATE epoch SET at = ? WHERE trial_id = ?", (began + ran_s, trial))
    db.execute_sql("UPDATE worker SET heartbeat_at = ?", (began + heard_s,))
    transitions.reconcile(db, "lab", lambda pid, started: False)


def told(db: Database) -> dict[str, float]:
    """The seconds of trial 0 of job 1 by who shows them."""
    (trial,) = queries.trials(db, 1)
    worked = queries.attempts_by_trial(db, 1)
    (minutes,) = db.execute_sql("SELECT minutes FROM v_trials").fetchone()
    return {
        "record": trial.train_seconds,
        "tables": spent([trial], worked)[trial.id],
        "view": 60 * minutes,
        "limits": sum(one.ended_at - one.began_at for one in worked[trial.id] if one.ended_at is not None),
        "job": queries.worked(db)[1],
    }


@pytest.mark.parametrize(("ran_s", "heard_s"), [(120.0, 60.0), (60.0, 120.0)])
def test_a_trial_of_a_lost_worker_has_run_until_its_last_sign_of_life(
    db: Database, ran_s: float, heard_s: float
) -> None:
    """Its loss is found out at the next start: neither does the night count, nor is what ran before it forgotten."""
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.record_started(db, claim, trial, {"device": "cpu"})
    transitions.record_epoch(db, claim, trial, {"epoch": 0, "value": 0.5, "metrics": {}})
    lost_for_a_night(db, trial, ran_s, heard_s)
    assert told(db) == pytest.approx(dict.fromkeys(told(db), 120.0), abs=0.5)
    assert replay.rebuild(db, db.now() + 1).worked == pytest.approx({1: 120.0}, abs=0.1)
    again = claimed(db)
    transitions.resume_trial(db, again, trial, pid=7)
    assert queries.worked(db) == pytest.approx({1: 120.0}, abs=0.1), "while it runs again, too"
    assert spent_s(db, 1, trial) == pytest.approx(120.0, abs=0.1)
    db.execute_sql("UPDATE attempt SET began_at = began_at - 30 WHERE n = 2")
    transitions.finish_trial(db, again, trial, TrialStatus.COMPLETE, Cause.FINISHED, value=0.5)
    assert told(db) == pytest.approx(dict.fromkeys(told(db), 150.0), abs=0.5)


def test_a_worker_of_which_nothing_was_heard_since_the_trial_began_adds_no_time(db: Database) -> None:
    enqueued(db, 1)
    trial = started(db, claimed(db))
    lost_for_a_night(db, trial, 0.0, -5.0)
    assert told(db) == dict.fromkeys(told(db), 0.0)


def test_a_clock_that_was_set_back_gives_no_trial_a_time_beyond_now(db: Database) -> None:
    enqueued(db, 1)
    trial = started(db, claimed(db))
    lost_for_a_night(db, trial, 0.0, 2 * NIGHT_S)
    assert told(db) == pytest.approx(dict.fromkeys(told(db), NIGHT_S), abs=0.5)


def test_epochs_that_tell_their_seconds_are_the_time_of_a_trial_whatever_its_processes_ran(db: Database) -> None:
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, epoch(1, seconds=30.0))
    db.execute_sql("UPDATE attempt SET began_at = began_at - 500")
    interrupt(db, claim, Cause.DRAINED)
    transitions.resume_trial(db, claim, trial)
    transitions.record_epoch(db, claim, trial, epoch(2, seconds=31.0))
    transitions.finish_trial(db, claim, trial, TrialStatus.COMPLETE, Cause.FINISHED, value=0.5)
    assert queries.trial(db, 1, 0).train_seconds == 61.0


def test_a_trial_that_failed_before_its_first_epoch_has_the_time_it_ran(db: Database) -> None:
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    db.execute_sql("UPDATE attempt SET began_at = began_at - 90")
    transitions.finish_trial(db, claim, trial, TrialStatus.FAILED, Cause.STALLED)
    assert queries.trial(db, 1, 0).train_seconds == pytest.approx(90.0, abs=0.5)


def test_a_stalled_trial_that_runs_again_keeps_the_time_of_its_first_try(db: Database) -> None:
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.record_epoch(db, claim, trial, {"epoch": 0, "value": 0.5, "metrics": {}})
    db.execute_sql("UPDATE attempt SET began_at = began_at - 90")
    transitions.finish_trial(db, claim, trial, TrialStatus.FAILED, Cause.STALLED)
    transitions.fail_job(db, claim, Cause.STALLED, "it stalled")
    transitions.retry(db, [1])
    again = claimed(db)
    transitions.rerun_trial(db, again, trial)
    transitions.finish_trial(db, again, trial, TrialStatus.COMPLETE, Cause.FINISHED, value=0.5)
    assert queries.trial(db, 1, 0).train_seconds == pytest.approx(90.0, abs=0.5)


@pytest.mark.parametrize("moved", [864_000.0, -864_000.0])
def test_a_clock_that_is_set_during_a_trial_adds_no_time_to_it(
    db: Database, monkeypatch: pytest.MonkeyPatch, moved: float
) -> None:
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    real, now = time.time, db.now
    monkeypatch.setattr(time, "time", lambda: real() + moved)
    monkeypatch.setattr(db, "now", lambda: now() + moved)
    time.sleep(0.05)
    transitions.finish_trial(db, claim, trial, TrialStatus.COMPLETE, Cause.FINISHED, value=1.0)
    (ended,) = queries.trials(db, 1)
    assert 0.03 < ended.train_seconds < 30
    assert spent_s(db, 1) < 30
