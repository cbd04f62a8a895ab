"""Decides what to do about heat, memory and disk: pure functions of readings, with hysteresis.

    guard = HeatPolicy(Thresholds())
    decision = guard.step(sensors.read())   # decision.action is freeze, thaw, stop, resume or none

Each slot has one HeatPolicy that outlives its trials, because no trial runs while the machine cools down.
"""

from __future__ import annotations

import os
from dataclasses import fields
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.amounts import read_size
from fts.jobs.status.conditions import RESERVE, usual_reserve
from fts.jobs.status.formatting import GB, in_gb
from fts.state.values import Cause

if TYPE_CHECKING:  # not at run time: the monitor imports these limits and should not load psutil
    from collections.abc import Mapping
    from pathlib import Path

    from fts.jobs.sensors.reading import Reading


class GuardState(StrEnum):
    """The state of the heat guard; the value is stored in the worker's row."""

    NORMAL = "normal"
    WARM = "warm"  # acceptable, shown
    FROZEN = "frozen"  # trials are stopped with SIGSTOP until it is cooler
    COOLING = "cooling"  # trials were stopped with a checkpoint; the slot waits
    UNKNOWN = "unknown"  # no temperature can be read; never treated as normal


class WatchdogAction(StrEnum):
    """What the supervisor has to do now."""

    NONE = "none"
    FREEZE = "freeze"  # SIGSTOP to the tree
    THAW = "thaw"
    STOP = "stop"  # checkpoint, end the process, free the slot until `resume`
    RESUME = "resume"  # the slot may work again
    SHRINK = "shrink"  # checkpoint, restart the same trial with half the micro-batch
    KILL = "kill"  # SIGKILL the tree, then continue from the last checkpoint
    DISK = "disk"  # checkpoint if there is room, stop, pause the queue


@dataclass(frozen=True)
class Decision:
    """What to do, with the message for the event and the screen."""

    action: WatchdogAction
    message: str
    state: GuardState | None = None  # None: the decision is not about heat
    cause: Cause | None = None  # cause of the trial's end, if the action ends it
    changed: bool = True  # record an event


