"""A slot that runs its trials on a node, through an agent that has the process and the watchdog."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fts.jobs.devices import Gpu
from fts.jobs.executors.base import DataNotSent, ExitKind, OrderReceived
from fts.jobs.executors.remote_process import RemoteProcess
from fts.jobs.executors.remote_watchdog import NodeSensors, RemoteWatchdog
from fts.jobs.supervisor.attempt import AttemptEnd, Ended
from fts.jobs.supervisor.memory_pool import MemoryPool
from fts.jobs.supervisor.slot import COOL_LOOK_S, VISIBLE, Slot
from fts.jobs.watchdog.policy import GuardState
from fts.jobs.watchdog.stop_request import StopReason
from fts.state import transitions
from fts.state.values import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.api.study import Program
    from fts.jobs.executors.base import Want
    from fts.jobs.executors.channel import Channel
    from fts.jobs.executors.command import CommandExecutor
    from fts.jobs.sensors.reading import Reading
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.template import Template
    from fts.state.db import Database
    from fts.state.values import Claim, Trial


class RemoteSlot(Slot):
    """Gets a node from its executor before a trial starts, and keeps it while it is healthy."""

    is_local = False

    def __init__(self, index: int, places: Places, settings: WorkerSettings, executor: CommandExecutor) -> None:
        super().__init__(index, places, settings, NodeSensors(self), MemoryPool())
        self.executor = executor
        self.worker_settings = settings  # the worker's settings; `self.settings` are adapted to the node
        self.channel: Channel | None = None
        self.node = ""
        self.token = 0
        self._leaves: Callable[[], bool] = lambda: False

    @property
    def machine(self) -> str:
        return f"node {self.node}"

    @property
    def brought_checkpoint(self) -> bool:
        """Has a checkpoint of the running attempt arrived here?"""
        return isinstance(self._child, RemoteProcess) and self._child.brought_checkpoint

    @property
    def runs(self) -> str:
        """Identifies its program, without the GPUs."""
        return "" if self._program is None else repr((self._program.words, self._program.folder))

    def find(
        self,
        want: Want,
        leaves: Callable[[], bool],
        waits: Callable[[str], None],
        yields: Callable[[], bool] = bool,
    ) -> bool:
        self._leaves = leaves
        return self.executor.place(self.index, want, leaves, waits, yields)

    @property
    def is_selective(self) -> bool:
        return self.executor.is_selective

    def first_startable(self, wants: Sequence[Want]) -> int | None:
        return self.executor.first_startable(self.index, wants)

    def is_followed(self, want: Want) -> bool:
        return self.room.is_followed(self.index) or self.executor.is_followed(self.index, want)

    def refused(self, want: Want) -> bool:
        return self.executor.refused(self.index, want)

    def take_node(self, channel: Channel, node: str, room: MemoryPool, slots: int) -> None:
        """Uses the node of a new agent from now on."""
        hello = channel.hello or {}
        self.channel, self.node, self.room = channel, node, room
        device = self.worker_settings.device
        if device == "auto":
            device = str(hello.get("device") or "cpu")
        self.settings = replace(self.worker_settings, slots=slots, device=device)

    def leave_node(self, gently: bool = False) -> None:
        """Releases the node and closes the connection."""
        self.executor.rows.set_running(self.index, None)
        channel = self.take_channel()
        if channel is not None:
            self.room.release(self.index)
            channel.close(gently)

    def take_channel(self) -> Channel | None:
        """Removes the node from the slot and returns its connection, which the caller must close."""
        self._child = self._watchdog = self._program = None
        channel, self.channel = self.channel, None
        return channel

    def release_room(self) -> None:
        super().release_room()
        self.executor.mark_idle(self.index)

    def child(
        self, program: Program, threads: int | None = None, before_fork: Callable[[Template], None] = lambda _: None
    ) -> RemoteProcess:
        threads = threads or self.settings.threads
        if gpus := self.room.gpus_of(self.index):
            program = replace(program, env={**program.env, VISIBLE: ",".join(gpu.name for gpu in gpus)})
        assert self.channel is not None, "a node was found before"
        before = self._child
        if isinstance(before, RemoteProcess):
            same = program == self._program and threads == self._threads
            if same and before.poll() is None and before.channel is self.channel:
                return before
            self.close()
        process = RemoteProcess(self.channel, self.node, self, program)
        self._threads, self._child, self._program = threads, process, program
        limits = self.limits()
        self._watchdog = RemoteWatchdog(process, limits)  # type: ignore[assignment]  # all of it that a slot asks for
        request = {
            "program": asdict(program),
            "threads": threads,
            "limits": asdict(limits),
            "pace": self.settings.stall,
        }
        try:
            self.executor.send_code(self.channel, program, self.look)
            self.channel.start(request)
        except BrokenPipeError:
            pass  # the process then counts as lost
        except (OSError, OrderReceived) as error:
            if isinstance(error, DataNotSent | OrderReceived):
                self.leave_node()  # the agent has only a part of the files
            # nothing was started: the next trial must not use this process
            self._child = self._watchdog = self._program = None
            raise
        return process

    def look(self) -> None:
        """Called while files are sent to the node; raises OrderReceived if the trial should stop."""
        if self._leaves():
            raise OrderReceived

    def prepare(self, program: Program, threads: int) -> None:
        """Does nothing: the node is not known yet."""

    def _announce_trial(self, db: Database, claim: Claim, trial: Trial) -> None:
        process = self._child
        assert isinstance(process, RemoteProcess), "a process comes first"
        self.token = claim.token
        self.executor.rows.set_running(self.index, f"{claim.job.experiment} t{trial.number}")
        process.fence = lambda: transitions.fenced(db, claim, trial.id)
        process.next_trial = {"measures": bool(trial.architecture)}

    def _limit_data(self, limit: int | None) -> None:
        """Does nothing: the agent sets the limit."""

    def _held(self, reading: Reading) -> int:
        return self.executor.held(self.node)

    def cool_down(self, db: Database, worker_id: int, ordered: Callable[[], bool]) -> None:
        while self.channel is not None and self.channel.lost() is None and not ordered():
            if self.channel.vitals.get("guard") not in (GuardState.COOLING, GuardState.FROZEN):
                return
            time.sleep(min(COOL_LOOK_S, self.settings.poll_s))

    def reclassified(self, end: AttemptEnd) -> AttemptEnd:
        """Turns a full disk on the node, or something missing only there, into the end LOST."""
        if end.how is Ended.LOST or end.how in (Ended.RESULT, Ended.PRUNED):
            return end
        asked, message = end.stop_request, str(end.facts.get("message"))
        is_full = asked is not None and asked.reason is StopReason.DISK
        failed = end.how is Ended.FAILED and asked is None
        if failed and end.facts.get("here"):  # it was found before anything was sent to the node
            return end
        if failed and end.facts.get("lasting"):
            message = f"{self.node}: {message}"
            if not self.executor.may_do_better(self, message.removeprefix(self.node)):
                return replace(end, facts={**end.facts, "message": message})
            return AttemptEnd(Ended.LOST, {"message": message, "exit_kind": ExitKind.LAUNCH_FAILED})
        if is_full or (failed and end.facts.get("cause") == Cause.DISK and not end.facts.get("shared")):
            message = asked.message if asked is not None else f"{self.node}: {message}"
            return AttemptEnd(Ended.LOST, {"message": message, "exit_kind": ExitKind.NODE_LOST})
        return end

    def after(self, end: AttemptEnd) -> None:
        self.executor.rows.set_running(self.index, None)
        if isinstance(self._child, RemoteProcess):
            self._child.sweep()
        if end.how is Ended.LOST:
            self.executor.lost(self, ExitKind(end.facts["exit_kind"]), str(end.facts.get("message")))
            return
        self.executor.served(self, end.how in (Ended.RESULT, Ended.PRUNED))
        super().after(end)

    def close(self) -> None:
        process, self._child, self._watchdog = self._child, None, None
        if process is not None:
            process.close()

    def kill(self) -> None:
        """Closes the connection at once: the claim is lost, so nothing that still arrives may be recorded."""
        self.leave_node()

    def release(self) -> None:
        self.leave_node(gently=True)

    @property
    def holds_processes(self) -> bool:
        return self.channel is not None

    def rss(self) -> int:
        channel = self.channel
        return int(channel.vitals.get("tree") or 0) if channel is not None else 0

    def _own_rss(self) -> int:
        return 0


def gpus_of(hello: dict[str, Any]) -> tuple[Gpu, ...]:
    gpus = hello.get("gpus")
    return tuple(Gpu(str(one["name"]), one.get("memory")) for one in gpus if isinstance(one, dict)) if gpus else ()
