"""Measures memory, progress, heat and disk of one running trial, and decides what to do.

    with Watchdog(child, limits, sensors, guard) as watchdog:
        ...
        watchdog.progress(step_s)          # at every fact that shows progress
        for decision in watchdog.check():  # at any rate; it measures once a second
            ...

The supervisor carries out the decisions. Only the hard memory limit cannot wait for that: a separate thread kills the
trial at once, because a trial can allocate 2-4 GB in the second between two measurements.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Protocol

from fts.frozen import dataclass
from fts.jobs.sensors.process_usage import TreeUse
from fts.jobs.status.formatting import in_gb
from fts.jobs.threads import begin, repeat
from fts.jobs.watchdog.policy import (
    Decision,
    GuardState,
    HeatPolicy,
    MemoryLimits,
    WatchdogAction,
    judge_disk,
    judge_memory,
    over_hard,
)
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import psutil

    from fts.jobs.sensors.reading import Reading, Sensors

ALLOCATION_RATE = 4 << 30  # bytes a second, the fastest growth seen: near the limit we measure more often
SLOWEST_LOOK_S, FASTEST_LOOK_S = 0.5, 0.05
LOOK_EVERY_S = 1.0
COUNTED_AT_MOST_S = 5.0  # of one gap between measurements: what happened in a longer gap is unknown
SLEPT_S = 10.0  # the wall clock ran ahead of the monotonic one by this much: the machine slept, or its clock was set
ENDING = (
    WatchdogAction.KILL,
    WatchdogAction.STOP,
    WatchdogAction.DISK,
    WatchdogAction.SHRINK,
)  # in this order of importance


class Watched(Protocol):
    """A trial process with its process tree; implemented in fts.jobs.supervisor.child."""

    pid: int
    frozen: bool
    asked_to_stop: bool

    def tree(self) -> list[psutil.Process]: ...
    def poll(self) -> int | None: ...
    def freeze(self) -> bool: ...
    def thaw(self) -> bool: ...
    def kill(self) -> int: ...


@dataclass(frozen=True)
class PaceLimits:
    """When a trial counts as stalled or slow. Seconds are working seconds: frozen and slept time is not counted."""

    stall_factor: float = 20.0  # stalled after this many median steps without progress
    stall_min_s: float = 30.0  # not earlier: a checkpoint, an evaluation or a slow disk may take that long
    stall_first_s: float = 300.0  # before the first step: importing, loading, compiling
    stall_learn_factor: float = 10.0  # with a learned timeout: times the longest gap between two reports so far
    stall_learn_min_s: float = 60.0  # not earlier
    stall_cpu_percent: float = 5.0  # of one core, by the whole tree: a trial that uses more is not stalled
    cpu_window_s: float = 10.0
    slow_factor: float = 3.0  # slow above this multiple of the usual step time of its architecture
    slow_steps: int = 5  # their median is compared, so that one late step causes no event
    history_steps: int = 30  # without recorded step times, the trial's own first steps are used


@dataclass(frozen=True)
class Clock:
    monotonic: Callable[[], float] = time.monotonic  # stands still while the machine sleeps
    wall: Callable[[], float] = time.time


@dataclass(frozen=True)
class Vitals:
    """The latest measurement, for the sample row and the screen."""

    reading: Reading
    tree_bytes: int
    tree_cpu_percent: float | None  # of one core, over the last seconds
    step_s: float | None
    heat: Decision
    peak_bytes: int


class Watchdog:
    """Watches one trial process. `guard` belongs to the slot and outlives the trial."""

    def __init__(
        self,
        child: Watched,
        limits: MemoryLimits,
        sensors: Sensors,
        guard: HeatPolicy,
        *,
        pace: PaceLimits | None = None,
        usual_step_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.child, self.limits, self.sensors, self.guard = child, limits, sensors, guard
        self.clock = clock or Clock()
        self.use = TreeUse(child.tree)
        self.memory = MemoryWatch(child, limits, self.use)
        self.pace_limits = pace or PaceLimits()
        self.latest: Vitals | None = None
        self.begin_trial(usual_step_s)

    def __enter__(self) -> Watchdog:
        self.memory.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the sampling thread; the sensors stay open, because they belong to the worker."""
        self.memory.close()

    def limit_memory(self, limits: MemoryLimits) -> None:
        """Sets new limits, since the available memory has changed."""
        self.limits = self.memory.limits = limits

    def begin_trial(
        self, usual_step_s: float | None = None, report_s: float | None = None, gap_s: float | None = None
    ) -> None:
        """Resets the watchdog for another trial of the process.

        `usual_step_s`: recorded step time of its architecture; None: unknown. `report_s`: after this time without a
        report it counts as stalled, however busy its processor is; None: no such limit. `gap_s`: longest gap between
        two reports of earlier trials, for a learned timeout, 0: no earlier trial; None: the timeout is not learned.
        """
        self.pace = PaceWatch(self.pace_limits, usual_step_s, report_s, gap_s)
        self._looked_at: tuple[float, float] | None = None  # monotonic, wall
        self._tried_at = float("-inf")  # monotonic; later than `_looked_at` while the trial cannot be measured
        self._began_at, self._before_looks_s = self.clock.monotonic(), 0.0
        self._ended_by: WatchdogAction | None = None
        self._reported: set[str] = set()  # kinds of trouble that were reported and still go on
        self.memory.peak = 0
        self._swap_at_start: int | None = None

    def progress(self, step_s: float | None = None) -> None:
        """Notes progress of the trial; `step_s`: seconds of its latest step, if it was a step."""
        self.pace.progress(step_s)

    @property
    def worked_s(self) -> float:
        """Seconds that this attempt could work, without time in which it was frozen or the machine slept."""
        unseen_s = 0.0 if self.child.frozen else self._since_look_s()
        return self.pace.worked_s + self._before_looks_s + unseen_s

    def _since_look_s(self) -> float:
        since = self._began_at if self._looked_at is None else self._looked_at[0]
        return min(self.clock.monotonic() - since, COUNTED_AT_MOST_S)

    def check(self) -> list[Decision]:
        """Returns what has to be done or reported now; mostly empty. Takes about a millisecond once a second."""
        if self.memory.killed is not None:
            return self._end_once(self.memory.killed)
        now, wall = self.clock.monotonic(), self.clock.wall()
        if now - self._tried_at < LOOK_EVERY_S * 0.9:
            return []
        self._tried_at = now
        return self._look(now, wall)

    def _look(self, now: float, wall: float) -> list[Decision]:
        try:
            reading = self.sensors.read()
            tree = self.use.memory(self.limits.soft and int(0.8 * self.limits.soft))
            cpu_s, waited_s = self.use.cpu_s(), self.use.waited_s()
        except OSError as error:  # for example too many open files: unknown is neither idle nor small
            return self._say_unmeasured(error.strerror or str(error))
        self._reported.discard("unmeasured")
        slept_s = self._count_work(now, wall, cpu_s, waited_s)
        if self._swap_at_start is None:
            self._swap_at_start = reading.swap_used
        heat = self._freeze_new_child(self.guard.step(reading))
        self.memory.add(tree)
        self.latest = Vitals(
            reading, tree, self.pace.cpu_percent(), self.pace.latest_step_s, heat, peak_bytes=self.memory.peak
        )
        found = [heat] if heat.changed else []
        if slept_s:
            found.append(Decision(WatchdogAction.NONE, f"the machine slept {slept_s:.0f} s, or its clock was set"))
        found += self._judge(reading, tree)
        return self._most_important(found)

    def _say_unmeasured(self, why: str) -> list[Decision]:
        """Reports once that the trial cannot be measured."""
        if "unmeasured" in self._reported:
            return []
        self._reported.add("unmeasured")
        what = "the memory and processor time of the trial cannot be measured"
        return [Decision(WatchdogAction.NONE, f"{what} ({why}): its limits are not enforced until they can")]

    def _freeze_new_child(self, heat: Decision) -> Decision:
        """Freezes this child too when the guard is already frozen: the guard returns FREEZE only once."""
        if heat.state is not GuardState.FROZEN or self.child.frozen or self.child.asked_to_stop:
            return heat
        return replace(heat, action=WatchdogAction.FREEZE, changed=True)

    def _judge(self, reading: Reading, tree: int) -> list[Decision]:
        judged = [
            ("memory", judge_memory(self.limits, tree, reading, self._swap_at_start)),
            ("disk", judge_disk(self.limits, reading)),
            ("stall", self.pace.stalled() if self._ended_by is None else None),  # a last checkpoint may take long
            ("slow", self.pace.slow(lambda: likely_reason(reading, self.latest, self.limits))),
        ]
        found = []
        for kind, decision in judged:
            if decision is None:
                self._reported.discard(kind)  # it is over; report it if it comes again
            elif decision.action is not WatchdogAction.NONE or kind not in self._reported:
                self._reported.add(kind)
                found.append(decision)
        return found

    def _most_important(self, found: list[Decision]) -> list[Decision]:
        """Returns all reports but at most one decision that ends the trial; after one, only a kill may follow."""
        endings = sorted((d for d in found if d.action in ENDING), key=lambda d: ENDING.index(d.action))
        others = [decision for decision in found if decision.action not in ENDING]
        return others + (self._end_once(endings[0]) if endings else [])

    def _end_once(self, ending: Decision) -> list[Decision]:
        if self._ended_by is WatchdogAction.KILL or (
            self._ended_by is not None and ending.action is not WatchdogAction.KILL
        ):
            return []
        self._ended_by = ending.action
        return [ending]

    def _count_work(self, now: float, wall: float, cpu_s: float, waited_s: float) -> float:
        """Adds the time since the last measurement as working time unless frozen; returns seconds slept."""
        if self._looked_at is None:
            self._before_looks_s = self._since_look_s()
        before, self._looked_at = self._looked_at, (now, wall)
        if before is None:
            self.pace.start(cpu_s, waited_s)
            return 0.0
        passed, passed_on_wall = now - before[0], wall - before[1]
        slept_s = passed_on_wall - passed if passed_on_wall - passed > SLEPT_S else 0.0
        disturbed = self.child.frozen or slept_s > 0 or passed > COUNTED_AT_MOST_S
        counted = 0.0 if self.child.frozen else min(passed, COUNTED_AT_MOST_S)
        self.pace.work(counted, cpu_s, disturbed, waited_s)
        return slept_s


