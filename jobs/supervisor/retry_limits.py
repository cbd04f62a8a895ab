"""What went wrong with one trial since it last got further, and when that is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.watchdog.stop_request import StopReason
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Attempt

STALLS_ALLOWED = 2  # the third stall of a trial fails it
CRASHES_ALLOWED = 2  # of its own code, without an epoch or a checkpoint in between; the third fails it


class Setbacks:
    """Counts what went wrong with one trial since it last gained an epoch or a checkpoint."""

    def __init__(self, reached: tuple[int, int], outages: int = 0) -> None:
        self.stalls = self.crashes = self.memory = self.alone = 0
        self.outages = outages
        self._reached = reached

    def add(self, reason: StopReason | None, reached: tuple[int, int], alone: bool = False) -> None:
        """`alone`: no other trial ran beside it."""
        self.stalls += reason is StopReason.STALLED
        if reached != self._reached:
            self._reached, self.crashes, self.outages, self.memory, self.alone = reached, 0, 0, 0, 0
        self.crashes += reason is StopReason.CRASHED
        self.outages += reason is StopReason.MACHINE
        self.memory += reason is not None and reason.memory
        self.alone += reason is not None and reason.memory and alone

    def hopeless(self, reason: StopReason | None) -> Cause | None:
        """The cause to end a trial with that was tried often enough, or that another try cannot mend."""
        if self.stalls > STALLS_ALLOWED:
            return Cause.STALLED
        if self.crashes > CRASHES_ALLOWED:
            return Cause.CODE_ERROR
        return Cause(reason) if reason in (StopReason.DATA_ERROR, StopReason.CODE_ERROR) else None


def tries_in_vain(attempts: Sequence[Attempt], gained: Sequence[float]) -> list[Attempt]:
    """Those that the machine has ended since the last one that gained something, at one of these times.

    By their order: a clock that was set back makes an early attempt end after a later one.
    """
    got_on = (one.n for one in attempts if any(one.began_at <= at <= (one.ended_at or at) for at in gained))
    last = max(got_on, default=0)
    return [one for one in attempts if one.how == StopReason.MACHINE and one.n >= last]
