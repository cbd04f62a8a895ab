"""Jobs whose next try waits after a fault of the machine, while their slots run other jobs."""

from __future__ import annotations

import threading
import time


class Rests:
    """Of one worker, by job. Thread-safe. How often a trial was tried is on record, for every worker."""

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
