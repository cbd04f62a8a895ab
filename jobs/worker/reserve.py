"""A file that reserves disk space; it is deleted when the disk is full, so that the last rows can be written."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BALLAST_BYTES = 8 << 20  # the rows of a few hundred transitions and their write-ahead log
SHARE = 0.05  # of the disk at most: on a very small one, trials need the space more
BLOCK = b"\0" * (1 << 16)


class DiskReserve:
    """`fill` takes the space while there is room, `drop` frees it. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Writes the file unless it exists or the disk is too full.

        The bytes are really written, because some file systems do not keep space that is only allocated.
        """
        try:
            if self.path.exists():
                return
            disk = shutil.disk_usage(self.path.parent)
            size = min(BALLAST_BYTES, int(SHARE * disk.total))
            if disk.free < 4 * size:
                return
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError:
            return
        try:
            for _ in range(size // len(BLOCK)):
                os.write(fd, BLOCK)
        except OSError:
            self.drop()
        finally:
            os.close(fd)

    def drop(self) -> bool:
        """Deletes the file; False when there was none."""
        with contextlib.suppress(OSError):
            self.path.unlink()
            return True
        return False
