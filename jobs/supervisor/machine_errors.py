"""Recognizes disk errors, checks that files can be written, and computes the pause after a machine fault."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from fts.jobs.status.conditions import disk_reserve
from fts.state.errors import DatabaseFailed, DiskFull, ReadOnlyDatabase
from fts.state.files import CannotWrite, refusal, room

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_PAUSE_S = 60.0  # between two tries after a machine fault
PROBE = 1 << 18  # bytes of the test file
SHARE_ABOVE = 0.1  # fraction of the reserve that must also be free, so that a trial does not stop right after its start
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
DISK_FAILS = (DiskFull, DatabaseFailed, ReadOnlyDatabase)  # read-only: the system remounts a failed disk like that


def is_disk_trouble(error: BaseException) -> bool:
    """Is it a disk error, of the database or of another file?"""
    if isinstance(error, (*DISK_FAILS, CannotWrite)):
        return True
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def takes_files(outputs: Path) -> bool:
    """Is there enough free disk space to start a trial, and can files be written there, in its main folders, too?"""
    try:
        enough = room(outputs)[0] >= start_room(outputs)
    except OSError:  # the folder is gone
        return False
    if not enough or refusal(outputs, PROBE) is not None:
        return False
    inside = [refusal(outputs / name, PROBE) for name in ("logs", "trials")]
    return all(error is None or isinstance(error, FileNotFoundError) for error in inside)  # made when first needed


def start_room(outputs: Path) -> int:
    """Returns the free bytes with which a trial may start."""
    return int(disk_reserve(os.environ, outputs) * (1 + SHARE_ABOVE))


def pause_s(outages: int, first_s: float) -> float:
    """Returns the pause before the next try, by the number of faults without progress: 0, first_s, then doubling.

    At most LONGEST_PAUSE_S.
    """
    return 0.0 if outages <= 1 else min(first_s * 2.0 ** min(outages - 2, 30), LONGEST_PAUSE_S)
