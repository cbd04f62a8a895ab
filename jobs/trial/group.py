"""Starts a command in a process group that is killed when this process ends, even by kill -9.

The group's leader is a keeper: a small shell that reads from a pipe of which only this process holds the other end.
When this process ends, the pipe closes and the keeper kills the group, including itself. A command that has not joined
the group by then cannot join it any more, and never starts.

A command such as `timeout` or `setsid` moves itself to a group of its own; signals are sent to that one, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.trial.orphans import children

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEEPER = "trap '' TERM INT HUP; echo; read -r _; kill -KILL 0"
LAST_S = 5.0  # the longest wait for the keeper's end after SIGKILL
REST_S = 2.0  # a script may save something after the program that it ran has written its checkpoint
SHELLS = ("sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "zsh")  # a trap runs after the program it waits for


class ProcessGroup:
    """One command and all processes that it starts. Raises OSError if it cannot be started."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], folder: str, output: int) -> None:
        self._read_end, self._write_end = os.pipe()  # not inheritable
        self._keeper: subprocess.Popen[bytes] | None = None
        self._asked: list[int] = []  # processes that got SIGTERM while others of the group did not
        self._ended_at = float("inf")  # when all of these had ended, as monotonic time
        self.all_asked = False
        self._command: subprocess.Popen[bytes] | None = None
        try:
            self._keeper = self._new_keeper(0)
            self.id = self._keeper.pid
            self._command = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=folder,
                process_group=self.id,
            )
        except BaseException:
            self._close()
            raise

    def _new_keeper(self, group: int) -> subprocess.Popen[bytes]:
        keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER],
            stdin=self._read_end,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            process_group=group,
        )
        assert keeper.stdout is not None
        keeper.stdout.readline()  # its trap is set, so a SIGTERM to the group does not end it
        keeper.stdout.close()
        return keeper

    def poll(self) -> int | None:
        """Returns the exit code (negative: the signal), after killing the rest of the group; None while it runs."""
        assert self._command is not None, "it has been started"
        code = self._command.poll()
        if code is not None:
            self._close()
        elif self._keeper is not None and self._keeper.poll() is not None:
            with contextlib.suppress(OSError):  # the group has just ended
                self._keeper = self._new_keeper(self.id)
        return code

    def ask_to_stop(self) -> None:
        """Sends SIGTERM to the processes that handle it, or to the whole group if none does.

        What such a process has started is left alone: a pool or a data loader would end before the checkpoint.
        """
        assert self._command is not None, "it has been started"
        self._asked = [pid for pid in askable(self._command.pid) if self._is_member(pid)]
        self._signal_each(self._asked)
        if not self._asked:
            self.ask_all()

    def ask_all(self) -> None:
        """Sends SIGTERM to all processes of the group that have not had it."""
        assert self._command is not None, "it has been started"
        self.all_asked = True
        if not self._asked:
            self._signal(signal.SIGTERM)
        self._signal_each([pid for pid in members(self._command.pid) if pid not in self._asked])

    def rest_is_due(self) -> bool:
        """Did the processes that were asked to stop end REST_S ago, and did the others get no signal yet?"""
        if self.all_asked or any(map(is_living, self._asked)):
            return False
        self._ended_at = min(self._ended_at, time.monotonic())
        return time.monotonic() - self._ended_at > REST_S

    def _is_member(self, pid: int) -> bool:
        assert self._command is not None, "it has been started"
        with contextlib.suppress(OSError):
            return self._keeper is not None and os.getpgid(pid) in (self.id, self._command.pid)
        return False

    def _signal_each(self, pids: Sequence[int]) -> None:
        for pid in filter(self._is_member, pids):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kills the group and waits for the command."""
        assert self._command is not None, "it has been started"
        self._close()
        self._command.wait()

    def end(self, grace_s: float, poll_s: float) -> None:
        """Sends SIGTERM, waits up to `grace_s` seconds, then kills the group."""
        until = time.monotonic() + grace_s
        self._signal(signal.SIGTERM)
        while self.poll() is None and time.monotonic() < until:
            time.sleep(poll_s)
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._keeper is not None:  # until the keeper is reaped, no other group can have this id
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
                os.killpg(self.id, number)
        if self._command is not None and self._command.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(self._command.pid) == self._command.pid:
                    os.killpg(self._command.pid, number)

    def _close(self) -> None:
        """Kills the rest of the group, including the keeper."""
        if self._keeper is not None:
            self._signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(LAST_S)
            self._keeper = None
        for end in (self._read_end, self._write_end):
            if end >= 0:
                os.close(end)
        self._read_end = self._write_end = -1


def askable(pid: int) -> list[int]:
    """Returns the processes of a tree that handle SIGTERM, without what they have started; looks only below shells.

    A shell that handles it (`trap`) waits for its program first, so that program is asked, too.
    """
    handles = handles_sigterm(pid)
    if not is_shell(pid):
        return [pid] if handles else []
    below = [found for child in children(pid) for found in askable(child) or (members(child) if handles else [])]
    return [pid, *below] if handles else below


def members(pid: int) -> list[int]:
    """Returns a process and all its descendants."""
    return [pid] + [found for child in children(pid) for found in members(child)]


def handles_sigterm(pid: int) -> bool:
    """Has the process a handler for SIGTERM? False where the system cannot tell (macOS)."""
    with contextlib.suppress(OSError, LookupError, ValueError):
        status = Path(f"/proc/{pid}/status").read_text()
        return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def is_shell(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name in SHELLS
    return False


def is_living(pid: int) -> bool:
    """Is the process running? A zombie has ended."""
    with contextlib.suppress(OSError, LookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
