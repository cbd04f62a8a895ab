"""Starts a command in a process group that ends with this process, however this process ends.

The group belongs to a keeper, a small shell that waits for the end of a pipe whose other end only this process holds.
When this process is killed with -9 the pipe ends, and the keeper kills the group, itself included. A command that has
not joined the group by then cannot join it any more, and never starts.
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
LAST_S = 5.0  # that the dead of the group may take to be gone


class Group:
    """One command with all that it starts. Raises OSError when it cannot be started."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], folder: str, output: int) -> None:
        self._read_end, self._write_end = os.pipe()  # not inheritable
        self._keeper: subprocess.Popen[bytes] | None = None
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
        keeper.stdout.readline()  # from now on no SIGTERM of the group ends it
        keeper.stdout.close()
        return keeper

    def poll(self) -> int | None:
        """How the command ended (negative: by which signal); None while it runs. Then nothing of the group is left."""
        code = self._command.poll()
        if code is not None:
            self._close()
        elif self._keeper is not None and self._keeper.poll() is not None:
            with contextlib.suppress(OSError):  # the group has ended meanwhile
                self._keeper = self._new_keeper(self.id)
        return code

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to all of it, reaped."""
        self._close()
        self._command.wait()

    def end(self, grace_s: float, poll_s: float) -> None:
        """SIGTERM, so many seconds, SIGKILL."""
        until = time.monotonic() + grace_s
        self.ask_to_stop()
        while self.poll() is None and time.monotonic() < until:
            time.sleep(poll_s)
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._keeper is not None:  # while it lives or is unreaped, the group is ours
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
                os.killpg(self.id, number)

    def _close(self) -> None:
        """Kills what is left of the group, and the keeper with it."""
        if self._keeper is not None:
            self._signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._keeper.wait(LAST_S)
            self._keeper = None
        for end in (self._read_end, self._write_end):
            if end >= 0:
                os.close(end)
        self._read_end = self._write_end = -1
