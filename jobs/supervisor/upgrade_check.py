"""Detects that the files of fts were replaced while a worker runs, for example by `pip install`.

Later imports would mix two versions, so the worker starts no more trial processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fts import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOK_S = 1.0  # between two checks; one takes 2 ms
NOT_OURS = {"tui", "__pycache__"}  # no worker and no trial imports them
Stamp = tuple[int, int]  # time of change, bytes


class OwnCode:
    """The files of fts as they were when the worker started; checks nothing before `remember`."""

    def __init__(self, home: Path | None = None) -> None:
        self._home = home or Path(sys.modules["fts"].__path__[0])
        self._stamps: dict[str, Stamp] = {}  # of each file
        self._md5s: dict[str, str] = {}
        self._folders: dict[str, Stamp] = {}
        self._looked, self._found = float("-inf"), False
        self._lock = threading.Lock()

    def remember(self) -> None:
        """Reads all files and stores their md5; takes 50 ms."""
        with self._lock:
            self._folders = {folder: stamp_of(folder) for folder in folders_of(self._home)}
            self._stamps = {file: stamp_of(file) for file in files_in(self._folders)}
            self._md5s = {file: md5_of(file) for file in self._stamps}
            self._found = False

    def replaced(self, now: bool = False) -> str | None:
        """Returns a sentence if files were replaced, else None. Checks at most once in LOOK_S, or `now`."""
        with self._lock:
            if not self._stamps:
                return None
            if not self._found and (now or time.monotonic() - self._looked > LOOK_S):
                self._found = self._differs()
                self._looked = time.monotonic()
            return f"the files of fts {__version__} were changed or replaced in {self._home}" if self._found else None

    def _differs(self) -> bool:
        changed = [folder for folder, stamp in self._folders.items() if stamp_of(folder) != stamp]
        if changed:  # by an editor's temporary file, by Python's bytecode, or by new or removed files
            if sorted(folders_of(self._home)) != sorted(self._folders):
                return True
            if sorted(files_in(self._folders)) != sorted(self._stamps):
                return True
            self._folders |= {folder: stamp_of(folder) for folder in changed}
        for file, stamp in self._stamps.items():
            if (there := stamp_of(file)) != stamp:
                if md5_of(file) != self._md5s[file]:
                    return True
                self._stamps[file] = there  # rewritten with the same content
        return False


def folders_of(home: Path) -> list[str]:
    found = []
    for root, folders, _ in os.walk(home, followlinks=True):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.startswith(".")]
        found.append(root)
    return found


def files_in(folders: Iterable[str]) -> list[str]:
    found = []
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found += [one.path for one in entries if one.name.endswith(".py") and not one.name.startswith(".")]
    return found


def stamp_of(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116  # creating a Path for each of 600 files takes longer than the check
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def md5_of(path: str) -> str:
    """Returns "" for an unreadable file."""
    try:
        return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
    except OSError:
        return ""


OWN_CODE = OwnCode()
