"""Says what enqueueing a cell did, also if a job of the same question exists, and which command to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.status import formatting
from fts.state.transitions.extend import amount_of
from fts.state.values import Amount

if TYPE_CHECKING:
    from fts.state.values import Enqueued, Job


def enqueued_sentence(name: str, cell: Any, found: Enqueued, job: Job | None, dry_run: bool = False) -> str:
    """Says what enqueueing did to a cell, or would do: `tiny/h1 is done: job 3, 3 trials, best .5931; ...`."""
    asked = Amount(cell.trials, getattr(cell, "seeds", 1), getattr(cell, "baseline", None) is not None)
    if found.created or job is None:
        number = "" if job is None or dry_run else f" as job {job.id}"
        return f"{name} {'is new' if dry_run else 'is queued'}{number}: {_amount(asked)}{_held(found)}"
    if found.extended_from is not None:
        return f"{name} {_extended(found, job, dry_run)}{_held(found)}"
    state, cure = STATES.get(found.status, (found.status, "`--again` searches it again from the start"))
    return f"{name} {state}: job {job.id}, {_trials(job)}{_asked(asked, job)}{_best(job)}; {_cure(cure, found, job)}"


TIME_IS_UP = "time is up"  # prefix of the message of a job that its timeout has ended
STATES = {
    "queued": ("is queued", "`fts worker` runs it"),
    "running": ("is running", "`fts status` shows its progress"),
    "paused": ("is paused", "`fts resume {job}` continues it"),
    "done": ("is done", "`--again` searches it again from the start"),
    "failed": ("has failed", "`fts retry {job}` continues it, `--again` searches it again from the start"),
    "cancelled": ("was cancelled", "`fts retry {job}` brings it back, `--again` searches it again from the start"),
}


def _amount(asked: Amount) -> str:
    trials = formatting.count(asked.search, "trial")
    return f"{trials}, then {_extra(asked.seeds - 1, asked.baseline)}" if asked.extra else trials


def _extra(seeds: int, baseline: bool) -> str:
    """Names what runs after the search."""
    parts = ["its baseline"] if baseline else []
    return " and ".join([*parts, f"its winner with {formatting.count(seeds, 'other seed')}"] if seeds else parts)


def _extended(found: Enqueued, job: Job, dry_run: bool) -> str:
    """Says by what a job was extended: trials of its search, and extra trials in words of their own."""
    verb = "would be extended" if dry_run else "is extended"
    was = {"done": "was done", "failed": "had failed", "cancelled": "was cancelled"}.get(found.status)
    back = f"; it {was} and {'would be' if dry_run else 'is'} queued again" if was else f"; it is {found.status}"
    assert found.had is not None and found.has is not None, "it was extended"
    more = found.has.search > found.had.search
    words = f" from {found.had.search} to {formatting.count(found.has.search, 'trial')}" if more else ""
    now, before = found.has, found.had
    seeds = max((n for n, was in ((now.seeds, before.seeds), (now.follows, before.follows)) if n > was), default=1)
    baseline = now.baseline > before.baseline
    if seeds > 1 or baseline:
        new = _extra(seeds - 1, baseline)
        words += f"{',' if more else ''} {'would run' if dry_run else 'runs'} {new}, too"
    return f"{verb}: job {job.id}{words}{back}"


def _trials(job: Job) -> str:
    ended = formatting.trials_ended(job)
    failed = f", {job.trials_failed} of them failed" if job.trials_failed else ""
    if ended >= job.trials_wanted:
        return f"{formatting.count(job.trials_wanted, 'trial')}{failed}"
    return f"{ended} of {formatting.count(job.trials_wanted, 'trial')} ended{failed}"


def _asked(asked: Amount, job: Job) -> str:
    has = amount_of(job.spec, job.trials_wanted)
    parts = [f"{has.extra} of them outside its search"] if has.extra else []
    parts += [f"{asked.search} asked for"] if asked.search < has.search else []
    return f" ({', '.join(parts)})" if parts else ""


def _best(job: Job) -> str:
    return f", best {formatting.short_score(job.best_value)}" if job.best_value is not None else ""


def _held(found: Enqueued) -> str:
    return f"; it is held: {found.held}" if found.held else ""


def _cure(cure: str, found: Enqueued, job: Job) -> str:
    if found.status == "queued" and found.held:
        return f"it is held ({found.held}), `fts resume {job.id}` lets it start"
    if found.status == "done" and job.trials_complete == 0:
        return f"no trial is complete, `fts retry {job.id}` runs them again"
    if found.status == "done" and (job.message or "").startswith(TIME_IS_UP):
        return "its time is up, a longer --timeout continues it"
    return cure.format(job=job.id)
