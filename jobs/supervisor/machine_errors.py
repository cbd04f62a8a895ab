"""Which errors are the disk's, whether it takes files, and how long to wait after a fault of the machine."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from fts.jobs.status.conditions import disk_reserve
from fts.state.errors import DatabaseFailed, DiskFull, ReadOnlyDatabase
from fts.state.files import CannotWrite, refusal, room

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_PAUSE_S = 60.0  # between two tries after the machine was at fault
PROBE = 1 << 18  # bytes that must go into a file
SHARE_ABOVE = 0.1  # of the reserve, that must be free beyond it: no trial starts only to stop at once
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
DISK_FAILS = (DiskFull, DatabaseFailed, ReadOnlyDatabase)  # a disk that failed is mounted read-only by the system


def is_disk_trouble(error: BaseException) -> bool:
    """Of the database, or of a file beside it."""
    if isinstance(error, (*DISK_FAILS, CannotWrite)):
        return True
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def takes_files(outputs: Path) -> bool:
    """Has its disk room for a trial to begin, and can a file be written there?"""
    try:
        enough = room(outputs)[0] >= disk_reserve(os.environ, outputs) * (1 + SHARE_ABOVE)
    except OSError:  # the folder is gone
        return False
    return enough and refusal(outputs, PROBE) is None


def pause_s(outages: int, first_s: float) -> float:
    """Seconds before the next try after so many deaths without progress: 0, then first_s, doubling up to a minute."""
    return 0.0 if outages <= 1 else min(first_s * 2.0 ** min(outages - 2, 30), LONGEST_PAUSE_S)
