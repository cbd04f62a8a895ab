"""Gives the supervisor the watchdog and the sensors of a node with the interface of the local ones."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.executors.base import Exit, ExitKind
from fts.jobs.executors.frames import FrameKind
from fts.jobs.sensors.reading import Reading, clean
from fts.jobs.status.conditions import disk_reserve
from fts.jobs.watchdog.policy import Decision, GuardState, MemoryLimits, WatchdogAction, judge_disk
from fts.jobs.watchdog.watchdog import Vitals
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fts.jobs.executors.channel import Channel
    from fts.jobs.executors.remote import RemoteSlot
    from fts.jobs.executors.remote_process import RemoteProcess

READINGS = set(Reading.__dataclass_fields__) - {"at"}
HEAT = (GuardState.UNKNOWN, GuardState.NORMAL, GuardState.WARM)  # heat states that are not reported


class NodeMemory:
    """The peak memory on the node, in place of MemoryWatch."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    @property
    def peak(self) -> int:
        return int(self.channel.vitals.get("peak") or 0)


class RemoteWatchdog:
    """The watchdog on the node, with the methods that the supervisor uses."""

    def __init__(self, process: RemoteProcess, limits: MemoryLimits) -> None:
        self.process, self.limits = process, limits
        self.memory = NodeMemory(process.channel)
        self.pace = self
        self._began = time.monotonic()

    def limit_memory(self, limits: MemoryLimits) -> None:
        if limits != self.limits:
            self.limits = limits
            with contextlib.suppress(BrokenPipeError):
                self.process.channel.writer.send(FrameKind.LIMITS, {"limits": asdict(limits)})

    def begin_trial(
        self, usual_step_s: float | None = None, report_s: float | None = None, gap_s: float | None = None
    ) -> None:
        self.process.next_trial |= {"usual_step_s": usual_step_s, "report_s": report_s, "gap_s": gap_s}

    def progress(self, step_s: float | None = None) -> None:
        """Does nothing: the watchdog on the node gets the steps itself."""

    def reported(self) -> None:
        """Does nothing, like progress."""

    @property
    def worked_s(self) -> float:
        return float(self.process.channel.vitals.get("worked_s") or 0.0)

    @property
    def latest(self) -> Vitals | None:
        vitals = self.process.channel.vitals
        if "tree" not in vitals:
            return None
        heat = Decision(WatchdogAction.NONE, "", GuardState(vitals.get("guard", "unknown")))
        reading = reading_of(vitals.get("reading"))
        return Vitals(reading, int(vitals["tree"]), None, vitals.get("step_s"), heat, self.memory.peak)

    def check(self) -> list[Decision]:
        """Returns the decisions that the node has sent, without harmless changes of heat."""
        found, self.process.decisions = self.process.decisions, []
        reported = [one for one in found if one.action is not WatchdogAction.NONE or one.state not in HEAT]
        node = self.process.node
        return [replace(one, state=None, message=f"{node}: {one.message}") for one in reported]

    def close(self) -> None:
        """Does nothing: the agent closes it together with its process."""


def reading_of(values: Any) -> Reading:
    """Returns a node's reading without unbelievable values, at the time of this machine's clock."""
    known = values if isinstance(values, dict) else {}
    return Reading(time.time(), **{name: clean(name, value) for name, value in known.items() if name in READINGS})


def disk_short(hello: Mapping[str, Any]) -> str | None:
    """Says how much room is missing on a node's disk; None: it has enough, or it is unknown."""
    limits = MemoryLimits(disk_reserve=disk_reserve(os.environ, None))
    short = judge_disk(limits, reading_of(hello.get("reading")))
    return None if short is None else short.message


class NodeSensors:
    """The latest reading that a node has sent."""

    def __init__(self, slot: RemoteSlot) -> None:
        self.slot = slot
        self._latest: Any = None
        self._reading = reading_of(None)

    def read(self) -> Reading:
        channel = self.slot.channel
        if channel is None:
            return self._reading
        latest = channel.vitals.get("reading") or (channel.hello or {}).get("reading")
        if latest is not self._latest:
            self._latest, self._reading = latest, reading_of(latest)
        return self._reading

    def close(self) -> None:
        """Does nothing: the agent closes its sensors."""


@dataclass(frozen=True)
class Ending:
    """An EXIT frame: how the process ended, and the last vitals."""

    exit: Exit
    oom_kills: int
    vitals: dict[str, Any]


def exit_of(meta: dict[str, Any]) -> Ending:
    """Parses an EXIT frame. Raises ValueError, TypeError."""
    code = meta.get("code")
    how = Exit(code if isinstance(code, int) else None, ExitKind(str(meta.get("whose"))), str(meta.get("said"))[:2000])
    return Ending(how, int(meta.get("oom_kills") or 0), checked_vitals(meta) if "peak" in meta else {})


def checked_vitals(meta: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of a VITALS frame. Raises ValueError, TypeError, OverflowError."""
    GuardState(meta.get("guard", GuardState.UNKNOWN))
    for name in ("peak", "tree", "step_s", "worked_s"):
        int(meta.get(name) or 0)
    return meta


def of_machine(vitals: dict[str, Any]) -> dict[str, Any]:
    """Returns the vitals without those of a trial."""
    return {name: value for name, value in vitals.items() if name in ("reading", "guard")}


def decision_of(meta: dict[str, Any]) -> Decision:
    """Parses a DECISION frame. Raises ValueError."""
    state, cause = meta.get("state"), meta.get("cause")
    return Decision(
        WatchdogAction(meta["action"]),
        str(meta.get("message"))[:2000],
        GuardState(state) if state else None,
        Cause(cause) if cause else None,
        bool(meta.get("changed", True)),
    )
