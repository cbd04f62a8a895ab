"""huey on our database: a ticket only says "look at the queue"; the job's row decides what runs.

A ticket is JSON and names a registered task: no pickle, no arguments. So a person who can write to the table cannot run
code. An unreadable ticket goes to the quarantine table with the reason, and the consumer continues.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from huey import Huey
from huey.contrib.sql_huey import BytesBlobField, SqlStorage
from huey.exceptions import HueyException
from huey.serializer import Serializer
from peewee import CharField, CompositeKey, FloatField, IntegerField, Model, TimestampField

from fts.raising import quoted
from fts.state.errors import StateError
from fts.state.models import QuarantineRow, TicketRow
from fts.state.ticket_rows import (
    LOOK,
    QUEUE,
    missing_tickets,
    runnable_jobs,
    send_ticket,
    waiting_tickets,
    write_ticket,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from huey.api import Task

    from fts.state.db import Database

MAX_TICKET_BYTES = 200

__all__ = [
    "LOOK", "MAX_TICKET_BYTES", "QUEUE", "JsonSerializer", "TicketHuey", "TicketStorage", "UnreadableTicket",
    "make_huey", "missing_tickets", "read_ticket", "runnable_jobs", "send_ticket", "waiting_tickets", "write_ticket",
]  # fmt: skip

logger = logging.getLogger("fts.tickets")


def make_huey(db: Database, on_error: Callable[[StateError], None] | None = None) -> TicketHuey:
    """Returns a huey with its tickets in `db`. Calls `on_error` if the database cannot be read (None: raises).

    The worker registers its tasks on it:

    huey = make_huey(db)
    @huey.task(name="look")
    def look() -> None: ...
    """
    return TicketHuey(QUEUE, on_error, database=db)


def _size(data: object) -> str:
    return f"{len(data):,} bytes" if isinstance(data, bytes) else f"no bytes but {quoted(data, 40)}"


def read_ticket(data: object) -> str:
    """Returns the name of a ticket's task. Raises UnreadableTicket with what is wrong."""
    if not isinstance(data, bytes) or len(data) > MAX_TICKET_BYTES:
        raise UnreadableTicket(f"expected at most {MAX_TICKET_BYTES} bytes of JSON, found {_size(data)}")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableTicket(f"not JSON: {error}") from error
    if not isinstance(message, dict) or set(message) != {"task"} or not isinstance(message["task"], str):
        raise UnreadableTicket('expected {"task": name} and nothing else')
    return message["task"]


class UnreadableTicket(HueyException):  # type: ignore[misc]  # huey has no types
    """A row in the ticket table that is not a ticket of fts."""


class JsonSerializer(Serializer):  # type: ignore[misc]  # huey has no types
    """Stores huey's own data (locks, revocations) as JSON, so that reading it cannot run code."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(data).encode()

    def _deserialize(self, data: bytes) -> Any:
        return json.loads(data)


class TicketStorage(SqlStorage):  # type: ignore[misc]  # huey has no types
    """huey's SQL storage with our table names. Reads before it takes the write lock."""

    database: Database

    def __init__(self, name: str = QUEUE, database: Database | None = None, **kwargs: Any) -> None:
        super().__init__(name, database=database, create_tables=False, **kwargs)

    def create_models(self) -> tuple[type[Model], ...]:
        class Base(Model):
            class Meta:
                database = self.database

        class KV(Base):
            queue = CharField()
            key = CharField()
            value = BytesBlobField()

            class Meta:
                table_name = "huey_kv"
                primary_key = CompositeKey("queue", "key")

        class Schedule(Base):
            queue = CharField()
            data = BytesBlobField()
            timestamp = TimestampField(resolution=1000)

            class Meta:
                table_name = "huey_schedule"

        class Ticket(Base):
            queue = CharField()
            data = BytesBlobField()
            priority = FloatField(default=0.0)

            class Meta:
                table_name = "huey_task"

        class Counter(Base):
            queue = CharField()
            key = CharField()
            value = IntegerField()

            class Meta:
                table_name = "huey_counter"
                primary_key = CompositeKey("queue", "key")

        return KV, Schedule, Ticket, Counter

    def dequeue(self) -> bytes | None:
        raise NotImplementedError("tickets are taken with `take`, which reads them before they are gone")

    def take(self, read: Callable[[object], Task]) -> Task | None:
        """Removes and returns the next readable ticket; quarantines unreadable ones before it. None: no ticket."""
        self.check_conn()
        if not self._next():  # an idle poll must not take the write lock
            return None
        with self.database.write():
            while row := self._next():
                number, data = row
                TicketRow.delete().where(TicketRow.id == number).execute(self.database)
                try:
                    return read(data)
                except HueyException as error:
                    self._quarantine(data, str(error))
        return None

    def _next(self) -> tuple[int, object] | None:
        # Not through the model: a hostile row may hold a text where its field expects bytes.
        sql = "SELECT id, data FROM huey_task WHERE queue = ? ORDER BY priority DESC, id LIMIT 1"
        found: tuple[int, object] | None = self.database.execute_sql(sql, (self.name,)).fetchone()
        return found

    def _quarantine(self, data: object, reason: str) -> None:
        logger.warning("quarantined a ticket that cannot be read: %s", reason)
        kept = data if isinstance(data, bytes) else repr(data).encode(errors="replace")
        row = {"at": self.database.now(), "data": kept[:100_000], "reason": reason[:1000]}
        QuarantineRow.insert(row).execute(self.database)

    def add_to_schedule(self, data: bytes, timestamp: Any) -> None:
        raise HueyException("tickets are never scheduled: a retry is a transition of the job")

    def read_schedule(self, timestamp: Any) -> list[bytes]:
        return []


class TicketHuey(Huey):  # type: ignore[misc]  # huey has no types
    """Huey with tickets as messages. Results are our own rows, not huey's."""

    storage_class = TicketStorage

    def __init__(self, name: str = QUEUE, on_error: Callable[[StateError], None] | None = None, **kwargs: Any) -> None:
        super().__init__(name, results=False, serializer=JsonSerializer(), **kwargs)
        self.on_error = on_error

    def serialize_task(self, task: Task) -> bytes:
        args, kwargs = task.data
        if args or kwargs or task.eta or task.retries:
            raise HueyException(f"{type(task).__name__}: a ticket carries no arguments, no time and no retries")
        return write_ticket(type(task).__name__)

    def deserialize_task(self, data: object) -> Task:
        name = read_ticket(data)
        for task_class in self._registry._registry.values():
            if task_class.__name__ == name:
                return task_class()
        raise UnreadableTicket(f"no task named {name[:80]!r} is registered")

    def dequeue(self) -> Task | None:
        try:
            return self.storage.take(self.deserialize_task)
        except StateError as error:  # huey itself would log a traceback every other second
            if self.on_error is None:
                raise
            self.on_error(error)
            return None

    # huey looks before and after each task whether it was revoked, outside of any handler of ours. Tickets never are.

    def is_revoked(self, task: Any, timestamp: Any = None, peek: bool = True) -> bool:
        return False

    def delete(self, key: str) -> bool:
        return False
