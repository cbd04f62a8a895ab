"""Says whether the disk of a database takes more, and so how its file can be opened for reading."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from fts.state.files import no_space, reason_of, refusal, room
from fts.state.identity import beside, mark_of

if TYPE_CHECKING:
    from pathlib import Path

LEAST_FREE = 64 * 1024  # bytes; the -shm file has 32 KiB


def reading_uri(path: Path) -> str:
    """How a reader asks SQLite for the file.

    In a folder nobody here can write to, or on a full disk, SQLite cannot make the -shm file that a reader of its log
    needs. Where no log is left either (a worker that left properly takes it along), the file alone is the whole study:
    an archived or read-only mounted one can be read too, and `fts gc` can make room.
    """
    folder = path.absolute().parent
    alone = (not os.access(folder, os.W_OK) or is_full(folder)) and not has_log(path)
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def is_full(folder: Path) -> bool:
    """Has its disk no room, or no inodes, for the small files that SQLite makes beside a database?"""
    try:
        return shutil.disk_usage(folder).free < LEAST_FREE or room(folder)[1] == 0
    except OSError:
        return False


def is_read_only(folder: Path) -> bool:
    """Is its disk mounted read-only?"""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def read_only_sentence(path: Path) -> str:
    return f"the disk of {path} is mounted read-only; nothing was written: mount it for writing and try again"


def full_sentence(path: Path) -> str:
    """Why SQLite finds no room, and what helps: bytes or inodes."""
    folder = path.absolute().parent
    if room(folder)[1] == 0:
        return f"{no_space(folder)}; nothing was written to {path}"
    return f"the disk of {path} is full; nothing was written: free space and try again"


def refused_sentence(path: Path) -> str | None:
    """Why its folder takes no more of this user, as a quota does on a disk with room; None: that is not what is wrong.

    SQLite calls it an I/O error, as it does a defect of the disk.
    """
    error = refusal(path.absolute().parent, LEAST_FREE)
    if error is None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return f"{reason_of(error, path)}; nothing was written"


def has_log(path: Path) -> bool:
    """Is there a write-ahead log with anything in it?"""
    log = mark_of(beside(path, "-wal"))
    return log is not None and log.size > 0
