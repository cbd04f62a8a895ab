"""Defines Concern, one problem and its severity, and the phrases for cell, step, worker and guard that it uses."""

from __future__ import annotations

from enum import StrEnum

from fts.frozen import dataclass
from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.conditions import is_live, runnable, running
from fts.jobs.status.event_groups import FAILED, RETRIED
from fts.state.values import Cause, Job, Snapshot, Trial


class Word(StrEnum):
    WELL = "WELL"  # nothing to do
    LOOK = "LOOK"  # a decision is needed, but it is not urgent
    ACT = "ACT"  # compute time is being lost now
    IDLE = "IDLE"  # nothing is left to run
    BLIND = "BLIND"  # the data is older than 15 s, or cannot be read


class About(StrEnum):
    """The kinds of messages to a person (jobs/notify), as study.toml names them."""

    DONE = "cell done"
    FAILED = "failed"  # a cell failed, or cannot start
    GUARD = "guard"  # the heat guard has paused the work for long
    LOST = "worker lost"
    IDLE = "idle"  # nothing is left to run
    SLIP = "slip"  # the finish is much later than the one that the user acknowledged
    DISK = "disk"  # disk space is low, or the disk has paused the queue


@dataclass(frozen=True)
class Concern:
    """One problem."""

    word: Word
    reason: str
    short: str  # for 80 columns; its first sentence for 60
    key: str | None = None  # the monitor's key that handles it
    job_id: int | None = None
    about: About | None = None  # None: no message is sent about it


LONGEST_NAME = 28  # columns of a cell's name in a sentence, so that the rest stays visible


# ---------------------------------------------------------------- words


def name_of(snapshot: Snapshot, job: Job) -> str:
    """Returns the cell's name, with the job's number if it is not unique; a very long one is cut in its middle."""
    return formatting.cut_middle(naming.names_of(snapshot.jobs)[job.id], LONGEST_NAME)


def step_of(snapshot: Snapshot, job_id: int, long: str = "") -> str:
    """Returns the study's word for a step: `ep`, or with `long` `epoch`."""
    job = next((job for job in snapshot.jobs if job.id == job_id), None)
    if job is not None and long:
        return declared.of_job(snapshot, job).step
    return long or declared.step_word(snapshot, job)


def latest_step(snapshot: Snapshot, trial: Trial) -> int | None:
    """Returns the step that a trial without an end has reported last, as it numbers them: from 1, a function from 0."""
    reported = max((epoch.epoch for epoch in snapshot.epochs if epoch.trial_id == trial.id), default=None)
    return reported if reported is not None else trial.epochs or None


def waiting_words(snapshot: Snapshot) -> str:
    busy, queued = len(running(snapshot)), len(runnable(snapshot))
    return f"{busy} running, {queued} waiting" if busy else f"{queued} waiting"


def worker_words(snapshot: Snapshot, now: float) -> str:
    live = [w for w in snapshot.workers if is_live(w, now)]
    if len(live) > 1:
        return f"{len(live)} workers alive"
    return f"Worker {live[0].id} alive" if live else "No worker"


def crew_words(snapshot: Snapshot, now: float) -> str:
    """Returns `Worker 1 alive, guard ok`; without a live worker nothing is guarded, so no guard is named."""
    guards = {w.guard for w in snapshot.workers if is_live(w, now)}
    if not guards:
        return worker_words(snapshot, now)
    worst = next((word for word in ("cooling", "frozen", "warm", "unknown") if word in guards), "ok")
    return f"{worker_words(snapshot, now)}, guard {worst}"


def is_seen(job: Job) -> bool:
    return job.acknowledged_at is not None and job.acknowledged_at >= (job.ended_at or 0.0)


def failed_again(snapshot: Snapshot, job: Job) -> bool:
    own = [event for event in snapshot.journal if event.job_id == job.id and event.verb in RETRIED | FAILED]
    retried = [n for n, event in enumerate(own) if event.verb in RETRIED]
    return bool(retried) and any(event.verb in FAILED for event in own[retried[-1] + 1 :])


def cause_of(job: Job, brief: bool = False) -> str:
    if job.cause is Cause.OUT_OF_MEMORY and brief:
        return "OOM"
    if job.cause is Cause.FINISHED:  # all its trials have ended, and none has a result
        return "no result"
    return str(job.cause) if job.cause else formatting.cut(job.message or "no cause recorded", 40)
