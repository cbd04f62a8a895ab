"""Reads jobs and studies: the line and the ended ones, what a retry would run again, how long was worked on them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state.errors import NoSuchRow
from fts.state.models import ALL, AttemptRow, JobRow, StudyRow, TrialRow
from fts.state.pareto_front import front_rows
from fts.state.rows import finite_or_none, to_job, to_study  # fmt: skip
from fts.state.scheduling import RUN_AGAIN_SQL, RUNNABLE_SQL
from fts.state.trial_usage import parallel_seconds
from fts.state.values import Job, JobStatus, StudyRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.db import Database
    from fts.state.queries.row_cache import KnownRows


def worked(db: Database) -> dict[int, float]:
    """Seconds of work on each job that waits again or began again: its clock ran on while nobody worked on it."""
    waits = JobRow.status.in_(["queued", "paused"]) & JobRow.started_at.is_null(False)
    again = JobRow.select(JobRow.id).where((JobRow.attempt > 1) | waits)
    spent = TrialRow.select(TrialRow.job_id, fn.SUM(TrialRow.train_seconds).alias("seconds"))
    rows = db.rows(spent.where(TrialRow.job_id.in_(again)).group_by(TrialRow.job_id))
    told = {row["job_id"]: float(finite_or_none(row["seconds"]) or 0.0) for row in rows}
    untold = TrialRow.select(TrialRow.id).where(TrialRow.job_id.in_(again), TrialRow.train_seconds == 0)
    for job_id, seconds in in_processes(db, untold).items():
        told[job_id] += seconds
    return told | parallel_seconds(db, told)


def in_processes(db: Database, trials: Any, until: float = math.inf) -> dict[int, float]:
    """Seconds by job in which processes worked on these trials (their ids), of those processes that have ended."""
    lasted = fn.SUM(AttemptRow.ended_at - AttemptRow.began_at).alias("seconds")
    of_trial = AttemptRow.select(TrialRow.job_id, lasted).join(TrialRow, on=(AttemptRow.trial_id == TrialRow.id))
    ended = TrialRow.id.in_(trials) & AttemptRow.ended_at.is_null(False)
    if math.isfinite(until):
        ended &= AttemptRow.ended_at <= until
    rows = db.rows(of_trial.where(ended).group_by(TrialRow.job_id))
    return {row["job_id"]: float(finite_or_none(row["seconds"]) or 0.0) for row in rows}


def line(db: Database, known: KnownRows) -> tuple[Job, ...]:
    """All jobs, each ended one with the job of the same specification that waits or runs: a retry would be refused.

    A job that has not changed since these rows were read last is the same object.
    """
    twins = dict(db.execute_sql(TWINS_SQL).fetchall())

    def made(row: Mapping[str, Any]) -> Job:
        job = with_front(db, to_job(row))  # a front changes with the row's count of complete trials
        return replace(job, twin=twins[job.id]) if job.id in twins else job

    return known.values("job", db.each_row(IN_ORDER), made, twins)


# Plain SQL: with parameters in place of the statuses, SQLite may not use the partial index.
TWINS_SQL = (
    "SELECT ended.id, live.id FROM job AS ended JOIN job AS live ON live.spec_md5 = ended.spec_md5 "
    "WHERE ended.status IN ('done', 'failed', 'cancelled') AND live.status IN ('queued', 'running', 'paused')"
)


def runs_again(db: Database) -> dict[int, tuple[int, ...]]:
    """The failed trials that a retry would run again, by number, of each job that has ended with any."""
    ended = JobRow.select(JobRow.id).where(JobRow.status.in_(["done", "failed", "cancelled"]), JobRow.trials_failed > 0)
    failed = TrialRow.select(TrialRow.job_id, TrialRow.number).where(TrialRow.job_id.in_(ended), SQL(RUN_AGAIN_SQL))
    found: dict[int, list[int]] = {}
    for row in db.rows(failed.order_by(TrialRow.job_id, TrialRow.number)):
        found.setdefault(row["job_id"], []).append(row["number"])
    return {job_id: tuple(numbers) for job_id, numbers in found.items()}


def more_ends(db: Database) -> bool:
    """Whether any job runs, or waits and may start: it will end, too."""
    # Plain SQL: with parameters in place of the statuses, SQLite may not use the partial indexes.
    sql = f"SELECT 1 FROM job WHERE {RUNNABLE_SQL} UNION ALL SELECT 1 FROM job WHERE status = 'running' LIMIT 1"
    return db.execute_sql(sql).fetchone() is not None


def put_back(db: Database, job_id: int) -> tuple[int, ...]:
    """The failed trials of a job that a retry has put back, by number: they run before any new one."""
    failed = TrialRow.select(TrialRow.number).where(TrialRow.job_id == job_id, TrialRow.status == "failed")
    return tuple(row["number"] for row in db.rows(failed.where(TrialRow.ended_at.is_null()).order_by(TrialRow.number)))


IN_ORDER = JobRow.select(ALL).order_by(
    SQL("CASE status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 1 ELSE 2 END"),
    SQL("CASE WHEN status IN ('running', 'queued', 'paused') THEN rank ELSE ended_at END"),
    JobRow.id,
)


def jobs(db: Database, statuses: Iterable[JobStatus | str] | None = None) -> tuple[Job, ...]:
    """All jobs: running ones, then the line by rank, then the ended ones in the order they ended."""
    if statuses is None:
        return tuple(with_front(db, to_job(row)) for row in db.rows(IN_ORDER))
    wanted = {JobStatus(status) for status in statuses}
    stored = wanted | ({JobStatus.DONE} if JobStatus.FAILED in wanted else set())  # what an older fts called done
    found = (to_job(row) for row in db.rows(IN_ORDER.where(JobRow.status.in_([status.value for status in stored]))))
    return tuple(with_front(db, job) for job in found if job.status in wanted)


def with_front(db: Database, job: Job) -> Job:
    """The job; one of several goals with the trials of its front."""
    return replace(job, front=_front_of(db, job)) if len(job.goals) > 1 else job


def _front_of(db: Database, job: Job) -> tuple[int, ...]:
    """By number."""
    return front_rows(db, job.id, job.goals, job.created_at, job.trials_complete)


def namesakes(db: Database, job: Job) -> tuple[Job, ...]:
    """Every job of its name, and itself, also where its name cannot be read: a cell searched again has several."""
    same = (JobRow.kind == job.kind) & (JobRow.experiment == job.experiment)
    query = JobRow.select(ALL).where(same | (JobRow.id == job.id)).order_by(JobRow.id)
    return tuple(to_job(row) for row in db.rows(query))


def job(db: Database, ref: int | str) -> Job:
    """One job by number, or by its experiment's name (then the newest of that name). Raises NoSuchRow."""
    text = str(ref)
    where = JobRow.id == int(text) if text.isdecimal() else JobRow.experiment == text
    row = db.one(JobRow.select(ALL).where(where).order_by(JobRow.id.desc()))
    if row is None:
        raise NoSuchRow(f"there is no job {text[:80]!r}; `fts queue` lists them")
    return with_front(db, to_job(row))


def studies(db: Database) -> dict[str, StudyRecord]:
    """The studies that have been declared here, by name."""
    found = (to_study(row) for row in db.rows(StudyRow.select(ALL).order_by(StudyRow.created_at, StudyRow.name)))
    return {study.name: study for study in found}
