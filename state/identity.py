"""Knows which files lie at a database's path: the database, its -wal and its -shm, by stat and never by opening them.

A process that closes any descriptor of a file loses all its POSIX locks on it. The next writer that leaves then removes
-wal and -shm under those who still read them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from pathlib import Path

OPEN_HERE = "/dev/fd"  # the descriptors of this process, on Linux and on macOS
NEW = 0o600  # permissions of the files we make


@dataclass(frozen=True)
class Mark:
    """One file, and whether it has changed: device, inode, bytes, and in nanoseconds the time of its last change, of
    whatever kind, and that of its last write."""

    device: int
    inode: int
    size: int
    changed_ns: int
    written_ns: int

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is, whatever is in it."""
        return self.device, self.inode


@dataclass(frozen=True)
class Files:
    """The three files at a path; None: there is no such file."""

    db: Mark | None
    wal: Mark | None
    shm: Mark | None

    @property
    def identities(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(mark.identity if mark else None for mark in (self.db, self.wal, self.shm))

    @property
    def contents(self) -> tuple[Mark | None, Mark | None]:
        """What changes whenever somebody writes to the database or to its log.

        Of the log only a write counts: to root's SQLite each opening is a chown, so that two monitors would wake each
        other for ever.
        """
        return self.db, self.wal and replace(self.wal, changed_ns=0)


def beside(path: Path | str, suffix: str) -> str:
    """Where SQLite keeps the -wal or -shm of a database: behind the name that symbolic links lead to."""
    return f"{os.path.realpath(path)}{suffix}"


def files_at(path: Path | str, real: str | None = None) -> Files:
    """The files at a path now; `real` is where its links led to, for whoever asks once a second."""
    name = real or os.path.realpath(path)
    return Files(mark_of(path), mark_of(f"{name}-wal"), mark_of(f"{name}-shm"))


def mark_of(path: Path | str) -> Mark | None:
    """None: there is no file. Raises OSError where that cannot be seen."""
    try:
        found = os.stat(path)  # noqa: PTH116 three of them a second, half as dear as a Path's
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Mark(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mtime_ns)


def has_open(files: Files) -> bool:
    """Whether this process has each of those files open; True also where the system does not list descriptors."""
    try:
        numbers = [int(name) for name in os.listdir(OPEN_HERE)]  # noqa: PTH208 numbers, not paths
    except (OSError, ValueError):
        numbers = []
    if max(numbers, default=0) <= 2:  # a system that lists the standard ones alone
        return True
    found = set()
    for number in numbers:
        try:
            status = os.fstat(number)
        except OSError:  # the one that listed them
            continue
        found.add((status.st_dev, status.st_ino))
    return all(identity in found for identity in files.identities if identity is not None)
