"""Reads jobs and studies: queued and ended jobs, what a retry would run again, and the seconds worked on them."""

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
from fts.state.trial_usage import id_list, parallel_seconds
from fts.state.values import Job, JobStatus, StudyRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.db import Database
    from fts.state.queries.row_cache import KnownRows


def worked(db: Database, of: Iterable[int] | None = None) -> dict[int, float]:
    """Returns seconds of work by job, for jobs that wait again or were claimed again: the time since their start also
    contains time in which nobody worked on them. `of`: only these jobs."""
    waits = JobRow.status.in_(["queued", "paused"]) & JobRow.started_at.is_null(False)
    again = _only(of, JobRow.select(JobRow.id).where((JobRow.attempt > 1) | waits))
    spent = TrialRow.select(TrialRow.job_id, fn.SUM(TrialRow.train_seconds).alias("seconds"))
    rows = db.rows(spent.where(TrialRow.job_id.in_(again)).group_by(TrialRow.job_id))
    found = {row["job_id"]: float(finite_or_none(row["seconds"]) or 0.0) for row in rows}
    without_times = TrialRow.select(TrialRow.id).where(TrialRow.job_id.in_(again), TrialRow.train_seconds == 0)
    for job_id, seconds in in_processes(db, without_times).items():
        found[job_id] += seconds
    return found | parallel_seconds(db, found)


def in_processes(db: Database, trials: Any, until: float = math.inf) -> dict[int, float]:
    """Returns seconds by job that ended processes worked on these trials (ids), up to the time `until`."""
    lasted = fn.SUM(AttemptRow.ended_at - AttemptRow.began_at).alias("seconds")
    of_trial = AttemptRow.select(TrialRow.job_id, lasted).join(TrialRow, on=(AttemptRow.trial_id == TrialRow.id))
    ended = TrialRow.id.in_(trials) & AttemptRow.ended_at.is_null(False)
    if math.isfinite(until):
        ended &= AttemptRow.ended_at <= until
    rows = db.rows(of_trial.where(ended).group_by(TrialRow.job_id))
    return {row["job_id"]: float(finite_or_none(row["seconds"]) or 0.0) for row in rows}


def all_jobs(db: Database, known: KnownRows) -> tuple[Job, ...]:
    """Returns all jobs. An ended job has as `twin` the waiting or running job of the same specification, because of
    which a retry is refused.

    A job that has not changed since the last read is the same object.
    """
    twins = dict(db.execute_sql(TWINS_SQL).fetchall())

    def made(row: Mapping[str, Any]) -> Job:
        job = with_front(db, to_job(row))  # a front only changes together with the row's count of complete trials
        return replace(job, twin=twins[job.id]) if job.id in twins else job

    return known.values("job", db.each_row(IN_ORDER), made, twins)


# Plain SQL: with parameters in place of the statuses, SQLite may not use the partial index.
TWINS_SQL = (
    "SELECT ended.id, live.id FROM job AS ended JOIN job AS live ON live.spec_md5 = ended.spec_md5 "
    "WHERE ended.status IN ('done', 'failed', 'cancelled') AND live.status IN ('queued', 'running', 'paused')"
)


def runs_again(db: Database, of: Iterable[int] | None = None) -> dict[int, tuple[int, ...]]:
    """Returns the numbers of the failed trials that a retry would run again, by ended job. `of`: only these jobs."""
    has_failed = JobRow.status.in_(["done", "failed", "cancelled"]), JobRow.trials_failed > 0
    ended = _only(of, JobRow.select(JobRow.id).where(*has_failed))
    failed = TrialRow.select(TrialRow.job_id, TrialRow.number).where(TrialRow.job_id.in_(ended), SQL(RUN_AGAIN_SQL))
    found: dict[int, list[int]] = {}
    for row in db.rows(failed.order_by(TrialRow.job_id, TrialRow.number)):
        found.setdefault(row["job_id"], []).append(row["number"])
    return {job_id: tuple(numbers) for job_id, numbers in found.items()}


def _only(of: Iterable[int] | None, jobs: Any) -> Any:
    """Returns the query for those of the `jobs` whose ids are in `of`; None: for all."""
    return jobs if of is None else jobs.where(JobRow.id.in_(id_list(of)))


def has_unfinished(db: Database) -> bool:
    """Whether any job runs, or waits and may start."""
    # Plain SQL: with parameters in place of the statuses, SQLite may not use the partial indexes.
    sql = f"SELECT 1 FROM job WHERE {RUNNABLE_SQL} UNION ALL SELECT 1 FROM job WHERE status = 'running' LIMIT 1"
    return db.execute_sql(sql).fetchone() is not None


def retried_trials(db: Database, job_id: int) -> tuple[int, ...]:
    """Returns the numbers of a job's failed trials that a retry has reset: they run before any new one."""
    failed = TrialRow.select(TrialRow.number).where(TrialRow.job_id == job_id, TrialRow.status == "failed")
    return tuple(row["number"] for row in db.rows(failed.where(TrialRow.ended_at.is_null()).order_by(TrialRow.number)))


IN_ORDER = JobRow.select(ALL).order_by(
    SQL("CASE status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 1 ELSE 2 END"),
    SQL("CASE WHEN status IN ('running', 'queued', 'paused') THEN rank ELSE ended_at END"),
    JobRow.id,
)


def jobs(db: Database, statuses: Iterable[JobStatus | str] | None = None) -> tuple[Job, ...]:
    """Returns all jobs: running ones, then waiting ones by rank, then ended ones in the order in which they ended."""
    if statuses is None:
        return tuple(with_front(db, to_job(row)) for row in db.rows(IN_ORDER))
    wanted = {JobStatus(status) for status in statuses}
    stored = wanted | ({JobStatus.DONE} if JobStatus.FAILED in wanted else set())  # an older fts called them done
    found = (to_job(row) for row in db.rows(IN_ORDER.where(JobRow.status.in_([status.value for status in stored]))))
    return tuple(with_front(db, job) for job in found if job.status in wanted)


def with_front(db: Database, job: Job) -> Job:
    """Returns the job, with the trial numbers of its front if it has several goals."""
    if len(job.goals) == 1:
        return job
    return replace(job, front=front_rows(db, job.id, job.goals, job.created_at, job.trials_complete))


def namesakes(db: Database, job: Job) -> tuple[Job, ...]:
    """Returns the job and all jobs of the same name, even if its name is unreadable: a cell searched again has
    several jobs."""
    same = (JobRow.kind == job.kind) & (JobRow.experiment == job.experiment)
    query = JobRow.select(ALL).where(same | (JobRow.id == job.id)).order_by(JobRow.id)
    return tuple(to_job(row) for row in db.rows(query))


def job(db: Database, ref: int | str) -> Job:
    """Returns a job by id, or the newest one with this experiment name. Raises NoSuchRow."""
    text = str(ref)
    where = JobRow.id == int(text) if text.isdecimal() else JobRow.experiment == text
    row = db.one(JobRow.select(ALL).where(where).order_by(JobRow.id.desc()))
    if row is None:
        raise NoSuchRow(f"there is no job {text[:80]!r}; `fts queue` lists them")
    return with_front(db, to_job(row))


def studies(db: Database) -> dict[str, StudyRecord]:
    """Returns the declared studies by name."""
    found = (to_study(row) for row in db.rows(StudyRow.select(ALL).order_by(StudyRow.created_at, StudyRow.name)))
    return {study.name: study for study in found}