class PaceWatch:
    """Compares the progress of one trial with its past, in working seconds."""

    def __init__(
        self,
        limits: PaceLimits,
        usual_step_s: float | None,
        report_s: float | None = None,
        gap_s: float | None = None,
    ) -> None:
        self.limits, self.report_s, self.gap_s = limits, report_s, gap_s
        self._reported_at_s = 0.0
        self.usual_step_s = usual_step_s
        self.latest_step_s: float | None = None
        self._steps: deque[float] = deque(maxlen=200)
        self._first: list[float] = []
        self._recent: deque[float] = deque(maxlen=limits.slow_steps)
        self._worked_s = 0.0
        self._progress_at_s = 0.0
        self._cpu: deque[tuple[float, float, float]] = deque()  # seconds of work, processor, waiting; last cpu_window_s
        self._disturbed = False  # the current step contains a freeze or a sleep
        self._is_slow = False

    def start(self, cpu_s: float, waited_s: float = 0.0) -> None:
        self._cpu.append((self._worked_s, cpu_s, waited_s))

    def work(self, seconds: float, cpu_s: float, disturbed: bool, waited_s: float = 0.0) -> None:
        """Adds `seconds` of possible work; `cpu_s`, `waited_s`: totals of the tree, used and waited for a core."""
        self._worked_s += seconds
        self._disturbed |= disturbed
        if disturbed:
            self._cpu.clear()  # processor seconds of an unobserved gap would look like work, or like idleness
        self._cpu.append((self._worked_s, cpu_s, waited_s))
        while len(self._cpu) > 2 and self._cpu[1][0] <= self._worked_s - self.limits.cpu_window_s:
            self._cpu.popleft()

    def progress(self, step_s: float | None) -> None:
        self._progress_at_s = self._worked_s
        if step_s is None:
            return
        self.latest_step_s = step_s
        if self._disturbed:  # this step's seconds contain a freeze or a sleep
            self._disturbed = False
            return
        self._steps.append(step_s)
        self._recent.append(step_s)
        if len(self._first) < self.limits.history_steps:
            self._first.append(step_s)

    def reported(self) -> None:
        """Notes a report of the trial: an epoch, a checkpoint or its start."""
        if self.gap_s is not None:
            self.gap_s = max(self.gap_s, self._worked_s - self._reported_at_s)
        self._reported_at_s = self._worked_s

    @property
    def worked_s(self) -> float:
        return self._worked_s

    def cpu_percent(self) -> float | None:
        """Returns the tree's use of one core over the last seconds of work; None before two measurements."""
        return self._share(1)

    def _share(self, of: int) -> float | None:
        if len(self._cpu) < 2:
            return None
        (since, until), (before, now) = ((self._cpu[0][n], self._cpu[-1][n]) for n in (0, of))
        return 100.0 * max(0.0, now - before) / (until - since) if until > since else None

    def stalled(self) -> Decision | None:
        """Decides to kill a trial without progress for much longer than a step and with an idle processor.

        With a limit for reports, given or learned, a trial without a report for that long is killed, too. A trial that
        waits for a core is not idle: on a crowded machine one of low priority gets 0.6 % of a core.
        """
        if self.report_s is not None:
            return self._silent(self.report_s, "allowed")
        limits, cpu, waits = self.limits, self.cpu_percent(), self._share(2) or 0.0
        if self.gap_s and waits <= (cpu or 0.0):
            allowed_s = max(limits.stall_learn_min_s, limits.stall_learn_factor * self.gap_s)
            silent = self._silent(allowed_s, f"allowed, where the longest gap so far is {self.gap_s:.3g} s")
            if silent is not None:
                return silent
        if self._cpu and self._cpu[-1][0] - self._cpu[0][0] < 0.8 * limits.cpu_window_s:
            return None
        busy = max(cpu or 0.0, waits) >= limits.stall_cpu_percent
        if not self._steps and busy:
            self._progress_at_s = self._worked_s  # the step time is unknown: a busy trial is not stalled
        quiet_s = self._worked_s - self._progress_at_s
        allowed_s = limits.stall_first_s
        if self._steps:
            allowed_s = max(limits.stall_min_s, limits.stall_factor * median(self._steps))
        if quiet_s <= allowed_s or cpu is None or busy:
            return None
        usual = f"its median step takes {median(self._steps):.3g} s" if self._steps else "no step time is known"
        message = f"no step for {quiet_s:.0f} s at {cpu:.1f} % of a core ({usual}): killed"
        return Decision(WatchdogAction.KILL, message, cause=Cause.STALLED)

    def _silent(self, allowed_s: float, why: str) -> Decision | None:
        quiet_s = self._worked_s - self._reported_at_s
        if quiet_s <= allowed_s:
            return None
        message = f"no report for {quiet_s:.0f} s, {allowed_s:.0f} s {why}: killed"
        return Decision(WatchdogAction.KILL, message, cause=Cause.STALLED)

    def slow(self, reason: Callable[[], str]) -> Decision | None:
        """Reports steps above `slow_factor` times the usual, until they are below two thirds of that again."""
        usual = self.usual_step_s
        if usual is None and len(self._first) >= self.limits.history_steps:
            usual = median(self._first)
        if not usual or len(self._recent) < self.limits.slow_steps:
            return None
        ratio = median(self._recent) / usual
        factor = self.limits.slow_factor
        self._is_slow = ratio > (factor * 2 / 3 if self._is_slow else factor)
        if not self._is_slow:
            return None
        took = f"{median(self._recent):.3g} s a step instead of {usual:.3g} s"
        return Decision(
            WatchdogAction.NONE, f"{ratio:.1f}x slower than usual for this architecture: {took}; likely {reason()}"
        )


