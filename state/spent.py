"""How long processes have worked on a trial or a job, and what its trials took of memory: from the record alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peewee import fn

from fts.state.models import ALL, AttemptRow, CheckpointRow, EpochRow, EventRow, JobRow, TrialRow
from fts.state.rows import to_object
from fts.state.values import Cause, Verb

if TYPE_CHECKING:
    from fts.state.db import Database

NO_END = (Cause.LOST_WORKER.value, "replaced")  # ends that were written down long after the process had ended
PEAKS = 500  # the latest that an estimate looks at: it must not grow with the search


def spent_s(db: Database, job_id: int, trial_id: int | None = None) -> float:
    """Seconds in which a process worked on the job, or on one trial of it: pauses, and waits for memory, are left out.

    One that was lost with its worker counts up to its last epoch or checkpoint: nobody knows more.
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
    return sum((_worked(db, attempt, started.get(attempt["trial_id"], [])) for attempt in attempts), 0.0)


def _worked(db: Database, attempt: dict[str, Any], started: list[float]) -> float:
    """Seconds of one attempt, from when its process said that the trial has begun."""
    end = _end_of(db, attempt)
    began = next((at for at in started if attempt["began_at"] <= at <= end), None)
    return 0.0 if began is None else end - began


def _end_of(db: Database, attempt: dict[str, Any]) -> float:
    if attempt["ended_at"] is not None and attempt["how"] not in NO_END:
        return float(attempt["ended_at"])
    signs = [attempt["began_at"]]
    for table in (EpochRow, CheckpointRow):
        seen = table.select(fn.MAX(table.at)).where(table.trial_id == attempt["trial_id"])
        seen = seen.where(table.at >= attempt["began_at"])
        if attempt["ended_at"] is not None:
            seen = seen.where(table.at <= attempt["ended_at"])
        signs.append(seen.scalar(db) or 0.0)
    return float(max(signs))


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
