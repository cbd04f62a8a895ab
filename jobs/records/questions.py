"""Says what became of a question that was asked again, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import formatting

if TYPE_CHECKING:
    from fts.state.values import Enqueued, Job


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
    now = formatting.count(max(asked, job.trials_wanted), "trial")  # those beside its search included
    return f"{verb}: job {job.id} from {found.extended_from} to {now}{back}"


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
