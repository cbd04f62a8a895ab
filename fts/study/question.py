"""Finds jobs of the same question, in any status, and explains why a new job does not extend one."""

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
    """Returns the question of a stored specification; None if this version cannot read it."""
    try:
        return CellSpec.from_json(spec).question
    except BadSpec:
        return None


def rule() -> Any:
    """Returns the rule for transitions.enqueue: which jobs ask the same question."""
    from fts.state.transitions import SameQuestion  # here, not above: peewee, which --help does not need

    return SameQuestion(question_of, lambda spec: CellSpec.from_json(spec).identity)


def other_epochs(jobs: Iterable[Job], cell: CellSpec, new: int) -> str:
    """Explains why job `new` does not extend an earlier job with another number of epochs; empty if there is none."""
    earlier = [job for job in jobs if job.id != new and job.kind == cell.kind == "cell" and _same_cell(job, cell)]
    found = [job for job in earlier if _question_with(job, cell.epochs) == cell.question]
    if not found or any(job.spec.get("epochs") == cell.epochs for job in found):  # or the user gave --again
        return ""
    job = max(found, key=lambda job: job.id)
    return (
        f"; job {job.id} has {formatting.count(job.spec['epochs'], 'epoch')}, and no job can change its epochs: the "
        "learning rate falls to zero over all epochs, so every trial would train differently after its warm-up"
    )


def _same_cell(job: Job, cell: CellSpec) -> bool:
    return (job.budget, job.horizon, job.task, job.tier) == (cell.budget, cell.horizon, cell.task, cell.tier)


def _question_with(job: Job, epochs: int) -> str | None:
    """Returns the question of the job if it had this number of epochs."""
    return question_of(job.spec | {"epochs": epochs})
