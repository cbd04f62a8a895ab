"""A real pseudo terminal around a real monitor process: keys in, bytes out, processor time and memory from outside."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests import forks
from tests.tui.grid import Grid


class Terminal:
    """Starts `python -m tui --db PATH` on its own pty and reads everything it sends."""

    def __init__(
        self,
        db: Path,
        size: tuple[int, int] = (120, 40),
        *options: str,
        ignore_hangup: bool = False,
        environ: Mapping[str, str | None] | None = None,
        code: str = "",
        last: str = "",
        drawn: bool = False,
        starts: bool = False,
    ) -> None:
        """`environ` changes variables (None: takes them away); `code` runs instead of `-m tui`, with `last` behind.

        With `drawn` the grid is what stands on the screen. It is a fork where that can be, unless it `starts`.
        """
        self.db = db
        self.grid = Grid(*size) if drawn else None
        self.sent: list[tuple[float, int]] = []  # (monotonic time, bytes)
        self.screen = b""
        self.reading = True
        self._stalled = threading.Event()
        self.began = time.monotonic()
        around = dict(os.environ)
        for name in ("NO_COLOR", "LC_ALL", "PYTHONDONTWRITEBYTECODE"):  # or every start compiles all of ours again
            around.pop(name, None)
        around |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **(environ or {})}
        around = {name: value for name, value in around.items() if value is not None}
        self._forked: forks.Forked | None = None
        starts = starts or bool(code) or ignore_hangup or any(map(forks.is_of_the_start, environ or {}))
        if not starts and forks.can_fork(os.environ):
            self.fd, its = os.openpty()
            self.resize(*size)
            argv = [sys.executable, "-m", "fts.tui", "--db", str(db), *options]
            try:
                self._forked = forks.Forked(argv, stdin=its, stdout=its, stderr=its, env=around, terminal=True)
            finally:
                os.close(its)
            self.pid = self._forked.pid
        else:
            self.pid, self.fd = pty.fork()
            if self.pid == 0:
                if ignore_hangup:
                    signal.signal(signal.SIGHUP, signal.SIG_IGN)
                program = ["-c", code] if code else ["-m", "tui"]
                behind = [last] if last else []
                argv = [sys.executable, *program, "--db", str(db), *options, *behind]
                os.execve(sys.executable, argv, around)  # without the LINES and COLUMNS that readline sets
        self.resize(*size)
        self.process = psutil.Process(self.pid)
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while self.reading:
            if self._stalled.is_set():
                time.sleep(0.05)
                continue
            ready, _, _ = select.select([self.fd], [], [], 0.1)
            if not ready:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            if not data:
                return
            self.sent.append((time.monotonic(), len(data)))
            self.screen = (self.screen + data)[-200_000:]
            if self.grid is not None:
                self.grid.feed(data)

    def stall(self, stalled: bool = True) -> None:
        """A link that takes nothing for a while."""
        self._stalled.set() if stalled else self._stalled.clear()

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def key(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def bytes_since(self, moment: float) -> int:
        return sum(count for at, count in self.sent if at >= moment)

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> int:
        return int(self.process.memory_info().rss)

    def wait_for(self, text: str, patience_s: float = 30.0) -> float:
        """Seconds since the start until `text` has been sent."""
        end = time.monotonic() + patience_s
        while text.encode() not in self.screen:
            assert time.monotonic() < end, f"{text!r} was not shown; the last bytes: {self.screen[-300:]!r}"
            assert self.is_alive(), "the monitor has ended"
            time.sleep(0.005)
        return time.monotonic() - self.began

    def wait_ready(self, text: str = "20M/h5") -> None:
        """Until the app itself has shown `text`: the first time it is the frame that is painted before Textual."""
        end = time.monotonic() + 30.0
        while b"\x1b[?2004h" not in self.screen or self.screen.count(text.encode()) < 2:
            assert time.monotonic() < end, f"the app did not show {text!r}"
            assert self.is_alive(), "the monitor has ended"
            time.sleep(0.01)
        self.wait_quiet(0.6)

    def wait_quiet(self, seconds: float = 0.6, patience_s: float = 20.0) -> None:
        """Until nothing has been sent for so long."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end and self.sent and time.monotonic() - self.sent[-1][0] < seconds:
            time.sleep(0.05)

    def is_alive(self) -> bool:
        if self._forked is not None:
            return self._forked.poll() is None
        try:
            done, _ = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return False
        return done == 0

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        if self._forked is not None:
            return self._forked.wait()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def gone_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.is_alive():
                self._thread.join(timeout=2)  # what it wrote last may still have to be read
                return True
            time.sleep(0.05)
        return False

    def hang_up(self) -> None:
        """Closes our side, as a terminal window or an ssh connection that dies."""
        self.reading = False
        self._thread.join(timeout=2)
        os.close(self.fd)

    def close(self) -> None:
        self.reading = False
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self._thread.join(timeout=2)
        try:
            os.close(self.fd)
        except OSError:
            return

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def key_to_paint(terminal: Terminal, keys: list[str], pause_s: float = 0.12) -> list[float]:
    """Seconds from each key to the first byte that answers it."""
    found = []
    for key in keys:
        terminal.wait_quiet(0.08, 2.0)
        count = len(terminal.sent)
        began = time.monotonic()
        terminal.key(key)
        while len(terminal.sent) == count and time.monotonic() - began < 2:
            time.sleep(0.0005)
        if len(terminal.sent) > count:
            found.append(terminal.sent[count][0] - began)
        time.sleep(pause_s)
    return found
