"""Resets failed trials for a retry, and counts a job's trials: shared by retry, undo and the workers.

A reset trial stays `failed`, without an end time (fts.state.rows.is_retried): up to schema 2 a job could have one
running or interrupted trial only, and a retry may reset many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from peewee import SQL, fn

from fts.state.errors import CannotUndo
from fts.state.models import JobRow, TrialRow
from fts.state.pareto_front import front_rows
from fts.state.rows import to_job
from fts.state.scheduling import RUN_AGAIN_SQL
from fts.state.transitions.base import get_job
from fts.state.trial_usage import id_list
from fts.state.values import UNRANKED, Direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.state.db import Database
    from fts.state.transitions.base import Row


COUNTS = {status: f"trials_{status}" for status in ("complete", "pruned", "failed")}  # trial's status -> job's column


def runnable_again(db: Database, job_id: int) -> list[Row]:
    """Returns id, number and ended_at of the failed trials that a retry would run again, by number."""
    chosen = TrialRow.select(TrialRow.id, TrialRow.number, TrialRow.ended_at)
    return db.rows(chosen.where(TrialRow.job_id == job_id, SQL(RUN_AGAIN_SQL)).order_by(TrialRow.number))


def living_twin(db: Database, job: Row) -> int | None:
    """Returns the id of another job of the same specification that waits or runs, or None: only one may do so."""
    live = JobRow.select(JobRow.id).where(JobRow.spec_md5 == job["spec_md5"], JobRow.id != job["id"])
    row = db.one(live.where(SQL("status IN ('queued', 'running', 'paused')")))
    return None if row is None else int(row["id"])


def reset_failed(db: Database, job_id: int, trials: Sequence[Row]) -> list[Row]:
    """Resets failed trials so that they run again; returns the undo step, with their former end times."""
    ids = [trial["id"] for trial in trials]
    TrialRow.update(ended_at=None).where(TrialRow.id.in_(id_list(ids)), TrialRow.status == "failed").execute(db)
    count_trials(db, job_id)
    return [{"job": job_id, "number": trial["number"], "ended_at": trial["ended_at"]} for trial in trials]


def restore(db: Database, entries: Iterable[Row]) -> list[Row]:
    """Undoes `reset_failed`, or redoes it; returns the entries that revert this call. Raises CannotUndo."""
    forward = []
    for entry in entries:
        job_id, number, ended_at = int(entry["job"]), int(entry["number"]), entry["ended_at"]
        of_trial = (TrialRow.job_id == job_id) & (TrialRow.number == number) & (TrialRow.status == "failed")
        trial = db.one(TrialRow.select(TrialRow.id, TrialRow.ended_at).where(of_trial))
        if trial is None or (trial["ended_at"] is None) == (ended_at is None):
            raise CannotUndo(f"trial {number} of job {job_id} has run since")
        TrialRow.update(ended_at=None if ended_at is None else float(ended_at)).where(of_trial).execute(db)
        count_trials(db, job_id)
        forward.append({"job": job_id, "number": number, "ended_at": trial["ended_at"]})
    return forward


def count_trials(db: Database, job_id: int) -> None:
    """Recomputes the job's counts from its trials, so that they cannot drift."""
    JobRow.update(counts_of(db, job_id)).where(JobRow.id == job_id).execute(db)


def counts_of(db: Database, job_id: int) -> Row:
    """Counts the job's ended trials by status; returns the counts by column of the job."""
    ended = (TrialRow.job_id == job_id) & TrialRow.ended_at.is_null(False)
    counted = TrialRow.select(TrialRow.status, fn.COUNT(TrialRow.id)).where(ended).group_by(TrialRow.status)
    counts = dict(counted.tuples().execute(db))
    return {column: counts.get(status, 0) for status, column in COUNTS.items()}


def recount(db: Database, job: Row) -> Row:
    """Computes the job's counts and best from all its trials; returns the columns that differ from the row.

    Called at each claim, so that they cannot drift; inside a transaction.
    """
    last = db.one(
        TrialRow.select(TrialRow.direction).where(TrialRow.job_id == job["id"]).order_by(TrialRow.number.desc())
    )
    if last is None:
        return {}
    best = best_trial(db, job["id"], Direction(last["direction"]))
    found = counts_of(db, job["id"]) | {"best_value": best and best["value"], "best_trial": best and best["number"]}
    return {name: value for name, value in found.items() if job[name] != value}


def best_trial(db: Database, job_id: int, direction: Direction, front: Sequence[int] | None = None) -> Row | None:
    """Returns the ranked complete trial with the best value, of equal values the lowest number; None without any.

    With several goals returns the first trial of the front, which is read if `front` is None.
    """
    front = front_of(db, get_job(db, job_id)) if front is None else front
    if front:
        first = TrialRow.select(TrialRow.number, TrialRow.value).where(TrialRow.job_id == job_id)
        return db.one(first.where(TrialRow.number == front[0]))
    better_first = TrialRow.value if direction is Direction.MINIMIZE else TrialRow.value.desc()
    complete = (
        TrialRow.select(TrialRow.number, TrialRow.value, TrialRow.badges)
        .where(TrialRow.job_id == job_id, TrialRow.status == "complete", TrialRow.value.is_null(False))
        .order_by(better_first, TrialRow.number)
    )
    return next((row for row in complete.dicts().execute(db) if not is_unranked(row["badges"])), None)


def front_of(db: Database, job: Row, complete: int | None = None) -> tuple[int, ...]:
    """Returns the front of a job with several goals, the best in the first goal first; () for one goal.

    `complete`: its number of complete trials, if its row is not up to date yet.
    """
    if '"goals":' not in job["spec"] or len(goals := to_job(job).goals) == 1:
        return ()
    complete = job["trials_complete"] if complete is None else complete
    return front_rows(db, job["id"], goals, job["created_at"], complete)


def is_unranked(badges: str) -> bool:
    return any(f'"{badge}"' in badges for badge in UNRANKED)
