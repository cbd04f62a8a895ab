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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEEPER = "trap '' TERM INT HUP; echo; read -r _; kill -KILL 0"
LAST_S = 5.0  # the longest wait for the keeper's end after SIGKILL


class Group:
    """One command and all processes that it starts. Raises OSError if it cannot be started."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], folder: str, output: int) -> None:
        self._read_end, self._write_end = os.pipe()  # not inheritable
        self._keeper: subprocess.Popen[bytes] | None = None
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
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the group and waits for the command."""
        assert self._command is not None, "it has been started"
        self._close()
        self._command.wait()

    def end(self, grace_s: float, poll_s: float) -> None:
        """Sends SIGTERM, waits up to `grace_s` seconds, then kills the group."""
        until = time.monotonic() + grace_s
        self.ask_to_stop()
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
