"""A slot whose trials run on a node: its process, its watchdog and its memory are there, behind an agent."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api import protocol
from fts.jobs.devices import Gpu
from fts.jobs.executors.arriving import Arriving, settle
from fts.jobs.executors.base import DataNotSent, Exit, OrderCame, Whose
from fts.jobs.executors.channel import Channel, FilesCame, LogCame
from fts.jobs.executors.frames import MOST_BODY, Kind
from fts.jobs.executors.outgoing import KEEPS, open_plain, scan, send_file
from fts.jobs.sensors.detect import Reading
from fts.jobs.supervisor import elsewhere
from fts.jobs.supervisor.attempt import AttemptEnd, Ended
from fts.jobs.supervisor.child import ChildGone
from fts.jobs.supervisor.memory_pool import MemoryPool
from fts.jobs.supervisor.slot import COOL_LOOK_S, VISIBLE, Slot
from fts.jobs.supervisor.template import Told
from fts.jobs.watchdog.policy import Action, Decision, GuardState, MemoryLimits
from fts.jobs.watchdog.stop_request import StopReason
from fts.jobs.watchdog.watchdog import Vitals
from fts.state import transitions
from fts.state.files import open_log
from fts.state.values import Cause

if TYPE_CHECKING:
    import psutil

    from fts.jobs.api.study import Program
    from fts.jobs.executors.base import Want
    from fts.jobs.executors.command import CommandExecutor
    from fts.jobs.settings import Places, WorkerSettings
    from fts.jobs.supervisor.template import Template
    from fts.state.db import Database
    from fts.state.values import Claim, Trial


READINGS = set(Reading.__dataclass_fields__)
HEAT = (GuardState.UNKNOWN, GuardState.NORMAL, GuardState.WARM)  # of which nobody need be told


class RemoteProcess:
    """A trial process on a node, as fts.jobs.executors.base.Placed has it."""

    pid: int = 0
    frozen: bool = False
    reads_files: bool = False

    def __init__(self, channel: Channel, node: str, slot: RemoteSlot, program: Program) -> None:
        self.channel, self.slot, self.program = channel, slot, program
        self.node: str | None = node
        self.fingerprint: str | None = str((channel.hello or {}).get("fingerprint", ""))
        self.relays = program.relays
        self.log_path = channel.log_path
        self.started = time.time()
        self.told = Told()
        self.was_ready = self.asked_to_stop = False
        self.fence: Callable[[], AbstractContextManager[None]] = nullcontext
        self.decisions: list[Decision] = []
        self.begins: dict[str, Any] = {}  # what the watchdog there is told of the next trial
        self._exit: Exit | None = None
        self._oom_kills = 0
        self._home: Path | None = None
        self._log: Path | None = None
        self._token = ""
        self._elsewhere: Path | None = None  # of this trial: what does not come home

    # -- talk

    def send(self, message: dict[str, Any], timeout_s: float = 5.0) -> None:
        """A command of the protocol; a specification goes with the files that the trial goes on from."""
        try:
            if message.get("do") == "run":
                self._begin(message["spec"])
            else:
                self.channel.writer.send(Kind.SEND, {"message": message})
        except BrokenPipeError as error:
            raise ChildGone(f"{self.node} does not answer: {error}") from error
        except OrderCame:
            self.slot.leave_node()
            raise

    def _begin(self, spec: dict[str, Any]) -> None:
        home, logged = Path(spec["folder"]), Path(spec["log_path"])
        root = home.parents[2]
        settle(home, root)
        token = f"{self.slot.token}-{os.urandom(4).hex()}"
        self._home, self._log, self._token = home, logged, token
        writer, meta = self.channel.writer, {"token": token}
        names: dict[str, Any] = {"job": home.parent.name, "trial": home.name}
        if (checkpoints := self.slot.executor.checkpoints) is not None:
            self._elsewhere = elsewhere.folder_of(checkpoints, root, home.parent.name, home.name)
            elsewhere.sweep(self._elsewhere, home, None)
            beyond = self.slot.asked.checkpoint_home
            names["elsewhere"] = {"root": str(checkpoints), "folder": str(self._elsewhere), "beyond": beyond}
        self.channel.begin(token, Arriving(home, root), self._elsewhere and self._elsewhere / token)
        writer.send(Kind.ATTEMPT, {**meta, **names, **self.begins, "spec": spec})
        for name in scan(home):
            pointer = elsewhere.read(home / name) if name.endswith(elsewhere.SUFFIX) else None
            if pointer is None and name.endswith(elsewhere.SUFFIX):
                continue
            if pointer is not None:
                told = {"name": name.removesuffix(elsewhere.SUFFIX), "at": pointer.at}
                writer.send(Kind.FILE, {**meta, **told, "size": pointer.bytes, "md5": pointer.md5})
                continue
            fd = None if name.startswith(KEEPS) else open_plain(home / name)
            if fd is not None:
                try:
                    send_file(writer, name, fd, meta, self.slot.look)
                finally:
                    os.close(fd)
        if self.program.reads_log:
            with contextlib.suppress(FileNotFoundError), logged.open("rb") as file:
                while body := file.read(MOST_BODY):
                    writer.send(Kind.FILE, {**meta, "of": "log"}, body)
        writer.send(Kind.RUN, meta)

    def facts(self, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        """As the trial told them; the files that a fact tells of are at home when it comes. Raises StaleToken."""
        facts: list[dict[str, Any]] = []
        printed: list[bytes] = []
        for came in self._come(timeout_s):
            if isinstance(came, dict):
                facts.append(self._at_home(came) | self._kept_at(came))
            elif isinstance(came, LogCame):
                printed.append(came.body)
            elif isinstance(came, FilesCame):
                self._write_log(printed)
                came.arriving.commit(came.gone, self.fence())
                if self._elsewhere is not None and self._home is not None:
                    elsewhere.sweep(self._elsewhere, self._home, self._token)
            elif came.kind is Kind.DECISION:
                self.decisions.append(decision_of(came.meta))
            elif came.kind is Kind.EXIT:
                self._ended(came.meta)
        self._write_log(printed)
        if not facts and (trouble := self.channel.trouble) is not None:
            raise trouble
        return facts

    def _come(self, timeout_s: float) -> Iterator[Any]:
        """What has come; what the caller does not get to is dropped."""
        came = deque(self.channel.take(timeout_s))
        try:
            while came:
                yield came.popleft()
        finally:
            for left in came:
                if isinstance(left, FilesCame):
                    left.arriving.drop()

    def _write_log(self, printed: list[bytes]) -> None:
        if not printed or self._log is None:
            return
        with self.fence() if self.program.reads_log else nullcontext():
            handle = open_log(self._log, self._log.parent.parent)
            try:
                for body in printed:
                    os.write(handle, body)
            finally:
                os.close(handle)
        printed.clear()

    def _at_home(self, fact: dict[str, Any]) -> dict[str, Any]:
        """With the paths that its files have here."""
        scratch = str((self.channel.hello or {}).get("scratch", ""))
        if self._home is None or not scratch or scratch not in repr(fact):
            return fact
        job, trial = self._home.parent.name, self._home.name
        attempt = f"{scratch}/attempt-{self._token}"
        moved = {
            f"{attempt}/trials/{job}/{trial}": str(self._home),
            f"{attempt}/logs/{job}/{trial}.log": str(self._log),
        }
        found: dict[str, Any] = renamed(fact, moved)
        return found

    def _kept_at(self, fact: dict[str, Any]) -> dict[str, Any]:
        """Where a checkpoint is that did not come home."""
        if self._elsewhere is None or self._home is None or fact.get("fact") != "checkpoint":
            return {}
        return {"kept_at": str(self._elsewhere)} if elsewhere.bytes_of(self._home) else {}

    def _ended(self, meta: dict[str, Any]) -> None:
        code = meta.get("code")
        self._oom_kills = int(meta.get("oom_kills") or 0)
        if "peak" in meta:
            self.channel.vitals = {**self.channel.vitals, **meta}
        self._exit = Exit(
            code if isinstance(code, int) else None, Whose(str(meta.get("whose"))), str(meta.get("said"))[:2000]
        )

    def oom_kills(self) -> int:
        """Victims on its node, as far as it has said: only the difference matters."""
        return self._oom_kills

    # -- life

    def exit(self) -> Exit | None:
        if (said := self.channel.preempted) is not None:
            return Exit(protocol.STOPPED, Whose.PREEMPTED, said)
        return self._ended_by()

    def _ended_by(self) -> Exit | None:
        if self._exit is None and not self.channel.has_more and (why := self.channel.lost()) is not None:
            self._exit = Exit(None, Whose.NODE_LOST, f"node {self.node} is lost: {why}")
        return self._exit

    def poll(self) -> int | None:
        ended = self._ended_by()
        if ended is None:
            return None
        return -9 if ended.code is None else ended.code

    def wait(self, timeout_s: float) -> int | None:
        until = time.monotonic() + timeout_s
        while (code := self.poll()) is None and (left := until - time.monotonic()) > 0:
            self.facts(min(left, 0.1))
        return code

    def tree(self) -> list[psutil.Process]:
        """Its processes are on another machine, where the agent counts them."""
        return []

    def _stop(self, how: str) -> bool:
        if self.poll() is not None:
            return False
        with contextlib.suppress(BrokenPipeError):
            self.channel.writer.send(Kind.STOP, {"how": how})
        return True

    def freeze(self) -> bool:
        self.frozen = not self.asked_to_stop and self._stop("freeze")
        return self.frozen

    def thaw(self) -> bool:
        self.frozen = False
        return self._stop("thaw")

    def ask_to_stop(self) -> bool:
        self.asked_to_stop = True
        return self._stop("ask")

    def kill(self) -> int:
        """Asks for it; its end comes with the facts, or with the end of the node."""
        self._stop("kill")
        return -9

    def close_stdin(self) -> None:
        self.asked_to_stop = True
        self._stop("stdin")

    def close(self) -> None:
        """The agent ends it, and waits for another."""
        self.channel.leave_attempt()
        if self.channel.lost() is None:
            with contextlib.suppress(BrokenPipeError):
                self.channel.writer.send(Kind.END)


def renamed(value: Any, moved: dict[str, str]) -> Any:
    if isinstance(value, str):
        for there, here in moved.items():
            value = value.replace(there, here)
        return value
    if isinstance(value, dict):
        return {name: renamed(one, moved) for name, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, moved) for one in value]
    return value


def decision_of(meta: dict[str, Any]) -> Decision:
    """Raises ValueError for none of ours."""
    state, cause = meta.get("state"), meta.get("cause")
    return Decision(
        Action(meta["action"]),
        str(meta.get("message"))[:2000],
        GuardState(state) if state else None,
        Cause(cause) if cause else None,
        bool(meta.get("changed", True)),
    )


class NodeMemory:
    """What MemoryWatch is on this machine."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    @property
    def peak(self) -> int:
        return int(self.channel.vitals.get("peak") or 0)


