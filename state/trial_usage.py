"""How long processes worked on a trial or a job, and how much memory its trials used, from the database alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state.models import ALL, AttemptRow, CheckpointRow, EpochRow, EventRow, JobRow, TrialRow
from fts.state.rows import to_object
from fts.state.values import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.db import Database

PEAKS = 500  # latest trials that an estimate reads: its cost must not grow with the search


def spent_s(db: Database, job_id: int, trial_id: int | None = None) -> float:
    """Returns the seconds in which a process worked on the job, or on one of its trials. Excludes pauses and waits for
    memory.

    An attempt without an end counts up to its last sign of life.
    """
    trials = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
    starts = EventRow.select(EventRow.trial_id, EventRow.at).where(
        EventRow.job_id == job_id, EventRow.verb == Verb.TRIAL_FACTS.value
    )
    if trial_id is not None:
        trials = trials.where(TrialRow.id == trial_id)
        starts = starts.where(EventRow.trial_id == trial_id)
    started: dict[int, list[float]] = {}
    for row in db.rows(starts.order_by(EventRow.at)):
        started.setdefault(row["trial_id"], []).append(row["at"])
    attempts = db.rows(AttemptRow.select(ALL).where(AttemptRow.trial_id.in_(trials)))
    return union_s(_worked(db, attempt, started.get(attempt["trial_id"], [])) for attempt in attempts)


def _worked(db: Database, attempt: dict[str, Any], started: list[float]) -> tuple[float, float]:
    """Returns (start, end) of an attempt's work, from the process's report that the trial has begun."""
    end = _end_of(db, attempt)
    return next((at for at in started if attempt["began_at"] <= at <= end), end), end


def union_s(spans: Iterable[tuple[float, float]]) -> float:
    """Returns the seconds covered by at least one (start, end): the time of parallel trials counts once."""
    total, until = 0.0, float("-inf")
    for began, end in sorted(spans):
        total += max(0.0, end - max(began, until))
        until = max(until, end)
    return total


def _end_of(db: Database, attempt: dict[str, Any]) -> float:
    return last_sign(db, attempt) if attempt["ended_at"] is None else float(attempt["ended_at"])


def last_sign(db: Database, attempt: dict[str, Any], heartbeat_at: float | None = None) -> float:
    """Returns when an attempt certainly still worked: its last epoch or checkpoint, or its worker's heartbeat."""
    of_trial = {table: table.trial_id == attempt["trial_id"] for table in (EpochRow, CheckpointRow)}
    latest = [table.select(fn.MAX(table.at)).where(own).scalar(db) or 0.0 for table, own in of_trial.items()]
    began = float(attempt["began_at"])
    return max(began, min(db.now(), max(heartbeat_at or 0.0, *latest)))  # a clock may have been set back


def seconds_worked(db: Database, trial: dict[str, Any]) -> float:
    """Returns the seconds of a trial that no process works on: those its epochs reported, else the time of its
    processes. Call it inside a transaction."""
    if trial["train_seconds"] > 0 or trial.get("reused_from") is not None:
        return float(trial["train_seconds"])
    lasted = fn.SUM(AttemptRow.ended_at - AttemptRow.began_at)
    return max(0.0, float(AttemptRow.select(lasted).where(AttemptRow.trial_id == trial["id"]).scalar(db) or 0.0))


def reported_seconds(db: Database, trial_id: int) -> float:
    """Returns the sum of the seconds that a trial's epochs reported; 0.0 if none."""
    return float(EpochRow.select(fn.SUM(EpochRow.seconds)).where(EpochRow.trial_id == trial_id).scalar(db) or 0.0)


def parallel_seconds(db: Database, jobs: Iterable[int], until: float = math.inf) -> dict[int, float]:
    """Returns the seconds in which at least one process worked, up to the time `until`, for those of `jobs` that run
    parallel trials."""
    several = JobRow.select(JobRow.id).where(JobRow.id.in_(id_list(jobs)), JobRow.spec.contains('"parallel":'))
    chosen = [int(row["id"]) for row in db.rows(several)]
    if not chosen:
        return {}
    sql = UNION_SQL.format(",".join(map(str, chosen)))
    return {int(job): float(seconds) for job, seconds in db.execute_sql(sql, (until,)).fetchall()}


def id_list(ids: Iterable[int]) -> SQL:
    """Returns ids for `IN`, as text: there may be more than SQLite accepts as parameters, 32,766 in most builds."""
    return SQL(f"({','.join(str(int(each)) for each in ids)})")


# `union_s` in SQL: otherwise each snapshot of the queue would read thousands of attempts
UNION_SQL = """
SELECT job_id, SUM(MAX(0.0, ended_at - MAX(began_at, coalesce(covered, began_at)))) FROM (
  SELECT trial.job_id, attempt.began_at, attempt.ended_at,
    MAX(attempt.ended_at) OVER (
      PARTITION BY trial.job_id ORDER BY attempt.began_at, trial.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS covered
  FROM attempt JOIN trial ON trial.id = attempt.trial_id
  WHERE trial.job_id IN ({}) AND attempt.ended_at <= ?
) GROUP BY job_id"""


def peaks(db: Database, job_id: int) -> list[tuple[int, dict[str, Any], int]]:
    """Returns number, parameters and peak bytes of a job's latest trials with a known peak, ordered by number."""
    known = TrialRow.select(TrialRow.number, TrialRow.params, TrialRow.peak_bytes).where(
        TrialRow.job_id == job_id, TrialRow.peak_bytes.is_null(False)
    )
    rows = db.rows(known.order_by(TrialRow.number.desc()).limit(PEAKS))
    return [(int(row["number"]), to_object(row["params"]), int(row["peak_bytes"])) for row in reversed(rows)]


def peaks_of_cells(db: Database, study: str) -> list[tuple[dict[str, Any], int]]:
    """Returns labels and the largest peak in bytes for each job of the study with a known peak."""
    most = TrialRow.select(JobRow.labels, fn.MAX(TrialRow.peak_bytes).alias("bytes"))
    of_study = most.join(JobRow, on=(JobRow.id == TrialRow.job_id)).where(
        JobRow.study == study, TrialRow.peak_bytes.is_null(False)
    )
    rows = of_study.group_by(JobRow.id).dicts().execute(db)
    return [(to_object(row["labels"]), int(row["bytes"])) for row in rows]
