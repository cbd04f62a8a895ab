"""Decides which job may start: the same rule as SQL for the claim and as a sentence for `fts why`."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.values import USED_UP, Cause, Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_IDLE_ATTEMPTS = 3  # attempts in a row without an epoch or a trial end, after which a job fails
MAX_LOST_WORKERS = 30  # the same if the last worker was lost: a killed worker says little about its job
MAX_OUTAGES = 10  # the same if the machine was at fault; a worker backs off between the attempts

# A literal: with a parameter in place of 'queued', SQLite may not use the partial index.
WAITS_SQL = "status = 'queued' AND hold_reason IS NULL"  # `is_waiting` is the same rule for a Job
# `runnable_reason` is this predicate as a sentence; a test compares the two over random states.
RUNNABLE_SQL = f"{WAITS_SQL} AND NOT EXISTS (SELECT 1 FROM flag WHERE name = 'queue_paused')"

OF_DISK = "disk:"  # prefix of the reason if a worker paused the queue because it could not write files
FULL_DISK = "a full disk"  # what blocks a worker's writes if it is not another process
DEFECTS = ("input/output error", "i/o error")  # of a defective disk: one successful write proves nothing

IMPORTED = "imported"  # badge of a trial that another program has recorded: history, never run here

# A failed trial that a retry runs again: it did not fail by its own fault.
RUN_AGAIN_SQL = (
    f"status = 'failed' AND ended_at IS NOT NULL AND instr(badges, '\"{IMPORTED}\"') = 0 "
    "AND (cause IS NULL OR cause NOT IN (" + ", ".join(f"'{cause.value}'" for cause in USED_UP) + "))"
)


@dataclass(frozen=True)
class QueueContext:
    """What the answer depends on besides the job."""

    queue_paused: bool = False
    queue_paused_reason: str | None = None
    max_idle_attempts: int = MAX_IDLE_ATTEMPTS
    again: Mapping[int, Sequence[int]] = field(default_factory=dict)  # ended job -> failed trials a retry would run


def resumes_by_itself(reason: str | None) -> bool:
    """Whether a worker resumes the queue once files can be written: it was paused for a disk without a defect."""
    text = (reason or "").lower()
    return text.startswith(OF_DISK) and not any(words in text for words in DEFECTS)


def is_waiting(job: Job) -> bool:
    """Whether the job is queued and not held."""
    return job.status is JobStatus.QUEUED and not job.hold_reason


def attempts_allowed(cause: str | None, max_idle_attempts: int = MAX_IDLE_ATTEMPTS) -> int:
    """Returns how many attempts in a row may end without progress if the last one ended with this cause."""
    more = {Cause.LOST_WORKER.value: MAX_LOST_WORKERS, Cause.MACHINE_ERROR.value: MAX_OUTAGES}
    return max(max_idle_attempts, more.get(str(cause), 0))


def runnable_reason(job: Job, context: QueueContext) -> str | None:
    """Says why this job cannot be claimed now; None if a free slot may claim it."""
    if job.unreadable is not None and job.status is JobStatus.QUEUED:
        return f"its row is unreadable, {job.unreadable}: a worker will mark it failed; `fts doctor` says what to do"
    if job.status is JobStatus.RUNNING:
        return f"it is running (worker {job.worker_id}, attempt {job.attempt})"
    if job.status is JobStatus.PAUSED:
        return f"it is paused; `fts resume {job.id}` puts it back in the queue"
    if job.status is not JobStatus.QUEUED:
        ended = f" ({job.cause.value})" if job.cause else ""
        again = context.again.get(job.id, ())
        if refusal := job.retry_refusal(again):
            return f"it has ended: {job.status.value}{ended}; {refusal}"
        return f"it has ended: {job.status.value}{ended}; `fts retry {job.id}` {job.retry_words(again)}"
    if job.hold_reason is not None:
        return f"it is held: {job.hold_reason}; `fts resume {job.id}` lets it start anyway"
    if context.queue_paused:
        return f"{paused_because(context.queue_paused_reason)}; `fts resume --queue` lets jobs start"
    if job.idle_attempts >= attempts_allowed(job.cause, context.max_idle_attempts):
        fails = "attempts ended without progress, so the next worker marks it failed"
        return f"{job.idle_attempts} {fails}; then `fts retry {job.id}` continues it"
    return None


def paused_because(reason: str | None) -> str:
    """Says that the queue is paused and why, and if so, that a worker resumes it by itself."""
    itself = ". A worker lets jobs start again when files can be written" if resumes_by_itself(reason) else ""
    return f"the queue is paused: {(reason or 'no reason given').rstrip('.' if itself else '')}{itself}"


def preference(status: str, trials: int, job_id: int, wanted: int) -> tuple[bool, int, int, int]:
    """Sorts jobs of the same question; the smallest key is the best job for a person who wants `wanted` trials.

    Prefers a job with enough trials, then one that has not ended, then one that is done.
    """
    done, lives = status == "done", status in ("queued", "running", "paused")
    return not (trials >= wanted and (lives or done)), 0 if lives else 1 if done else 2, -trials, -job_id