class RemoteWatchdog:
    """The watchdog on the node, as far as the supervisor asks it."""

    def __init__(self, process: RemoteProcess, limits: MemoryLimits) -> None:
        self.process, self.limits = process, limits
        self.memory = NodeMemory(process.channel)
        self.pace = self
        self._began = time.monotonic()

    def limit_memory(self, limits: MemoryLimits) -> None:
        if limits != self.limits:
            self.limits = limits
            with contextlib.suppress(BrokenPipeError):
                self.process.channel.writer.send(Kind.LIMITS, {"limits": asdict(limits)})

    def begin_trial(
        self, usual_step_s: float | None = None, report_s: float | None = None, gap_s: float | None = None
    ) -> None:
        self.process.begins |= {"usual_step_s": usual_step_s, "report_s": report_s, "gap_s": gap_s}
        self.process.channel.vitals = {
            name: value for name, value in self.process.channel.vitals.items() if name in ("reading", "guard")
        }

    def progress(self, step_s: float | None = None) -> None:
        """The node's own hears the steps."""

    def reported(self) -> None:
        """Likewise."""

    @property
    def worked_s(self) -> float:
        return float(self.process.channel.vitals.get("worked_s") or 0.0)

    @property
    def latest(self) -> Vitals | None:
        vitals = self.process.channel.vitals
        if "tree" not in vitals:
            return None
        heat = Decision(Action.NONE, "", GuardState(vitals.get("guard", "unknown")))
        reading = reading_of(vitals.get("reading"))
        return Vitals(reading, int(vitals["tree"]), None, vitals.get("step_s"), heat, self.memory.peak)

    def check(self) -> list[Decision]:
        """What it did or wants; of the heat only what changes something."""
        found, self.process.decisions = self.process.decisions, []
        told = [one for one in found if one.action is not Action.NONE or one.state not in HEAT]
        node = self.process.node
        return [replace(one, state=None, message=f"{node}: {one.message}") for one in told]

    def close(self) -> None:
        """The agent closes it with its process."""


