"""The glance as whole sentences, without glyphs or columns: for screen readers, and for messages to a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import declared, drain, formatting, naming
from fts.jobs.status.headline import finish_text
from fts.state.values import Job, JobStatus

if TYPE_CHECKING:
    from fts.jobs.status.summary import Glance


def finish_sentence(glance: Glance) -> str:
    """When the work will be done, or that nothing is left to do, or why no time can be given."""
    if finish := finish_text(glance):
        return f"{finish[0].upper()}{finish[1:].replace(' ±', ', plus or minus ')}"
    if glance.is_blind:
        return "The end is not known, because the database cannot be read"
    waiting = (JobStatus.PAUSED, JobStatus.QUEUED)
    kept = sum(job.status in waiting for job in glance.snapshot.jobs)
    if kept:
        return f"Nothing else can run: {formatting.count(kept, 'job')} paused or held"
    return "All jobs have ended" if glance.snapshot.jobs else "No job is in the queue"


def sentences(glance: Glance) -> list[str]:
    """The same facts as whole sentences, without glyphs or columns."""
    told = [verdict_sentence(glance)]
    told += [formatting.full_stop(f"Also: {concern.reason}") for concern in glance.verdict.concerns[1:]]
    leaving = (drain.sentence(glance.snapshot, worker, glance.now) for worker in drain.draining(glance.snapshot))
    told += [f"DRAINING: {text}." for text in leaving if text not in told[0]]
    told.append(f"{finish_sentence(glance)}.")
    if (away := glance.away) is not None:
        told.append(
            f"Since {formatting.when(away.since, glance.now)}: {formatting.count(away.done, 'cell')} done, "
            f"{formatting.count(away.trials, 'trial')} ended, {away.failed} failed, "
            f"{away.lost} lost with their worker, {formatting.count(away.guard_pauses, 'pause')} because of heat."
        )
    return told + [cell_sentence(glance, job) for job in listed(glance.snapshot.jobs)]


def verdict_sentence(glance: Glance) -> str:
    """`LOOK: 20M/h3 failed: ...`"""
    return formatting.full_stop(f"{glance.verdict.word}: {glance.verdict.reason}")


def cell_sentence(glance: Glance, job: Job) -> str:
    """`mnist/S is done: 20 of 20 trials, best val_loss 0.3491.`"""
    kind = declared.of_job(glance.snapshot, job).word(job.metric, None)
    best = f", best {kind} {formatting.best(job.best_value)}" if job.best_value is not None else ""
    if len(job.goals) > 1:
        best = f", {formatting.count(len(job.front), 'trial')} on the front of {', '.join(job.goals)}"
    state = glance.lost(job).replace("lost claim", "lost") or job.status
    wanted = formatting.count(job.trials_wanted, "trial")
    name = naming.names_of(glance.snapshot.jobs)[job.id]
    return f"{name} is {state}: {formatting.trials_ended(job)} of {wanted}{best}."


def listed(jobs: tuple[Job, ...], most: int = 14) -> list[Job]:
    """Running and failed ones always, then the line, then the ended ones, as many as fit."""
    first = [job for job in jobs if job.status in (JobStatus.RUNNING, JobStatus.FAILED)]
    rest = [job for job in jobs if job.status not in (JobStatus.RUNNING, JobStatus.FAILED)]
    kept = {job.id for job in (first + rest)[:most]}
    return [job for job in jobs if job.id in kept]
