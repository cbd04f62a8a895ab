"""Failures of the world: no space, input and output errors, short writes, a database that somebody else has locked."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from fts.state import queries, transitions
from fts.state.db import open_database
from tests.chaos import study
from tests.chaos.harness import Harness, RunningWorker, until
from tests.chaos.test_stopped import jobs, recorded_epochs

# One checkpoint and one best.safetensors: every place where the file system may refuse, each time it is asked.
IN_A_TRIAL = [
    *(f"trial:fsync:{n}" for n in range(1, 9)),
    *(f"trial:rename:{n}" for n in range(1, 4)),
    *(f"trial:mkdir:{n}" for n in range(2, 5)),
]
SHORT = [
    "trial:fsync:3",
    "trial:rename:2",
    "trial:mkdir:4",
    "trial:fsync:7",
]  # one of each kind of call, and a late one
FEW = 3  # statements in the short versions, spread over all places


def test_a_trial_that_cannot_write_stops_cleanly_and_pauses_the_queue(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    refuse_at(SHORT, make_harness(trials=2), undisturbed_small)


@pytest.mark.slow
def test_a_trial_that_cannot_write_anywhere_stops_cleanly_and_pauses_the_queue(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    refuse_at(IN_A_TRIAL, make_harness(trials=2), undisturbed_small)


def refuse_at(places: list[str], harness: Harness, undisturbed: Any) -> None:
    paused = 0
    for n, moment in enumerate(places):
        fault = f"{moment}:{('enospc', 'eio')[n % 2]}"
        assert life(harness, fault).wait() == 0, fault
        assert study.broken(harness.places, harness.journal) == [], fault
        reason = resume(harness)
        if fault in harness.fired() and (
            reason or "mkdir" not in moment
        ):  # a folder that is there may refuse to be made
            paused += 1
            assert "disk" in reason, fault
            waiting = [job for job in jobs(harness) if job.status == "queued"]
            assert waiting and waiting[0].cause == "disk", fault
    assert paused >= len(places) // 2, "the study ended before most of the faults"
    harness.finish()
    assert study.difference(undisturbed, study.identity(harness.places)) is None


def test_short_writes_on_the_pipe_of_facts_lose_no_fact(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    assert harness.start([f"trial:fact:{n}:short" for n in range(1, 30)]).wait() == 0
    assert len(harness.fired()) == 29
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


@pytest.mark.parametrize("trouble", ["full", "io", "locked"])
def test_no_statement_that_fails_can_corrupt_or_lose_anything(
    trouble: str, make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    places = range(4 + 4 * ("full", "io", "locked").index(trouble), 60, 60 // FEW)  # others for each trouble
    suffer_at(places, trouble, make_harness(trials=2), undisturbed_small)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["full", "io", "locked"])
def test_no_statement_at_all_that_fails_can_corrupt_or_lose_anything(
    trouble: str, make_harness: Callable[..., Harness], undisturbed: Any
) -> None:
    suffer_at(range(1, 200), trouble, make_harness(), undisturbed)


def suffer_at(places: range, trouble: str, harness: Harness, undisturbed: Any) -> None:
    for n in places:
        worker = life(harness, f"worker:write:{n}:{trouble}")
        code = worker.wait()
        assert code == 0 or n < 12, f"statement {n}\n{worker.talk()}"  # before it works, a worker may say no
        assert study.broken(harness.places, harness.journal) == [], n
        resume(harness)
    harness.finish()
    assert study.finished(harness.places)
    assert study.difference(undisturbed, study.identity(harness.places)) is None
    assert study.damage(harness.places) == []


def test_exports_that_cannot_be_written_pause_the_queue_and_come_later(
    make_harness: Callable[..., Harness], undisturbed_small: Any, tmp_path: Any
) -> None:
    harness = make_harness(trials=2)
    for fault in ("worker:fsync:1:enospc", "worker:replace:2:eio", "worker:fsync:5:enospc"):
        assert life(harness, fault).wait() == 0
        resume(harness)
    harness.finish()
    assert len(harness.fired()) == 3
    assert study.unequal_exports(harness.places, tmp_path / "scratch") == []
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


def test_a_locked_database_makes_the_worker_wait_and_the_trial_train_on(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    locked_for(2.0, make_harness(trials=2), undisturbed_small, FTS_BUSY_S="0.3", FTS_LEASE_S="1")


@pytest.mark.slow
def test_a_database_locked_for_a_minute(make_harness: Callable[..., Harness], undisturbed_small: Any) -> None:
    locked_for(60.0, make_harness(trials=2), undisturbed_small)


def locked_for(seconds: float, harness: Harness, undisturbed: Any, **env: str) -> None:
    worker = harness.start(**env)
    until(lambda: recorded_epochs(harness) >= 1)
    somebody = sqlite3.connect(harness.places.db, timeout=10, isolation_level=None)
    somebody.execute("BEGIN IMMEDIATE")
    trained = trial_log(harness)
    time.sleep(seconds)
    assert len(trial_log(harness)) > len(trained), "the trial did not train on"
    assert worker.poll() is None
    somebody.execute("ROLLBACK")
    somebody.close()
    assert worker.wait() == 0
    assert [job.attempt for job in jobs(harness)] == [1, 1]
    assert study.difference(undisturbed, study.identity(harness.places)) is None


def trial_log(harness: Harness) -> str:
    return "".join(log.read_text() for log in sorted(harness.places.logs.glob("*_t0*.log")))


def life(harness: Harness, fault: str) -> RunningWorker:
    """A worker that suffers this, until it leaves, or waits for a disk and is asked to leave."""
    worker = harness.start([fault], FTS_OUTAGE_PAUSE_S="600")
    until(lambda: worker.poll() is not None or waits(harness))
    worker.send(15)
    return worker


def waits(harness: Harness) -> bool:
    db = open_database(harness.places.db, readonly=True)
    try:
        at_work = any(job.status == "running" for job in queries.jobs(db))
        return queries.flag(db, "queue_paused") is not None and not at_work
    finally:
        db.close()


def resume(harness: Harness) -> str:
    """Lets the queue go on, as a person would after freeing space; returns why it was paused."""
    db = open_database(harness.places.db)
    try:
        flag = queries.flag(db, "queue_paused")
        transitions.resume_queue(db, who="chaos")
        return str(flag["reason"]) if flag else ""
    finally:
        db.close()
