"""Says whether the database's disk accepts writes, and chooses how a reader opens the file."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from typing import TYPE_CHECKING

from fts.state.files import no_space, reason_of, refusal, room, size
from fts.state.identity import sidecar, stat_of

if TYPE_CHECKING:
    from pathlib import Path

LEAST_FREE = 64 * 1024  # bytes; the -shm file has 32 KiB
LARGE_CHANGE = 1 << 20  # bytes; hardly any change writes more


def reading_uri(path: Path) -> str:
    """Returns the URI with which a reader opens the file.

    In a folder that this user cannot write to, or on a full disk, SQLite cannot create the -shm file that it needs to
    read the log. If there is no log either (a worker that ends properly removes it), the file alone holds the whole
    study and is opened as immutable. So an archived or read-only mounted study can be read, and `fts gc` can free
    space on a full disk.
    """
    folder = path.absolute().parent
    alone = (not os.access(folder, os.W_OK) or is_full(folder)) and not has_log(path)
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def is_full(folder: Path) -> bool:
    """Whether the disk has no bytes or no inodes left for SQLite's -wal and -shm."""
    try:
        return shutil.disk_usage(folder).free < LEAST_FREE or room(folder)[1] == 0
    except OSError:
        return False


def is_read_only(folder: Path) -> bool:
    """Whether the disk is mounted read-only."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def cure_of_access(path: Path) -> str:
    """Says what to do about a file that cannot be written: its permissions, or `chattr +i`, which stops even root."""
    found = path.stat()
    may = os.geteuid() == 0 or (os.geteuid() == found.st_uid and found.st_mode & 0o600 == 0o600)
    if may and not is_read_only(path.absolute().parent):
        return f"its permissions allow it, so it is probably immutable: `chattr -i {path}` as root changes that"
    return "check its owner and permissions"


def read_only_sentence(path: Path) -> str:
    return f"the disk of {path} is mounted read-only; nothing was written: mount it for writing and try again"


def full_sentence(path: Path) -> str:
    """Says what is used up, bytes or inodes, or what this process may write, and what to do."""
    if (limited := limit_sentence(path)) is not None:
        return limited
    folder = path.absolute().parent
    if room(folder)[1] == 0:
        return f"{no_space(folder)}; nothing was written to {path}"
    return f"the disk of {path} is full; nothing was written: free space and try again"


def limit_sentence(path: Path) -> str | None:
    """Says that a file of the database has reached the size that this process may give a file; else None.

    SQLite reports that as an I/O error or as a full disk.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    found = [stat_of(sidecar(path, name)) for name in ("", "-wal", "-shm")]
    if limit == resource.RLIM_INFINITY or max((one.size for one in found if one), default=0) + LARGE_CHANGE < limit:
        return None
    why = f"{path} would be larger than this process may make a file (`ulimit -f` allows {size(limit)})"
    return f"{why}; nothing was written: start it without that limit"


def refused_sentence(path: Path) -> str | None:
    """Says why the folder refuses this user's writes although the disk has space, for example a quota; else None.

    SQLite reports that as an I/O error, as it reports a defect of the disk.
    """
    error = refusal(path.absolute().parent, LEAST_FREE)
    if error is None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return f"{reason_of(error, path)}; nothing was written"


def has_log(path: Path) -> bool:
    """Whether there is a write-ahead log that is not empty."""
    log = stat_of(sidecar(path, "-wal"))
    return log is not None and log.size > 0
