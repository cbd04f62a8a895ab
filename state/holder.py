"""Names the process that holds a database's lock, so that "locked" is something a person can act on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fts.state.disk import is_full
from fts.state.identity import beside
from fts.state.scheduling import FULL_DISK

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCKS = Path("/proc/locks")  # Linux; opening the database's own files to ask would drop the locks we hold on them
WRITING = 120  # the byte of the -shm file that a writer locks (SQLite, walformat.html, section 2.3.2)


def holder(path: Path) -> str:
    """`process 4242 (python)`; `another process` where the system does not tell who it is."""
    found = sorted(_exclusive(path), key=lambda lock: lock[1] != WRITING)
    return _named(found[0][0]) if found else "another process"


def blocker(path: Path, waiting: int) -> str | None:
    """Who keeps the live process `waiting` (a pid of this machine) from writing; None: nothing that is seen here."""
    found = [pid for pid, first in _exclusive(path) if first == WRITING and pid != waiting]
    if not Path(f"/proc/{waiting}").exists():
        return None
    return _named(found[0]) if found else FULL_DISK if is_full(path.absolute().parent) else None


def _named(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({name})" if name.isprintable() and name else f"process {pid}"


def _exclusive(path: Path) -> Iterator[tuple[int, int]]:
    """(pid, first byte) of every exclusive lock that others hold on the database or its -shm."""
    files = set()
    for file in (path, Path(beside(path, "-shm"))):
        try:
            stat = file.stat()
        except OSError:
            continue
        files.add(f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}")
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return
    for line in lines:  # 2: POSIX  ADVISORY  WRITE 26168 fe:00:3252785 120 120; one that waits has an arrow
        match line.split()[1:]:
            case ["POSIX", _, "WRITE", pid, place, first, _] if place in files and int(pid) not in (os.getpid(), 0):
                yield int(pid), int(first)
