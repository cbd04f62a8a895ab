"""The jobs of this study. A database may also hold jobs of other studies, which this study cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.state.daily_bars import PATCHTST
from fts.state.errors import WrongStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.state.db import Database
    from fts.state.values import Job, JobStatus


def own_jobs(db: Database, statuses: Iterable[JobStatus | str] | None = None) -> tuple[Job, ...]:
    """Returns the jobs of this study, in the order of the queue."""
    from fts.state import queries  # here, not above: peewee, which --help does not need

    return own(queries.jobs(db, statuses))


def own(jobs: Sequence[Job]) -> tuple[Job, ...]:
    return tuple(job for job in jobs if job.study == PATCHTST)


def refuse_another(job: Job, command: str) -> Job:
    """Returns the job. Raises WrongStatus for a job of another study, with the command that shows its results."""
    if job.study == PATCHTST:
        return job
    raise WrongStatus(
        f"job {job.id} ({job.cell}) is of the study {job.study}; `fts {command}` works on cells of {PATCHTST} only, "
        f"`fts results {job.id}` shows what it found"
    )