def reading_of(told: Any) -> Reading:
    known = told if isinstance(told, dict) else {}
    return Reading(**({"at": time.time()} | {name: value for name, value in known.items() if name in READINGS}))


class NodeSensors:
    """The latest reading that a node has sent."""

    def __init__(self, slot: RemoteSlot) -> None:
        self.slot = slot
        self._told: Any = None
        self._reading = reading_of(None)

    def read(self) -> Reading:
        channel = self.slot.channel
        if channel is None:
            return self._reading
        told = channel.vitals.get("reading") or (channel.hello or {}).get("reading")
        if told is not self._told:
            self._told, self._reading = told, reading_of(told)
        return self._reading

    def close(self) -> None:
        """They are the node's."""


class RemoteSlot(Slot):
    """Asks its executor for a node when a trial is to begin, and keeps it while it is healthy."""

    is_local = False

    def __init__(self, index: int, places: Places, settings: WorkerSettings, executor: CommandExecutor) -> None:
        super().__init__(index, places, settings, NodeSensors(self), MemoryPool())
        self.executor = executor
        self.asked = settings  # as the worker was told; `settings` are those of the node
        self.channel: Channel | None = None
        self.node = ""
        self.token = 0
        self._leaves: Callable[[], bool] = lambda: False

    @property
    def machine(self) -> str:
        return f"node {self.node}"

    @property
    def runs(self) -> str:
        """Its program, whatever GPUs it sees."""
        return "" if self._program is None else repr((self._program.words, self._program.folder))

    def find(self, want: Want, leaves: Callable[[], bool], waits: Callable[[str], None]) -> bool:
        self._leaves = leaves
        return self.executor.place(self.index, want, leaves, waits)

    def take_node(self, channel: Channel, node: str, room: MemoryPool, slots: int) -> None:
        """An agent is there."""
        hello = channel.hello or {}
        self.channel, self.node, self.room = channel, node, room
        device = str(hello.get("device") or "cpu") if self.asked.device == "auto" else self.asked.device
        self.settings = replace(self.asked, slots=slots, device=device)

    def leave_node(self, gently: bool = False) -> None:
        """The connection ends."""
        self.executor.runs(self.index, None)
        channel = self.take_channel()
        if channel is not None:
            self.room.give_back(self.index)
            channel.close(gently)

    def take_channel(self) -> Channel | None:
        """The slot has no node any more; whoever gets the connection closes it."""
        self._child = self._watchdog = self._program = None
        channel, self.channel = self.channel, None
        return channel

    def give_back_room(self) -> None:
        super().give_back_room()
        self.executor.idles(self.index)

    def child(
        self, program: Program, threads: int | None = None, tells: Callable[[Template], None] = lambda _: None
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
        told = {"program": asdict(program), "threads": threads, "limits": asdict(limits), "pace": self.settings.stall}
        try:
            self.executor.send_code(self.channel, program, self.look)
            self.channel.start(told)
        except BrokenPipeError:
            pass  # the process then ends as lost
        except (OSError, OrderCame) as error:
            if isinstance(error, DataNotSent | OrderCame):
                self.leave_node()  # what the agent has is half
            # nothing was started, and the next trial must not find this process
            self._child = self._watchdog = self._program = None
            raise
        return process

    def look(self) -> None:
        """Called while something is on its way to the node. Raises OrderCame."""
        if self._leaves():
            raise OrderCame

    def prepare(self, program: Program, threads: int) -> None:
        """Nobody knows yet on which node."""

    def _begins(self, db: Database, claim: Claim, trial: Trial) -> None:
        process = self._child
        assert isinstance(process, RemoteProcess), "a process comes first"
        self.token = claim.token
        self.executor.runs(self.index, f"{claim.job.experiment} t{trial.number}")
        process.fence = lambda: transitions.fenced(db, claim, trial.id)
        process.begins = {"measures": bool(trial.architecture)}

    def _limit_data(self, limit: int | None) -> None:
        """The agent does, when it hears of the limits."""

    def _held(self, reading: Reading) -> int:
        return self.executor.held(self.node)

    def cool_down(self, db: Database, worker_id: int, ordered: Callable[[], bool]) -> None:
        while self.channel is not None and self.channel.lost() is None and not ordered():
            if self.channel.vitals.get("guard") not in (GuardState.COOLING, GuardState.FROZEN):
                return
            time.sleep(min(COOL_LOOK_S, self.settings.poll_s))

    def judged(self, end: AttemptEnd) -> AttemptEnd:
        """A full disk of a node is its loss; so is what is missing there, unless all nodes miss it."""
        if end.how is Ended.LOST or end.how in (Ended.RESULT, Ended.PRUNED):
            return end
        asked, message = end.wish, str(end.facts.get("message"))
        is_full = asked is not None and asked.reason is StopReason.DISK
        failed = end.how is Ended.FAILED and asked is None
        if failed and end.facts.get("lasting"):
            message = f"{self.node}: {message}"
            if not self.executor.may_do_better(self, message.removeprefix(self.node)):
                return replace(end, facts={**end.facts, "message": message})
            return AttemptEnd(Ended.LOST, {"message": message, "whose": Whose.LAUNCH_FAILED})
        if is_full or (failed and end.facts.get("cause") == Cause.DISK and not end.facts.get("shared")):
            message = asked.message if asked is not None else f"{self.node}: {message}"
            return AttemptEnd(Ended.LOST, {"message": message, "whose": Whose.NODE_LOST})
        return end

    def after(self, end: AttemptEnd) -> None:
        self.executor.runs(self.index, None)
        if end.how is Ended.LOST:
            self.executor.lost(self, Whose(end.facts["whose"]), str(end.facts.get("message")))
            return
        self.executor.served(self, end.how in (Ended.RESULT, Ended.PRUNED))
        super().after(end)

    def close(self) -> None:
        process, self._child, self._watchdog = self._child, None, None
        if process is not None:
            process.close()

    def kill(self) -> None:
        """Of a claim that is lost: nothing that is under way may count."""
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
    told = hello.get("gpus")
    return tuple(Gpu(str(one["name"]), one.get("memory")) for one in told if isinstance(one, dict)) if told else ()
