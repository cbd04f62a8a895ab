"""The lines that a worker prints when it starts and leaves: its settings, the queue, what it did."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.event_groups import FAILED, FINISHED, TRIAL_ENDED
from fts.jobs.status.formatting import count
from fts.state import queries
from fts.state.values import JobStatus, Verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.settings import Places, WorkerSettings
    from fts.state.db import Database
    from fts.state.values import Job, Worker


def introduction(worker_id: int, settings: WorkerSettings, places: Places, jobs: Sequence[Job], paused: bool) -> str:
    """Names the worker, its process, slots, device, database and data folder, and counts the queued jobs."""
    ends = "`fts stop` or `fts drain` ends it" if settings.detached else "Ctrl-C stops it at a checkpoint"
    data = f", data {places.data}" if places.data.is_dir() else ""
    executor = settings.where.executor
    place = settings.device if executor == "local" else f"nodes of --executor {executor}"
    return (
        f"worker {worker_id}, process {os.getpid()}: {count(settings.slots, 'slot')} on {place}, database "
        f"{places.db.absolute()}{data}; {queue_summary(jobs, paused)}; {ends}"
    )


def queue_summary(jobs: Sequence[Job], paused: bool) -> str:
    """Returns `3 jobs queued (41 trials), 1 paused`."""
    waiting = [job for job in jobs if job.status is JobStatus.QUEUED and not job.hold_reason]
    parts = []
    if waiting:
        trials = sum(max(job.trials_wanted - formatting.trials_ended(job), 0) for job in waiting)
        parts.append(f"{count(len(waiting), 'job')} queued ({count(trials, 'trial')})")
    for words, number in (
        ("running elsewhere", sum(job.status is JobStatus.RUNNING for job in jobs)),
        ("paused", sum(job.status is JobStatus.PAUSED for job in jobs)),
        ("held", sum(job.status is JobStatus.QUEUED and bool(job.hold_reason) for job in jobs)),
    ):
        if number:
            parts.append(f"{number} {words}")
    found = ", ".join(parts) or "no job queued"
    return f"{found}; the queue is paused, `fts resume --queue` resumes it" if paused and waiting else found


def waits_for(worker: Worker) -> str:
    """Says why an idle worker does not leave yet."""
    return f"is with worker {worker.id} on {worker.host}: if that stays silent, its lease ends and the job comes here"


def farewell(db: Database, worker_id: int, since: int, seconds: float) -> str:
    """Says what this worker did and what is left, with the next command; `since`: last event before its start."""
    who = f"worker {worker_id}"
    mine = queries.events_by(db, who, since)
    trials, done, failed = (sum(mine.get(verb, 0) for verb in verbs) for verbs in (TRIAL_ENDED, FINISHED, FAILED))
    did = [f"{count(trials, 'trial')} ended"]
    did += [f"{count(n, 'job')} {word}" for n, word in ((done, "done"), (failed, "failed")) if n]
    interrupted = queries.trials_left_at(db, who, since, Verb.TRIAL_INTERRUPTED, TURNS)
    jobs = queries.jobs(db)
    left = queue_summary(jobs, queries.flag(db, "queue_paused") is not None)
    if interrupted:
        left += f", {count(interrupted, 'interrupted trial')}"
    waits = any(job.status is JobStatus.QUEUED and not job.hold_reason for job in jobs)
    more = "`fts results` shows the results" if done else "`fts status` shows all"
    more = "`fts worker` continues" if waits else more
    return f"worker {worker_id} leaves after {formatting.spell(seconds)}: {', '.join(did)}. It leaves {left}; {more}"


TURNS = frozenset({Verb.TRIAL_STARTED, Verb.TRIAL_RESUMED, Verb.TRIAL_INTERRUPTED, *TRIAL_ENDED})


def last_event(db: Database) -> int:
    return max((event.id for event in queries.events(db, limit=1)), default=0)
