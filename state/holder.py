"""Names the process that holds the database's lock, so that a person can act on "locked"."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fts.state.disk import is_full
from fts.state.identity import sidecar
from fts.state.scheduling import FULL_DISK

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCKS = Path("/proc/locks")  # Linux only; opening and closing the database's files would drop our own locks on them
WRITING = 120  # the byte of the -shm file that a writer locks (SQLite, walformat.html, section 2.3.2)


def holder(path: Path) -> str:
    """Returns `process 4242 (python)`, or `another process` if the system does not list locks."""
    found = sorted(_exclusive(path), key=lambda lock: lock[1] != WRITING)
    return _named(found[0][0]) if found else "another process"


def blocker(path: Path, waiting: int) -> str | None:
    """Names what blocks writes of the live local process `waiting` (a pid): a process or a full disk; else None."""
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
    """Yields (pid, first byte) of each exclusive lock that other processes hold on the database or its -shm."""
    files = set()
    for file in (path, Path(sidecar(path, "-shm"))):
        try:
            stat = file.stat()
        except OSError:
            continue
        files.add(f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}")
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return
    for line in lines:  # 2: POSIX  ADVISORY  WRITE 26168 fe:00:3252785 120 120; a waiting lock has an extra "->"
        match line.split()[1:]:
            case ["POSIX", _, "WRITE", pid, place, first, _] if place in files and int(pid) not in (os.getpid(), 0):
                yield int(pid), int(first)
