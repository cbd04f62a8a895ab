"""Tickets: in the transaction of the job, readable without running anything, harmless when they are not."""

from __future__ import annotations

import pickle

import pytest
from huey.consumer import Consumer
from huey.exceptions import HueyException

from fts.state import queries, tickets, transitions
from fts.state.db import Database
from fts.state.errors import DatabaseFailed
from fts.state.models import QuarantineRow, TicketRow
from tests.state.helpers import enqueued, worker


class Exploit:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code from the queue ran')",)


HOSTILE = [
    pickle.dumps(Exploit()),
    b"",
    b"\xff\xfe garbage",
    b"{}",
    b"[]",
    b'{"task": 7}',
    b'{"task": "os.system"}',
    b'{"task": "look", "args": ["rm -rf"]}',
    b"[" * 150,
    b"x" * 100_000,
    "a text, not bytes",
    12345,
]


def looking(db: Database) -> tuple[tickets.TicketHuey, list[str]]:
    huey = tickets.make_huey(db)
    seen: list[str] = []

    @huey.task(name="look")
    def look() -> None:
        seen.append("look")

    return huey, seen


def put(db: Database, data: object) -> None:
    db.execute_sql("INSERT INTO huey_task (queue, data, priority) VALUES (?, ?, 0)", (tickets.QUEUE, data))


def test_a_ticket_comes_and_goes_with_its_job(db: Database) -> None:
    with pytest.raises(ZeroDivisionError), db.write():
        enqueued(db, 2)
        raise ZeroDivisionError
    assert (tickets.waiting_tickets(db), queries.jobs(db)) == (0, ())


def test_a_ticket_leads_to_one_look(db: Database) -> None:
    enqueued(db, 2)
    huey, seen = looking(db)
    while task := huey.dequeue():
        huey.execute(task)
    assert seen == ["look", "look"]
    assert tickets.waiting_tickets(db) == 0


def test_a_ticket_runs_although_the_database_fails_before_and_after(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """huey reads there whether it was revoked, and would log a traceback; the ticket is gone by then."""
    enqueued(db)
    huey, seen = looking(db)
    task = huey.dequeue()

    def fails(*_: object, **__: object) -> None:
        raise DatabaseFailed("the disk")

    monkeypatch.setattr(Database, "execute_sql", fails)
    huey.execute(task)
    assert seen == ["look"]


@pytest.mark.parametrize("data", HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
def test_a_ticket_that_cannot_be_read_is_put_aside_with_its_reason(db: Database, data: object) -> None:
    put(db, data)
    enqueued(db)
    huey, _ = looking(db)
    assert huey.dequeue() is not None  # the good one behind it
    (row,) = db.rows(QuarantineRow.select())
    assert row["reason"]
    if isinstance(data, bytes):
        assert bytes(row["data"]) == data[:100_000]


def test_a_real_consumer_lives_on_after_a_bad_ticket(db: Database) -> None:
    put(db, HOSTILE[0])
    enqueued(db)
    huey, seen = looking(db)
    consumer = Consumer(huey, workers=1, periodic=False, initial_delay=0.01, max_delay=0.02)
    consumer.start()
    try:
        for _ in range(500):
            if seen:
                break
            consumer.stop_flag.wait(0.01)
    finally:
        consumer.stop(graceful=True)
    assert seen == ["look"]


def test_an_idle_look_takes_no_write_lock(db: Database) -> None:
    huey, _ = looking(db)
    crew = worker(db)
    statements: list[str] = []
    db.connection().set_trace_callback(statements.append)
    assert huey.dequeue() is None
    assert transitions.claim(db, crew, 60) is None
    db.connection().set_trace_callback(None)
    assert statements and not [sql for sql in statements if sql.startswith("BEGIN")]


def test_tickets_carry_nothing(db: Database) -> None:
    huey = tickets.make_huey(db)

    @huey.task(name="look")
    def look(number: int = 0) -> None: ...

    with pytest.raises(HueyException, match="carries no arguments"):
        look(7)
    with pytest.raises(HueyException, match=r"no retries|never scheduled"):
        look.schedule(delay=60)


def test_periodic_tasks_are_tickets_too(db: Database) -> None:
    huey = tickets.make_huey(db)
    done: list[int] = []

    @huey.periodic_task(lambda when: True, name="sweep")
    def sweep() -> None:
        done.append(1)

    for task in huey.read_periodic(None):
        huey.enqueue(task)
    task = huey.dequeue()
    assert task is not None
    huey.execute(task)
    assert done == [1]


def test_lost_tickets_are_sent_again_and_never_too_many(db: Database) -> None:
    enqueued(db, 3)
    TicketRow.delete().execute(db)
    assert tickets.missing_tickets(db) == 3
    assert tickets.missing_tickets(db) == 0
    assert tickets.waiting_tickets(db) == 3