@dataclass(frozen=True)
class Thresholds:
    """Degrees Celsius. Below `warm`: normal; from `warning` on: frozen until below `thaw`; above `critical`: stopped
    until below `cool`."""

    warm: float = 70.0
    warning: float = 85.0
    critical: float = 95.0
    thaw: float = 75.0
    cool: float = 70.0
    unknown_patience_s: float = 600.0  # warn when frozen or cooling for longer than this without a temperature
    go_on_unknown: bool = False  # True: then thaw or resume without a temperature; for unreliable thermometers

    def __post_init__(self) -> None:
        order = (0.0, self.warm, self.warning, self.critical)
        rises = all(low < high for low, high in pairwise(order))
        if not rises or not 0 < self.thaw < self.warning or not 0 < self.cool < self.critical:
            raise ValueError(
                "heat limits must satisfy 0 < warm < warning < critical, thaw < warning and cool < critical, got "
                + ", ".join(
                    f"{name} {getattr(self, name):g}" for name in ("warm", "warning", "critical", "thaw", "cool")
                )
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Thresholds:
        """Limits with overrides such as FTS_HEAT_WARNING=80; raises ValueError that names the variable."""
        found: dict[str, float | bool] = {}
        for field in fields(cls):
            name = f"FTS_HEAT_{field.name.upper()}"
            if text := environ.get(name, "").strip():
                found[field.name] = (
                    read_switch(name, text) if field.name == "go_on_unknown" else read_number(name, text)
                )
        return cls(**found)  # type: ignore[arg-type]  # each value was read as its field's type


class HeatPolicy:
    """State machine of the heat guard; each reading moves it one step."""

    def __init__(self, limits: Thresholds) -> None:
        self.limits = limits
        self.state = GuardState.UNKNOWN
        self._known_at: float | None = None  # time of the last reading with a temperature
        self._warned_unknown = False

    def step(self, reading: Reading) -> Decision:
        """Moves to the next state and returns what to do."""
        before = self.state
        heat = heat_of(reading, self.limits)
        if heat is None:
            return self._unknown(reading, before)
        self._known_at, self._warned_unknown = reading.at, False
        action = self._move(heat)
        return Decision(
            action,
            f"{name_heat(reading)}: {self._explain(before)}",
            self.state,
            Cause.OVERHEATED if action is WatchdogAction.STOP else None,
            changed=before is not self.state or action is not WatchdogAction.NONE,
        )

    def _move(self, heat: float) -> WatchdogAction:
        limits = self.limits
        if self.state is GuardState.COOLING:
            if heat >= limits.cool:
                return WatchdogAction.NONE
            self.state = self._band(heat)
            return WatchdogAction.RESUME
        if heat > limits.critical:
            self.state = GuardState.COOLING
            return WatchdogAction.STOP
        if self.state is GuardState.FROZEN:
            if heat >= limits.thaw:
                return WatchdogAction.NONE
            self.state = self._band(heat)
            return WatchdogAction.THAW
        if heat >= limits.warning:
            self.state = GuardState.FROZEN
            return WatchdogAction.FREEZE
        self.state = self._band(heat)
        return WatchdogAction.NONE

    def _band(self, heat: float) -> GuardState:
        return GuardState.NORMAL if heat < self.limits.warm else GuardState.WARM

    def _unknown(self, reading: Reading, before: GuardState) -> Decision:
        if before not in (GuardState.FROZEN, GuardState.COOLING):
            self.state = GuardState.UNKNOWN
            why = reading.unknown_because or "no thermometer answers"
            message = f"temperature unknown: {why}, so heat cannot be guarded"
            return Decision(WatchdogAction.NONE, message, self.state, changed=before is not self.state)
        if self._known_at is None:
            self._known_at = reading.at
        silent_s = reading.at - self._known_at
        if silent_s < self.limits.unknown_patience_s:
            return Decision(
                WatchdogAction.NONE, f"{before}; temperature unknown for {silent_s:.0f} s", before, changed=False
            )
        if self.limits.go_on_unknown:
            self.state = GuardState.UNKNOWN
            action = WatchdogAction.THAW if before is GuardState.FROZEN else WatchdogAction.RESUME
            return Decision(
                action,
                f"temperature unknown for {silent_s:.0f} s: continuing without it (FTS_HEAT_GO_ON_UNKNOWN=1)",
                self.state,
            )
        first, self._warned_unknown = not self._warned_unknown, True
        message = (
            f"still {before}: temperature unknown for {silent_s:.0f} s"
            f"{f' ({reading.unknown_because})' if reading.unknown_because else ''}; repair the sensor (FTS_SENSORS), "
            "or set FTS_HEAT_GO_ON_UNKNOWN=1 to work without one"
        )
        return Decision(WatchdogAction.NONE, message, before, changed=first)

    def _explain(self, before: GuardState) -> str:
        limits = self.limits
        if self.state is GuardState.FROZEN:
            return f"frozen until below {limits.thaw:g} °C"
        if self.state is GuardState.COOLING:
            return f"stopped with a checkpoint, cooling down until below {limits.cool:g} °C"
        if before in (GuardState.FROZEN, GuardState.COOLING):
            return f"cool enough, continuing ({self.state})"
        return str(self.state)


def heat_of(reading: Reading, limits: Thresholds) -> float | None:
    """Returns the higher of the measured temperature and the one that stands for macOS's thermal pressure."""
    by_pressure = {
        "nominal": min(limits.warm, limits.cool, limits.thaw) - 1,
        "moderate": (max(limits.warm, limits.thaw, limits.cool) + limits.warning) / 2,
        "heavy": limits.warning,
        "trapping": limits.critical + 1,
        "sleeping": limits.critical + 1,
    }
    known = [reading.temperature, by_pressure.get(reading.thermal_pressure or "")]
    return max((value for value in known if value is not None), default=None)


def name_heat(reading: Reading) -> str:
    words = []
    if reading.temperature is not None:
        words.append(f"{reading.temperature:.0f} °C" + (f" ({s})" if (s := reading.temperature_source) else ""))
    if reading.thermal_pressure is not None:
        words.append(f"thermal pressure {reading.thermal_pressure}")
    return ", ".join(words)


# -- memory and disk

SHARE_TO_BLAME = 0.10  # of the machine's memory: a smaller trial is not the cause of a memory shortage
SWAP_NEEDS_AVAILABLE_BELOW = 0.20  # of the total: swapping out idle programs while memory is free is harmless


@dataclass(frozen=True)
class MemoryLimits:
    """Limits in bytes; None switches one off."""

    soft: int | None = None  # of the trial's process tree: above it, shrink
    hard: int | None = None  # of the trial's process tree: above it, kill
    available_low: int | None = None  # of the machine: with less available shrink, with less than half of it kill
    swap_growth: int | None = 1 * GB  # of the machine, since the trial started
    disk_reserve: int | None = 1 * GB  # bytes that must stay free on the disk

    def __post_init__(self) -> None:
        if self.soft is not None and self.hard is not None and not 0 < self.soft <= self.hard:
            raise ValueError(
                f"memory limits must satisfy 0 < soft <= hard, got {in_gb(self.soft)} and {in_gb(self.hard)}"
            )

    @classmethod
    def for_trial(
        cls, allowed: int, total: int, environ: Mapping[str, str] = os.environ, disk: Path | None = None
    ) -> MemoryLimits:
        """Returns the limits of a trial that may use `allowed` bytes.

        Soft: `allowed`; hard: 15 % above (the plan's own error); available: 4 % of the machine. FTS_MEMORY_SOFT, _HARD,
        _AVAILABLE_LOW, _SWAP_GROWTH and FTS_DISK_RESERVE override them, in bytes or as 12G. `disk`: a folder on the
        watched disk; None: the disk is on another machine.
        """
        hard = max(allowed, min(int(1.15 * allowed), int(0.97 * total)))
        found = {
            "soft": allowed,
            "hard": hard,
            "available_low": max(GB // 2, int(0.04 * total)),
            "swap_growth": GB,
            "disk_reserve": usual_reserve(disk),
        }
        for field in found:
            name = RESERVE if field == "disk_reserve" else f"FTS_MEMORY_{field.upper()}"
            if text := environ.get(name, "").strip():
                found[field] = read_size(text, name, least=0)
        if "FTS_MEMORY_SOFT" in environ and "FTS_MEMORY_HARD" not in environ:
            found["hard"] = max(found["hard"], found["soft"])
        elif "FTS_MEMORY_HARD" in environ and "FTS_MEMORY_SOFT" not in environ:
            found["soft"] = min(found["soft"], found["hard"])
        return cls(**found)


HALVED = "it continues with half the micro-batch"
AGAIN = "it is tried once more"  # for a study without a leaner recipe


def judge_memory(limits: MemoryLimits, tree: int, reading: Reading, swap_at_start: int | None) -> Decision | None:
    """Decides from the bytes of the trial's process tree and the machine's memory; None: nothing to do."""
    if limits.hard is not None and tree >= limits.hard:
        return over_hard(limits.hard, tree)
    low, available = limits.available_low, reading.available
    if low is not None and available is not None and available < low:
        return short_of_memory(tree, available, low, reading.total)
    if grown := swap_growth(limits, reading, swap_at_start):
        if is_to_blame(tree, reading.total):
            return shrink(f"swap grew by {in_gb(grown)} since the trial started; the trial holds {in_gb(tree)}")
        return Decision(
            WatchdogAction.NONE,
            f"swap grew by {in_gb(grown)}, but the trial holds only {in_gb(tree)}: other programs use it",
        )
    if limits.soft is not None and tree >= limits.soft:
        return shrink(f"the trial holds {in_gb(tree)}, soft limit {in_gb(limits.soft)}")
    return None


def judge_disk(limits: MemoryLimits, reading: Reading) -> Decision | None:
    """Decides to stop before the disk is full, because a checkpoint needs room; None: nothing to do."""
    if limits.disk_reserve is None or reading.disk_free is None or reading.disk_free >= limits.disk_reserve:
        return None
    message = f"{in_gb(reading.disk_free)} of disk free, {in_gb(limits.disk_reserve)} reserved; free space"
    return Decision(WatchdogAction.DISK, message, cause=Cause.DISK)


def over_hard(hard: int, tree: int) -> Decision:
    message = f"the trial holds {in_gb(tree)}, hard limit {in_gb(hard)}: killed; {HALVED}"
    return Decision(WatchdogAction.KILL, message, cause=Cause.OUT_OF_MEMORY)


def shrink(reason: str) -> Decision:
    message = f"{reason}: it writes a checkpoint; {HALVED}"
    return Decision(WatchdogAction.SHRINK, message, cause=Cause.OUT_OF_MEMORY)


def short_of_memory(tree: int, available: int, low: int, total: int | None) -> Decision:
    left = f"{in_gb(available)} of memory available, {in_gb(low)} needed"
    if not is_to_blame(tree, total):
        return Decision(
            WatchdogAction.NONE, f"{left}, but the trial holds only {in_gb(tree)}: other programs fill the machine"
        )
    if available < low / 2:
        message = f"{left}, the trial holds {in_gb(tree)}: killed before the system runs out of memory; {HALVED}"
        return Decision(WatchdogAction.KILL, message, cause=Cause.OUT_OF_MEMORY)
    return shrink(f"{left}, the trial holds {in_gb(tree)}")


def swap_growth(limits: MemoryLimits, reading: Reading, swap_at_start: int | None) -> int:
    """Returns by how many bytes swap has grown, if that is above the limit and memory is short; else 0."""
    if limits.swap_growth is None or reading.swap_used is None or swap_at_start is None:
        return 0
    is_short = (
        reading.available is None
        or reading.total is None
        or (reading.available < SWAP_NEEDS_AVAILABLE_BELOW * reading.total)
    )
    grown = reading.swap_used - swap_at_start
    return grown if is_short and grown > limits.swap_growth else 0


def is_to_blame(tree: int, total: int | None) -> bool:
    return total is None or tree >= SHARE_TO_BLAME * total


def read_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} is {text!r}; expected a number of 0 or more")
    return number


def read_switch(name: str, text: str) -> bool:
    if text.lower() not in ("0", "1", "yes", "no", "true", "false"):
        raise ValueError(f"{name} is {text!r}; expected 1 or 0")
    return text.lower() in ("1", "yes", "true")
