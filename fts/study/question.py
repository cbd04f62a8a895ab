"""Recognises a question that was asked before, whatever became of its job, and says what there is and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import BadSpec
from fts.jobs.status import formatting
from fts.state.values import Job
from fts.study.cell import CellSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.values import Job


def question_of(spec: Mapping[str, Any]) -> str | None:
    """The question of a stored specification; None: it is of another version, or no specification."""
    try:
        return CellSpec.from_json(spec).question
    except BadSpec:
        return None


def rule() -> Any:
    """The same, as the transitions need it."""
    from fts.state.transitions import SameQuestion  # here, not above: peewee, which a mere --help need not load

    return SameQuestion(question_of, lambda spec: CellSpec.from_json(spec).identity)


def other_epochs(jobs: Iterable[Job], cell: CellSpec, new: int) -> str:
    """Why job `new` does not extend an earlier one that differs by its epochs alone; empty where there is none."""
    earlier = [job for job in jobs if job.id != new and job.kind == cell.kind == "cell" and _same_cell(job, cell)]
    found = [job for job in earlier if _question_with(job, cell.epochs) == cell.question]
    if not found or any(job.spec.get("epochs") == cell.epochs for job in found):  # or asked for with --again
        return ""
    job = max(found, key=lambda job: job.id)
    return (
        f"; job {job.id} has {formatting.count(job.spec['epochs'], 'epoch')}, and no job can change its epochs: the "
        "learning rate falls to zero over all epochs, so every trial would train differently after its warm-up"
    )


def _same_cell(job: Job, cell: CellSpec) -> bool:
    return (job.budget, job.horizon, job.task, job.tier) == (cell.budget, cell.horizon, cell.task, cell.tier)


def _question_with(job: Job, epochs: int) -> str | None:
    """What the job would ask with so many epochs."""
    return question_of(job.spec | {"epochs": epochs})