def likely_reason(reading: Reading, vitals: Vitals | None, limits: MemoryLimits) -> str:
    """Says why steps are probably slow: heat, memory, other programs, or throttling by the system."""
    cores = os.cpu_count() or 1
    if vitals is not None and vitals.heat.state in (GuardState.WARM, GuardState.FROZEN):
        return f"heat: {vitals.heat.message}"
    if reading.thermal_pressure not in (None, "nominal"):
        return f"heat: thermal pressure {reading.thermal_pressure}"
    low, available = limits.available_low, reading.available
    if low is not None and available is not None and available < 2 * low:
        return f"memory pressure: {in_gb(available)} available"
    own = vitals.tree_cpu_percent if vitals is not None else None
    if reading.cpu_percent is not None and own is not None:
        others = reading.cpu_percent * cores - own  # in percent of one core
        if others > 50 and reading.cpu_percent > 85:
            return f"other programs use {others / 100:.1f} of {cores} cores"
    return "throttling by the system (no sign of heat, low memory or other programs)"


class MemoryWatch:
    """Samples the tree's memory in a thread: every 0.5 s far from the hard limit, every 0.05 s near it."""

    def __init__(self, child: Watched, limits: MemoryLimits, use: TreeUse) -> None:
        self.child, self.limits, self.use = child, limits, use
        self.peak = 0  # bytes
        self.killed: Decision | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises OSError if there is no room for a thread; `close` is allowed nevertheless."""
        name = f"memory of {self.child.pid}"
        loop = (self._look, self._closing, f"the {name} cannot be measured", SLOWEST_LOOK_S)
        self._thread = begin(threading.Thread(target=repeat, args=loop, name=name, daemon=True))

    def add(self, tree: int) -> None:
        """Adds a value that was measured elsewhere."""
        self.peak = max(self.peak, tree)

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> float | None:
        """Measures once; returns the seconds until the next measurement, None when the process has ended."""
        if self.child.poll() is not None:
            return None
        hard = self.limits.hard  # read each time: a new trial, or the end of another slot's trial, changes it
        tree = self.use.memory(hard and int(0.8 * hard))
        self.add(tree)
        if hard is not None and tree >= hard:
            self.killed = over_hard(hard, tree)
            self.child.kill()
            return None
        return seconds_to_next_sample(hard, tree)


def seconds_to_next_sample(hard: int | None, tree: int) -> float:
    """Returns the seconds until the next sample: less than the fastest allocation needs to reach the limit."""
    if hard is None:
        return SLOWEST_LOOK_S
    return min(SLOWEST_LOOK_S, max(FASTEST_LOOK_S, (hard - tree) / ALLOCATION_RATE))
