"""When a process that a trial has started was last ended by a signal which the trial did not send.

An engine signals the processes of a trial one after another. A program may end before the signal reaches the trial's
own process, and the function may take its end for a poor value. So a trial waits a moment before it records anything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fts.jobs.trial import orphans
from fts.jobs.trial.wrapped import Wrapped

SIGNALLED_S = 0.5  # from the first of a trial's processes that an engine signals to the last
FROM_OUTSIDE = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
ENDS_S = 0.2  # the longest time from the end of a process's code to its end
EXITING = 0x4  # PF_EXITING of Linux, among the flags in /proc/PID/stat
Call = Callable[..., Any]
BY_SIGNAL = {code for number in FROM_OUTSIDE for code in (-number, 128 + number)}  # 128 +: a shell's exit code


class Signalled:
    """Such ends of programs started with subprocess, asyncio or os.system, and of processes of multiprocessing."""

    def __init__(self) -> None:
        self._at = float("-inf")  # monotonic
        self._known: set[int] = set()  # processes that the trial signalled itself, or whose end was noted

    @property
    def until(self) -> float:
        """Until when the same signal may still reach the trial's own process (monotonic)."""
        if orphans.has_any():
            for pid in orphans.children(os.getpid()):
                self._look_at(pid)
        return self._at + SIGNALLED_S

    def watch(self) -> None:
        """Notes such ends from now on."""
        if isinstance(os.waitpid, Wrapped):
            return
        os.kill, os.killpg = self._sending("kill", os.kill), self._sending("killpg", os.killpg)
        os.system = self._of_status("system", os.system, lambda status: (None, status))
        os.waitpid = self._of_status("waitpid", os.waitpid, lambda found: found)
        kind: Any = subprocess.Popen  # it has taken its own os.waitpid before
        # this is not part of its documented interface, and a library may have put another class in its place
        if (ends := getattr(kind, "_handle_exitstatus", None)) is None:
            return

        def handle_exitstatus(program: Any, *words: Any, **options: Any) -> Any:
            found = ends(program, *words, **options)
            self._note(program.pid, program.returncode)
            return found

        kind._handle_exitstatus = handle_exitstatus

    def _look_at(self, pid: int) -> None:
        until = time.monotonic() + ENDS_S
        while (found := ended_child(pid)) is None and is_ending(pid) and time.monotonic() < until:
            time.sleep(0.001)
        if found is not None:
            self._note(pid, -found.si_status if found.si_code == os.CLD_KILLED else found.si_status)

    def _note(self, pid: int | None, code: int | None) -> None:
        if code in BY_SIGNAL and pid not in self._known:
            self._at = time.monotonic()
            if pid is not None:
                self._known.add(pid)

    def _sending(self, name: str, kill: Call) -> Call:
        def note_and_kill(target: int, number: int, /) -> None:
            if number:
                self._look_at(abs(target))  # a pool sends SIGTERM also to its processes that have ended
                self._known.add(abs(target))
            kill(target, number)

        return Wrapped("os", name, kill, note_and_kill)

    def _of_status(self, name: str, call: Call, parts: Callable[[Any], tuple[int | None, int]]) -> Call:
        def call_and_note(*words: Any, **options: Any) -> Any:
            found = call(*words, **options)
            pid, status = parts(found)
            if os.WIFSIGNALED(status) or os.WIFEXITED(status):
                self._note(pid, os.waitstatus_to_exitcode(status))
            return found

        return Wrapped("os", name, call, call_and_note)


def ended_child(pid: int) -> os.waitid_result | None:
    """Returns how a child has ended that nobody has waited for yet; None also where the system cannot tell."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (OSError, AttributeError):
        return None


def is_ending(pid: int) -> bool:
    """Has it begun to end (Linux)? It closes its files first, and a pool sees that before anybody can wait for it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, UnicodeDecodeError):
        return False
    return bool(int(stat.rpartition(")")[2].split()[6]) & EXITING)


signalled = Signalled()
