"""Chooses the shown search of a cell: a new search replaces the earlier one when its first trial has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status.formatting import trials_ended
from fts.state.values import Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable


def newest_cells(jobs: Iterable[Job]) -> list[Job]:
    """Returns the latest job of each cell; a cell enqueued again with another specification has several."""
    there = [job for job in jobs if job.kind == "cell" and job.status is not JobStatus.CANCELLED]
    return list({_cell_of(job): job for job in sorted(there, key=lambda job: job.id)}.values())


COMING = {JobStatus.QUEUED: "is queued", JobStatus.PAUSED: "is paused", JobStatus.RUNNING: "runs"}


def begun_cells(jobs: Iterable[Job]) -> list[Job]:
    """Returns one job per cell: the latest one with an ended trial, else the latest one."""
    jobs = list(jobs)
    found = {_cell_of(job): job for job in newest_cells(job for job in jobs if trials_ended(job))}
    return [found.get(_cell_of(job), job) for job in newest_cells(jobs)]


class Searches:
    """An index of the searches of each cell: thousands of cells each look up their own."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._of_cell: dict[tuple[str, frozenset[str]], list[Job]] = {}
        self._of_name: dict[str, list[Job]] = {}
        for job in sorted(jobs, key=lambda job: job.id):
            if job.kind == "cell" and job.status is not JobStatus.CANCELLED:
                self._of_cell.setdefault(_cell_of(job), []).append(job)
                self._of_name.setdefault(job.experiment, []).append(job)

    def newer(self, cell: Job) -> list[Job]:
        """Returns the later searches of the same cell, without cancelled ones."""
        return [job for job in self._of_cell.get(_cell_of(cell), ()) if job.id > cell.id]

    def on_other_axes(self, cell: Job) -> Job | None:
        """Returns the latest later job of the cell's name with other axes (one renamed, added or removed), or None."""
        later = [job for job in self._of_name.get(cell.experiment, ()) if job.id > cell.id]
        return next((job for job in reversed(later) if _cell_of(job) != _cell_of(cell)), None)


def _cell_of(job: Job) -> tuple[str, frozenset[str]]:
    """Returns the cell's identity: the same values on other axes are another cell."""
    return job.experiment, frozenset(job.labels)
