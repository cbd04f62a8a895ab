"""Processes that are stopped and wake up again: late workers, frozen trials, a machine that slept, orphans."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fts.state import queries
from fts.state.db import open_database
from fts.state.values import Job, TrialStatus, Worker
from tests.chaos import study
from tests.chaos.harness import Harness, RunningWorker, until

LEASE_S = 1.5


def test_a_late_worker_is_refused_and_its_trial_is_ended(
    make_harness: Callable[..., Harness], undisturbed_small: Any, tmp_path: Path
) -> None:
    harness = make_harness(trials=2)
    late = harness.start(FTS_LEASE_S=str(LEASE_S))
    until(lambda: recorded_epochs(harness) >= 2)
    stop_between_transactions(harness, late)  # its trial process trains on
    other = start_elsewhere(harness, tmp_path)
    until(lambda: jobs(harness)[0].attempt == 2 or None, sorry=other.talk)
    until(lambda: recorded_epochs(harness) >= 4 or study.finished(harness.places))
    late.send(signal.SIGCONT)
    until(lambda: study.finished(harness.places), sorry=other.talk)
    other.send(signal.SIGTERM)
    assert late.wait() == 0
    assert other.wait() == 0
    assert any(word in late.talk(20_000) for word in ("handed on", "no longer with worker"))
    assert study.broken(harness.places, harness.journal) == []
    harness.finish()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None
    assert not harness.trial_processes()


def test_a_worker_that_slept_through_everything_records_nothing(
    make_harness: Callable[..., Harness], undisturbed_small: Any, tmp_path: Path
) -> None:
    harness = make_harness(trials=2)
    late = harness.start(FTS_LEASE_S=str(LEASE_S))
    until(lambda: recorded_epochs(harness) >= 1)
    stop_between_transactions(harness, late)
    other = start_elsewhere(harness, tmp_path)
    until(lambda: study.finished(harness.places), sorry=other.talk)
    other.send(signal.SIGTERM)
    assert other.wait() == 0
    done = study.identity(harness.places)
    late.send(signal.SIGCONT)
    assert late.wait() == 0
    assert study.identity(harness.places) == done
    assert study.difference(undisturbed_small, done) is None
    assert study.broken(harness.places, harness.journal) == []


def test_frozen_trials_and_a_sleeping_machine_cost_no_attempt(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(FTS_LEASE_S=str(LEASE_S))
    until(lambda: recorded_epochs(harness) >= 1)
    [trial] = harness.trial_processes()
    trial.suspend()
    before = heartbeat(harness)
    time.sleep(2 * LEASE_S)
    assert heartbeat(harness) >= before + LEASE_S, "no heartbeat while its trial was frozen"
    worker.send(signal.SIGSTOP)
    time.sleep(2 * LEASE_S)
    worker.send(signal.SIGCONT)
    trial.resume()
    assert worker.wait() == 0
    assert [job.attempt for job in jobs(harness)] == [1, 1]
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


def test_a_worker_beats_on_while_it_drains(make_harness: Callable[..., Harness], undisturbed_small: Any) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(FTS_LEASE_S=str(LEASE_S))
    until(lambda: recorded_epochs(harness) >= 1)
    [trial] = harness.trial_processes()
    trial.suspend()
    worker.send(signal.SIGUSR1)  # after this trial, which does not get on
    before = heartbeat(harness)
    time.sleep(2 * LEASE_S)
    assert heartbeat(harness) >= before + LEASE_S
    trial.resume()
    assert worker.wait() == 0
    assert [job.status for job in jobs(harness)] == ["queued", "queued"]
    harness.finish()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


def test_an_orphan_saves_its_work_and_leaves(make_harness: Callable[..., Harness], undisturbed_small: Any) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(FTS_CHECKPOINT_EVERY_S="1000")
    until(lambda: recorded_epochs(harness) >= 2)
    worker.kill()
    until(lambda: not harness.trial_processes(), 10)
    assert "checkpoint written" in "".join(log.read_text() for log in harness.places.logs.glob("*_t0*.log"))
    worker = harness.start()
    until(lambda: recorded_epochs(harness) >= 3)
    [trial] = harness.trial_processes()
    trial.suspend()  # stopped: it cannot see that its supervisor dies
    worker.kill()
    time.sleep(1)
    assert trial.is_running()
    harness.finish()
    assert not harness.trial_processes()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None
    assert study.broken(harness.places, harness.journal) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_the_next_step_with_nothing_in_flight(
    signum: int, make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    worker = harness.start()
    until(lambda: recorded_epochs(harness) >= 2)
    worker.send(signum)
    assert worker.wait() == 0
    assert [job.status for job in jobs(harness)] == ["queued", "queued"]
    assert not harness.trial_processes()
    harness.finish()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


def start_elsewhere(harness: Harness, scratch: Path) -> RunningWorker:
    """A worker whose locks are others, as on another machine; it stays when nothing can run, for a lease may end."""
    return harness.start(argv=["--locks", str(scratch / "other")], FTS_LEASE_S=str(LEASE_S))


def stop_between_transactions(harness: Harness, worker: RunningWorker) -> None:
    """SIGSTOP; a worker that is stopped with the write lock in its hand makes everybody wait, as anyone would."""
    while True:
        worker.send(signal.SIGSTOP)
        time.sleep(0.05)
        if not write_locked(harness.places.db):
            return
        worker.send(signal.SIGCONT)
        time.sleep(0.05)


def write_locked(path: Path) -> bool:
    connection = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


# -- looking


def jobs(harness: Harness) -> list[Job]:
    db = open_database(harness.places.db, readonly=True, check=False)
    try:
        return sorted(queries.jobs(db), key=lambda job: job.id)
    finally:
        db.close()


def recorded_epochs(harness: Harness) -> int:
    """Of trials that run at this moment: the study must be in the middle of something."""
    db = open_database(harness.places.db, readonly=True, check=False)
    try:
        return max((t.epochs for j in queries.jobs(db) for t in queries.trials(db, j.id) if running(t)), default=0)
    finally:
        db.close()


def running(trial: Any) -> bool:
    return bool(trial.status == TrialStatus.RUNNING)


def heartbeat(harness: Harness) -> float:
    db = open_database(harness.places.db, readonly=True, check=False)
    try:
        workers: tuple[Worker, ...] = queries.workers(db)
        return max(worker.heartbeat_at for worker in workers)
    finally:
        db.close()
