"""Follows a growing log file: reads its end once, then only what was appended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fts.jobs.status.sanitize import clean

if TYPE_CHECKING:
    from pathlib import Path

AT_FIRST = 512 * 1024  # bytes read from the end of a new file
MOST_AT_ONCE = 4 * AT_FIRST  # bytes; of a file that has grown by more only the end is read
LONGEST = 64 * 1024  # bytes of an unfinished line; a progress bar may write for days without ending one
MOST_LINES = 5000
GONE = (0, -1, 0)  # _state of a file that could not be read


class Tail:
    """The end of one file. `lines`: its complete lines without control characters, the latest last."""

    def __init__(self) -> None:
        self.lines: tuple[str, ...] = ()
        self.count = 0  # all lines read, including those no longer kept
        self._path: Path | None = None
        self._state: tuple[int, int, int] = (0, 0, 0)  # inode, size, offset read
        self._rest = b""  # a last line without its end

    def forget(self) -> None:
        """Stops following the file."""
        self._path = None

    def changed(self) -> bool:
        """Returns whether the file has changed size, was replaced or has gone since the last read."""
        if self._path is None:
            return False
        try:
            stat = self._path.stat()
        except OSError:
            return self._state != GONE
        return (stat.st_ino, stat.st_size) != self._state[:2]

    def read(self, path: Path) -> None:
        """Reads what was appended since the last call; the end of a new or shortened file. Raises OSError."""
        before, self._path, self._state = (self._path, self._state), path, GONE
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            inode, size, offset = before[1]
            anew = before[0] != path or stat.st_ino != inode or stat.st_size < size
            if anew:
                self.count = 0
            if begins_within := anew or stat.st_size - offset > MOST_AT_ONCE:
                offset = max(stat.st_size - AT_FIRST, 0)
                self.lines, self._rest = (), b""
            file.seek(offset)
            data = file.read(MOST_AT_ONCE)
        self._state = (stat.st_ino, stat.st_size, offset + len(data))
        if not data:
            return
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-LONGEST:]
        if begins_within and offset:
            whole = whole[1:] or whole  # the first is the end of a line whose beginning was not read
        lines = tuple(clean(line.decode("utf-8", "replace").rstrip("\r")) for line in whole[-MOST_LINES:])
        self.lines = (self.lines + lines)[-MOST_LINES:]
        self.count += len(whole)
