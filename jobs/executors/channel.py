"""The worker's connection to one agent: runs the launch command, receives and sends frames.

A separate thread reads. It queues facts and other items in order until the slot takes them, and stages files. Frames of
any other attempt than the running one are ignored.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.executors.frames import MOST_FROM_NODE, BadFrame, Frame, FrameKind, FrameReader, Writer, last_line
from fts.jobs.executors.incoming_files import IncomingFiles
from fts.jobs.executors.remote_watchdog import checked_vitals, decision_of, exit_of, of_machine
from fts.jobs.supervisor.machine_errors import is_disk_trouble
from fts.jobs.supervisor.staged_files import BadFile
from fts.jobs.threads import begin
from fts.state.files import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


MOST_WAITING, MOST_LOG = 2000, 64 << 20  # received items, and bytes of log, that were not taken; then the node waits
LEAVES_S = 0.5  # time for a launch command to exit after the end of its stdin
TIDIES_S = 10.0  # time for it to release its node after SIGTERM: srun and kubectl do not when they are killed
SAID = 4096  # bytes read from the end of the launch command's log, for its last line


OF_ATTEMPT = (FrameKind.FILE, FrameKind.FILES, FrameKind.LOG, FrameKind.FACT, FrameKind.DECISION, FrameKind.EXIT)


@dataclass(frozen=True)
class FilesReceived:
    """A complete set of staged files; `arriving.commit` moves them to their places."""

    arriving: IncomingFiles
    gone: list[str]


@dataclass(frozen=True)
class LogReceived:
    body: bytes


class Channel:
    """Runs the launch command and talks to its agent; `hello` is None until the agent has answered."""

    def __init__(self, argv: Sequence[str], log_path: Path, lease_s: float, beat_s: float, grace_s: float) -> None:
        """Raises OSError when the command cannot be started."""
        self.argv, self.log_path = list(argv), log_path
        self.lease_s, self.beat_s, self.grace_s = lease_s, beat_s, grace_s
        self.hello: dict[str, Any] | None = None
        self.vitals: dict[str, Any] = {}
        self.ended: str | None = None  # why the connection has ended
        self.refused_by: str | None = None  # the node that refused, if the engine names it
        self.disk_error: OSError | None = None  # the local disk could not store what arrived
        self.preempted: str | None = None  # the engine wants the node back; its message
        self.blameless = False  # its end would not be the node's fault
        self._silent_from = self.began = time.monotonic()
        self._beaten = (self.began, time.time())  # the last heartbeat by both clocks: only one of them sees a suspend
        self._excused_until = float("-inf")  # monotonic
        self.started = 0  # number of processes started so far
        self.has_code: set[str] = set()  # md5s of the code that was sent
        self._needs: list[str] | None = None  # md5s of data sets that the node needs; None: no answer yet
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._of_attempt = threading.RLock()  # held while one of its frames is handled, and while the attempt changes
        self._token: str | None = None
        self._arriving: IncomingFiles | None = None
        self._shared_folder: Path | None = None
        handle = open_log(log_path, log_path.parent.parent)
        self._log_from = os.lseek(handle, 0, os.SEEK_END)
        try:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=handle, start_new_session=True
            )
        finally:
            os.close(handle)
        assert self.process.stdin is not None and self.process.stdout is not None, "they are pipes"
        self.writer = Writer(self.process.stdin.fileno(), lambda: self.lost() is not None)
        with contextlib.suppress(BrokenPipeError):  # it has already exited; its log contains the reason
            self.writer.begin()
        self._reader = FrameReader(self.process.stdout.fileno(), MOST_FROM_NODE)
        self._thread = threading.Thread(target=self._read, name=f"agent {self.process.pid}", daemon=True)
        try:
            begin(self._thread)
        except OSError:  # nobody would read what the agent sends
            self._signal(signal.SIGKILL)
            raise

    # -- receiving

    @property
    def silent_s(self) -> float:
        """Seconds without a byte from the node, as of our last heartbeat; 0 before its first frame.

        Not as of now: after a stop of this worker, what has arrived meanwhile must be read first.
        """
        return 0.0 if self.hello is None else max(0.0, self._beaten[0] - max(self._reader.heard, self._silent_from))

    @property
    def is_blameless(self) -> bool:
        """Would its end be our fault? Its agent leaves after a lease without a heartbeat, within the grace."""
        return self.blameless or self._was_away() or time.monotonic() < self._excused_until

    def _was_away(self) -> bool:
        """Did this machine sleep or stall, so that a heartbeat is overdue by half a lease?"""
        return max(time.monotonic() - self._beaten[0], time.time() - self._beaten[1]) > self.lease_s / 2

    def _read(self) -> None:
        why = "its connection ended"
        try:
            while (frame := self._reader.next()) is not None:
                if (reason := self._take(frame)) is not None:
                    why = reason
                    break
        except (BadFrame, BadFile) as error:
            why = str(error)
        except BrokenPipeError:  # it ended before it was welcomed
            pass
        except Exception as error:  # noqa: BLE001  # whatever a node sends ends its connection, not this thread
            if isinstance(error, OSError) and is_disk_trouble(error):
                self.disk_error = error  # the disk of this machine, not the node
            why = f"what it sent cannot be used: {error}"
        self.blameless = self.is_blameless
        with self._changed:
            self.ended = self.ended or why
            self._changed.notify_all()

    def _take(self, frame: Frame) -> str | None:
        """Handles one frame; returns the reason if the node ends the connection, else None."""
        meta = frame.meta
        if frame.kind is FrameKind.HELLO:
            welcome = {"lease_s": self.lease_s, "grace_s": self.grace_s, "beat_s": self.beat_s}
            self.writer.send(FrameKind.WELCOME, welcome)
            self._beaten = (time.monotonic(), time.time())
            self.hello = meta
        elif frame.kind is FrameKind.VITALS:
            known = checked_vitals(meta)
            with self._of_attempt:
                self.vitals = known if meta.get("token") == self._token else of_machine(known)
        elif frame.kind is FrameKind.NEED:
            self._needs = [str(one) for one in meta["files"]]
        elif frame.kind is FrameKind.PREEMPTED:
            self.preempted = str(meta.get("said"))[:300]
        elif frame.kind is FrameKind.REFUSED:
            self.refused_by = str(meta["host"])[:100] if "host" in meta else None
            return str(meta.get("said"))[:2000]
        elif frame.kind in OF_ATTEMPT:
            self._wait_for_room()
            with self._of_attempt:
                self._take_of_attempt(frame)
        with self._changed:
            self._changed.notify_all()
        return None

    def _take_of_attempt(self, frame: Frame) -> None:
        """Queues what a frame says, or stages its part of a file; ignores frames of any other attempt or process."""
        kind, meta = frame.kind, frame.meta
        of_attempt, of_process = meta.get("token") == self._token, meta.get("process") == self.started
        if kind is FrameKind.FACT:
            if isinstance(meta.get("fact"), dict) and of_process and (of_attempt or meta.get("token") is None):
                self._append(meta["fact"])
        elif kind in (FrameKind.DECISION, FrameKind.EXIT):
            if of_process:
                self._append(decision_of(meta) if kind is FrameKind.DECISION else exit_of(meta))
        elif not of_attempt or self._arriving is None:
            return
        elif kind is FrameKind.LOG:
            self._append(LogReceived(frame.body))
        elif kind is FrameKind.FILES:
            self._files(meta, self._arriving)
        elif "stays" not in meta:
            self._arriving.part(meta, frame.body)
        elif self._shared_folder is None:
            raise BadFile("a file stays on the node without a request")
        else:
            self._arriving.add_pointer(meta, self._shared_folder / str(int(meta["stays"])))

    def _files(self, meta: dict[str, Any], arriving: IncomingFiles) -> None:
        if meta.get("whole") is not True:
            arriving.drop()
            return
        gone = meta.get("gone")
        self._append(FilesReceived(arriving, arriving.checked(gone if isinstance(gone, list) else [])))
        self._arriving = IncomingFiles(arriving.folder, arriving.root)

    def _append(self, item: Any) -> None:
        with self._changed:
            self._items.append(item)

    def _wait_for_room(self) -> None:
        """Waits until the slot has taken enough of what has arrived."""
        with self._changed:
            while self.ended is None and (
                len(self._items) >= MOST_WAITING
                or sum(len(one.body) for one in self._items if isinstance(one, LogReceived)) >= MOST_LOG
            ):
                self._changed.wait(0.5)
                self._silent_from = time.monotonic()

    def take(self, timeout_s: float) -> list[Any]:
        """Returns the items received since the last call, oldest first; waits up to `timeout_s` for the first."""
        with self._changed:
            if not self._items and self.ended is None and timeout_s > 0:
                self._changed.wait(timeout_s)
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
        return items

    @property
    def has_more(self) -> bool:
        with self._changed:
            return bool(self._items)

    def wait_for_hello(self, timeout_s: float) -> None:
        with self._changed:
            if self.hello is None and self.ended is None:
                self._changed.wait(timeout_s)

    # -- sending

    def start(self, request: dict[str, Any]) -> None:
        """Starts another process there; frames of the previous one are ignored from now on. Raises BrokenPipeError."""
        with self._of_attempt:
            self.leave_attempt()
            self.started += 1
        self.writer.send(FrameKind.START, {**request, "process": self.started})

    def ask_needs(self, files: dict[str, tuple[str, int]], looks: Callable[[], None]) -> list[str]:
        """Returns the md5s of data sets that the node needs; waits while another agent there fetches them.

        Raises BrokenPipeError.
        """
        self._needs = None
        self.writer.send(FrameKind.DATA, {"files": files})
        with self._changed:
            while self._needs is None:
                if (why := self.lost() or self.preempted) is not None:
                    raise BrokenPipeError(why)
                looks()
                self._changed.wait(0.5)
            return self._needs

    def begin(self, token: str, arriving: IncomingFiles, shared_folder: Path | None = None) -> list[bytes]:
        """Accepts frames of this attempt only; returns the log of the last one that was not taken.

        `shared_folder`: shared folder for files that are not sent.
        """
        with self._of_attempt, self._changed:
            self._drop_files()
            late = [one.body for one in self._items if isinstance(one, LogReceived)]
            self._items = deque(one for one in self._items if not isinstance(one, FilesReceived | LogReceived))
            self._token, self._arriving, self._shared_folder = token, arriving, shared_folder
            self.vitals = of_machine(self.vitals)
        return late

    def leave_attempt(self) -> None:
        """Ends the attempt: drops what has arrived, and ignores its later frames."""
        with self._of_attempt, self._changed:
            self._token = None
            self._drop_files()
            self._items.clear()

    def _drop_files(self) -> None:
        """Drops the staged files. Call with the locks held."""
        staged = [one.arriving for one in self._items if isinstance(one, FilesReceived)]
        for each in (*staged, self._arriving):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.drop()
        self._arriving = None

    def beat(self) -> None:
        """Sends a heartbeat. After a sleep of this machine, silence counts from now on."""
        if self._was_away():
            self._silent_from = time.monotonic()
            self._excused_until = self._silent_from + self.lease_s + self.grace_s
        self._beaten = (time.monotonic(), time.time())
        with contextlib.suppress(BrokenPipeError):
            if self.hello is not None:
                self.writer.beat()

    # -- end of the connection

    def lost(self) -> str | None:
        """Returns why the node is lost; None: as far as we know it is alive."""
        if self.ended is not None:
            return self.ended
        if self.silent_s > self.lease_s:
            return f"it was silent for {self.silent_s:.0f} s"
        return None

    def close(self, gently: bool = False) -> None:
        """Ends the connection and the launch command; the agent exits when it notices that."""
        if gently and self.lost() is None and self.hello is not None:
            with contextlib.suppress(BrokenPipeError):
                self.writer.send(FrameKind.END, {"leave": True})
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(min(self.grace_s, 5.0))
        with self._changed:
            self.ended = self.ended or "it was asked to leave"
            self._changed.notify_all()
        self.writer.end()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()  # end of file makes the agent exit
        if self.silent_s <= self.lease_s and self.hello is not None:  # a silent agent will not notice
            self.has_ended()
        if self.process.poll() is not None or self._signal(signal.SIGTERM):
            self._let_go()
        else:
            self.leave_attempt()
            threading.Thread(target=self._kill, name=f"end of {self.process.pid}", daemon=False).start()

    def has_ended(self, within_s: float = LEAVES_S) -> bool:
        """Waits up to `within_s` for the launch command; returns whether it has exited."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
        return self.process.poll() is not None

    def _signal(self, number: signal.Signals) -> bool:
        """Signals the launch command's process group; returns whether it has exited."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)
            os.killpg(self.process.pid, signal.SIGCONT)  # so that stopped processes react, too
        return self.has_ended()

    def _kill(self) -> None:
        """Kills a launch command that did not exit after SIGTERM; only the worker's exit waits for this thread."""
        if not self.has_ended(TIDIES_S):
            self._signal(signal.SIGKILL)
        self._let_go()

    def _let_go(self) -> None:
        self._thread.join(5.0)
        self.leave_attempt()
        if self.process.stdout is not None and not self._thread.is_alive():
            self.process.stdout.close()

    def last_printed(self) -> str:
        """Returns the last line that the launch command printed."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(self._log_from, os.fstat(file.fileno()).st_size - SAID))
                printed = file.read()
        except OSError:
            printed = b""
        return last_line(printed if printed.strip() else self._reader.noise)
