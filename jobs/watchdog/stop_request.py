"""Why a trial must stop or be tried again: a person's order, the watchdog's, or what became of its process."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from fts.state.values import Cause


class StopReason(StrEnum):
    """Why an attempt at a trial is over before its result. The words are on record: events and attempts keep them."""

    LOST = "lost"  # another worker holds the claim now
    STOP = "stop"  # the worker leaves at once
    DRAIN = "drain"  # the worker leaves at the next boundary between two trials
    PAUSE = "pause"  # a person has paused the job
    CANCEL = "cancel"  # a person has cancelled it
    DISK = "disk"  # too little room for its next checkpoint; the queue pauses
    HEAT = "heat"  # the machine is too hot; the trial goes on once it has cooled
    SHRINK = "shrink"  # more memory than it may have; the next attempt takes a leaner recipe
    KILL = "kill"  # past the hard limit of memory: no time for a checkpoint
    STALLED = "stalled"  # no step for too long
    TIME = "time limit"  # it has worked for as long as a trial may
    CRASHED = "crashed"  # its process died, by its own code as far as anybody knows
    AGAIN = "again"  # a resumed trial had no epoch left, so its end had not seen one trained: the last is trained again
    MACHINE = "machine"  # its process was killed from outside, or a device or library failed
    CODE_ERROR = "code error"  # it told a fact that no row can hold: no other attempt can mend that
    DATA_ERROR = "data error"  # its labels contradict those on record: no other attempt can mend that
    CANNOT_FIT = "cannot fit"  # no recipe fits the memory there is; the job is held
    NODE_LOST = "node lost"  # its node went silent or away: no death of the trial
    PREEMPTED = "preempted"  # the engine wants the node back; there is a checkpoint
    LAUNCH_FAILED = "launch failed"  # a node could not start it
    REST = "rest"  # the machine failed it, and other jobs wait: the next try comes later
    PARK = "park"  # the machine failed it too often; the job fails, its trial stays interrupted

    @property
    def leaves(self) -> bool:
        """Whether it ends the claim, whatever the trial's process did meanwhile."""
        return self in LEAVES

    @property
    def of_node(self) -> bool:
        """Whether it is the node that ended, and the trial goes on elsewhere."""
        return self in (StopReason.NODE_LOST, StopReason.PREEMPTED, StopReason.LAUNCH_FAILED)

    @property
    def memory(self) -> bool:
        """Whether the trial took more memory than it may."""
        return self in (StopReason.SHRINK, StopReason.KILL)


LEAVES = (
    StopReason.LOST, StopReason.STOP, StopReason.PAUSE, StopReason.CANCEL, StopReason.DISK, StopReason.DRAIN,
)  # fmt: skip


@dataclass(frozen=True)
class StopRequest:
    """What a running trial should stop for."""

    reason: StopReason
    message: str = ""
    kill: bool = False  # no time for a checkpoint
    cause: Cause | None = None  # what a job is parked for
    seconds: float = 0.0  # of a rest
