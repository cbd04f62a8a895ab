"""Prevents the code of one trial from writing into another trial's folder or removing files of the study.

It uses Python's audit events, so it does not see other programs or libraries in C. The trial with the damaged folder
then reports what it found.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from fts.frozen import dataclass

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # audit event -> pairs of argument positions: a path, and the directory descriptor it is relative to
    "os.mkdir": ((0, 2),), "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.truncate": ((0, None),),
    "os.rename": ((0, 2), (1, 3)), "os.link": ((0, 2), (1, 3)), "os.symlink": ((0, None), (1, 2)),
    "shutil.rmtree": ((0, 1),),
}  # fmt: skip
ENDS = {"os.remove": 1, "os.rename": 2, "shutil.rmtree": 1}  # how many of these paths the event removes or replaces
DATABASE = ("fts.db", "fts.db-wal", "fts.db-shm")


class OthersFolder(ValueError):
    """A trial wrote outside its own folder."""


class FolderGuard:
    """Checks that the code of this process writes only where the running trial may write."""

    def __init__(self) -> None:
        self._places: tuple[
            TrialFolders, ...
        ] = ()  # as named, and with links resolved; empty: no trial runs, no checks
        self._watches = False

    def set(self, folder: Path, log: Path) -> None:
        """Checks from now on. `folder`: outputs/trials/JOB/trial_0007; `log`: outputs/logs/JOB/trial_0007.log."""
        named = TrialFolders.of(folder, log)
        real = TrialFolders.of(folder.parents[2].resolve() / Path(*folder.parts[-3:]), log.parent.resolve() / log.name)
        self._places = (named,) if real == named else (named, real)
        if not self._watches:
            sys.addaudithook(self.look)
            self._watches = True

    def clear(self) -> None:
        """Stops checking until the next trial of this process."""
        self._places = ()

    def look(self, event: str, args: tuple[Any, ...]) -> None:
        """Checks one audit event. Raises OthersFolder."""
        if event == "open":
            if isinstance(args[2], int) and args[2] & WRITES:
                self.check(args[0])
        elif event in CHANGES and self._places:
            for n, (path, at) in enumerate(CHANGES[event]):
                self.check(args[path], args[at] if at is not None and at < len(args) else -1, n < ENDS.get(event, 0))

    def check(self, path: Any, at: Any = -1, ends: bool = False) -> None:
        if not self._places or not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if isinstance(at, int) and at >= 0 and not name.startswith(os.sep):  # relative paths of shutil.rmtree
            try:
                name = os.path.join(os.readlink(f"/proc/self/fd/{at}"), name)  # noqa: PTH115, PTH118
            except OSError:  # this system has no /proc
                return
        there = os.path.abspath(name)  # noqa: PTH100  # resolve() reads the disk for each part
        for places in self._places:
            places.check(there, ends)
            if ends and (real := str(Path(there).parent.resolve() / Path(there).name)) != there:
                places.check(real, ends)


@dataclass(frozen=True)
class TrialFolders:
    """Folders of a trial and its study, each with a slash at the end."""

    own: str
    all: str  # folder of all trials
    logs: str  # folder of the job's logs
    outputs: str

    @classmethod
    def of(cls, folder: Path, log: Path) -> TrialFolders:
        return cls(*(f"{one}{os.sep}" for one in (folder, folder.parents[1], log.parent, folder.parents[2])))

    def check(self, there: str, ends: bool) -> None:
        """Raises OthersFolder if the trial may not write to `there`. `ends`: it is removed or replaced."""
        below = f"{there}{os.sep}"
        if below.startswith(self.own):
            return
        if there.startswith(self.outputs) and there.removeprefix(self.outputs) in DATABASE:
            raise OthersFolder(f"{there} is the database of the study; only fts may write it")
        if ends and (self.own.startswith(below) or self.logs.startswith(below) or there.startswith(self.logs)):
            raise OthersFolder(f"{there} holds trials or logs of the study; remove by name what the function has made")
        if not there.startswith(self.all):
            return
        inside = Path(there.removeprefix(self.all))
        if ends or (inside.parts[1:] and inside.parts[1].startswith("trial_")):
            raise OthersFolder(f"{inside} is in the folder of another trial; write below fts.checkpoint(trial).dir")


guard = FolderGuard()
