"""The running jobs of a worker whose cells may have several trials at once: idle slots join the first that has one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fts.jobs.api.lag import parallel_of

if TYPE_CHECKING:
    from fts.jobs.supervisor.job_runner import JobRunner
    from fts.jobs.supervisor.slot import Slot
    from fts.state.values import Claim


class SharedJobs:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.claims = 0  # of jobs that other slots may join
        self._runners: dict[int, tuple[Claim, JobRunner | None]] = {}  # None: it is being made

    def claimed(self, claim: Claim) -> None:
        """Other slots may join this job, once its runner is there."""
        if claim.job.parallel > 1:
            with self._changed:
                self.claims += 1
                self._runners[claim.job_id] = (claim, None)

    def runs(self, claim: Claim, runner: JobRunner) -> None:
        with self._changed:
            if claim.job_id in self._runners and parallel_of(runner.cell) > 1:
                self._runners[claim.job_id] = (claim, runner)
            self._changed.notify_all()

    def ends(self, claim: Claim) -> None:
        with self._changed:
            self._runners.pop(claim.job_id, None)
            self._changed.notify_all()

    def join(self, slot: Slot) -> bool:
        """Runs trials of the first job in line that has any for another slot; False: none has."""
        return any(runner.join(slot) for runner in self._in_line())

    def _in_line(self) -> list[JobRunner]:
        with self._changed:
            self._changed.wait_for(lambda: all(runner is not None for _, runner in self._runners.values()))
            found = sorted(self._runners.values(), key=lambda pair: (pair[0].job.rank, pair[0].job_id))
            return [runner for _, runner in found if runner is not None]
