"""Recognises a question that was asked before, whatever became of its job, and says what there is and what to type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fts.jobs.status import formatting
from fts.study.cell import BadSpec, CellSpec

if TYPE_CHECKING:
    from fts.state.values import Enqueued, Job


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


def told(name: str, asked: int, found: Enqueued, job: Job | None, dry_run: bool = False) -> str:
    """What became of a cell, or would: `tiny/h1 is done: job 3, 3 trials, best .5931; --again searches it anew`."""
    if found.created or job is None:
        number = "" if job is None or dry_run else f" as job {job.id}"
        return (
            f"{name} {'is new' if dry_run else 'is in line'}{number}: {formatting.count(asked, 'trial')}{_held(found)}"
        )
    if found.extended_from is not None:
        return f"{name} {_extended(asked, found, job, dry_run)}{_held(found)}"
    state, cure = STATES.get(found.status, (found.status, "`--again` searches it again from the start"))
    return f"{name} {state}: job {job.id}, {_trials(job)}{_asked(asked, job)}{_best(job)}; {_cure(cure, found, job)}"


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


STATES = {
    "queued": ("is in line", "`fts worker` runs it"),
    "running": ("is running", "`fts status` shows its progress"),
    "paused": ("is paused", "`fts resume {job}` continues it"),
    "done": ("is done", "`--again` searches it again from the start"),
    "failed": ("has failed", "`fts retry {job}` continues it, `--again` searches it again from the start"),
    "cancelled": ("was cancelled", "`fts retry {job}` brings it back, `--again` searches it again from the start"),
}


def _extended(asked: int, found: Enqueued, job: Job, dry_run: bool) -> str:
    verb = "would be extended" if dry_run else "is extended"
    was = {"done": "was done", "failed": "had failed", "cancelled": "was cancelled"}.get(found.status)
    back = f"; it {was} and {'would go' if dry_run else 'is'} back in line" if was else f"; it is {found.status}"
    return f"{verb}: job {job.id} from {found.extended_from} to {formatting.count(asked, 'trial')}{back}"


def _trials(job: Job) -> str:
    ended = formatting.trials_ended(job)
    failed = f", {job.trials_failed} of them failed" if job.trials_failed else ""
    if ended >= job.trials_wanted:
        return f"{formatting.count(job.trials_wanted, 'trial')}{failed}"
    return f"{ended} of {formatting.count(job.trials_wanted, 'trial')} ended{failed}"


def _asked(asked: int, job: Job) -> str:
    return f" ({asked} asked for)" if asked < job.trials_wanted else ""


def _best(job: Job) -> str:
    return f", best {formatting.short_score(job.best_value)}" if job.best_value is not None else ""


def _held(found: Enqueued) -> str:
    return f"; it is held: {found.held}" if found.held else ""


def _cure(cure: str, found: Enqueued, job: Job) -> str:
    if found.status == "queued" and found.held:
        return f"it is held ({found.held}), `fts resume {job.id}` lets it start"
    if found.status == "done" and job.trials_complete == 0:
        return f"no trial is complete, `fts retry {job.id}` runs them again"
    return cure.format(job=job.id)
