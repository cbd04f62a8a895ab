"""Counts the failed attempts of a trial since its last progress, and decides when to stop retrying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.watchdog.stop_request import StopReason
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Attempt

STALLS_ALLOWED = 2  # the third stall fails the trial
CRASHES_ALLOWED = 2  # crashes of its own code without an epoch or a checkpoint in between; the third fails the trial


class FailureCounts:
    """Counts failed attempts since the trial's last new epoch or checkpoint; stalls are counted over its whole life."""

    def __init__(self, reached: tuple[int, int], outages: int = 0) -> None:
        self.stalls = self.crashes = self.memory = self.alone = 0
        self.outages = outages
        self._reached = reached

    def add(self, reason: StopReason | None, reached: tuple[int, int], alone: bool = False) -> None:
        """Adds an attempt. `reached`: epochs and checkpoint step. `alone`: no other trial ran at the same time."""
        self.stalls += reason is StopReason.STALLED
        if reached != self._reached:
            self._reached, self.crashes, self.outages, self.memory, self.alone = reached, 0, 0, 0, 0
        self.crashes += reason is StopReason.CRASHED
        self.outages += reason is StopReason.MACHINE
        self.memory += reason is not None and reason.memory
        self.alone += reason is not None and reason.memory and alone

    def final_cause(self, reason: StopReason | None) -> Cause | None:
        """Returns the cause to fail the trial with, after enough tries or an error that a retry cannot fix; or None."""
        if self.stalls > STALLS_ALLOWED:
            return Cause.STALLED
        if self.crashes > CRASHES_ALLOWED:
            return Cause.CODE_ERROR
        return Cause(reason) if reason in (StopReason.DATA_ERROR, StopReason.CODE_ERROR) else None


def tries_without_progress(attempts: Sequence[Attempt], gained: Sequence[float]) -> list[Attempt]:
    """Returns the attempts that machine faults ended, from the last one that made progress (at a time in `gained`) on.

    Ordered by attempt number: a clock that was set back makes an early attempt end after a later one.
    """
    got_on = (one.n for one in attempts if any(one.began_at <= at <= (one.ended_at or at) for at in gained))
    last = max(got_on, default=0)
    return [one for one in attempts if one.how == StopReason.MACHINE and one.n >= last]
