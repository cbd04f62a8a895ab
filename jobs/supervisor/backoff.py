"""Jobs whose next try waits after a fault of the machine, while their slots run other jobs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.supervisor.history import BEGINS_AGAIN
from fts.jobs.supervisor.machine_errors import pause_s
from fts.jobs.supervisor.retry_limits import tries_in_vain
from fts.jobs.watchdog.stop_request import StopReason
from fts.state import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.db import Database
    from fts.state.values import Attempt


class Rests:
    """Of one worker, by job. Thread-safe. `resting` adds those of other workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[int, float] = {}  # monotonic
        self._woken = time.monotonic()

    def begin(self, job_id: int, seconds: float) -> None:
        with self._lock:
            self._until[job_id] = time.monotonic() + seconds

    @property
    def jobs(self) -> frozenset[int]:
        """Those that may not be claimed yet."""
        now = time.monotonic()
        with self._lock:
            return frozenset(job_id for job_id, until in self._until.items() if until > now)

    def have_ended(self) -> bool:
        """Has any ended since this was last asked?"""
        now = time.monotonic()
        with self._lock:
            before, self._woken = self._woken, now
            return any(before < until <= now for until in self._until.values())


def resting(db: Database, first_s: float) -> frozenset[int]:
    """Queued jobs whose trials all wait for their next try by what is on record, whichever worker made the last one."""
    found: dict[int, bool] = {}
    for job_id, trial_id, how, ended_at in queries.latest_tries(db):
        waits = how == StopReason.MACHINE and (
            0 <= db.now() - ended_at < pause_s(len(recorded_tries(db, job_id, trial_id)), first_s)
        )
        found[job_id] = waits and found.get(job_id, True)
    return frozenset(job_id for job_id, waits in found.items() if waits)


def recorded_tries(db: Database, job_id: int, trial_id: int) -> Sequence[Attempt]:
    """That the machine failed since the trial last got further, or a person had its job begin again."""
    attempts = queries.attempts(db, trial_id)
    if not any(one.how == StopReason.MACHINE for one in attempts):
        return ()
    gained = [one.at for one in queries.epochs(db, trial_id)[-1:]]
    gained += [one["at"] for one in queries.checkpoints(db, trial_id)[:1]]
    since = queries.claimed_since(db, job_id, BEGINS_AGAIN)
    return tries_in_vain([one for one in attempts if one.token >= since], gained)
