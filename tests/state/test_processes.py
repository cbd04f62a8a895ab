"""Several real processes on one database: nothing handed out twice, nothing lost, no late write accepted."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from fts.state import queries, tickets, transitions
from fts.state.db import Database, open_database
from fts.state.errors import StaleToken
from fts.state.values import Cause, Claim
from tests.state.helpers import LEASE_S, enqueued, epoch, live_trial, spec, started

SPAWN = multiprocessing.get_context("spawn")
JOBS = 200
CREW = 4


def _work(path: str, n: int, results: Connection) -> None:
    """A worker that looks until nothing is left; every third claim is put back, as a drain would."""
    db = open_database(path, check=False)
    huey = tickets.make_huey(db)
    huey.task(name="look")(lambda: None)
    worker_id = transitions.register_worker(db, f"host{n}", n + 1, 1.0, 1)
    done: list[tuple[int, int]] = []
    looks = 0
    while huey.dequeue() is not None:
        claim = transitions.claim(db, worker_id, LEASE_S)
        if claim is None:
            continue
        looks += 1
        if looks % 3 == 0 and claim.attempt == 1:
            transitions.release_job(db, claim, Cause.DRAINED)
            continue
        transitions.finish_job(db, claim)
        done.append((claim.job_id, claim.token))
    results.send(done)
    db.close()


def test_four_processes_share_two_hundred_jobs_and_double_none(db: Database) -> None:
    transitions.enqueue(db, [spec(n) for n in range(1, JOBS + 1)])
    pipes = [SPAWN.Pipe() for _ in range(CREW)]
    crew = [SPAWN.Process(target=_work, args=(str(db.path), n, pipes[n][1])) for n in range(CREW)]
    for process in crew:
        process.start()
    results = [pipe.recv() for pipe, _ in pipes]
    for process in crew:
        process.join()
    finished = Counter(job_id for done in results for job_id, _ in done)
    assert set(finished.values()) == {1}
    left = queries.jobs(db, ["queued", "running"])
    assert len(finished) + len(left) == JOBS
    assert left == ()  # a job put back sends its own ticket
    told = Counter(event.job_id for event in queries.events(db, since=0, limit=10_000, verbs=["finished"]))
    assert told == finished


def _late_worker(path: str, wake: Connection) -> None:
    """Claims, starts a trial, sleeps through its lease, and then writes as if nothing had happened."""
    db = open_database(path, check=False)
    worker_id = transitions.register_worker(db, "late", 1, 1.0, 1)
    claim = transitions.claim(db, worker_id, LEASE_S)
    assert claim is not None
    trial = started(db, claim)
    wake.send(claim)
    wake.recv()
    refused = 0
    for write in (
        lambda: transitions.record_epoch(db, claim, trial, epoch()),
        lambda: transitions.record_started(db, claim, trial, {"n_val": 1}),
        lambda: transitions.record_checkpoint(
            db, claim, trial, step=1, epoch=1, path="x", bytes=1, md5="x", seconds=0.1
        ),
        lambda: transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.1),
        lambda: transitions.fail_job(db, claim, "stalled", "x"),
        lambda: transitions.finish_job(db, claim),
        lambda: transitions.release_job(db, claim, "drained"),
        lambda: transitions.pause_running(db, claim),
        lambda: transitions.hold_job(db, claim, "x"),
        lambda: started(db, claim, 1),
        lambda: transitions.resume_trial(db, claim, trial),
    ):
        try:
            write()
        except StaleToken:
            refused += 1
    wake.send((refused, transitions.record_heartbeat(db, worker_id, LEASE_S, [claim]).lost))
    db.close()


def test_a_worker_that_wakes_up_late_is_refused_every_write(db: Database, tmp_path: Path) -> None:
    enqueued(db)
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_late_worker, args=(str(db.path), there))
    process.start()
    late: Claim = here.recv()
    transitions.reconcile(db, "late", lambda pid, started_at: False)
    db.execute_sql("UPDATE worker SET status = 'running'")  # as after a sweep, which does not end the worker
    other = transitions.register_worker(db, "other", 2, 1.0, 1)
    claim = transitions.claim(db, other, LEASE_S)
    assert claim is not None
    trial = live_trial(db, 1)
    assert trial is not None
    transitions.resume_trial(db, claim, trial.id)
    here.send("wake up")
    refused, lost = here.recv()
    process.join()
    assert (refused, lost) == (11, (late,))
    transitions.record_epoch(db, claim, trial.id, epoch())
    assert [row.status for row in queries.trials(db, 1)] == ["running"]
