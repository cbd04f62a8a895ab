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
from fts.jobs.executors.frames import MOST_FROM_NODE, BadFrame, Frame, Kind, Reader, Writer, last_line
from fts.jobs.executors.incoming_files import BadFile, IncomingFiles
from fts.jobs.supervisor.machine_errors import is_disk_trouble
from fts.jobs.threads import begin
from fts.state.files import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


MOST_WAITING = 2000  # received items that were not taken; then the node waits
LEAVES_S = 0.5  # time for a launch command to exit after the end of its stdin
TIDIES_S = 10.0  # time for it to release its node after SIGTERM: srun and kubectl do not when they are killed
SAID = 4096  # bytes read from the end of the launch command's log, for its last line


@dataclass(frozen=True)
class FilesReceived:
    """A complete set of staged files; `arriving.commit` moves them to their places."""

    arriving: IncomingFiles
    gone: list[Any]


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
        self.blameless = False  # the end is not the node's fault: this machine slept, or asked it to leave
        self._silent_from = self.began = time.monotonic()
        self.started = 0  # number of processes started so far
        self.has_code: set[str] = set()  # md5s of the code that was sent
        self._needs: list[str] | None = None  # md5s of data sets that the node needs; None: no answer yet
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
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
        self._reader = Reader(self.process.stdout.fileno(), MOST_FROM_NODE)
        self._thread = threading.Thread(target=self._read, name=f"agent {self.process.pid}", daemon=True)
        try:
            begin(self._thread)
        except OSError:  # nobody would read what the agent sends
            self._signal(signal.SIGKILL)
            raise

    # -- receiving

    @property
    def silent_s(self) -> float:
        """Seconds since the last byte from the node; 0 before its first frame."""
        return 0.0 if self.hello is None else time.monotonic() - max(self._reader.heard, self._silent_from)

    def reset_silence(self) -> None:
        """Restarts the count of silence: this machine slept or was slow, so the node may not have been silent."""
        self._silent_from = time.monotonic()

    def _read(self) -> None:
        why = "its connection ended"
        try:
            while (frame := self._reader.next()) is not None:
                if (reason := self._take(frame)) is not None:
                    why = reason
                    break
        except (BadFrame, BadFile) as error:
            why = str(error)
        except (OSError, ValueError, TypeError, LookupError) as error:
            if isinstance(error, OSError) and is_disk_trouble(error):
                self.disk_error = error  # the disk of this machine, not the node
            why = f"what it sent cannot be used: {error}"
        with self._changed:
            self.ended = self.ended or why
            self._changed.notify_all()

    def _take(self, frame: Frame) -> str | None:
        """Handles one frame; returns the reason if the node ends the connection, else None."""
        meta = frame.meta
        if frame.kind is Kind.HELLO:
            welcome = {"lease_s": self.lease_s, "grace_s": self.grace_s, "beat_s": self.beat_s}
            self.writer.send(Kind.WELCOME, welcome)
            self.hello = meta
        elif frame.kind is Kind.VITALS:
            self.vitals = meta
        elif frame.kind is Kind.NEED:
            self._needs = [str(one) for one in meta["files"]]
        elif frame.kind is Kind.PREEMPTED:
            self.preempted = str(meta.get("said"))[:300]
        elif frame.kind is Kind.REFUSED:
            self.refused_by = str(meta["host"])[:100] if "host" in meta else None
            return str(meta.get("said"))[:2000]
        elif frame.kind is Kind.FILE:
            if self._arriving is not None and meta.get("token") == self._token:
                if "stays" not in meta:
                    self._arriving.part(meta, frame.body)
                elif self._shared_folder is None:
                    raise BadFile("a file stays on the node without a request")
                else:
                    self._arriving.add_pointer(meta, self._shared_folder / str(int(meta["stays"])))
        elif frame.kind is Kind.FILES:
            self._files(meta)
        elif frame.kind is Kind.LOG:
            if meta.get("token") == self._token:
                self._append(LogReceived(frame.body))
        elif frame.kind is Kind.FACT:
            if isinstance(meta.get("fact"), dict) and self._is_live(meta, meta.get("token") is not None):
                self._append(meta["fact"])
        elif frame.kind in (Kind.DECISION, Kind.EXIT) and self._is_live(meta):
            self._append(frame)
        with self._changed:
            self._changed.notify_all()
        return None

    def _is_live(self, meta: dict[str, Any], of_attempt: bool = False) -> bool:
        """Is the frame from the running process, and with `of_attempt` from the running attempt?"""
        return meta.get("process") == self.started and (not of_attempt or meta.get("token") == self._token)

    def _files(self, meta: dict[str, Any]) -> None:
        arriving = self._arriving
        if arriving is None or meta.get("token") != self._token:
            return
        if meta.get("whole") is not True:
            arriving.drop()
            return
        gone = meta.get("gone")
        self._append(FilesReceived(arriving, list(gone) if isinstance(gone, list) else []))
        self._arriving = IncomingFiles(arriving.folder, arriving.root)

    def _append(self, item: Any) -> None:
        with self._changed:
            while len(self._items) >= MOST_WAITING and self.ended is None:
                self._changed.wait(0.5)
                self.reset_silence()
            self._items.append(item)
            self._changed.notify_all()

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
        self.leave_attempt()
        self.started += 1
        self.writer.send(Kind.START, {**request, "process": self.started})

    def ask_needs(self, files: dict[str, tuple[str, int]], looks: Callable[[], None]) -> list[str]:
        """Returns the md5s of data sets that the node needs; waits while another agent there fetches them.

        Raises BrokenPipeError.
        """
        self._needs = None
        self.writer.send(Kind.DATA, {"files": files})
        with self._changed:
            while self._needs is None:
                if (why := self.lost() or self.preempted) is not None:
                    raise BrokenPipeError(why)
                looks()
                self._changed.wait(0.5)
            return self._needs

    def begin(self, token: str, arriving: IncomingFiles, shared_folder: Path | None = None) -> None:
        """Accepts frames of this attempt only. `shared_folder`: shared folder for files that are not sent."""
        with self._changed:
            self._drop_arriving()
            self._token, self._arriving, self._shared_folder = token, arriving, shared_folder

    def leave_attempt(self) -> None:
        """Ends the attempt: drops what has arrived, and ignores its later frames."""
        with self._changed:
            self._token = None
            for item in self._items:
                if isinstance(item, FilesReceived):
                    item.arriving.drop()
            self._items.clear()
            self._drop_arriving()

    def _drop_arriving(self) -> None:
        if self._arriving is not None:
            with contextlib.suppress(OSError):
                self._arriving.drop()
        self._arriving = None

    def beat(self) -> None:
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
        if gently and self.ended is None and self.hello is not None:
            with contextlib.suppress(BrokenPipeError):
                self.writer.send(Kind.END, {"leave": True})
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
