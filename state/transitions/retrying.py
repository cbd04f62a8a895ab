"""Puts failed trials back under their own numbers, and counts a job's trials: what retry, undo and the workers share.

A failed trial that was put back keeps its row as `failed` without an end time (fts.state.rows.is_retried): the schema
allows one running or interrupted trial per job, and a retry may put back many.
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
from fts.state.values import UNRANKED, Direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.state.db import Database
    from fts.state.transitions.base import Row


COUNTS = {status: f"trials_{status}" for status in ("complete", "pruned", "failed")}  # of a trial -> column of its job


def runnable_again(db: Database, job_id: int) -> list[Row]:
    """id, number and ended_at of the ended failed trials that a retry would run again, by number."""
    chosen = TrialRow.select(TrialRow.id, TrialRow.number, TrialRow.ended_at)
    return db.rows(chosen.where(TrialRow.job_id == job_id, SQL(RUN_AGAIN_SQL)).order_by(TrialRow.number))


def living_twin(db: Database, job: Row) -> int | None:
    """The job of the same specification that waits or runs: no other one may do so beside it."""
    live = JobRow.select(JobRow.id).where(JobRow.spec_md5 == job["spec_md5"], JobRow.id != job["id"])
    row = db.one(live.where(SQL("status IN ('queued', 'running', 'paused')")))
    return None if row is None else int(row["id"])


def put_back(db: Database, job_id: int, trials: Sequence[Row]) -> list[Row]:
    """These failed trials are to run again; returns what undo needs to end them as they had ended."""
    ids = [trial["id"] for trial in trials]
    TrialRow.update(ended_at=None).where(TrialRow.id.in_(ids), TrialRow.status == "failed").execute(db)
    count_trials(db, job_id)
    return [{"job": job_id, "number": trial["number"], "ended_at": trial["ended_at"]} for trial in trials]


def restore(db: Database, entries: Iterable[Row]) -> list[Row]:
    """Takes a `put_back` back, or does it again; returns the entries of the way forward. Raises CannotUndo."""
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
    """The counts of the job, recomputed from its trials, so that they cannot drift."""
    JobRow.update(counts_of(db, job_id)).where(JobRow.id == job_id).execute(db)


def counts_of(db: Database, job_id: int) -> Row:
    """How many trials of the job have ended in each way, by the column of the job."""
    ended = (TrialRow.job_id == job_id) & TrialRow.ended_at.is_null(False)
    counted = TrialRow.select(TrialRow.status, fn.COUNT(TrialRow.id)).where(ended).group_by(TrialRow.status)
    counts = dict(counted.tuples().execute(db))
    return {column: counts.get(status, 0) for status, column in COUNTS.items()}


def recount(db: Database, job: Row) -> Row:
    """Counts and best of the job, read from all its trials; at each claim, so that they cannot drift. In a transaction.

    Returns what has changed.
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
    """The complete trial of the search with the best value that may be ranked; the earlier one of equals.

    Of several goals the first one of the front, which is read where it is not given.
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
    """The front of a job of several goals, the best in the first goal first; empty for any other.

    `complete`: so many of its trials are, where its row does not say so yet.
    """
    if '"goals":' not in job["spec"] or len(goals := to_job(job).goals) == 1:
        return ()
    complete = job["trials_complete"] if complete is None else complete
    return front_rows(db, job["id"], goals, job["created_at"], complete)


def is_unranked(badges: str) -> bool:
    return any(f'"{badge}"' in badges for badge in UNRANKED)
