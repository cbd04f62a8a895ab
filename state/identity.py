"""Identifies the files at a database's path (the database, its -wal, its -shm) by stat, never by opening them.

A process that closes any descriptor of a file loses all its POSIX locks on that file. The next writer that exits then
removes -wal and -shm while this process still reads them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fts.frozen import dataclass

DESCRIPTORS = "/dev/fd"  # the open descriptors of this process, on Linux and on macOS
OPENED = "/proc/self/fd"  # links to their present paths, on Linux
PRIVATE_MODE = 0o600  # permissions of the files that fts creates


@dataclass(frozen=True)
class FileStat:
    """What stat says about one file: size in bytes, ctime and mtime in nanoseconds."""

    device: int
    inode: int
    size: int
    changed_ns: int
    written_ns: int

    @property
    def identity(self) -> tuple[int, int]:
        """Identifies the file, independent of its content."""
        return self.device, self.inode


@dataclass(frozen=True)
class Files:
    """The three files at a path. None: the file does not exist."""

    db: FileStat | None
    wal: FileStat | None
    shm: FileStat | None

    @property
    def identities(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(file.identity if file else None for file in (self.db, self.wal, self.shm))

    @property
    def contents(self) -> tuple[FileStat | None, FileStat | None]:
        """Changes whenever a process writes to the database or to its log.

        Ignores the log's ctime: run by root, SQLite calls chown at each opening, so two monitors would wake each
        other for ever.
        """
        return self.db, self.wal and replace(self.wal, changed_ns=0)


def sidecar(path: Path | str, suffix: str) -> str:
    """Returns the path of the database's -wal or -shm: the real path of the database, plus the suffix."""
    return f"{os.path.realpath(path)}{suffix}"


def files_at(path: Path | str, real: str | None = None) -> Files:
    """Returns the files at a path now. `real`: its resolved path, for a caller that polls once a second."""
    name = real or os.path.realpath(path)
    return Files(stat_of(path), stat_of(f"{name}-wal"), stat_of(f"{name}-shm"))


def stat_of(path: Path | str) -> FileStat | None:
    """Returns None if there is no file. Raises OSError if this user cannot see whether there is one."""
    try:
        found = os.stat(path)  # noqa: PTH116 runs three times a second; takes half the time of Path.stat
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileStat(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mtime_ns)


def moved_to(opened: Files) -> Path | None:
    """Returns where the open database is now, with its log; None if it was removed, or the system does not tell."""
    with suppress(OSError, ValueError):
        for name in os.listdir(OPENED):  # noqa: PTH208 numbers, not paths
            with suppress(OSError):
                place = Path(OPENED, name).readlink()
                if opened.db is not None and files_at(place).identities == opened.identities:
                    return place
    return None


def has_open(files: Files) -> bool:
    """Whether this process has each of those files open. True also if the system does not list descriptors."""
    try:
        numbers = [int(name) for name in os.listdir(DESCRIPTORS)]  # noqa: PTH208 numbers, not paths
    except (OSError, ValueError):
        numbers = []
    if max(numbers, default=0) <= 2:  # a system that lists only the standard descriptors
        return True
    found = set()
    for number in numbers:
        try:
            status = os.fstat(number)
        except OSError:  # the descriptor that os.listdir had open
            continue
        found.add((status.st_dev, status.st_ino))
    return all(identity in found for identity in files.identities if identity is not None)
