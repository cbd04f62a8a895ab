"""Reads plain facts from a snapshot: which workers are alive or silent, what runs, what could run, disk limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.api.amounts import read_size
from fts.jobs.api.spec import BadSpec
from fts.jobs.status import formatting
from fts.jobs.status.memoize import Once
from fts.state.files import capacity
from fts.state.scheduling import is_waiting
from fts.state.values import Epoch, Job, JobStatus, Snapshot, Trial, TrialStatus, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


RESERVE = "FTS_DISK_RESERVE"
SHARE_OF_DISK = 20  # the reserve of a disk below 20 GB is 1/20 of it


def disk_reserve(environ: Mapping[str, str], disk: Path | None) -> int:
    """Returns the free bytes below which trials stop on the disk of this folder (None: another machine's disk).

    Takes FTS_DISK_RESERVE, or without a valid size 1 GB, on a disk below 20 GB a twentieth of it.
    """
    try:
        return read_size(environ.get(RESERVE, ""), RESERVE)
    except BadSpec:
        return usual_reserve(disk)


def usual_reserve(disk: Path | None) -> int:
    """Returns the default reserve in bytes."""
    try:
        return formatting.GB if disk is None else min(formatting.GB, capacity(disk) // SHARE_OF_DISK)
    except OSError:
        return formatting.GB


def disk_low(disk: Path) -> int:
    """Returns the free bytes below which the user is warned, before trials stop."""
    return 2 * disk_reserve(os.environ, disk)


BEAT_S = 5.0  # seconds between two heartbeats of a worker (fts.jobs.settings)
SILENT_BEATS = 3


def is_live(worker: Worker, now: float, silent_beats: int = SILENT_BEATS) -> bool:
    """Returns whether the worker's heartbeat is recent.

    A heartbeat in the future is older than a clock that was set back: a live worker would have sent another since.
    """
    if worker.status != "running" or worker.gone:
        return False
    return abs(now - worker.heartbeat_at) <= BEAT_S * silent_beats


def silent_worker(snapshot: Snapshot, now: float) -> Worker | None:
    """Returns the worker with the last heartbeat, if two are overdue: it is dead, or a lock blocks its writes."""
    crew = [worker for worker in snapshot.workers if worker.status == "running" and not worker.gone]
    latest = max(crew, key=lambda worker: worker.heartbeat_at, default=None)
    return latest if latest is not None and abs(now - latest.heartbeat_at) > 2 * BEAT_S else None


def step_seconds(trial: Trial, epochs: Sequence[Epoch]) -> list[float]:
    """Returns the seconds of each step; if the study does not report them, the time since the step before."""
    found, before = [], trial.started_at
    for epoch in epochs:
        found.append(epoch.seconds if epoch.seconds > 0 else max(epoch.at - before, 0.0))
        before = epoch.at
    return found


def is_disk_low(snapshot: Snapshot) -> bool:
    """Returns whether a worker's disk has less free space than twice the reserve."""
    low = disk_low(Path(snapshot.path).parent)
    return any(sample.disk_free is not None and sample.disk_free < low for sample in snapshot.samples)


def runnable(snapshot: Snapshot) -> list[Job]:
    """Jobs that a free slot would start now."""
    if snapshot.queue_paused:
        return []
    return _waiting((snapshot.jobs,), None, lambda: [job for job in snapshot.jobs if is_waiting(job)])


def running(snapshot: Snapshot) -> list[Job]:
    return _running((snapshot.jobs,), None, lambda: [job for job in snapshot.jobs if job.status is JobStatus.RUNNING])


_waiting: Once[list[Job]] = Once()  # one screen asks many times, and there may be thousands of jobs
_running: Once[list[Job]] = Once()


def running_trials(snapshot: Snapshot, job: Job) -> list[Trial]:
    """Returns the running trials of a job, by number; several if the job is parallel."""
    return [trial for trial in snapshot.trials if trial.job_id == job.id and trial.status is TrialStatus.RUNNING]


def taken_slots(snapshot: Snapshot, workers: Sequence[Worker]) -> int:
    """Counts the taken slots of these workers.

    Each running job takes one, even between two trials, and each further trial one more.
    """
    theirs = {worker.id for worker in workers}
    return sum(max(1, len(running_trials(snapshot, job))) for job in running(snapshot) if job.worker_id in theirs)
