"""Jobs whose next try waits after a fault of the machine, while their slots run other jobs."""

from __future__ import annotations

import threading
import time

from fts.frozen import dataclass


@dataclass(frozen=True)
class Rest:
    until: float  # monotonic
    where: object = None  # the trial, and how far it had come
    tries: int = 0  # there, in vain


class Rests:
    """Of one worker. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rests: dict[int, Rest] = {}  # by job; one that is over still knows its tries
        self._woken = time.monotonic()

    def begin(self, job_id: int, seconds: float, where: object = None, tries: int = 0) -> None:
        with self._lock:
            self._rests[job_id] = Rest(time.monotonic() + seconds, where, tries)

    def take_tries(self, job_id: int, where: object) -> int:
        """How often the job's trial was tried in vain before it left its slot, if it has come no further since.

        Told once: a person who brings the job back later wants all tries again.
        """
        with self._lock:
            rest = self._rests.pop(job_id, None)
        return rest.tries if rest is not None and rest.where == where else 0

    @property
    def jobs(self) -> frozenset[int]:
        """Those that may not be claimed yet."""
        now = time.monotonic()
        with self._lock:
            return frozenset(job_id for job_id, rest in self._rests.items() if rest.until > now)

    def have_ended(self) -> bool:
        """Has any ended since this was last asked?"""
        now = time.monotonic()
        with self._lock:
            before, self._woken = self._woken, now
            return any(before < rest.until <= now for rest in self._rests.values())
