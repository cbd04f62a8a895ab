"""Storms of kills, faster than anything can be gained between two of them, and then calm: the study is the undisturbed.

A storm may park a job, which says its cause; a retry, as a person would give it, goes on with the same trials.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.values import Cause, Fault, JobStatus
from tests.chaos import study
from tests.chaos.conftest import run_in_peace
from tests.chaos.harness import Harness, Nursery, RunningWorker, seeded, until
from tests.chaos.test_stopped import jobs

QUICK_PAUSES = {"FTS_OUTAGE_PAUSE_S": "0.001"}


def test_a_trial_process_killed_a_dozen_times_as_soon_as_it_starts_loses_nothing(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(**QUICK_PAUSES)
    killed: set[int] = set()
    until(lambda: kill_new_trials(harness, killed) >= 12)
    assert worker.wait() == 0, worker.talk()
    assert study.broken(harness.places, harness.journal) == []
    assert study.finished(harness.places)
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


@pytest.mark.slow
def test_a_worker_killed_often_as_soon_as_it_has_claimed_loses_nothing(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    for n in range(6):
        worker = harness.start(FTS_MAX_IDLE_ATTEMPTS="3")
        until_claimed(harness, worker, n)
        worker.kill()
    harness.finish()
    assert study.broken(harness.places, harness.journal) == []
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


def until_claimed(harness: Harness, worker: RunningWorker, attempts: int) -> None:
    until(lambda: jobs(harness)[0].attempt > attempts or worker.poll() is not None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "fields"),
    [
        (170, {"pruner": "median", "sampler": "tpe"}),
        (170, {"sampler": "random"}),
        (160, {"sampler": "tpe", "objective": "val_auc"}),
    ],
)  # the first cell of each has halving
def test_five_hundred_kills_of_trials_and_workers_change_nothing(
    kills: int,
    fields: dict[str, Any],
    make_harness: Callable[..., Harness],
    data: Path,
    nursery: Nursery | None,
    tmp_path: Path,
) -> None:
    peace = run_in_peace(tmp_path / "peace", data, nursery, trials=8, **fields)
    harness = make_harness(trials=8, **fields)
    rng = seeded("storm", kills)
    done = 0
    while done < kills:
        done += storm(harness, rng, kills - done)
        retry_what_was_parked(harness)
        assert complaints(harness) == []
    finish(harness)
    assert complaints(harness) == []
    assert study.difference(peace, study.identity(harness.places)) is None
    assert study.damage(harness.places) == []


def storm(harness: Harness, rng: random.Random, at_most: int) -> int:
    """One worker's life: its trials are killed at once or a moment later, and in the end it is, too; returns kills."""
    worker = harness.start(FTS_MAX_IDLE_ATTEMPTS="3", **QUICK_PAUSES)
    killed: set[int] = set()
    wanted = min(at_most, rng.choice((1, 2, 5, 12)))
    delay_s = rng.choice((0.0, 0.0, 0.05, 0.3))
    end = time.monotonic() + rng.uniform(2, 8)
    while len(killed) < wanted and worker.poll() is None and time.monotonic() < end:
        kill_new_trials(harness, killed, delay_s)
        time.sleep(0.01)
    if worker.poll() is None and rng.random() < 0.5:
        worker.kill()
        return len(killed) + 1
    leave(worker)
    return len(killed)


def kill_new_trials(harness: Harness, killed: set[int], delay_s: float = 0.0) -> int:
    """SIGKILL to every trial process that was not killed before; returns how many have been killed so far."""
    for process in harness.trial_processes():
        if process.pid not in killed:
            time.sleep(delay_s)
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
    return len(killed)


def leave(worker: RunningWorker) -> None:
    """As a person stops it; SIGTERM lets it write what it knows."""
    worker.send(15)
    worker.wait()


def complaints(harness: Harness) -> list[str]:
    """What must not be, a storm or not; that a job was parked may be, and what parked it is no trial's fault."""
    found = [line for line in study.broken(harness.places, harness.journal) if not line.startswith("parked")]
    parked = [job for job in jobs(harness) if job.status is JobStatus.FAILED]
    return found + [f"{job.experiment}: {job.message}" for job in parked if Cause(job.cause).fault is not Fault.MACHINE]


def retry_what_was_parked(harness: Harness) -> None:
    db = open_database(harness.places.db)
    try:
        if parked := [job.id for job in queries.jobs(db, [JobStatus.FAILED])]:
            transitions.retry(db, parked, who="chaos")
    finally:
        db.close()


def finish(harness: Harness) -> None:
    while not study.finished(harness.places):
        retry_what_was_parked(harness)
        harness.finish()
