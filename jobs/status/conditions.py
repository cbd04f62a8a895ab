"""What a snapshot says without judging it: who is alive, who is silent, what could run, and when to call it wrong."""

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
SHARE_OF_DISK = 20  # one part in so many stays free on a small disk


def disk_reserve(environ: Mapping[str, str], disk: Path | None) -> int:
    """Bytes below which a trial stops on the disk of this folder (None: of another machine).

    Where the variable says nothing, or no size: 1 GB, and of a disk below 20 GB a twentieth.
    """
    try:
        return read_size(environ.get(RESERVE, ""), RESERVE)
    except BadSpec:
        return usual_reserve(disk)


def usual_reserve(disk: Path | None) -> int:
    """Bytes."""
    try:
        return formatting.GB if disk is None else min(formatting.GB, capacity(disk) // SHARE_OF_DISK)
    except OSError:
        return formatting.GB


def disk_low(disk: Path) -> int:
    """Bytes below which a person is told, before trials stop."""
    return 2 * disk_reserve(os.environ, disk)


BEAT_S = 5.0  # a worker beats this often (fts.jobs.settings)
SILENT_BEATS = 3


def is_live(worker: Worker, now: float, silent_beats: int = SILENT_BEATS) -> bool:
    """Its heartbeat is recent enough to believe that it works.

    One ahead of the clock was beaten before the clock was set back: whoever lives has beaten again since.
    """
    if worker.status != "running" or worker.gone:
        return False
    return abs(now - worker.heartbeat_at) <= BEAT_S * silent_beats


def silent_worker(snapshot: Snapshot, now: float) -> Worker | None:
    """The one that beat last, if that is more than two heartbeats ago: dead, or kept from writing by a lock."""
    crew = [worker for worker in snapshot.workers if worker.status == "running" and not worker.gone]
    latest = max(crew, key=lambda worker: worker.heartbeat_at, default=None)
    return latest if latest is not None and abs(now - latest.heartbeat_at) > 2 * BEAT_S else None


def step_seconds(trial: Trial, epochs: Sequence[Epoch]) -> list[float]:
    """How long each step took; where a study does not tell, the time since the one before."""
    found, before = [], trial.started_at
    for epoch in epochs:
        found.append(epoch.seconds if epoch.seconds > 0 else max(epoch.at - before, 0.0))
        before = epoch.at
    return found


def is_disk_low(snapshot: Snapshot) -> bool:
    """A live worker has little more free than the reserve, below which its trials stop."""
    low = disk_low(Path(snapshot.path).parent)
    return any(sample.disk_free is not None and sample.disk_free < low for sample in snapshot.samples)


def runnable(snapshot: Snapshot) -> list[Job]:
    """Jobs that a free slot would start now."""
    if snapshot.queue_paused:
        return []
    return _waiting((snapshot.jobs,), None, lambda: [job for job in snapshot.jobs if is_waiting(job)])


def running(snapshot: Snapshot) -> list[Job]:
    return _running((snapshot.jobs,), None, lambda: [job for job in snapshot.jobs if job.status is JobStatus.RUNNING])


_waiting: Once[list[Job]] = Once()  # a look asks for them many times, and they may be thousands
_running: Once[list[Job]] = Once()


def running_trials(snapshot: Snapshot, job: Job) -> list[Trial]:
    """The trials of a job that run now, by number: several where its cell runs them side by side."""
    return [trial for trial in snapshot.trials if trial.job_id == job.id and trial.status is TrialStatus.RUNNING]


def taken_slots(snapshot: Snapshot) -> int:
    """Slots in which something runs: each job takes one, also between two trials, and each further trial another."""
    return sum(max(1, len(running_trials(snapshot, job))) for job in running(snapshot))
