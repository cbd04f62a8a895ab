"""A slot runs one trial at a time: it owns the trial process, its memory limit and its watchdog."""

from __future__ import annotations

import contextlib
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
from fts.jobs.supervisor.child import NOT_RESIDENT, Starter, limit_data
from fts.jobs.supervisor.memory_pool import MemoryPool
from fts.jobs.supervisor.process_tree import descendants
from fts.jobs.watchdog.enforcer import Enforcer
from fts.jobs.watchdog.policy import (
    AGAIN,
    HALVED,
    GuardState,
    HeatPolicy,
    MemoryLimits,
    Thresholds,
    WatchdogAction,
    is_to_blame,
)
from fts.jobs.watchdog.watchdog import PaceLimits, Watchdog
from fts.state import queries, transitions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.api.study import Cell, Program, Study
    from fts.jobs.executors.base import Placed, Want
    from fts.jobs.sensors.reading import Reading, Sensors
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.attempt import AttemptEnd
    from fts.jobs.supervisor.template import Template
    from fts.state.db import Database
    from fts.state.values import Claim, Trial

log = logging.getLogger("fts.worker")

RECYCLE_AT = 1.5  # replace an idle process above this multiple of its smallest size between two trials: a leak
TIDY_S = 2.0  # time that a process has to free a trial's memory before it counts as grown
QUIT_GRACE_S = 10.0
KEEP_EVERY_S = 1.0  # between two checks of what the other slots leave free
VISIBLE = "CUDA_VISIBLE_DEVICES"
COOL_LOOK_S = 1.0


