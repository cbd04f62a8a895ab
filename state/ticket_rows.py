"""Sends and counts tickets as rows, for callers that change the queue; only the worker uses huey to take them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from peewee import SQL, fn

from fts.state.models import JobRow, TicketRow
from fts.state.scheduling import RUNNABLE_SQL, WAITS_SQL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from fts.state.db import Database

QUEUE = "fts"
LOOK = "look"  # the one task that runs jobs; the worker registers it


def send_ticket(db: Database, count: int = 1) -> None:
    """Sends `count` tickets, in the transaction of the transition that made a job runnable."""
    row = {"queue": QUEUE, "data": write_ticket(LOOK), "priority": 0.0}
    with db.write():
        for _ in range(count):
            db.insert(TicketRow, row)


def missing_tickets(db: Database) -> int:
    """Sends a ticket for each runnable job without one, and returns how many: a lost ticket only delays its job."""
    with db.write():
        short = runnable_jobs(db) - waiting_tickets(db)
        if short > 0:
            send_ticket(db, short)
    return max(0, short)


def waiting_tickets(db: Database) -> int:
    return int(TicketRow.select(fn.COUNT(TicketRow.id)).where(TicketRow.queue == QUEUE).scalar(db))


def runnable_jobs(db: Database) -> int:
    return int(JobRow.select(fn.COUNT(JobRow.id)).where(SQL(WAITS_SQL)).scalar(db))


def next_runnable(db: Database, excluded: Collection[int] = ()) -> int | None:
    """Returns the id of the job that a free slot would claim, other than those in `excluded`."""
    return next((job_id for job_id, _ in runnable(db, excluded, 1)), None)


def runnable(db: Database, excluded: Collection[int], most: int) -> list[tuple[int, str]]:
    """Returns id and md5 of the specification of at most `most` runnable jobs, by rank, without those in `excluded`."""
    # Plain SQL: with a parameter in place of 'queued', SQLite may not use the partial index.
    but = f" AND id NOT IN ({', '.join(map(str, excluded))})" if excluded else ""
    rows = db.execute_sql(f"SELECT id, spec_md5 FROM job WHERE {RUNNABLE_SQL}{but} ORDER BY rank, id LIMIT {most}")
    return [(int(job_id), str(md5)) for job_id, md5 in rows]


def specifications(db: Database, job_ids: Iterable[int]) -> list[tuple[int, str, str, str]]:
    """Returns id, study, specification (JSON) and its md5 of these jobs; 1,000 in 15 ms."""
    ids = ", ".join(map(str, job_ids))
    return [tuple(row) for row in db.execute_sql(f"SELECT id, study, spec, spec_md5 FROM job WHERE id IN ({ids})")]


def spec_md5(db: Database, job_id: int) -> str:
    """Returns the md5 of the job's specification, as `runnable` does."""
    return str(JobRow.select(JobRow.spec_md5).where(JobRow.id == job_id).scalar(db))


def rank_of(db: Database, job_id: int) -> float:
    """Returns the job's rank now: a person may move it while it runs."""
    return float(JobRow.select(JobRow.rank).where(JobRow.id == job_id).scalar(db) or 0.0)


def write_ticket(task: str) -> bytes:
    return json.dumps({"task": task}).encode()
