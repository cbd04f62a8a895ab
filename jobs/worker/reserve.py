"""A file that is given back when the disk is full, so that the last words can still be written down."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BALLAST_BYTES = 8 << 20  # the rows of a few hundred transitions and their write-ahead log
SHARE = 0.05  # of the disk at most: on a very small one, work needs the space more
BLOCK = b"\0" * (1 << 16)


class DiskReserve:
    """`fill` while there is room, `drop` in need; both may be called at any time by any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Take the space, if it is there and not taken yet. Written, not reserved: some file systems only promise."""
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
        """Give the space back; False when there was none to give."""
        with contextlib.suppress(OSError):
            self.path.unlink()
            return True
        return False
