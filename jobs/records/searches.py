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


COMING = {JobStatus.QUEUED: "is in line", JobStatus.PAUSED: "is paused", JobStatus.RUNNING: "runs"}


def begun_cells(jobs: Iterable[Job]) -> list[Job]:
    """One job per cell, by what was found: one put in line again hides the earlier search only once it began."""
    jobs = list(jobs)
    found = {_cell_of(job): job for job in newest_cells(job for job in jobs if trials_ended(job))}
    return [found.get(_cell_of(job), job) for job in newest_cells(jobs)]


class Searches:
    """The searches of each cell, looked up once: of thousands of cells each asks for its own."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._of_cell: dict[tuple[str, frozenset[str]], list[Job]] = {}
        self._of_name: dict[str, list[Job]] = {}
        for job in sorted(jobs, key=lambda job: job.id):
            if job.kind == "cell" and job.status is not JobStatus.CANCELLED:
                self._of_cell.setdefault(_cell_of(job), []).append(job)
                self._of_name.setdefault(job.experiment, []).append(job)

    def newer(self, cell: Job) -> list[Job]:
        """Those of the same cell that were put in line after this one, cancelled ones left out."""
        return [job for job in self._of_cell.get(_cell_of(cell), ()) if job.id > cell.id]

    def on_other_axes(self, cell: Job) -> Job | None:
        """The latest of the cell's name on other axes, one of which was renamed, added or left out; None: none."""
        later = [job for job in self._of_name.get(cell.experiment, ()) if job.id > cell.id]
        return next((job for job in reversed(later) if _cell_of(job) != _cell_of(cell)), None)


def _cell_of(job: Job) -> tuple[str, frozenset[str]]:
    """What is one cell: the same values of other axes are another one."""
    return job.experiment, frozenset(job.labels)
