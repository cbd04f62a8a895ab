"""Lists a worker's running jobs that allow several trials at once, so that idle slots can join them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.api.lag import parallel_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.supervisor.job_runner import JobRunner
    from fts.jobs.supervisor.slot import Slot
    from fts.state.values import Claim


CREATED_S = 5.0  # after this time slots no longer wait for a job: its study's code may never return


class SharedJobs:
    """The running jobs that other slots may join. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.claims = 0  # how many such jobs were claimed so far
        self._runners: dict[int, tuple[Claim, JobRunner | None]] = {}  # by job id; None: it is being created
        self._awaited: dict[int, float] = {}  # job id -> monotonic time until which slots wait for its runner

    def claimed(self, claim: Claim) -> None:
        """Adds a job that others may join; `join` waits until its runner exists, at most CREATED_S."""
        if claim.job.parallel > 1:
            with self._changed:
                self.claims += 1
                self._runners[claim.job_id] = (claim, None)
                self._awaited[claim.job_id] = time.monotonic() + CREATED_S

    def runs(self, claim: Claim, runner: JobRunner) -> None:
        with self._changed:
            if claim.job_id in self._runners and parallel_of(runner.cell) > 1:
                self._runners[claim.job_id] = (claim, runner)
            self._awaited.pop(claim.job_id, None)
            self._changed.notify_all()

    def ends(self, claim: Claim) -> None:
        with self._changed:
            self._runners.pop(claim.job_id, None)
            self._awaited.pop(claim.job_id, None)
            self._changed.notify_all()

    def join(self, slot: Slot, without: Callable[[JobRunner, Slot], bool] = lambda *_: False) -> bool:
        """Runs trials of the first job, in queue order, that has any for another slot; False: none has.

        Jobs for which `without` returns True are skipped.
        """
        return any(not without(runner, slot) and runner.join(slot) for runner in self._in_queue_order())

    def _in_queue_order(self) -> list[JobRunner]:
        with self._changed:
            while (left_s := max(self._awaited.values(), default=0.0) - time.monotonic()) > 0:
                self._changed.wait(left_s)
            found = sorted(self._runners.values(), key=lambda pair: (pair[0].job.rank, pair[0].job_id))
            return [runner for _, runner in found if runner is not None]
