"""Notices that something else than SQLite has written to the open database file, such as `cp` of an older copy.

In WAL mode only a checkpoint writes to the database file. Before its first write it stores in the -shm how many frames
it is going to copy, after its last one how many it has copied (walformat.html 2.3; wal.c, WalCkptInfo). So a file with
another mtime while neither number nor the salts of the log have changed was written by somebody else. The -shm is read
through the descriptor that SQLite has open, because closing one of our own would drop SQLite's locks.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.identity import DESCRIPTORS, stat_of

if TYPE_CHECKING:
    from pathlib import Path

    from fts.state.identity import Files

SALTS, BACKFILLED, ATTEMPTED, HEAD = 32, 96, 128, 136  # offsets in the -shm; its first bytes that matter


@dataclass(frozen=True)
class Written:
    """When the database file was written last, and what the log knows about checkpoints."""

    at_ns: int
    size: int
    checkpoints: tuple[int, int, int]  # the two salts of the log, and the frames that were copied


class ForeignWrites:
    """Watches the database file of one open connection."""

    def __init__(self) -> None:
        self._shm = -1  # a descriptor of SQLite
        self._latest: Written | None = None

    def look(self, path: Path | str, files: Files) -> bool:
        """Has somebody else written to the file since the last call? `files` are those at the path now."""
        now = self._written(path, files)
        if now is None:
            return False
        before, self._latest = self._latest, now
        if before is None or now.checkpoints != before.checkpoints:
            return False
        return (now.at_ns, now.size) != (before.at_ns, before.size)

    def _written(self, path: Path | str, files: Files) -> Written | None:
        """Returns None during a checkpoint, after one that was interrupted, and where it cannot be read."""
        if files.db is None or files.shm is None or (head := self._head(files.shm.identity)) is None:
            return None
        (copied,), (attempted,) = struct.unpack_from("=I", head, BACKFILLED), struct.unpack_from("=I", head, ATTEMPTED)
        after = stat_of(path)
        if copied != attempted or after is None or after.written_ns != files.db.written_ns:
            return None
        first, second = struct.unpack_from("=II", head, SALTS)
        return Written(after.written_ns, after.size, (first, second, copied))

    def _head(self, shm: tuple[int, int]) -> bytes | None:
        """Returns the beginning of the -shm, read through SQLite's own descriptor."""
        try:
            if not _is(self._shm, shm):
                self._shm = next((number for number in map(int, os.listdir(DESCRIPTORS)) if _is(number, shm)), -1)  # noqa: PTH208
            head = os.pread(self._shm, HEAD, 0)
            return head if len(head) == HEAD and _is(self._shm, shm) else None
        except (OSError, ValueError):
            return None


def _is(number: int, file: tuple[int, int]) -> bool:
    try:
        found = os.fstat(number)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == file
