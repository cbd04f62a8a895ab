"""How long processes have worked on a trial or a job, and what its trials took of memory: from the record alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peewee import fn

from fts.state.models import ALL, AttemptRow, CheckpointRow, EpochRow, EventRow, JobRow, TrialRow
from fts.state.rows import to_object
from fts.state.values import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.db import Database

PEAKS = 500  # the latest that an estimate looks at: it must not grow with the search


def spent_s(db: Database, job_id: int, trial_id: int | None = None) -> float:
    """Seconds in which processes worked on the job, or on one trial of it: pauses, and waits for memory, are left out.

    One that has not ended counts up to its last sign of life: nobody knows more.
    """
    trials = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
    told = EventRow.select(EventRow.trial_id, EventRow.at).where(
        EventRow.job_id == job_id, EventRow.verb == Verb.TRIAL_FACTS.value
    )
    if trial_id is not None:
        trials = trials.where(TrialRow.id == trial_id)
        told = told.where(EventRow.trial_id == trial_id)
    started: dict[int, list[float]] = {}
    for row in db.rows(told.order_by(EventRow.at)):
        started.setdefault(row["trial_id"], []).append(row["at"])
    attempts = db.rows(AttemptRow.select(ALL).where(AttemptRow.trial_id.in_(trials)))
    return covered(_worked(db, attempt, started.get(attempt["trial_id"], [])) for attempt in attempts)


def _worked(db: Database, attempt: dict[str, Any], started: list[float]) -> tuple[float, float]:
    """From when to when one attempt worked: its process has said that the trial has begun."""
    end = _end_of(db, attempt)
    return next((at for at in started if attempt["began_at"] <= at <= end), end), end


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds in which at least one of these spans (from, to) is: trials side by side share their time."""
    total, until = 0.0, float("-inf")
    for began, end in sorted(spans):
        total += max(0.0, end - max(began, until))
        until = max(until, end)
    return total


def _end_of(db: Database, attempt: dict[str, Any]) -> float:
    return last_sign(db, attempt) if attempt["ended_at"] is None else float(attempt["ended_at"])


def last_sign(db: Database, attempt: dict[str, Any], heard_at: float | None = None) -> float:
    """When an attempt still worked for certain: its last epoch or checkpoint, or when its worker was last heard of."""
    of_trial = {table: table.trial_id == attempt["trial_id"] for table in (EpochRow, CheckpointRow)}
    told = [table.select(fn.MAX(table.at)).where(own).scalar(db) or 0.0 for table, own in of_trial.items()]
    began = float(attempt["began_at"])
    return max(began, min(db.now(), max(heard_at or 0.0, *told)))  # a clock may have been set back


def seconds_worked(db: Database, trial: dict[str, Any]) -> float:
    """Inside a transaction, of a trial on which no process works: what its epochs told, else what its processes ran."""
    if trial["train_seconds"] > 0 or trial.get("reused_from") is not None:
        return float(trial["train_seconds"])
    lasted = fn.SUM(AttemptRow.ended_at - AttemptRow.began_at)
    return max(0.0, float(AttemptRow.select(lasted).where(AttemptRow.trial_id == trial["id"]).scalar(db) or 0.0))


def seconds_told(db: Database, trial_id: int) -> float:
    """What the epochs of a trial have told of their time, in seconds; 0.0: nothing."""
    return float(EpochRow.select(fn.SUM(EpochRow.seconds)).where(EpochRow.trial_id == trial_id).scalar(db) or 0.0)


def side_by_side_s(db: Database, jobs: Iterable[int]) -> dict[int, float]:
    """Seconds in which at least one process worked, of those of these jobs whose trials run side by side."""
    several = JobRow.select(JobRow.id).where(JobRow.id.in_(list(jobs)), JobRow.spec.contains('"parallel":'))
    chosen = [int(row["id"]) for row in db.rows(several)]
    if not chosen:
        return {}
    sql = SIDE_BY_SIDE.format(", ".join("?" * len(chosen)))
    return {int(job): float(seconds) for job, seconds in db.execute_sql(sql, chosen).fetchall()}


# `covered` in SQL: a look at the queue would read each attempt of thousands
SIDE_BY_SIDE = """
SELECT job_id, SUM(MAX(0.0, ended_at - MAX(began_at, coalesce(covered, began_at)))) FROM (
  SELECT trial.job_id, attempt.began_at, attempt.ended_at,
    MAX(attempt.ended_at) OVER (
      PARTITION BY trial.job_id ORDER BY attempt.began_at, trial.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS covered
  FROM attempt JOIN trial ON trial.id = attempt.trial_id
  WHERE trial.job_id IN ({}) AND attempt.ended_at IS NOT NULL
) GROUP BY job_id"""


def peaks(db: Database, job_id: int) -> list[tuple[dict[str, Any], int]]:
    """Parameters and bytes of the latest trials of a job whose peak is known, in the order of their numbers."""
    known = TrialRow.select(TrialRow.params, TrialRow.peak_bytes).where(
        TrialRow.job_id == job_id, TrialRow.peak_bytes.is_null(False)
    )
    rows = db.rows(known.order_by(TrialRow.number.desc()).limit(PEAKS))
    return [(to_object(row["params"]), int(row["peak_bytes"])) for row in reversed(rows)]


def peaks_of_cells(db: Database, study: str) -> list[tuple[dict[str, Any], int]]:
    """Labels and largest bytes of each job of the study that has any."""
    most = TrialRow.select(JobRow.labels, fn.MAX(TrialRow.peak_bytes).alias("bytes"))
    of_study = most.join(JobRow, on=(JobRow.id == TrialRow.job_id)).where(
        JobRow.study == study, TrialRow.peak_bytes.is_null(False)
    )
    rows = of_study.group_by(JobRow.id).dicts().execute(db)
    return [(to_object(row["labels"]), int(row["bytes"])) for row in rows]
