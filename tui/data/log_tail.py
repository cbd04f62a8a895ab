"""The end of a growing file, read once and then only what was appended: how the monitor follows a trial's log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fts.jobs.status.sanitize import clean

if TYPE_CHECKING:
    from pathlib import Path

AT_FIRST = 512 * 1024  # bytes from the end
MOST_LINES = 5000
GONE = (0, -1, 0)  # what is known of a file that could not be read


class Tail:
    """`lines` are the whole lines known so far, made harmless for a terminal, the latest last."""

    def __init__(self) -> None:
        self.lines: tuple[str, ...] = ()
        self.count = 0  # of all lines read, also those that are no longer kept
        self._path: Path | None = None
        self._state: tuple[int, int, int] = (0, 0, 0)  # inode, size, offset read
        self._rest = b""  # a line that has not ended yet

    def forget(self) -> None:
        """Nothing is followed any more."""
        self._path = None

    def changed(self) -> bool:
        """Whether the file has grown, was replaced or went away since it was last read."""
        if self._path is None:
            return False
        try:
            stat = self._path.stat()
        except OSError:
            return self._state != GONE
        return (stat.st_ino, stat.st_size) != self._state[:2]

    def read(self, path: Path) -> None:
        """Reads what was appended since the last time; a new or shortened file is read from near its end.

        Raises OSError.
        """
        before, self._path, self._state = (self._path, self._state), path, GONE
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            inode, size, offset = before[1]
            if before[0] != path or stat.st_ino != inode or stat.st_size < size:
                offset = max(stat.st_size - AT_FIRST, 0)
                self.lines, self._rest, self.count = (), b"", 0
            file.seek(offset)
            data = file.read(AT_FIRST * 4)
        self._state = (stat.st_ino, stat.st_size, offset + len(data))
        if not data:
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = tuple(clean(line.decode("utf-8", "replace").rstrip("\r")) for line in whole[-MOST_LINES:])
        self.lines = (self.lines + lines)[-MOST_LINES:]
        self.count += len(whole)
