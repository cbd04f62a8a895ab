"""Which errors are the disk's, and how long to wait before the next try after the machine was at fault."""

from __future__ import annotations

import errno

from fts.state.errors import DatabaseFailed, DiskFull, ReadOnlyDatabase
from fts.state.files import CannotWrite

LONGEST_PAUSE_S = 60.0  # between two tries after the machine was at fault
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
DISK_FAILS = (DiskFull, DatabaseFailed, ReadOnlyDatabase)  # a disk that failed is mounted read-only by the system


def is_disk_trouble(error: BaseException) -> bool:
    """Of the database, or of a file beside it."""
    if isinstance(error, (*DISK_FAILS, CannotWrite)):
        return True
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def pause_s(outages: int, first_s: float) -> float:
    """Seconds before the next try after so many deaths without progress: 0, then first_s, doubling up to a minute."""
    return 0.0 if outages <= 1 else min(first_s * 2.0 ** min(outages - 2, 30), LONGEST_PAUSE_S)
