"""Makes folders, refuses links, removes and flushes files, opens logs, frees the middle of a file."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fts.raising import raise_as
from fts.state.files.reasons import CannotWrite, cannot

if TYPE_CHECKING:
    from collections.abc import Iterator

KEEP_SIZE, PUNCH_HOLE = 1, 2  # flags of fallocate


def make_folder(folder: Path, root: Path | None = None) -> None:
    """Makes the folder and its missing parents, each for its owner only. Raises CannotWrite."""
    refuse_links(folder, root)
    try:
        missing = [folder] if not _is_folder(folder) else []
        while missing and not _is_folder(missing[-1].parent) and missing[-1].parent != missing[-1]:
            missing.append(missing[-1].parent)
        for level in reversed(missing):
            try:
                make_own(level)
            except FileExistsError as error:  # another process has just made it, or it is not a folder
                if not level.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(level)) from error
    except OSError as error:
        raise_as(cannot(error, folder), error)


def below(folder: Path) -> Iterator[Path]:
    """Yields every path below a folder, without following links. Unlike `rglob` it passes over what vanishes meanwhile,
    such as the checkpoints of a running trial."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(root, name)


def listed(folder: Path) -> list[Path]:
    """Returns what is in a folder; empty if there is no such folder. Raises OSError if it cannot be read, which
    `glob` hides: nothing found would be a guess then."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_file(path: Path) -> bool:
    """Whether the path is a file. Raises OSError if this user may not see it, as Path.is_file did before Python
    3.14."""
    return stat.S_ISREG(_mode(path))


def _is_folder(path: Path) -> bool:
    """Whether the path is a folder. Raises OSError if this user may not see it."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """Returns the mode; 0 if the path does not exist or cannot exist."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0


def make_own(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    if stat.S_IMODE(folder.stat().st_mode) & 0o700 != 0o700:  # a umask such as 777
        folder.chmod(0o700)


def refuse_links(path: Path, root: Path | None) -> None:
    """Raises CannotWrite if the path, or a folder between it and `root`, is a link; `root` itself may be one."""
    link = link_below(path, root)
    if link is not None:
        with suppress(OSError):
            link = Path(f"{link} (a link to {link.readlink()})")
        raise CannotWrite(
            errno.ELOOP,
            f"{link} is not followed: inside {root} fts does not write or delete through links. Move the files "
            f"there, or make {root} itself the link",
        )


def link_below(path: Path, root: Path | None) -> Path | None:
    """Returns the first link between `root` (not included) and the path, or None."""
    if root is None or not path.is_relative_to(root):
        return None
    way = [path, *path.parents]
    below = way[: way.index(root)]
    return next((part for part in reversed(below) if _is_link(part)), None)


def _is_link(path: Path) -> bool:
    with suppress(PermissionError):  # a folder without access: the write itself will be refused
        return path.is_symlink()
    return False


def remove(path: Path, root: Path | None = None) -> bool:
    """Removes a file, a folder with its content, or a link itself; returns whether it is gone. Follows no link."""
    if link_below(path.parent, root) is not None:
        return False
    with suppress(OSError, RecursionError):  # the latter for a thousand folders in each other
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # does not follow links inside
            if path.is_dir():  # one of its folders may be locked
                unlock_below(path)
                shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return not path.exists() and not path.is_symlink()


def unlock_below(folder: Path) -> None:
    """Lets the owner list and write in a folder and those below it, without following links."""
    unlock(folder)
    for at, names, _ in os.walk(folder):  # lists each folder only after it was unlocked
        for name in names:
            unlock(Path(at, name))


def unlock(folder: Path) -> None:
    """Lets the owner list and write in a folder; does nothing to anything else, such as a link."""
    with suppress(OSError):
        mode = folder.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
            folder.chmod(stat.S_IMODE(mode) | 0o700)


def open_log(path: Path, root: Path | None = None) -> int:
    """Opens a log for appending, readable by its owner only; makes it and its folder. Raises CannotWrite."""
    make_folder(path.parent, root)
    try:
        handle = os.open(path, LOG_FLAGS, 0o600)
        with suppress(PermissionError):  # a file of another user that we may write to
            os.fchmod(handle, 0o600)
    except OSError as error:
        raise_as(cannot(error, path), error)
    return handle


def write_all(handle: int, content: bytes) -> None:
    """Writes all bytes: on a disk with little room one call writes a part of them and reports no error."""
    while content:
        content = content[os.write(handle, content) :]


LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def sync_file(path: Path) -> None:
    """Flushes the file to the disk, not only to the disk's cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        full = getattr(fcntl, "F_FULLFSYNC", None)
        if full is not None:
            fcntl.fcntl(handle, full)  # macOS: a plain fsync stops at the drive's own cache
        else:
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Makes a rename in the folder survive a power cut. Ignores the refusal of some network and FUSE disks: the rename
    has happened by then."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EBADF):
            raise


def drop_middle(path: Path, keep: int) -> bool:
    """Frees the disk space of a file between `keep` bytes at each end; works on Linux only.

    The ends keep their offsets: a writer can continue, and a reader finds zeros between them. Returns False if nothing
    was freed.
    """
    import ctypes  # here, not above: seldom needed

    if sys.platform != "linux":
        return False
    try:
        with path.open("r+b") as file:
            start, length = keep, os.fstat(file.fileno()).st_size - 2 * keep
            libc = ctypes.CDLL(None, use_errno=True)
            call = libc.fallocate64 if hasattr(libc, "fallocate64") else libc.fallocate
            call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
            return length > 0 and call(file.fileno(), PUNCH_HOLE | KEEP_SIZE, start, length) == 0
    except (OSError, AttributeError):  # the file system or the C library does not support it
        return False


class _Mask:
    """The mask of the process while threads are in `private_files`: the last one that leaves restores the first's."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = threading.Lock(), 0, 0

    def after_fork(self) -> None:
        """The new process has none of the other threads, one of which may have held the lock."""
        if self.inside:
            os.umask(self.before)
        self.lock, self.inside = threading.Lock(), 0


_mask = _Mask()
os.register_at_fork(after_in_child=_mask.after_fork)


@contextmanager
def private_files() -> Iterator[None]:
    """Makes SQLite create files with mode 0600 in this block. We cannot create them ourselves: closing such a file
    releases the process's locks on it."""
    with _mask.lock:
        if _mask.inside == 0:
            _mask.before = os.umask(0o077)
        _mask.inside += 1
    try:
        yield
    finally:
        with _mask.lock:
            _mask.inside = max(0, _mask.inside - 1)
            if _mask.inside == 0:
                os.umask(_mask.before)
