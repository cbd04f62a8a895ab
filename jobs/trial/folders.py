"""Refuses that the code of one trial writes into the folder of another.

By Python's audit events: what another program or a library in C writes is not seen, and then the trial whose folder it
is says what it found there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # event of Python -> which of its arguments are paths
    "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.truncate": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
}  # fmt: skip


class OthersFolder(ValueError):
    """A trial keeps its files in its own folder."""


class Kept:
    """To which folder the code of this process has to keep."""

    def __init__(self) -> None:
        self.own = self.all = ""  # with a slash at the end; empty: no trial runs, and nothing is looked at
        self._watches = False

    def to(self, folder: Path) -> None:
        """`folder`: outputs/trials/JOB/trial_0007."""
        self.own, self.all = f"{folder}{os.sep}", f"{folder.parents[1]}{os.sep}"
        if not self._watches:
            sys.addaudithook(self.look)
            self._watches = True

    def look(self, event: str, args: tuple[Any, ...]) -> None:
        """Raises OthersFolder."""
        if event == "open":
            if isinstance(args[2], int) and args[2] & WRITES:
                self.check(args[0])
        elif event in CHANGES:
            for path in args[: CHANGES[event]]:
                self.check(path)

    def check(self, path: Any) -> None:
        if not self.all or not isinstance(path, str | bytes | os.PathLike):
            return
        there = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # resolve() asks the disk for each part
        if not there.startswith(self.all) or f"{there}{os.sep}".startswith(self.own):
            return
        inside = Path(there.removeprefix(self.all))
        if inside.parts[1:] and inside.parts[1].startswith("trial_"):
            raise OthersFolder(f"{inside} is in the folder of another trial; write below fts.checkpoint(trial).dir")


kept = Kept()
