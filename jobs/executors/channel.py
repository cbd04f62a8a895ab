"""One connection to an agent, seen from the worker: the launch command, what the node says, what it is told.

A thread of its own reads. What comes is kept in order until the slot takes it; files are staged meanwhile. Frames of
another attempt than the one that runs change nothing.
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
from fts.jobs.executors.incoming_files import Arriving, BadFile
from fts.jobs.supervisor.machine_errors import is_disk_trouble
from fts.state.files import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


MOST_WAITING = 2000  # things that came and were not taken; then the node waits
LEAVES_S = 0.5  # that a launch command may take once its stdin has ended
TIDIES_S = 10.0  # that it may take to give back its node once it is asked: srun and kubectl leave theirs when killed
SAID = 4096  # bytes of what the launch command printed, for a sentence


@dataclass(frozen=True)
class FilesCame:
    """They are staged, and take their places at `arriving.commit`."""

    arriving: Arriving
    gone: list[Any]


@dataclass(frozen=True)
class LogCame:
    body: bytes


class Channel:
    """Starts the command; `hello` is there once an agent speaks."""

    def __init__(self, argv: Sequence[str], log_path: Path, lease_s: float, beat_s: float, grace_s: float) -> None:
        """Raises OSError when the command cannot be started."""
        self.argv, self.log_path = list(argv), log_path
        self.lease_s, self.beat_s, self.grace_s = lease_s, beat_s, grace_s
        self.hello: dict[str, Any] | None = None
        self.vitals: dict[str, Any] = {}
        self.ended: str | None = None  # why nothing comes any more
        self.refused_by: str | None = None  # the node that it came to, where an engine says so
        self.trouble: OSError | None = None  # what came could not be written here
        self.preempted: str | None = None  # the engine wants the node back: what it says
        self.blameless = False  # the node is not at fault: we slept, or asked it to leave
        self._forgiven = self.began = time.monotonic()
        self.started = 0  # processes so far
        self.has_code: set[str] = set()  # md5s that were sent
        self._needs: list[str] | None = None  # data sets that the node has not
        self._changed = threading.Condition()
        self._told: deque[Any] = deque()
        self._token: str | None = None
        self._arriving: Arriving | None = None
        self._elsewhere: Path | None = None
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
        with contextlib.suppress(BrokenPipeError):  # it has ended at once; its log says why
            self.writer.begin()
        self._reader = Reader(self.process.stdout.fileno(), MOST_FROM_NODE)
        self._thread = threading.Thread(target=self._read, name=f"agent {self.process.pid}", daemon=True)
        self._thread.start()

    # -- what comes

    @property
    def silent_s(self) -> float:
        """Seconds without a word from the node; 0 before its first."""
        return 0.0 if self.hello is None else time.monotonic() - max(self._reader.heard, self._forgiven)

    def forgive(self) -> None:
        """We have slept ourselves, or were slow: nobody knows who was silent."""
        self._forgiven = time.monotonic()

    def _read(self) -> None:
        why = "its connection ended"
        try:
            while (frame := self._reader.next()) is not None:
                if (said := self._take(frame)) is not None:
                    why = said
                    break
        except (BadFrame, BadFile) as error:
            why = str(error)
        except (OSError, ValueError, TypeError, LookupError) as error:
            if isinstance(error, OSError) and is_disk_trouble(error):
                self.trouble = error  # of this machine, not of the node
            why = f"what it sent cannot be used: {error}"
        with self._changed:
            self.ended = self.ended or why
            self._changed.notify_all()

    def _take(self, frame: Frame) -> str | None:
        """Why the node leaves, if it says so."""
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
                elif self._elsewhere is None:
                    raise BadFile("a file stays on the node, which nobody had asked for")
                else:
                    self._arriving.points(meta, self._elsewhere / str(int(meta["stays"])))
        elif frame.kind is Kind.FILES:
            self._files(meta)
        elif frame.kind is Kind.LOG:
            if meta.get("token") == self._token:
                self._keep(LogCame(frame.body))
        elif frame.kind is Kind.FACT:
            if isinstance(meta.get("fact"), dict) and self._is_live(meta, meta.get("token") is not None):
                self._keep(meta["fact"])
        elif frame.kind in (Kind.DECISION, Kind.EXIT) and self._is_live(meta):
            self._keep(frame)
        with self._changed:
            self._changed.notify_all()
        return None

    def _is_live(self, meta: dict[str, Any], of_attempt: bool = False) -> bool:
        """Is it of the process that runs now, and, where it says so, of the attempt?"""
        return meta.get("process") == self.started and (not of_attempt or meta.get("token") == self._token)

    def _files(self, meta: dict[str, Any]) -> None:
        arriving = self._arriving
        if arriving is None or meta.get("token") != self._token:
            return
        if meta.get("whole") is not True:
            arriving.drop()
            return
        gone = meta.get("gone")
        self._keep(FilesCame(arriving, list(gone) if isinstance(gone, list) else []))
        self._arriving = Arriving(arriving.folder, arriving.root)

    def _keep(self, came: Any) -> None:
        with self._changed:
            while len(self._told) >= MOST_WAITING and self.ended is None:
                self._changed.wait(0.5)
                self.forgive()
            self._told.append(came)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> list[Any]:
        """What has come since the last time, oldest first; waits so long for the first."""
        with self._changed:
            if not self._told and self.ended is None and timeout_s > 0:
                self._changed.wait(timeout_s)
            came = list(self._told)
            self._told.clear()
            self._changed.notify_all()
        return came

    @property
    def has_more(self) -> bool:
        with self._changed:
            return bool(self._told)

    def wait_for_hello(self, timeout_s: float) -> None:
        with self._changed:
            if self.hello is None and self.ended is None:
                self._changed.wait(timeout_s)

    # -- what it is told

    def start(self, told: dict[str, Any]) -> None:
        """Another process; nothing of the one before counts any more. Raises BrokenPipeError."""
        self.leave_attempt()
        self.started += 1
        self.writer.send(Kind.START, {**told, "process": self.started})

    def ask_needs(self, files: dict[str, tuple[str, int]], looks: Callable[[], None]) -> list[str]:
        """Which data sets the node has not; waits while another agent there fetches them. Raises BrokenPipeError."""
        self._needs = None
        self.writer.send(Kind.DATA, {"files": files})
        with self._changed:
            while self._needs is None:
                if (why := self.lost() or self.preempted) is not None:
                    raise BrokenPipeError(why)
                looks()
                self._changed.wait(0.5)
            return self._needs

    def begin(self, token: str, arriving: Arriving, elsewhere: Path | None = None) -> None:
        """From now on frames of this attempt count, and no others. `elsewhere`: for files that do not travel."""
        with self._changed:
            self._drop_arriving()
            self._token, self._arriving, self._elsewhere = token, arriving, elsewhere

    def leave_attempt(self) -> None:
        """Nothing that is still under way counts."""
        with self._changed:
            self._token = None
            for came in self._told:
                if isinstance(came, FilesCame):
                    came.arriving.drop()
            self._told.clear()
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

    # -- its end

    def lost(self) -> str | None:
        """Why the node is gone; None: it is there, as far as anybody knows."""
        if self.ended is not None:
            return self.ended
        if self.silent_s > self.lease_s:
            return f"it was silent for {self.silent_s:.0f} s"
        return None

    def close(self, gently: bool = False) -> None:
        """Ends the connection and the launch command; the agent leaves when it sees that."""
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
                self.process.stdin.close()  # end of file: an agent that listens leaves
        if self.silent_s <= self.lease_s and self.hello is not None:  # else it hears nothing
            self.has_ended()
        if self.process.poll() is not None or self._signal(signal.SIGTERM):
            self._let_go()
        else:
            self.leave_attempt()
            threading.Thread(target=self._kill, name=f"end of {self.process.pid}", daemon=False).start()

    def has_ended(self, within_s: float = LEAVES_S) -> bool:
        """Has the launch command?"""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
        return self.process.poll() is not None

    def _signal(self, number: signal.Signals) -> bool:
        """To all of the launch command. Has it ended?"""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)
            os.killpg(self.process.pid, signal.SIGCONT)  # one that stands still ends, too
        return self.has_ended()

    def _kill(self) -> None:
        """Of a launch command that has been asked to end; nobody waits for it, except the end of the worker."""
        if not self.has_ended(TIDIES_S):
            self._signal(signal.SIGKILL)
        self._let_go()

    def _let_go(self) -> None:
        self._thread.join(5.0)
        self.leave_attempt()
        if self.process.stdout is not None and not self._thread.is_alive():
            self.process.stdout.close()

    def said(self) -> str:
        """The last line that the launch command printed."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(self._log_from, os.fstat(file.fileno()).st_size - SAID))
                printed = file.read()
        except OSError:
            printed = b""
        return last_line(printed if printed.strip() else self._reader.noise)
