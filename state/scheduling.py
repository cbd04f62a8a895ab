"""Which job may start, said once: the same rule as SQL for the claim and as words for `fts why`."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.values import USED_UP, Cause, Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_IDLE_ATTEMPTS = 3  # attempts in a row without an epoch or a trial end, after which a job is parked
MAX_LOST_WORKERS = 30  # the same where the last worker was lost: killing a worker says little about its job
MAX_OUTAGES = 10  # the same where the machine was at fault; a worker rests between them

# Written out: with a parameter in place of 'queued', SQLite may not use the partial index.
WAITS_SQL = "status = 'queued' AND hold_reason IS NULL"  # `waits` is the same of a job that was read
# `runnable_reason` is this predicate in words; a test holds the two together over random states.
RUNNABLE_SQL = f"{WAITS_SQL} AND NOT EXISTS (SELECT 1 FROM flag WHERE name = 'queue_paused')"

OF_DISK = "disk:"  # begins the reason of a queue that a worker paused because files could not be written
FULL_DISK = "a full disk"  # in the place of who keeps a worker from writing
DEFECTS = ("input/output error", "i/o error")  # of a disk: that a file can be written proves nothing

IMPORTED = "imported"  # badge of a trial that another program has recorded: history, never run here

# A failed trial that a retry runs again: its end was not its own fault.
RUN_AGAIN_SQL = (
    f"status = 'failed' AND ended_at IS NOT NULL AND instr(badges, '\"{IMPORTED}\"') = 0 "
    "AND (cause IS NULL OR cause NOT IN (" + ", ".join(f"'{cause.value}'" for cause in USED_UP) + "))"
)


@dataclass(frozen=True)
class QueueContext:
    """What the answer depends on beside the job itself."""

    queue_paused: bool = False
    queue_paused_reason: str | None = None
    max_idle_attempts: int = MAX_IDLE_ATTEMPTS
    again: Mapping[int, Sequence[int]] = field(default_factory=dict)  # ended job -> failed trials a retry would run


def ends_with_room(reason: str | None) -> bool:
    """Was the queue paused because of a disk that will do again once files can be written?"""
    said = (reason or "").lower()
    return said.startswith(OF_DISK) and not any(words in said for words in DEFECTS)


def waits(job: Job) -> bool:
    """In line, and nothing about the job itself keeps it there."""
    return job.status is JobStatus.QUEUED and not job.hold_reason


def attempts_allowed(cause: str | None, max_idle_attempts: int = MAX_IDLE_ATTEMPTS) -> int:
    """How many attempts in a row may end without progress, the last of them with this cause."""
    more = {Cause.LOST_WORKER.value: MAX_LOST_WORKERS, Cause.MACHINE_ERROR.value: MAX_OUTAGES}
    return max(max_idle_attempts, more.get(str(cause), 0))


def runnable_reason(job: Job, context: QueueContext) -> str | None:
    """Why this job may not be claimed now, in words; None: a free slot would take it, by rank."""
    if job.unreadable is not None and job.status is JobStatus.QUEUED:
        return f"its row is unreadable, {job.unreadable}: a worker will mark it failed; `fts doctor` says what to do"
    if job.status is JobStatus.RUNNING:
        return f"it is running (worker {job.worker_id}, attempt {job.attempt})"
    if job.status is JobStatus.PAUSED:
        return f"it is paused; `fts resume {job.id}` puts it back in line"
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
    """The queue's pause and its reason; where nobody has to end it, that, too."""
    itself = ". A worker lets jobs start again when files can be written" if ends_with_room(reason) else ""
    return f"the queue is paused: {(reason or 'no reason given').rstrip('.' if itself else '')}{itself}"


def preference(status: str, trials: int, job_id: int, wanted: int) -> tuple[bool, int, int, int]:
    """Of several jobs of one question the least answers a person who wants so many trials.

    One with enough trials comes first, then one that is not over yet, then one that is done.
    """
    done, lives = status == "done", status in ("queued", "running", "paused")
    return not (trials >= wanted and (lives or done)), 0 if lives else 1 if done else 2, -trials, -job_id
