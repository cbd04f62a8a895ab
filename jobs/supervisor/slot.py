"""One place where a trial can run: its trial process, kept while it is healthy, the memory it may use, its guard."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from fts.jobs.devices import kind_of
from fts.jobs.status.conditions import disk_reserve
from fts.jobs.supervisor.admission import Admission, admit, allowed_bytes
from fts.jobs.supervisor.attempt import Ended
from fts.jobs.supervisor.child import NOT_RESIDENT, limit_data
from fts.jobs.supervisor.memory_pool import MemoryPool
from fts.jobs.supervisor.starter import Starter
from fts.jobs.watchdog.enforcer import Enforcer
from fts.jobs.watchdog.policy import (
    AGAIN,
    HALVED,
    Action,
    GuardState,
    HeatPolicy,
    MemoryLimits,
    Thresholds,
    is_to_blame,
)
from fts.jobs.watchdog.watchdog import PaceLimits, Watchdog
from fts.state import queries, transitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.api.study import Cell, Program, Study
    from fts.jobs.executors.base import Placed, Want
    from fts.jobs.sensors.reading import Reading, Sensors
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.attempt import AttemptEnd
    from fts.jobs.supervisor.template import Template
    from fts.state.db import Database
    from fts.state.values import Claim, Trial

log = logging.getLogger("fts.worker")

RECYCLE_AT = 1.5  # times the least the process held between two trials: something grew that should not
TIDY_S = 2.0  # that a process may take to give back a trial's memory before it counts as grown
QUIT_GRACE_S = 10.0
KEEP_EVERY_S = 1.0  # between two looks at what the other slots leave
VISIBLE = "CUDA_VISIBLE_DEVICES"
COOL_LOOK_S = 1.0


class Slot:
    """Starts the trial process when one is needed and replaces it when it has become doubtful."""

    is_local = True  # it runs trials on this machine

    def __init__(
        self, index: int, places: Places, settings: WorkerSettings, sensors: Sensors, room: MemoryPool | None = None
    ) -> None:
        self.index, self.places, self.settings, self.sensors = index, places, settings, sensors
        self.room = room or MemoryPool()
        self.guard = HeatPolicy(Thresholds.from_env())
        self._child: Placed | None = None
        self._threads = settings.threads
        self._shrinks, self._host = True, False  # of the trial that runs: as watch() was told
        self._hard: int | None = None  # bytes beyond which an allocation fails inside the process
        self._kept_at = float("-inf")  # monotonic
        self._program: Program | None = None
        self.starter = Starter(places.logs / f"trial_process_{index}.log")
        self._watchdog: Watchdog | None = None
        self._least_rss: int | None = None
        self._held_at: Reading | None = None
        self._held_bytes = 0

    @property
    def machine(self) -> str:
        """Where its trials run, in a sentence."""
        return "this machine"

    def find(self, want: Want, leaves: Callable[[], bool], waits: Callable[[str], None]) -> bool:
        """Blocks until there is a node to run on; False: an order came first. This machine is always there."""
        return True

    def child(
        self, program: Program, threads: int | None = None, tells: Callable[[Template], None] = lambda _: None
    ) -> Placed:
        """The living trial process of that program; started when there is none, or when it has grown.

        It sees the GPUs that the slot holds, and no other. A template hears what `tells` says before it forks.
        """
        threads = threads or self.settings.threads
        if gpus := self.room.gpus_of(self.index):
            program = replace(program, env={**program.env, VISIBLE: ",".join(gpu.name for gpu in gpus)})
        alive = self._child is not None and self._child.poll() is None
        same = program == self._program and threads == self._threads
        if self._child is not None and alive and same and not self._has_grown():
            return self._child
        self.close()
        self._threads = threads
        self._child = self.starter.start(program, threads, tells)
        self._program = program
        pace = PaceLimits(**self.settings.stall)  # type: ignore[arg-type]  # its integer fields are not offered
        self._watchdog = Watchdog(self._child, self.limits(), self.sensors, self.guard, pace=pace)
        self._watchdog.memory.start()
        self._least_rss = None
        return self._child

    def prepare(self, program: Program, threads: int) -> None:
        """Starts what takes time, while the first trial is drawn. Raises OSError."""
        self.starter.prepare(program, threads)

    def watch(
        self,
        db: Database,
        claim: Claim,
        trial: Trial,
        allowed: int | None,
        shrinks: bool = True,
        *,
        host: bool = False,
        then: str | None = None,
        report_s: float | None = None,
        learns_stall: bool = False,
    ) -> Enforcer:
        """The watchdog of the living process, told that another trial begins which may use so many bytes.

        One that cannot shrink has no soft limit: at it, nothing better than to go on could be asked of it. `host`: the
        bytes are the machine's own, whatever the device. `then` says what becomes of it when it is out of memory.
        `learns_stall`: how long it may be silent follows from the reports of the trials before it.
        """
        assert self._child is not None and self._watchdog is not None, "a trial process must run before it is watched"
        self._begins(db, claim, trial)
        batch = int(trial.effective.get("effective_batch", 1))
        device, threads = trial.device or self.settings.device, trial.threads or self.settings.threads
        self._hard, self._shrinks, self._host = None, shrinks, host
        self._keep_within(allowed)
        shape = trial.architecture  # without one its steps are of no known length, and looking would read every trial
        usual_step_s = queries.usual_step_s(db, shape, batch, device, threads) if shape else None
        gap_s = queries.longest_gap_s(db, trial.job_id, trial.number) if learns_stall else None
        self._watchdog.begin_trial(usual_step_s, report_s, gap_s)
        return Enforcer(db, claim, trial, self._child, self._watchdog, then or (HALVED if shrinks else AGAIN))

    def _begins(self, db: Database, claim: Claim, trial: Trial) -> None:
        """Of a slot of another machine: the process is told whose trial comes next."""

    def keep_within_room(self) -> None:
        """About once a second: the trial may use what the other slots leave, and they what it leaves."""
        if self._child is None or self._watchdog is None or time.monotonic() - self._kept_at < KEEP_EVERY_S:
            return
        self._kept_at = time.monotonic()
        self.room.grow(self.index, self.peak())
        if (total := self.host_share()) is not None:
            self._keep_within(max(total - self.room.taken_by_others(self.index), 1))

    def _keep_within(self, allowed: int | None) -> None:
        assert self._child is not None and self._watchdog is not None, "a trial process runs"
        limits = self.limits(allowed, self._host)
        if not self._shrinks:
            limits = replace(limits, soft=None)
        self._watchdog.limit_memory(limits)
        if limits.hard != self._hard or limits.hard is None:
            self._limit_data(None if limits.hard is None else limits.hard + NOT_RESIDENT)
            self._hard = limits.hard

    def _limit_data(self, limit: int | None) -> None:
        if self._child is not None:
            limit_data(self._child.pid, limit)

    def peak(self) -> int:
        """The most bytes that the trial's tree was seen to hold."""
        return self._watchdog.memory.peak if self._watchdog is not None else 0

    def is_starved(self) -> bool:
        """Was memory short at the last look, and the trial's tree to blame?"""
        latest, limits = (None, None) if self._watchdog is None else (self._watchdog.latest, self._watchdog.limits)
        if latest is None or limits is None or latest.reading.available is None or limits.available_low is None:
            return False
        short = latest.reading.available < limits.available_low
        return short and is_to_blame(latest.tree_bytes, latest.reading.total)

    def host_share(self) -> int | None:
        """Bytes of the machine's own memory that all slots together may plan with; None: nobody knows.

        A limit that a person gave counts for each trial; on a GPU it is the GPU's.
        """
        if self.settings.memory_limit is not None and kind_of(self.settings.device) != "cuda":
            return self.settings.memory_limit
        reading = self.sensors.read()
        return allowed_bytes(reading, 1, self._held(reading))

    def share(self, slots: int | None = None) -> int | None:
        """Bytes each slot's trial may plan with on its device; None: nobody knows. `slots` 1: if it had all of it."""
        if self.settings.memory_limit is not None:
            return self.settings.memory_limit
        reading = self.sensors.read()
        return allowed_bytes(reading, slots or self.settings.slots, self._held(reading), self.settings.device)

    def _held(self, reading: Reading) -> int:
        """What this worker's trials held when the machine was read: both numbers are of one moment."""
        if self._held_at is not reading:
            self._held_at, self._held_bytes = reading, held_by_trials()
        return self._held_bytes

    def admit(self, study: Study, cell: Cell, trial: Trial) -> Admission:
        """The trial's recipe and limit; raises CannotFit when it would not fit even alone."""
        device = trial.device or self.settings.device
        return admit(study, cell, trial.params, trial.recipe, self.share(), self.share(slots=1), device)

    def take_room(self, admitted: Admission, leaves: Callable[[], bool]) -> bool:
        """Waits until the other slots leave room for it; False when somebody wanted something else first."""
        total = self.host_share if admitted.shared else lambda: self.share(slots=1)
        if self.settings.memory_limit is not None:  # a person has said what each may use
            return self.room.take(self.index, 0, lambda: None, leaves, admitted.want)
        return self.room.take(self.index, admitted.need, total, leaves, admitted.want)

    def give_back_room(self) -> None:
        self.room.give_back(self.index)

    def limits(self, allowed: int | None = None, host: bool = False) -> MemoryLimits:
        """What the watchdog keeps the trial's tree within: of the machine's memory, whatever the device."""
        reading, disk = self.sensors.read(), self.places.outputs if self.is_local else None
        if (kind_of(self.settings.device) == "cuda" and not host) or allowed is None:  # a plan's bytes are the GPU's
            allowed = allowed_bytes(reading, self.settings.slots, self._held(reading))
        if allowed is None or reading.total is None:
            return MemoryLimits(disk_reserve=disk_reserve(os.environ, disk))
        return MemoryLimits.for_trial(allowed, reading.total, disk=disk)

    def cool_down(self, db: Database, worker_id: int, ordered: Callable[[], bool]) -> None:
        """Blocks until the machine is cool enough to train again, or somebody wants something else."""
        while self.guard.state is GuardState.COOLING and not ordered():
            decision = self.guard.step(self.sensors.read())
            if decision.changed and decision.state is not None:
                transitions.set_guard(db, worker_id, decision.state.value, decision.message)
            if decision.action is not Action.RESUME:
                time.sleep(min(COOL_LOOK_S, self.settings.poll_s))

    def judged(self, end: AttemptEnd) -> AttemptEnd:
        """The same end, or that it was the node's doing where another node may do better."""
        return end

    def after(self, end: AttemptEnd) -> None:
        """Keep the process for the next trial only if it may serve several, and ended this one in good order."""
        healthy = end.how in (Ended.RESULT, Ended.PRUNED) and not end.facts.get("last", False)
        if not healthy or self._program is None or not self._program.reused:
            self.close()

    def _has_grown(self) -> bool:
        """Whether the idle process holds much more than it once did between two trials.

        Asked when the next trial is about to begin, because it gives back the last one's memory after its result.
        """
        rss = self._own_rss()
        least = self._least_rss = min(rss, self._least_rss or rss)
        look_until = time.monotonic() + TIDY_S
        while rss > RECYCLE_AT * least and time.monotonic() < look_until:
            time.sleep(0.01)
            rss = self._own_rss()
        if rss <= RECYCLE_AT * least:
            return False
        log.info("the trial process grew from %d to %d MB; a new process replaces it", least >> 20, rss >> 20)
        return True

    def _own_rss(self) -> int:
        """Of the process itself: finding what it has started takes milliseconds."""
        try:
            return 0 if self._child is None else resident(psutil.Process(self._child.pid))
        except psutil.Error:
            return 0

    def release(self) -> None:
        """End every process of the slot; the next trial starts anew."""
        self.close()
        self.starter.close()

    @property
    def holds_processes(self) -> bool:
        return self._child is not None or self.starter.has_template

    def close(self) -> None:
        """End the trial process, gently if it still answers."""
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.close_stdin()
            self._child.wait(QUIT_GRACE_S)
        self._child.close()
        self._child = None

    def kill(self) -> None:
        """End the trial process at once, without a last checkpoint."""
        if self._child is not None:
            self._child.kill()
        self.close()

    def rss(self) -> int:
        """Resident bytes of the trial tree; 0 without one."""
        child = self._child  # the beat asks while the supervisor may be closing it
        return sum(resident(process) for process in child.tree()) if child is not None else 0

    def step_s(self) -> float | None:
        """Seconds of the latest optimizer step, for the sample row."""
        watchdog = self._watchdog
        latest = watchdog.latest if watchdog is not None else None
        return latest.step_s if latest is not None else None


def held_by_trials() -> int:
    """Resident bytes of every trial of this worker: what they hold is not lost to the next plan."""
    return sum(resident(process) for process in psutil.Process().children(recursive=True))


def resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
