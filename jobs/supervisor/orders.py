"""Stores the orders to a running worker from signals and the database. The heartbeat writes, supervisors read."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from fts.jobs.watchdog.stop_request import StopReason
from fts.state.values import WorkerOrder, strength_of, stronger

if TYPE_CHECKING:
    from fts.state.values import Claim


class Orders:
    """The orders to one worker. Thread-safe. A signal stays in force; a database order can be withdrawn."""

    def __init__(self) -> None:
        self.looks: Counter[int] = Counter()  # thread -> how often it has looked for orders (worker/slot_watch.py)
        self._lock = threading.RLock()  # reentrant: a signal handler may run in the thread that holds it
        self._signalled: WorkerOrder | None = None
        self._signalled_by = ""  # empty: the worker itself cannot go on
        self.stops_asked = 0  # how often this worker was asked to stop: by signals, and by an order in the database
        self._job_of: dict[int, int] = {}  # thread -> the job for which it has last looked
        self._asked: WorkerOrder | None = None
        self._jobs: dict[int, str] = {}
        self._lost: set[int] = set()
        self._running: dict[int, Claim] = {}

    def signal(self, order: WorkerOrder, who: str = "") -> None:
        """Sets an order from a signal, or from the worker itself when it cannot go on."""
        with self._lock:
            self.stops_asked += order is WorkerOrder.STOP and bool(who)
            if order.strength > strength_of(self._signalled):
                self._signalled, self._signalled_by = order, who

    @property
    def unrecorded(self) -> tuple[WorkerOrder, str] | None:
        """Returns (order, who) of a signal that is not in the database, or was withdrawn there; None: no such one."""
        with self._lock:
            if self._signalled is None or not self._signalled_by:
                return None
            if strength_of(self._asked) >= self._signalled.strength:
                return None
            return self._signalled, self._signalled_by

    def recorded(self, order: WorkerOrder) -> None:
        """Notes that the order is in the database now."""
        with self._lock:
            self._asked = order

    def from_database(self, asked: WorkerOrder | None, jobs: dict[int, str]) -> None:
        with self._lock:
            self.stops_asked += asked is WorkerOrder.STOP and stronger(self._signalled, self._asked) is not asked
            self._asked, self._jobs = asked, dict(jobs)

    def lost(self, job_ids: set[int]) -> None:
        """Marks claims that this worker has lost: another worker may run these jobs."""
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
    def order(self) -> WorkerOrder | None:
        """Returns the strongest order for the worker as a whole."""
        with self._lock:
            self.looks[threading.get_ident()] += 1
            return stronger(self._signalled, self._asked)

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

    def is_to_stop(self, thread: int) -> bool:
        """Must the thread stop what it does: leave with the worker, or pause or cancel its job?"""
        with self._lock:
            stops = stronger(self._signalled, self._asked) is WorkerOrder.STOP
            return stops or self._job_of.get(thread) in self._jobs

    def for_job(self, job_id: int) -> StopReason | None:
        """Returns why a job must stop: LOST, STOP, CANCEL, PAUSE or DRAIN; None: it may go on."""
        with self._lock:
            self.looks[threading.get_ident()] += 1
            self._job_of[threading.get_ident()] = job_id
            if job_id in self._lost:
                return StopReason.LOST
            if self.order is WorkerOrder.STOP:
                return StopReason.STOP
            if asked := self._jobs.get(job_id):
                return StopReason(asked)
            return StopReason.DRAIN if self.order is WorkerOrder.DRAIN_TRIAL else None
