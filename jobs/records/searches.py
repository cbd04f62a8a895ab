"""Which of several searches of one name is shown: one put in line again hides the earlier one only once it began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status.formatting import trials_ended
from fts.state.values import Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable


def newest_cells(jobs: Iterable[Job]) -> list[Job]:
    """Of each cell the latest job, when it was put in line again with another specification."""
    there = [job for job in jobs if job.kind == "cell" and job.status is not JobStatus.CANCELLED]
    return list({_cell_of(job): job for job in sorted(there, key=lambda job: job.id)}.values())


def newer_searches(jobs: Iterable[Job], cell: Job) -> list[Job]:
    """The searches of the same cell that were put in line after this one, cancelled ones left out."""
    later = [job for job in jobs if job.kind == "cell" and _cell_of(job) == _cell_of(cell) and job.id > cell.id]
    return sorted((job for job in later if job.status is not JobStatus.CANCELLED), key=lambda job: job.id)


COMING = {JobStatus.QUEUED: "is in line", JobStatus.PAUSED: "is paused", JobStatus.RUNNING: "runs"}


def begun_cells(jobs: Iterable[Job]) -> list[Job]:
    """One job per cell, by what was found: one put in line again hides the earlier search only once it began."""
    jobs = list(jobs)
    found = {_cell_of(job): job for job in newest_cells(job for job in jobs if trials_ended(job))}
    return [found.get(_cell_of(job), job) for job in newest_cells(jobs)]


def with_other_axes(jobs: Iterable[Job], cell: Job) -> Job | None:
    """The latest job of the cell's name on other axes, one of which was renamed, added or left out; None: none."""
    later = [job for job in jobs if job.kind == "cell" and job.experiment == cell.experiment and job.id > cell.id]
    other = [job for job in later if _cell_of(job) != _cell_of(cell) and job.status is not JobStatus.CANCELLED]
    return max(other, key=lambda job: job.id, default=None)


def _cell_of(job: Job) -> tuple[str, frozenset[str]]:
    """What is one cell: the same values of other axes are another one."""
    return job.experiment, frozenset(job.labels)
