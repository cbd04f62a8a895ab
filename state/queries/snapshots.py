"""Reads one consistent snapshot, and says whether anything has changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peewee import SQL

from fts.state import migrations
from fts.state.models import ALL, SampleRow, TrialRow
from fts.state.queries.event_rows import (
    EVENTS_IN_SNAPSHOT,
    events,
    flag,
    last_key_at,
    margins_and_odd,
    older_events,
    seen_forecast,
)
from fts.state.queries.job_rows import all_jobs, runs_again, studies, worked
from fts.state.queries.machine_rows import LIVE_TRIAL, nodes_and_odd, workers
from fts.state.queries.row_cache import KnownRows
from fts.state.queries.trial_rows import epochs_of
from fts.state.rows import to_sample, to_trial, unreadable_in  # fmt: skip
from fts.state.values import Sample, Snapshot, Trial

if TYPE_CHECKING:
    from fts.state.db import Database


def snapshot(db: Database, user: str | None = None, known: KnownRows | None = None) -> Snapshot:
    """Reads everything that the monitor and `fts status` show, in one short read transaction.

    Jobs and trials in `known` that have not changed are the same objects as before, and the trials of an ended job
    that has not changed are not read again.
    """
    known = known or KnownRows()
    with db.read():
        everything = all_jobs(db, known)
        shown = _live_and_best_trials(db, known)
        running = [trial.id for trial in shown if trial.status.value in LIVE_TRIAL]
        crew = workers(db)
        paused = flag(db, "queue_paused")
        gains, odd = margins_and_odd(db)
        machines, odd_nodes = nodes_and_odd(db)
        read: dict[str, Any] = {
            "job": everything, "worker": crew, "trial": shown, "epoch": epochs_of(db, running),
            "event": events(db, limit=EVENTS_IN_SNAPSHOT),
            "sample": _latest_samples(db, [worker.id for worker in crew if worker.status == "running"]),
        }  # fmt: skip
        return Snapshot(
            taken_at=db.now(),
            schema=schema(db),
            path=str(db.path),
            jobs=everything,
            workers=crew,
            trials=shown,
            epochs=read["epoch"],
            events=read["event"],
            samples=read["sample"],
            queue_paused=paused is not None,
            queue_paused_reason=paused["reason"] if paused else None,
            last_key_at=last_key_at(db, user) if user else None,
            margins=gains,
            seen=seen_forecast(db, user) if user else None,
            worked=known.of_jobs("worked", everything, lambda ids: worked(db, ids)),
            unreadable=(*unreadable_in(read), *odd, *odd_nodes),
            again=known.of_jobs("again", everything, lambda ids: runs_again(db, ids)),
            studies=studies(db),
            nodes=machines,
            older=older_events(db, read["event"]),
            user=user,
        )


def schema(db: Database) -> int:
    """Returns the schema number of the file; a newer fts may have written it."""
    return int(db.execute_sql("PRAGMA user_version").fetchone()[0])


def newer_schema(found: Snapshot) -> str | None:
    """Returns a warning for a file with a newer schema, else None."""
    if found.schema <= migrations.SCHEMA:
        return None
    return f"the file has schema {found.schema}, this fts knows up to {migrations.SCHEMA}: shown as far as it is known"


def data_version(db: Database) -> int:
    """Returns a number that changes when another connection has written; cheap enough for one call a second.

    Reopens the files first if they are no longer those at the path. Raises NoDatabase, NotFresh.
    """
    return db.poll_version()


def _live_and_best_trials(db: Database, known: KnownRows) -> tuple[Trial, ...]:
    query = TrialRow.select(ALL).where(SQL(f"t1.id IN ({LIVE_AND_BEST_SQL})"))
    return known.values("trial", db.each_row(query.order_by(TrialRow.job_id, TrialRow.number)), to_trial)


# By index, each part: one condition with OR would read all trials. Plain SQL: with parameters in place of the
# statuses, SQLite may not use the partial index; CROSS JOIN reads the jobs first.
LIVE_AND_BEST_SQL = (
    "SELECT id FROM trial WHERE status IN ('running', 'interrupted') UNION ALL "
    "SELECT best.id FROM job CROSS JOIN trial AS best ON best.job_id = job.id AND best.number = job.best_trial"
)


def _latest_samples(db: Database, worker_ids: list[int]) -> tuple[Sample, ...]:
    found = []
    for worker_id in worker_ids:
        row = db.one(SampleRow.select(ALL).where(SampleRow.worker_id == worker_id).order_by(SampleRow.at.desc()))
        if row is not None:
            found.append(to_sample(row))
    return tuple(found)
