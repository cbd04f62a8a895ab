"""A trial process on a node with the same interface as a local one: sends commands, receives facts and files."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api import protocol
from fts.jobs.executors.base import Exit, ExitKind, OrderReceived
from fts.jobs.executors.channel import Channel, FilesReceived, LogReceived
from fts.jobs.executors.frames import MOST_BODY, FrameKind
from fts.jobs.executors.incoming_files import IncomingFiles
from fts.jobs.executors.outgoing_files import (
    ARTIFACTS,
    is_kept,
    open_inside,
    refuse_too_much,
    scan,
    send_file,
    send_folder,
)
from fts.jobs.supervisor import shared_checkpoints
from fts.jobs.supervisor.child import ChildGone
from fts.jobs.supervisor.shared_checkpoints import SUFFIX
from fts.jobs.supervisor.staged_files import BadFile, finish_commit
from fts.jobs.supervisor.template import KnownTrials
from fts.jobs.watchdog.policy import Decision
from fts.state.files import open_log, remove, write_all
from fts.state.values import Cause

if TYPE_CHECKING:
    import psutil

    from fts.jobs.api.study import Program
    from fts.jobs.executors.remote import RemoteSlot


class RemoteProcess:
    """A trial process on a node; implements fts.jobs.executors.base.Placed."""

    pid: int = 0
    frozen: bool = False
    log_start: int | None = None  # nodes have logs of their own
    reads_files: bool = False
    writes_stacks: bool = False  # set by the agent on its node

    def __init__(self, channel: Channel, node: str, slot: RemoteSlot, program: Program) -> None:
        self.channel, self.slot, self.program = channel, slot, program
        self.node: str | None = node
        self.fingerprint: str | None = str((channel.hello or {}).get("fingerprint", ""))
        self.relays = program.relays
        self.log_path = channel.log_path
        self.started = time.time()
        self.known = KnownTrials()
        self.was_ready = self.asked_to_stop = self.brought_checkpoint = False
        self.fence: Callable[[], AbstractContextManager[None]] = nullcontext
        self.decisions: list[Decision] = []
        self.next_trial: dict[str, Any] = {}  # arguments for the watchdog there, for the next trial
        self._exit: Exit | None = None
        self._oom_kills = 0
        self._home: Path | None = None
        self._log: Path | None = None
        self._token = ""
        self._refusal: dict[str, Any] | None = None  # the last fact of a trial with a folder that cannot be sent
        self._earlier: set[str] = set()  # artifacts of earlier attempts, which their node has not got
        self._brought: set[str] = set()  # artifacts of this attempt
        self._shared_folder: Path | None = None  # the trial's folder for large checkpoints on the shared file system

    # -- commands and facts

    def send(self, message: dict[str, Any], timeout_s: float = 5.0) -> None:
        """Sends a command of the protocol; "run" is sent with the trial's checkpoint files."""
        try:
            if message.get("do") == "run":
                self._begin(message["spec"])
            else:
                self.channel.writer.send(FrameKind.SEND, {"message": message})
        except BrokenPipeError as error:
            raise ChildGone(f"{self.node} does not answer: {error}") from error
        except OrderReceived:
            self.slot.leave_node()
            raise

    def _begin(self, spec: dict[str, Any]) -> None:
        home, logged = Path(spec["folder"]), Path(spec["log_path"])
        root = home.parents[2]
        finish_commit(home, root)
        found = scan(home)
        try:
            refuse_too_much({name.removesuffix(SUFFIX): one for name, one in found.items() if not is_kept(name)})
        except BadFile as error:
            said = f"its folder cannot be sent to a node, so run it with a worker on this machine: {error}"
            failed = {"fact": "failed", "cause": Cause.CODE_ERROR, "message": said}
            self._refusal = failed | {"lasting": True, "here": True}  # it fails the job: the trial can go on here
            return
        self._earlier, self._brought = {name for name in found if name.startswith(ARTIFACTS)}, set()
        token = f"{self.slot.token}-{os.urandom(4).hex()}"
        writer, meta = self.channel.writer, {"token": token}
        names: dict[str, Any] = {"job": home.parent.name, "trial": home.name}
        if (checkpoints := self.slot.executor.checkpoints) is not None:
            self._shared_folder = shared_checkpoints.folder_of(checkpoints, root, home.parent.name, home.name)
            shared_checkpoints.sweep(self._shared_folder, home, None)
            beyond = self.slot.worker_settings.checkpoint_home
            names["elsewhere"] = {"root": str(checkpoints), "folder": str(self._shared_folder), "beyond": beyond}
        arriving = IncomingFiles(home, root)
        self._write_log(self.channel.begin(token, arriving, self._shared_folder and self._shared_folder / token))
        self._home, self._log, self._token, self.brought_checkpoint = home, logged, token, False
        writer.send(FrameKind.ATTEMPT, {**meta, **names, **self.next_trial, "spec": spec})
        for name in found:
            pointer = shared_checkpoints.read(home / name) if name.endswith(SUFFIX) else None
            if is_kept(name) or (pointer is None and name.endswith(SUFFIX)):
                continue
            if pointer is not None:
                header = {"name": name.removesuffix(SUFFIX), "at": pointer.at}
                writer.send(FrameKind.FILE, {**meta, **header, "size": pointer.bytes, "md5": pointer.md5})
                continue
            if name.endswith("/"):
                send_folder(writer, name, meta)
            elif (fd := open_inside(home, name)) is not None:
                try:
                    send_file(writer, name, fd, meta, self.slot.look)
                finally:
                    os.close(fd)
        if self.program.reads_log:
            with contextlib.suppress(FileNotFoundError), logged.open("rb") as file:
                while body := file.read(MOST_BODY):
                    writer.send(FrameKind.FILE, {**meta, "of": "log"}, body)
        writer.send(FrameKind.RUN, meta)

    def facts(self, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        """Returns the facts of the trial; the files that a fact names are stored here before. Raises StaleToken."""
        facts: list[dict[str, Any]] = []
        printed: list[bytes] = []
        if self._refusal is not None:
            facts, self._refusal = [self._refusal], None
            return facts
        for item in self._receive(timeout_s):
            if isinstance(item, dict):
                self.brought_checkpoint |= item.get("fact") == "checkpoint"
                if item.get("fact") == "kept" and self._earlier:
                    self._remove_earlier(str(item.get("name")))
                facts.append(self._with_local_paths(item) | self._kept_at(item))
            elif isinstance(item, LogReceived):
                printed.append(item.body)
            elif isinstance(item, FilesReceived):
                self._write_log(printed)
                names = {*item.arriving.names, *(f"{name}/" for name in item.arriving.folders)}
                item.arriving.commit(item.gone, self.fence())
                self._brought |= {name for name in names if name.startswith(ARTIFACTS)}
                self._brought -= set(item.gone)
                self.sweep(self._token)
            elif isinstance(item, Decision):
                self.decisions.append(item)
            else:
                self._exit, self._oom_kills = item.exit, item.oom_kills
                self.channel.vitals = self.channel.vitals | item.vitals  # a new one: other threads read the old one
        self._write_log(printed)
        if not facts and (trouble := self.channel.disk_error) is not None:
            raise trouble
        return facts

    def _receive(self, timeout_s: float) -> Iterator[Any]:
        """Yields received items; drops staged files that the caller does not reach."""
        items = deque(self.channel.take(timeout_s))
        try:
            while items:
                yield items.popleft()
        finally:
            for left in items:
                if isinstance(left, FilesReceived):
                    left.arriving.drop()

    def _write_log(self, printed: list[bytes]) -> None:
        if not printed or self._log is None:
            return
        with self.fence() if self.program.reads_log else nullcontext():
            handle = open_log(self._log, self._log.parent.parent)
            try:
                for body in printed:
                    write_all(handle, body)
            finally:
                os.close(handle)
        printed.clear()

    def _with_local_paths(self, fact: dict[str, Any]) -> dict[str, Any]:
        """Replaces paths on the node by the paths of the files here."""
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

    def _remove_earlier(self, artifact: str) -> None:
        """Removes what an earlier attempt kept as this artifact, and this attempt has not brought again."""
        assert self._home is not None, "an attempt has begun"
        earlier = {name for name in self._earlier if name == artifact or name.startswith(f"{artifact}/")}
        self._earlier -= earlier
        if not (left := earlier - self._brought):
            return
        with self.fence():
            for name in sorted(left, reverse=True):
                path = self._home / name
                if not path.is_dir():
                    remove(path, self._home.parents[2])
                for folder in (path, *path.parents[: len(Path(name).parts) - 2]):
                    if f"{folder.relative_to(self._home)}/" in self._brought:
                        break
                    with contextlib.suppress(OSError):  # it is not empty, or no folder
                        folder.rmdir()

    def sweep(self, live: str | None = None) -> None:
        """Removes shared checkpoint files that no pointer here names. `live`: token of a running attempt."""
        if self._shared_folder is not None and self._home is not None:
            shared_checkpoints.sweep(self._shared_folder, self._home, live)

    def _kept_at(self, fact: dict[str, Any]) -> dict[str, Any]:
        """Returns the fact's `kept_at` for a checkpoint on the shared file system, else nothing."""
        if self._shared_folder is None or self._home is None or fact.get("fact") != "checkpoint":
            return {}
        return {"kept_at": str(self._shared_folder)} if shared_checkpoints.bytes_of(self._home) else {}

    def oom_kills(self) -> int:
        """Returns how many there were on its node while it ran, known at its end; 0 before."""
        return self._oom_kills

    # -- life

    def exit(self) -> Exit | None:
        if (said := self.channel.preempted) is not None:
            return Exit(protocol.STOPPED, ExitKind.PREEMPTED, said)
        return self._ended_by()

    def _ended_by(self) -> Exit | None:
        if self._exit is None and not self.channel.has_more and (why := self.channel.lost()) is not None:
            self._exit = Exit(None, ExitKind.NODE_LOST, f"node {self.node} is lost: {why}")
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
        """Returns nothing: its processes are on another machine, where the agent measures them."""
        return []

    def _stop(self, how: str) -> bool:
        if self.poll() is not None:
            return False
        with contextlib.suppress(BrokenPipeError):
            self.channel.writer.send(FrameKind.STOP, {"how": how})
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

    @property
    def has_unread_command(self) -> bool:
        """Always False: the agent itself sends SIGTERM to a process that does not read its commands."""
        return False

    def terminate(self) -> bool:
        self.asked_to_stop = True
        return self._stop("insist")

    def kill(self) -> int:
        """Requests the kill and does not wait; the end arrives with the facts or with the end of the node."""
        self._stop("kill")
        return -9

    def close_stdin(self) -> None:
        self.asked_to_stop = True
        self._stop("stdin")

    def close(self) -> None:
        """Asks the agent to end the process; the agent then waits for the next one."""
        self.channel.leave_attempt()
        if self.channel.lost() is None:
            with contextlib.suppress(BrokenPipeError):
                self.channel.writer.send(FrameKind.END)


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
