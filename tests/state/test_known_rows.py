"""A row that has not changed is not made into a value again; a replay shares the jobs that are as they were."""

from __future__ import annotations

import time

from fts.state import queries, replay, transitions
from fts.state.db import Database
from fts.state.queries import KnownRows
from tests.state.helpers import claimed, enqueued, started, worker


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
