"""Reads workers, nodes, trial processes and hardware samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peewee import SQL, fn

from fts.state.models import ALL, FlagRow, JobRow, SampleRow, TrialRow, WorkerRow
from fts.state.queries.event_rows import flag
from fts.state.rows import NODE, finite_or_none, to_node, to_sample, to_worker  # fmt: skip
from fts.state.values import Node, RunningChild, Sample, UnreadableRow, Worker

if TYPE_CHECKING:
    from fts.state.db import Database

LIVE_TRIAL = ("running", "interrupted")


def samples(db: Database, since: float, every_s: float = 0.0, limit: int = 100_000) -> tuple[Sample, ...]:
    """Returns hardware samples since a time, oldest first; with `every_s` at most one per `every_s` and worker.

    Of more than `limit`, about so many are returned: one per worker and equal part of the time, to the newest.
    """
    there, workers, span_s = _extent(db, since)
    if there > limit:
        every_s = max(every_s, span_s * workers / limit)
    query = SampleRow.select(ALL).where(SampleRow.at >= since)
    if every_s > 0:
        bucket = fn.CAST(SQL(f"at / {float(every_s)} AS INTEGER"))
        newest = SampleRow.select(fn.MAX(SampleRow.id)).where(SampleRow.at >= since)
        query = query.where(SampleRow.id.in_(newest.group_by(SampleRow.worker_id, bucket)))
    # a worker has up to two parts more, as the first and the last are not whole
    return tuple(
        to_sample(row) for row in db.rows(query.order_by(SampleRow.at, SampleRow.id).limit(limit + 2 * workers))
    )


def peak_samples(db: Database, since: float, every_s: float) -> tuple[Sample, ...]:
    """Returns of each `every_s` and worker the hottest sample and the one with the least memory left, oldest first.

    `samples` returns the newest one of that time, which misses a peak of a minute.
    """
    bucket = f"CAST(at / {float(every_s)} AS INTEGER)"
    of = "SELECT id FROM (SELECT id, {}({}) FROM sample WHERE at >= ? AND {} IS NOT NULL GROUP BY worker_id, {})"
    chosen = [of.format(how, name, name, bucket) for how, name in (("MAX", "temperature"), ("MIN", "available"))]
    query = SampleRow.select(ALL).where(SQL(f"id IN ({' UNION '.join(chosen)})", [since] * len(chosen)))
    return tuple(to_sample(row) for row in db.rows(query.order_by(SampleRow.at, SampleRow.id)))


def count_samples(db: Database, since: float) -> int:
    """Returns the number of hardware samples since a time."""
    return _extent(db, since)[0]


def _extent(db: Database, since: float) -> tuple[int, int, float]:
    """Returns the number of samples since a time, of workers that measured them, and the seconds from first to last."""
    sql = "SELECT COUNT(*), COUNT(DISTINCT worker_id), MAX(at) - MIN(at) FROM sample WHERE at >= ?"
    there, workers, span_s = db.execute_sql(sql, (since,)).fetchone()
    return int(there), int(workers), finite_or_none(span_s) or 0.0


def knows_power(db: Database) -> bool:
    """Whether any hardware sample contains watts; most machines have no such sensor."""
    return db.one(SampleRow.select(SampleRow.id).where(SampleRow.power_w.is_null(False))) is not None


def latest_powers(db: Database, before: float) -> tuple[Sample, ...]:
    """Returns each worker's latest hardware sample with watts before that time."""
    measured = SampleRow.power_w.is_null(False) & (SampleRow.at < before)
    latest = SampleRow.select(fn.MAX(SampleRow.id)).where(measured).group_by(SampleRow.worker_id)
    return tuple(to_sample(row) for row in db.rows(SampleRow.select(ALL).where(SampleRow.id.in_(latest))))


def power_known_until(db: Database) -> float | None:
    """Returns the time up to which all running workers that measure watts have reported them; None if none does."""
    newest = SampleRow.select(fn.MAX(SampleRow.at).alias("at")).join(
        WorkerRow, on=(SampleRow.worker_id == WorkerRow.id)
    )
    of_each = newest.where(SampleRow.power_w.is_null(False), WorkerRow.status == "running")
    latest = [finite_or_none(row["at"]) for row in db.rows(of_each.group_by(SampleRow.worker_id))]
    return min((at for at in latest if at is not None), default=None)


def workers(db: Database, limit: int = 100) -> tuple[Worker, ...]:
    """Returns running workers first, then the latest others."""
    order = SQL("CASE status WHEN 'running' THEN 0 ELSE 1 END")
    return tuple(
        to_worker(row) for row in db.rows(WorkerRow.select(ALL).order_by(order, WorkerRow.id.desc()).limit(limit))
    )


def running_children(db: Database, host: str) -> tuple[RunningChild, ...]:
    """Returns the recorded trial processes of this host: a starting worker ends those that are still alive."""
    query = (
        TrialRow.select(
            TrialRow.job_id, TrialRow.id.alias("trial_id"), TrialRow.number, JobRow.worker_id, TrialRow.pid,
            TrialRow.pid_started,
        )
        .join(JobRow, on=(JobRow.id == TrialRow.job_id))
        .where(TrialRow.status.in_(LIVE_TRIAL), TrialRow.host == host, TrialRow.pid.is_null(False))
    )  # fmt: skip
    known = (row for row in db.rows(query) if row["pid_started"] is not None and 0 < row["pid"] < 2**31)
    return tuple(RunningChild(**row) for row in known if finite_or_none(row["pid_started"]) is not None)


def nodes(db: Database) -> tuple[Node, ...]:
    """Returns all recorded nodes by name."""
    return nodes_and_odd(db)[0]


def node(db: Database, node_id: str) -> Node | None:
    row = flag(db, NODE + node_id)
    try:
        return None if row is None else to_node(row)
    except ValueError:
        return None


def nodes_and_odd(db: Database) -> tuple[tuple[Node, ...], list[UnreadableRow]]:
    found, odd = [], []
    for row in db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith(NODE)).order_by(FlagRow.name)):
        try:
            found.append(to_node(row))
        except ValueError as error:
            odd.append(UnreadableRow("flag", f"flag {row['name']}", str(error)))
    return tuple(found), odd
