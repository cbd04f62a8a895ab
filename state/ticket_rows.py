"""Sends and counts tickets as rows, for whoever changes the queue; huey is only for the worker that takes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from peewee import SQL, fn

from fts.state.models import JobRow, TicketRow
from fts.state.scheduling import RUNNABLE_SQL, WAITS_SQL

if TYPE_CHECKING:
    from collections.abc import Collection

    from fts.state.db import Database

QUEUE = "fts"
LOOK = "look"  # the one task that runs jobs; the worker registers it


def send_ticket(db: Database, count: int = 1) -> None:
    """Puts `count` tickets in line, in the transaction of the transition that made a job runnable."""
    row = {"queue": QUEUE, "data": write_ticket(LOOK), "priority": 0.0}
    with db.write():
        for _ in range(count):
            TicketRow.insert(row).execute(db)


def missing_tickets(db: Database) -> int:
    """Sends the tickets that are missing for runnable jobs and says how many: a lost ticket is only a late one."""
    with db.write():
        short = runnable_jobs(db) - waiting_tickets(db)
        if short > 0:
            send_ticket(db, short)
    return max(0, short)


def waiting_tickets(db: Database) -> int:
    return int(TicketRow.select(fn.COUNT(TicketRow.id)).where(TicketRow.queue == QUEUE).scalar(db))


def runnable_jobs(db: Database) -> int:
    return int(JobRow.select(fn.COUNT(JobRow.id)).where(SQL(WAITS_SQL)).scalar(db))


def next_runnable(db: Database, resting: Collection[int] = ()) -> int | None:
    """The job that a free slot would take, none that is `resting`."""
    # Plain SQL: with a parameter in place of 'queued', SQLite may not use the partial index.
    but = f" AND id NOT IN ({', '.join(map(str, resting))})" if resting else ""
    row = db.execute_sql(f"SELECT id FROM job WHERE {RUNNABLE_SQL}{but} ORDER BY rank, id LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def write_ticket(task: str) -> bytes:
    return json.dumps({"task": task}).encode()
