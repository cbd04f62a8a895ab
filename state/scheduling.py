"""Which job may start, said once: the same rule as SQL for the claim and as words for `fts why`."""

from __future__ import annotations

from dataclasses import dataclass

from state.values import Job, JobStatus

MAX_IDLE_ATTEMPTS = 3  # attempts in a row without an epoch or a trial end, after which a job is parked

# `runnable_reason` is this predicate in words; a test holds the two together over random states.
RUNNABLE_SQL = (
    "status = 'queued' AND hold_reason IS NULL AND NOT EXISTS (SELECT 1 FROM flag WHERE name = 'queue_paused')"
)


@dataclass(frozen=True)
class QueueContext:
    """What the answer depends on beside the job itself."""

    queue_paused: bool = False
    queue_paused_reason: str | None = None
    max_idle_attempts: int = MAX_IDLE_ATTEMPTS


def runnable_reason(job: Job, context: QueueContext) -> str | None:
    """Why this job may not be claimed now, in words; None: a free slot would take it, by rank."""
    if job.status is JobStatus.RUNNING:
        return f"it is running (worker {job.worker_id}, attempt {job.attempt})"
    if job.status is JobStatus.PAUSED:
        return f"it is paused; `fts resume {job.id}` puts it back in line"
    if job.status is not JobStatus.QUEUED:
        ended = f" ({job.cause.value})" if job.cause else ""
        return f"it has ended: {job.status.value}{ended}; `fts retry {job.id}` continues it"
    if job.hold_reason is not None:
        return f"it is held: {job.hold_reason}; `fts resume {job.id}` tries it all the same"
    if context.queue_paused:
        return f"the queue is paused: {context.queue_paused_reason or 'no reason given'}; `fts resume --queue` goes on"
    if job.idle_attempts >= context.max_idle_attempts:
        return f"{job.idle_attempts} attempts ended without progress, the next look parks it; `fts retry {job.id}`"
    return None


def preference(status: str, trials: int, job_id: int, wanted: int) -> tuple[bool, int, int, int]:
    """Of several jobs of one question the least answers a person who wants so many trials.

    One with enough trials comes first, then one that is not over yet, then one that is done.
    """
    done, lives = status == "done", status in ("queued", "running", "paused")
    return not (trials >= wanted and (lives or done)), 0 if lives else 1 if done else 2, -trials, -job_id
