"""A worker in the foreground says who it is and what waits, and when it leaves what it did and what stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fts.jobs.cli.work import newest_worker, registered
from fts.jobs.settings import WorkerSettings
from fts.jobs.supervisor.process_tree import started_at
from fts.jobs.worker import messages
from fts.jobs.worker.startup import clean_up_after_dead_workers
from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.transitions.base import emit
from fts.state.values import Cause
from tests.cli.study import claim, failed_cell, finished_cell, places_of, start_trial, start_worker


def test_it_says_who_it_is_and_what_waits(db: Database, tmp_path: Path) -> None:
    transitions.pause(db, [4])
    settings, places = WorkerSettings(slots=2, device="cpu"), places_of(tmp_path)
    told = messages.introduction(7, settings, places, queries.jobs(db), paused=False)
    assert told.startswith(f"worker 7, process {os.getpid()}: 2 slots on cpu, database {places.db}; ")
    assert "; 3 jobs queued (9 trials), 1 paused; Ctrl-C stops it at a checkpoint" in told
    assert "`fts resume --queue` resumes it" in messages.introduction(
        7, settings, places, queries.jobs(db), paused=True
    )


def test_it_says_what_it_did_and_what_stays(db: Database) -> None:
    since = messages.last_event(db)
    worker = finished_cell(db).worker_id
    other = failed_cell(db).worker_id
    claimed = claim(db)
    start_trial(db, claimed)
    transitions.release_job(db, claimed, Cause.DRAINED, "asked to stop")
    assert messages.farewell(db, worker, since, 200.0) == (
        f"worker {worker} leaves after 3 min: 1 trial ended, 1 job done. "
        "It leaves 2 jobs queued (6 trials); `fts worker` continues"
    )
    assert "0 trials ended, 1 job failed" in messages.farewell(db, other, since, 200.0)
    assert "(6 trials), 1 interrupted trial; " in messages.farewell(db, claimed.worker_id, since, 200.0)


def test_it_counts_what_it_did_and_holds_no_event_of_two_weeks(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 500,000 events it took half a gigabyte, and most of the time that systemd gives a worker to leave."""
    since = messages.last_event(db)
    claimed = claim(db)
    who = f"worker {claimed.worker_id}"
    with db.write():
        for trial, verbs in enumerate((("started", "interrupted", "resumed", "complete"), ("started", "interrupted"))):
            for verb in verbs:
                emit(db, f"trial_{verb}", who, verb, job_id=claimed.job_id, trial_id=100 + trial)
        for _ in range(300):
            emit(db, "trial_complete", who, "one more", job_id=claimed.job_id, trial_id=200)
            emit(db, "trial_interrupted", "worker 99", "of another", job_id=claimed.job_id, trial_id=101)
    monkeypatch.setattr(queries, "events", lambda *_, **__: pytest.fail("the events were read"))
    told = messages.farewell(db, claimed.worker_id, since, 200.0)
    assert ": 301 trials ended. It leaves " in told and ", 1 interrupted trial; " in told


def test_with_nothing_left_it_points_to_the_results(db: Database) -> None:
    since = messages.last_event(db)
    workers = [finished_cell(db).worker_id for _ in range(4)]
    assert messages.farewell(db, workers[-1], since, 5.0).endswith(
        "It leaves no job queued; `fts results` shows the results"
    )


def test_it_speaks_of_a_lost_worker_only_where_it_has_left_a_process(
    db: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    claimed = claim(db)
    trial = start_trial(db, claimed)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as left:
        started = started_at(left.pid)
        for pid in (2**22 + 1, left.pid):  # the first is larger than any
            here = {"host": socket.gethostname(), "pid": pid, "pid_started": started}
            transitions.record_progress(db, claimed, trial, here)
            clean_up_after_dead_workers(db, places_of(tmp_path))
    said = [line for line in caplog.messages if "lost worker" in line]
    assert said == [f"process {left.pid}, which a lost worker left running: stopped"]


def test_a_worker_that_a_fault_of_memory_ends_says_where(db: Database, tmp_path: Path) -> None:
    """As SIGBUS, when somebody makes a file of SQLite immutable: nothing else can be printed then."""
    transitions.pause_queue(db, "test")
    words = [sys.executable, "-m", "fts.jobs.cli", "--db", str(places_of(tmp_path).db), "worker", "--slots", "1"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as worker:
        assert worker.stderr is not None
        for line in worker.stderr:
            if "worker 1," in line or "Ctrl-C stops it" in line:
                break
        worker.send_signal(signal.SIGBUS)
        assert "Fatal Python error: Bus error" in worker.stderr.read()
    assert worker.returncode == -signal.SIGBUS


def test_a_dead_worker_with_the_pid_of_the_new_one_is_not_the_new_one(db: Database, tmp_path: Path):
    """In a container each `fts worker --detach` may get the same pid."""
    dead = start_worker(db)
    (pid,) = {worker.pid for worker in queries.workers(db)}
    before = newest_worker(places_of(tmp_path))
    assert before == dead and registered(places_of(tmp_path), pid, before) is None
    new = start_worker(db)
    db.execute_sql("UPDATE worker SET pid = ? WHERE id = ?", (pid, new))
    assert registered(places_of(tmp_path), pid, before) == new
