"""Delays the next try of a job after a machine fault, while its slot runs other jobs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.supervisor.history import BEGINS_AGAIN
from fts.jobs.supervisor.machine_errors import pause_s
from fts.jobs.supervisor.retry_limits import tries_without_progress
from fts.jobs.watchdog.stop_request import StopReason
from fts.state import queries
from fts.state.ticket_rows import next_runnable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.db import Database
    from fts.state.values import Attempt


class Backoff:
    """The jobs of this worker that wait, and until when. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[int, float] = {}  # job id -> monotonic seconds
        self._woken = time.monotonic()

    def begin(self, job_id: int, seconds: float) -> None:
        with self._lock:
            self._until[job_id] = time.monotonic() + seconds

    @property
    def jobs(self) -> frozenset[int]:
        """Ids of the jobs that may not be claimed yet."""
        now = time.monotonic()
        with self._lock:
            return frozenset(job_id for job_id, until in self._until.items() if until > now)

    def excluded(self, db: Database, first_s: float) -> frozenset[int]:
        """Returns the queued jobs that may not be claimed yet, also those that another worker has tried last."""
        return self.jobs | jobs_in_backoff(db, first_s)

    def others_wait(self, db: Database, first_s: float, job_id: int) -> bool:
        """Could a slot run another job than this one?"""
        return next_runnable(db, self.excluded(db, first_s) | {job_id}) is not None

    def any_ended(self) -> bool:
        """Has any wait ended since the last call?"""
        now = time.monotonic()
        with self._lock:
            before, self._woken = self._woken, now
            return any(before < until <= now for until in self._until.values())


def jobs_in_backoff(db: Database, first_s: float) -> frozenset[int]:
    """Returns the queued jobs in which every trial still waits for its next try, whichever worker made the last one."""
    found: dict[int, bool] = {}
    for job_id, trial_id, how, ended_at in queries.latest_tries(db):
        waits = how == StopReason.MACHINE and (
            0 <= db.now() - ended_at < pause_s(len(recorded_tries(db, job_id, trial_id)), first_s)
        )
        found[job_id] = waits and found.get(job_id, True)
    return frozenset(job_id for job_id, waits in found.items() if waits)


def recorded_tries(db: Database, job_id: int, trial_id: int) -> Sequence[Attempt]:
    """Returns the tries that machine faults ended since the trial's last progress or a person's restart of the job."""
    attempts = queries.attempts(db, trial_id)
    if not any(one.how == StopReason.MACHINE for one in attempts):
        return ()
    gained = [one["at"] for one in queries.checkpoints(db, trial_id, limit=1)]
    if (last := queries.last_epoch(db, trial_id)) is not None:
        gained.append(last.at)
    since = queries.claimed_since(db, job_id, BEGINS_AGAIN)
    return tries_without_progress([one for one in attempts if one.token >= since], gained)
