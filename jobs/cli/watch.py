"""Implements `fts watch`: prints one sentence per change, as it happens, for screen readers, logs and pipes."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import click

from fts.jobs.cli.app import ROW, Fraction, here
from fts.jobs.cli.output import emit, emit_line, say
from fts.jobs.cli.show import event_words
from fts.jobs.status import formatting
from fts.jobs.status.conditions import is_live, running
from fts.jobs.status.event_sentences import event_sentence
from fts.jobs.status.explain import runnable
from fts.jobs.status.sanitize import clean_snapshot
from fts.state import liveness, queries
from fts.state.db import Database, open_for_reading
from fts.state.migrations import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.state.values import Event, Snapshot, Worker

BATCH = 1000  # events read at once


@click.command()
@click.option("--plain", is_flag=True, help="whole sentences without glyphs, for screen readers")
@click.option("--json", "as_json", is_flag=True, help="NDJSON: one event per line")
@click.option(
    "--from",
    "start",
    type=ROW,
    metavar="EVENT",
    help="number of the event to begin after (0: from the beginning)  [default: from now on]",
)
@click.option("--until-idle", is_flag=True, help="stop when no job runs and none can start")
@click.option(
    "--every",
    "poll_s",
    default=1.0,
    type=Fraction(0.05, 3600.0),
    show_default=True,
    help="seconds between two reads",
)
def watch(plain: bool, as_json: bool, start: int | None, until_idle: bool, poll_s: float) -> None:
    """Print one line per change, as it happens. Ctrl-C ends it; running workers continue."""
    db = open_for_reading(here().db)
    try:
        say(f"Watching {here().db}; Ctrl-C ends it.")
        if until_idle and (waiting := jobs_without_worker(db)):
            jobs = formatting.count(waiting, "job")
            verb = "is" if waiting == 1 else "are"
            say(f"{jobs} {verb} queued, but no worker is alive; start one with `fts worker`.")
        known = Jobs(db)
        for event in follow(db, start, until_idle, poll_s):
            if as_json:
                emit_line({"schema": SCHEMA, "taken_at": time.time(), "event": event})
            elif plain:
                known.update(event)
                emit(event_sentence(event, known.snapshot))
            else:
                emit(sentence(event))
    finally:
        db.close()


class WorkerWatch:
    """Reports once when a worker has died or does not answer; its event is only written by the next worker."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.workers: tuple[Worker, ...] = ()
        self.reported: frozenset[int] = frozenset()

    def read(self) -> None:
        self.workers = tuple(worker for worker in queries.workers(self.db) if worker.status == "running")

    def look(self) -> None:
        dead, now = liveness.gone_workers(self.workers, self.db.path.absolute().parent), self.db.now()
        missing = [worker for worker in self.workers if worker.id in dead or not is_live(worker, now)]
        for worker in missing:
            if worker.id not in self.reported:
                how = "has died" if worker.id in dead else "does not answer"
                last = formatting.seconds_clock(worker.heartbeat_at)
                say(f"Worker {worker.id} on {worker.host} {how}; its last heartbeat was at {last}.")
        self.reported = frozenset(worker.id for worker in missing)


class Jobs:
    """A snapshot of the jobs, read again when an event is about an unknown job."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.snapshot: Snapshot | None = None

    def update(self, event: Event) -> None:
        jobs = () if self.snapshot is None else self.snapshot.jobs
        if event.job_id is not None and event.job_id not in {job.id for job in jobs}:
            self.snapshot = clean_snapshot(queries.snapshot(self.db))


def follow(db: Database, start: int | None, until_idle: bool, poll_s: float) -> Iterator[Event]:
    """Yields every event after `start` (None: from now on), in order; polling costs one pragma while nothing changes.

    If the database file was replaced, says so and continues after the last event that both files have.
    """
    known = deque(((event.id, event.at) for event in queries.events(db, limit=BATCH)), maxlen=BATCH)
    last = start if start is not None else known[-1][0] if known else 0
    version, worker_watch, rows = None, WorkerWatch(db), queries.KnownRows()
    while True:
        now = queries.data_version(db)
        if changed := now != version:
            version = now
            worker_watch.read()
            if known and not queries.has_event(db, *known[-1]):
                last = _common(db, known)
                say(f"The database {db.path} was replaced or overwritten; continuing after its event {last}.")
            while found := queries.events(db, since=last, limit=BATCH):
                yield from found
                last = found[-1].id
                known.extend((event.id, event.at) for event in found)
        worker_watch.look()
        if until_idle and changed and not _anything_to_do(db, rows):
            return
        time.sleep(poll_s)


def _common(db: Database, known: deque[tuple[int, float]]) -> int:
    """Returns the last known event that this journal has, too; without one, the newest of the journal."""
    while known and not queries.has_event(db, *known[-1]):
        known.pop()
    if not known:
        known.extend((event.id, event.at) for event in queries.events(db, limit=1))
    return known[-1][0] if known else 0


def _anything_to_do(db: Database, rows: queries.KnownRows) -> bool:
    """Returns whether a job runs or could be claimed."""
    snapshot = queries.snapshot(db, None, rows)
    return bool(running(snapshot) or runnable(snapshot))


def jobs_without_worker(db: Database) -> int:
    """Returns the number of jobs that could be claimed if no worker is alive, else 0."""
    snapshot = queries.snapshot(db)
    lives = any(is_live(worker, snapshot.taken_at) for worker in snapshot.workers)
    return 0 if lives else len(runnable(snapshot))


def sentence(event: Event) -> str:
    """Formats time, who and what: `08:14:02 2B/h1 ...`."""
    return f"{formatting.seconds_clock(event.at)} {event.who}: {event_words(event)}"