class Slot:
    """Starts the trial process when one is needed, and replaces it when it has grown or failed."""

    is_local = True  # it runs trials on this machine

    def __init__(
        self, index: int, places: Places, settings: WorkerSettings, sensors: Sensors, room: MemoryPool | None = None
    ) -> None:
        self.index, self.places, self.settings, self.sensors = index, places, settings, sensors
        self.room = room or MemoryPool()
        self.guard = HeatPolicy(Thresholds.from_env())
        self._child: Placed | None = None
        self._threads = settings.threads
        self._shrinks, self._host = True, False  # arguments of watch() for the running trial
        self._hard: int | None = None  # bytes above which an allocation fails inside the process
        self._kept_at = float("-inf")  # monotonic
        self._program: Program | None = None
        self.starter = Starter(places.logs / f"trial_process_{index}.log")
        self._watchdog: Watchdog | None = None
        self._least_rss: int | None = None
        self._held_at: Reading | None = None
        self._held_bytes = 0

    @property
    def machine(self) -> str:
        """Names the place where its trials run, for a sentence."""
        return "this machine"

    def find(
        self,
        want: Want,
        leaves: Callable[[], bool],
        waits: Callable[[str], None],
        yields: Callable[[], bool] = bool,
    ) -> bool:
        """Blocks until a node is free; False: an order or another job came first. This machine is always there."""
        return True

    @property
    def is_selective(self) -> bool:
        """Can some trials begin in this slot while others wait, by the GPUs or the node that they want?"""
        return bool(self.room.gpus)

    def first_startable(self, wants: Sequence[Want]) -> int | None:
        """Returns the first of these trials, given by rank, that can begin in this slot now; None: none can.

        A trial with GPUs does not pass an earlier one that waits for GPUs of the same machine, which would starve.
        """
        others_wait = False
        for index, want in enumerate(wants):
            if not want.gpus:
                return index
            if not others_wait and self.room.has_gpus(self.index, want.gpus, want.needed or None):
                return index
            others_wait = True
        return None

    def is_followed(self, want: Want) -> bool:
        """Does a later trial wait for GPUs, too? It would take them if the waiting trial of this slot left."""
        return self.room.is_followed(self.index)

    def refused(self, want: Want) -> bool:
        """Records that a trial needs more than its node has. Returns whether another node may have enough."""
        return False

    def child(
        self, program: Program, threads: int | None = None, before_fork: Callable[[Template], None] = lambda _: None
    ) -> Placed:
        """Returns a living trial process of that program; starts one if there is none or if it has grown.

        It sees only the GPUs that the slot holds. `before_fork` is called with the template before it forks. Raises
        OSError.
        """
        threads = threads or self.settings.threads
        if gpus := self.room.gpus_of(self.index):
            program = replace(program, env={**program.env, VISIBLE: ",".join(gpu.name for gpu in gpus)})
        alive = self._child is not None and self._child.poll() is None
        same = program == self._program and threads == self._threads
        if self._child is not None and alive and same and not self.starter.is_outdated and not self._has_grown():
            return self._child
        self.close()
        self._threads = threads
        self._child = self.starter.start(program, threads, before_fork)
        self._program = program
        pace = PaceLimits(**self.settings.stall)  # type: ignore[arg-type]  # its integer fields are not offered
        self._watchdog = Watchdog(self._child, self.limits(), self.sensors, self.guard, pace=pace)
        try:
            self._watchdog.memory.start()
        except OSError:  # without its watchdog no trial may run
            self.close()
            raise
        self._least_rss = None
        return self._child

    def prepare(self, program: Program, threads: int) -> None:
        """Starts the template process while the first trial is drawn. Raises OSError."""
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
        """Prepares the watchdog for a new trial that may use `allowed` bytes; returns its Enforcer.

        A trial that cannot shrink has no soft limit, because it could not react to it. `host`: the bytes are host
        memory, whatever the device. `then`: what happens when it is out of memory, for the message. `learns_stall`:
        the stall timeout follows from the report intervals of earlier trials.
        """
        assert self._child is not None and self._watchdog is not None, "a trial process must run before it is watched"
        self._announce_trial(db, claim, trial)
        device, threads = trial.device or self.settings.device, trial.threads or self.settings.threads
        self._hard, self._shrinks, self._host = None, shrinks, host
        self._keep_within(allowed)
        usual_step_s = None
        if shape := trial.architecture:  # without one the step time is unknown, and the query would read every trial
            batch = int(trial.effective.get("effective_batch", 1))
            usual_step_s = queries.usual_step_s(db, shape, batch, device, threads)
        gap_s = queries.longest_gap_s(db, trial.job_id, trial.number) if learns_stall else None
        self._watchdog.begin_trial(usual_step_s, report_s, gap_s)
        return Enforcer(db, claim, trial, self._child, self._watchdog, then or (HALVED if shrinks else AGAIN))

    def _announce_trial(self, db: Database, claim: Claim, trial: Trial) -> None:
        """Hook of slots on other machines: names the next trial to the remote process."""

    def keep_within_room(self) -> None:
        """Adjusts the trial's memory limit to what the other slots leave free, about once a second."""
        if self._child is None or self._watchdog is None or time.monotonic() - self._kept_at < KEEP_EVERY_S:
            return
        self._kept_at = time.monotonic()
        self.room.grow(self.index, self.peak())
        with contextlib.suppress(OSError):  # memory cannot be read now: the limit stays
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
        """Returns the highest measured memory of the trial's process tree, in bytes."""
        return self._watchdog.memory.peak if self._watchdog is not None else 0

    def is_starved(self) -> bool:
        """At the last measurement, was memory short because of the trial's process tree?"""
        latest, limits = (None, None) if self._watchdog is None else (self._watchdog.latest, self._watchdog.limits)
        if latest is None or limits is None or latest.reading.available is None or limits.available_low is None:
            return False
        short = latest.reading.available < limits.available_low
        return short and is_to_blame(latest.tree_bytes, latest.reading.total)

    def host_share(self) -> int | None:
        """Returns the bytes of host memory that all slots together may plan with; None: unknown.

        A user's limit counts for each trial; with a CUDA device that limit is for GPU memory and is ignored here.
        """
        if self.settings.memory_limit is not None and kind_of(self.settings.device) != "cuda":
            return self.settings.memory_limit
        reading = self.sensors.read()
        return allowed_bytes(reading, 1, self._held(reading))

    def share(self, slots: int | None = None) -> int | None:
        """Returns the bytes each slot may plan with on its device; None: unknown. `slots`=1: for a trial alone."""
        if self.settings.memory_limit is not None:
            return self.settings.memory_limit
        reading = self.sensors.read()
        return allowed_bytes(reading, slots or self.settings.slots, self._held(reading), self.settings.device)

    def _held(self, reading: Reading) -> int:
        """Returns the bytes that this worker's trials held at the time of `reading`, so that both numbers agree."""
        if self._held_at is not reading:
            self._held_at, self._held_bytes = reading, held_by_trials()
        return self._held_bytes

    def admit(self, study: Study, cell: Cell, trial: Trial) -> Admission:
        """Returns the trial's recipe and limit; raises CannotFit when it would not fit even alone."""
        device = trial.device or self.settings.device
        return admit(study, cell, trial.params, trial.recipe, self.share(), self.share(slots=1), device)

    def take_room(self, admitted: Admission, leaves: Callable[[], bool], rank: Callable[[], float] = float) -> bool:
        """Waits until the other slots leave enough room; False when `leaves` returned True first.

        `rank`: of its job now, by which GPUs are given.
        """
        total = self.host_share if admitted.shared else lambda: self.share(slots=1)
        if self.settings.memory_limit is not None:  # the user's limit holds for each trial: nothing to divide
            return self.room.take(self.index, 0, lambda: None, leaves, admitted.want, rank)
        return self.room.take(self.index, admitted.need, total, leaves, admitted.want, rank)

    def release_room(self) -> None:
        self.room.release(self.index)

    def limits(self, allowed: int | None = None, host: bool = False) -> MemoryLimits:
        """Returns the watchdog's limits for the trial's process tree, in host memory, whatever the device."""
        reading, disk = self.sensors.read(), self.places.outputs if self.is_local else None
        if (kind_of(self.settings.device) == "cuda" and not host) or allowed is None:  # `allowed` is GPU memory
            allowed = allowed_bytes(reading, self.settings.slots, self._held(reading))
        if allowed is None or reading.total is None:
            return MemoryLimits(disk_reserve=disk_reserve(os.environ, disk))
        return MemoryLimits.for_trial(allowed, reading.total, disk=disk)

    def cool_down(self, db: Database, worker_id: int, ordered: Callable[[], bool]) -> None:
        """Blocks until the machine is cool enough to train again, or until `ordered` returns True."""
        while self.guard.state is GuardState.COOLING and not ordered():
            decision = self.guard.step(self.sensors.read())
            if decision.changed and decision.state is not None:
                transitions.set_guard(db, worker_id, decision.state.value, decision.message)
            if decision.action is not WatchdogAction.RESUME:
                time.sleep(min(COOL_LOOK_S, self.settings.poll_s))

    def reclassified(self, end: AttemptEnd) -> AttemptEnd:
        """Returns the end unchanged; slots on nodes may replace it by LOST if another node may do better."""
        return end

    def after(self, end: AttemptEnd) -> None:
        """Closes the process unless it may run several trials and this one ended normally."""
        healthy = end.how in (Ended.RESULT, Ended.PRUNED) and not end.facts.get("last", False)
        if not healthy or self._program is None or not self._program.reused:
            self.close()

    def _has_grown(self) -> bool:
        """Does the idle process use much more memory than it once did between two trials?

        Called before the next trial starts, because the process frees a trial's memory only after its result.
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
        """Returns the resident bytes of the process without its descendants, which take milliseconds to find."""
        try:
            return 0 if self._child is None else resident(psutil.Process(self._child.pid))
        except psutil.Error:
            return 0

    def release(self) -> None:
        """Ends every process of the slot; the next trial gets new ones."""
        self.close()
        self.starter.close()

    @property
    def holds_processes(self) -> bool:
        return self._child is not None or self.starter.has_template

    def close(self) -> None:
        """Ends the trial process: first by closing its stdin, after QUIT_GRACE_S by SIGKILL."""
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
        """Kills the trial process at once, without a last checkpoint."""
        if self._child is not None:
            self._child.kill()
        self.close()

    def rss(self) -> int:
        """Returns the resident bytes of the trial's process tree; 0 without one."""
        child = self._child  # a copy: the heartbeat thread calls this while the supervisor may close the child
        return sum(resident(process) for process in child.tree()) if child is not None else 0

    def step_s(self) -> float | None:
        """Returns the seconds of the latest optimizer step, for the sample row."""
        watchdog = self._watchdog
        latest = watchdog.latest if watchdog is not None else None
        return latest.step_s if latest is not None else None


def held_by_trials() -> int:
    """Returns the resident bytes of all trials of this worker; the next plan counts them as available."""
    return sum(resident(process) for process in descendants(os.getpid())[1:])


def resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
