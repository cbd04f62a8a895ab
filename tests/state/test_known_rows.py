"""A row that has not changed is not made into a value again; a replay shares the jobs that are as they were."""

from __future__ import annotations

import time

from fts.state import queries, replay, transitions
from fts.state.db import Database
from fts.state.queries import KnownRows
from tests.jobs.many import copy_trials
from tests.state.helpers import claimed, enqueued, started, worker

EVERY = 10  # instructions of SQLite's machine between two counts


def test_a_job_and_a_trial_are_the_same_objects_until_their_row_changes(db: Database) -> None:
    enqueued(db, 3)
    claim = claimed(db, worker(db))
    started(db, claim)
    known = KnownRows()
    first = queries.snapshot(db, None, known)
    again = queries.snapshot(db, None, known)
    assert [*map(id, first.jobs)] == [*map(id, again.jobs)] and first.trials[0] is again.trials[0]
    transitions.pause(db, [3])
    after = queries.snapshot(db, None, known)
    same = {job.id: job for job in first.jobs}
    assert [job.id for job in after.jobs if job is not same[job.id]] == [3]
    assert after.jobs == queries.snapshot(db).jobs


def test_numbers_of_the_same_hash_are_not_the_same() -> None:
    """-1 and -2 have one hash in Python, as have 1, 1.0 and True."""
    known = KnownRows()
    for value in (-1, -2, 1, 1.0, "1", None, b"1"):
        (made,) = known.values("job", [{"id": 1, "rank": value}], lambda row: (row["rank"],))
        assert repr(made) == repr((value,))


def test_what_belongs_to_a_row_and_stands_elsewhere_makes_it_another_one() -> None:
    known, rows = KnownRows(), [{"id": 1}, {"id": 2}]
    first = known.values("job", rows, lambda row: [row["id"]], {})
    second = known.values("job", rows, lambda row: [row["id"]], {2: 7})
    assert first[0] is second[0] and first[1] is not second[1]


def test_a_replay_shares_a_job_that_had_ended_and_is_as_it_was(db: Database) -> None:
    enqueued(db, 2)
    crew = worker(db)
    claim = claimed(db, crew)
    trial = started(db, claim)
    transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.61)
    transitions.finish_job(db, claim)
    time.sleep(0.01)
    when = db.now()
    time.sleep(0.01)
    transitions.pause(db, [2])
    known = KnownRows()
    now = {job.id: job for job in queries.snapshot(db, None, known).jobs}
    past = {job.id: job for job in replay.rebuild(db, when, None, known).jobs}
    assert past[1] is now[1]
    assert (str(past[2].status), str(now[2].status)) == ("queued", "paused")


def test_a_snapshot_does_not_read_the_trials_of_ended_jobs_again(db: Database) -> None:
    """A monitor takes one each second, for weeks: what it costs must not grow with the record."""
    known, costs, jobs = KnownRows(), list[int](), 4
    enqueued(db, jobs + 1)
    for _ in range(jobs):
        claim = claimed(db)
        for number, (status, cause) in enumerate((("complete", "finished"), ("failed", "code error"))):
            transitions.finish_trial(db, claim, started(db, claim, number), status, cause, value=0.6)
        transitions.finish_job(db, claim)
    db.execute_sql("UPDATE job SET attempt = 2")  # they were claimed again: their time of work is read from the trials
    started(db, claimed(db))
    for trials in (20, 400):
        for job_id in range(1, jobs + 1):
            have = len(queries.trials(db, job_id))
            copy_trials(db, job_id, have, trials)
            db.execute_sql("UPDATE job SET trials_failed = trials_complete / 2 WHERE id = ?", (job_id,))
        first = queries.snapshot(db, None, known)
        steps: list[int] = []
        db.connection().set_progress_handler(lambda: steps.append(EVERY), EVERY)  # noqa: B023  # called now only
        again = queries.snapshot(db, None, known)
        db.connection().set_progress_handler(None, 0)
        costs.append(sum(steps))
        assert (again.worked, again.again) == (first.worked, first.again)
        assert (queries.snapshot(db).worked, queries.snapshot(db).again) == (again.worked, again.again)
        assert {id: len(numbers) for id, numbers in again.again.items()} == dict.fromkeys(range(1, 5), trials // 2)
    assert costs[1] < 1.2 * costs[0], costs
    transitions.retry(db, [1])
    after = queries.snapshot(db, None, known)
    assert (after.worked, after.again) == (queries.snapshot(db).worked, queries.snapshot(db).again)
    assert 1 not in after.again
