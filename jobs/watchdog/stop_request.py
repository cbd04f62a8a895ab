"""Defines why a trial must stop or be retried: a person's order, a watchdog's decision, or the end of its process."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from fts.state.values import Cause


class StopReason(StrEnum):
    """Why an attempt ended before the trial's result. The values are stored in events and attempts."""

    LOST = "lost"  # another worker holds the claim now
    STOP = "stop"  # the worker leaves at once
    DRAIN = "drain"  # the worker leaves between two trials
    PAUSE = "pause"  # a person has paused the job
    CANCEL = "cancel"  # a person has cancelled it
    DISK = "disk"  # too little room for the next checkpoint; the queue pauses
    HEAT = "heat"  # the machine is too hot; the trial continues after it has cooled
    SHRINK = "shrink"  # it uses too much memory; the next attempt takes a leaner recipe
    KILL = "kill"  # above the hard memory limit: no time for a checkpoint
    STALLED = "stalled"  # no progress for too long
    TIME = "time limit"  # it has used up the time limit of a trial
    CRASHED = "crashed"  # its process died, probably because of its own code
    AGAIN = "again"  # its last epoch must be trained again for its end; or its process has run other code
    MACHINE = "machine"  # its process was killed from outside, or a device or library failed
    CODE_ERROR = "code error"  # it sent a fact that no row can hold; a retry cannot help
    DATA_ERROR = "data error"  # its labels contradict the recorded ones; a retry cannot help
    CANNOT_FIT = "cannot fit"  # no recipe fits into memory; the job is held
    NODE_LOST = "node lost"  # its node died or cannot be reached; the trial did not fail
    PREEMPTED = "preempted"  # the cluster wants the node back; there is a checkpoint
    LAUNCH_FAILED = "launch failed"  # a node could not start it
    REST = "rest"  # after a machine fault, or without a node: other jobs are queued, the next try comes later
    PARK = "park"  # too many machine faults; the job fails, its trial stays interrupted

    @property
    def leaves(self) -> bool:
        """Does it end the claim, whatever the trial process did meanwhile?"""
        return self in LEAVES

    @property
    def of_node(self) -> bool:
        """Is the node the cause? Then the trial continues on another one."""
        return self in (StopReason.NODE_LOST, StopReason.PREEMPTED, StopReason.LAUNCH_FAILED)

    @property
    def memory(self) -> bool:
        """Did the trial use too much memory?"""
        return self in (StopReason.SHRINK, StopReason.KILL)


LEAVES = (
    StopReason.LOST, StopReason.STOP, StopReason.PAUSE, StopReason.CANCEL, StopReason.DISK, StopReason.DRAIN,
)  # fmt: skip


@dataclass(frozen=True)
class StopRequest:
    """A request to stop a running trial."""

    reason: StopReason
    message: str = ""
    kill: bool = False  # no time for a checkpoint
    cause: Cause | None = None  # with PARK: the cause of the job's failure
    seconds: float = 0.0  # with REST: wait before the next try
    yields: bool = False  # with REST: another job runs in its slot now
