"""Writes down who opens a database by hand, and tells which locks a process holds on it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
READINGS = 20
WATCHED: set[str] = set()  # databases, by the names that links lead to
FOUND: list[str] = []  # where each was opened, as far as it is known
INSTALLED: list[bool] = []


def is_watched(path: str | bytes) -> bool:
    """Whether it is one of the databases, or its -wal or -shm, under whatever name."""
    name = os.path.realpath(os.fsdecode(path))
    known = [f"{db}{suffix}" for db in WATCHED for suffix in ("", "-wal", "-shm")]
    if name in known:
        return True
    try:
        found = Path(name).stat()
    except (OSError, ValueError):
        return False
    return found.st_nlink > 1 and any(Path(db).exists() and os.path.samestat(found, Path(db).stat()) for db in known)


def saw(event: str, args: tuple[object, ...]) -> None:
    """Python's own `open`, `os.open` and all that is made of them; SQLite opens its files in C, past this."""
    if event == "open" and WATCHED and isinstance(args[0], str | bytes) and is_watched(args[0]):
        FOUND.append(f"{os.fsdecode(args[0])} was opened:\n{''.join(traceback.format_stack()[-6:-1])}")


@contextmanager
def watched(path: Path) -> Iterator[list[str]]:
    """What this process opens by hand in the block."""
    if not INSTALLED:
        sys.addaudithook(saw)  # for good: Python has no way to take one away
        INSTALLED.append(True)
    FOUND.clear()
    WATCHED.add(os.path.realpath(path))
    try:
        yield FOUND
    finally:
        WATCHED.clear()


def locks_on(path: Path, pid: int) -> int:
    """How many POSIX locks a process holds on the database itself (Linux).

    The kernel writes the list in pieces: while other processes lock and unlock, a reading may miss a line. A lost lock
    stays lost, so several readings without one are needed.
    """
    found = path.stat()
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for _ in range(READINGS):
        lines = Path("/proc/locks").read_text().splitlines()
        if held := sum(line.split()[1] == "POSIX" and line.split()[4:6] == [str(pid), place] for line in lines):
            return held
    return 0


def has_open(path: Path, pid: int) -> bool:
    """Whether a process has the database open (Linux)."""
    found = path.stat()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.path.samestat(descriptor.stat(), found):
                return True
        except OSError:
            continue
    return False
