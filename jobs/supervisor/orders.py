"""What people, signals and the database ask of a running worker: written by the beat, read by every supervisor."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fts.jobs.watchdog.stop_request import StopReason

if TYPE_CHECKING:
    from fts.state.values import Claim

RANK = {None: 0, "drain_job": 1, "drain_trial": 2, "stop": 3}  # a stronger wish replaces a weaker one


class Orders:
    """Thread-safe. Signals ask for the life of the process; database orders can be withdrawn."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may arrive in the thread that holds it
        self._signalled: str | None = None
        self._signalled_by = ""  # empty: nobody asked, the worker itself cannot go on
        self._asked: str | None = None
        self._jobs: dict[int, str] = {}
        self._lost: set[int] = set()
        self._running: dict[int, Claim] = {}

    def signal(self, order: str, who: str = "") -> None:
        """drain_job | drain_trial | stop, from a signal, or from the worker itself when it cannot go on."""
        with self._lock:
            if RANK[order] > RANK[self._signalled]:
                self._signalled, self._signalled_by = order, who

    @property
    def unrecorded(self) -> tuple[str, str] | None:
        """(order, who) of a signal that the database does not know yet, or that was withdrawn there; None: it does."""
        with self._lock:
            if self._signalled is None or not self._signalled_by or RANK[self._asked] >= RANK[self._signalled]:
                return None
            return self._signalled, self._signalled_by

    def recorded(self, order: str) -> None:
        """The database knows it now."""
        with self._lock:
            self._asked = order

    def from_database(self, asked: str | None, jobs: dict[int, str]) -> None:
        with self._lock:
            self._asked, self._jobs = asked, dict(jobs)

    def lost(self, job_ids: set[int]) -> None:
        """These claims are no longer ours: someone else may run them."""
        with self._lock:
            self._lost |= job_ids & set(self._running)

    def starts(self, claim: Claim) -> None:
        with self._lock:
            self._running[claim.job_id] = claim
            self._lost.discard(claim.job_id)

    def ends(self, job_id: int) -> None:
        with self._lock:
            self._running.pop(job_id, None)
            self._lost.discard(job_id)

    @property
    def order(self) -> str | None:
        """The strongest order for the worker as a whole."""
        with self._lock:
            return max(self._signalled, self._asked, key=lambda order: RANK[order])

    @property
    def claims(self) -> tuple[Claim, ...]:
        with self._lock:
            return tuple(self._running.values())

    @property
    def busy(self) -> int:
        with self._lock:
            return len(self._running)

    def takes_work(self) -> bool:
        return self.order is None

    def for_job(self, job_id: int) -> StopReason | None:
        """What one job has to stop for: LOST, STOP, CANCEL, PAUSE or DRAIN."""
        with self._lock:
            if job_id in self._lost:
                return StopReason.LOST
            if self.order == "stop":
                return StopReason.STOP
            if asked := self._jobs.get(job_id):
                return StopReason(asked)
            return StopReason.DRAIN if self.order == "drain_trial" else None
