"""Writes files that are whole or absent, whoever else writes at the same moment, and says in one sentence why not.

A leaf that knows no database and imports the standard library only: every package may use it.
Inside an outputs folder no link is followed, neither to write nor to delete; the folder itself may be a link.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import re
import shutil
import stat
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DRAFT = re.compile(r"\..*\.[0-9a-f]{12}\.part")  # a name no two writers share
NAME_KEPT = 100  # bytes of a file's name in that of its draft: a name of 255 bytes leaves no room for more
UNLOCKED_S = 86_400.0  # a draft on a file system without locks counts as abandoned after so long
TRIES = 50
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # what spreadsheets calculate


KEEP_SIZE, PUNCH_HOLE = 1, 2  # of fallocate


class CannotWrite(OSError):
    """A file or folder could not be written. Nothing was changed; the sentence names the reason and the cure."""

    def __init__(self, code: int | None, sentence: str) -> None:
        super().__init__(code or errno.EIO, sentence)

    def __str__(self) -> str:
        return str(self.strerror)


def atomic_write(
    path: Path, content: str | bytes, root: Path | None = None, mode: int = 0o600, durable: bool = True
) -> None:
    """Replaces the file in one step: a reader finds the former content or this one. Raises CannotWrite.

    Below `root` no folder on the way may be a link. Without `durable` a power cut may bring the former file back:
    right for what can be written again from the database.
    """
    with replacing(path, root, mode, durable) as draft, draft.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, root: Path | None = None, mode: int = 0o600, durable: bool = True) -> Iterator[Path]:
    """Gives a draft beside `path` to write to, which takes its place after the block, or goes if the block fails."""
    make_folder(path.parent, root)
    try:
        _refuse_other_kinds(path)
        draft, lock = _new_draft(path, lambda draft: os.open(draft, DRAFT_FLAGS, mode))
    except OSError as error:
        raise _cannot(error, path) from error
    try:
        yield draft
        sync_file(draft)
        draft.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise _cannot(error, path) from error
    finally:
        try:
            remove(draft)
        finally:
            os.close(lock)


@contextmanager
def new_folder(path: Path, root: Path | None = None) -> Iterator[Path]:
    """Gives an empty draft folder, which takes the place of `path` after the block, or goes if the block fails.

    A former folder of that name is replaced: it is moved away just before.
    """
    make_folder(path.parent, root)

    def made(draft: Path) -> int:
        _make_own(draft)
        return os.open(draft, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)

    try:
        draft, lock = _new_draft(path, made)
    except OSError as error:
        raise _cannot(error, path) from error
    try:
        yield draft
        sync_folder(draft)
        _take_place(draft, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot(error, path) from error
    finally:
        try:
            remove(draft)
        finally:
            os.close(lock)


def take(source: Path, path: Path, move: bool = False) -> None:
    """Copies or moves a file or folder of somebody else's, whole and flushed or not at all. Raises CannotWrite."""
    make_folder(path.parent)
    try:
        if move:
            _flush(source)
            source.rename(path)
        elif source.is_dir():
            with new_folder(path) as draft:
                shutil.copytree(source, draft, dirs_exist_ok=True)
                _flush(draft)
        else:
            with replacing(path) as draft:
                shutil.copyfile(source, draft)
    except shutil.Error as error:  # of a folder: a list of what failed
        raise CannotWrite(None, f"{source} cannot be copied: {error.args[0][0][2]}") from error
    except OSError as error:
        raise _cannot(error, path) from error


def cannot_take(source: Path) -> Path | None:
    """The first file below it that nobody could copy: gone behind a link, unreadable, a pipe; or a link to a folder."""
    for path in [source, *sorted(source.rglob("*"))] if source.is_dir() else [source]:
        linked = path.is_symlink() and path.is_dir() and path != source
        if linked or not (path.is_dir() or path.is_file()) or not os.access(path, os.R_OK):
            return path
    return None


def _flush(source: Path) -> None:
    for file in [source, *source.rglob("*")] if source.is_dir() else [source]:
        sync_folder(file) if file.is_dir() else sync_file(file)


def _take_place(draft: Path, path: Path) -> None:
    """Renames the folder; the system replaces no folder that holds something, so a former one moves away and back."""
    if not path.is_symlink() and not path.exists():
        draft.rename(path)
        return
    old = path.with_name(draft_name(path.name))
    path.rename(old)
    try:
        draft.rename(path)
    except BaseException:
        old.rename(path)
        raise
    remove(old)


DRAFT_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def _new_draft(path: Path, make: Any) -> tuple[Path, int]:
    """A draft that this writer holds locked, so that nobody sweeps it: (its path, the handle that holds the lock)."""
    for _ in range(TRIES):
        draft = path.with_name(draft_name(path.name))
        handle: int = make(draft)
        _own(handle)
        if _lock(handle) is not False and draft.exists():
            return draft, handle
        os.close(handle)  # a sweep came between making and locking it
    raise OSError(errno.EAGAIN, f"every draft in {path.parent} was deleted before it could be locked; try again")


def _own(handle: int) -> None:
    """Gives the owner what every umask leaves to an owner; one such as 777 would lock us out of our own files."""
    found = stat.S_IMODE(os.fstat(handle).st_mode)
    wanted = found | (0o700 if stat.S_ISDIR(os.fstat(handle).st_mode) else 0o600)
    if found != wanted:
        os.fchmod(handle, wanted)


def draft_name(name: str) -> str:
    return f".{name.encode()[:NAME_KEPT].decode(errors='ignore')}.{os.urandom(6).hex()}.part"


def _lock(handle: int) -> bool | None:
    """Whether the lock is ours now; False: somebody else has it; None: this file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


# ---------------------------------------------------------------- folders and links


def make_folder(folder: Path, root: Path | None = None) -> None:
    """Makes the folder and every missing one above it, each for its owner only. Raises CannotWrite."""
    refuse_links(folder, root)
    try:
        missing = [folder] if not folder.is_dir() else []
        while missing and not missing[-1].parent.is_dir() and missing[-1].parent != missing[-1]:
            missing.append(missing[-1].parent)
        for level in reversed(missing):
            try:
                _make_own(level)
            except FileExistsError as error:  # made by somebody else at this moment, or no folder
                if not level.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(level)) from error
    except OSError as error:
        raise _cannot(error, folder) from error


def _make_own(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    if stat.S_IMODE(folder.stat().st_mode) & 0o700 != 0o700:  # a umask such as 777
        folder.chmod(0o700)


def refuse_links(path: Path, root: Path | None) -> None:
    """Raises CannotWrite when the path, or a folder between it and `root`, is a link; `root` itself may be one."""
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
    """The first link on the way from `root` to the path, `root` left out; None: there is none."""
    if root is None or not path.is_relative_to(root):
        return None
    way = [path, *path.parents]
    below = way[: way.index(root)]
    return next((part for part in reversed(below) if _is_link(part)), None)


def _is_link(path: Path) -> bool:
    with suppress(PermissionError):  # of a folder that may not be looked into: whoever writes there is refused anyway
        return path.is_symlink()
    return False


def remove(path: Path, root: Path | None = None) -> bool:
    """Removes a file, a folder with all in it, or a link itself; says whether it is gone. Never through a link."""
    if link_below(path.parent, root) is not None:
        return False
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # follows no link inside
        else:
            path.unlink(missing_ok=True)
    return not path.exists() and not path.is_symlink()


def open_log(path: Path, root: Path | None = None) -> int:
    """A handle that appends to a log of its owner only; makes it, and its folder. Raises CannotWrite."""
    make_folder(path.parent, root)
    try:
        handle = os.open(path, LOG_FLAGS, 0o600)
        with suppress(PermissionError):  # somebody else's file that we may write to
            os.fchmod(handle, 0o600)
    except OSError as error:
        raise _cannot(error, path) from error
    return handle


LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def sweep(folder: Path) -> int:
    """Removes the drafts of dead writers from one folder and says how many; that of a living writer stays."""
    try:
        names = [entry.name for entry in os.scandir(folder) if DRAFT.fullmatch(entry.name)]
    except OSError:
        return 0
    return sum(is_abandoned(folder / name, remove) for name in names)


def sweep_below(root: Path) -> int:
    """The same for a folder and all below it, through no link."""
    removed = 0
    for path, folders, _ in os.walk(root):
        folders[:] = [name for name in folders if not DRAFT.fullmatch(name)]
        removed += sweep(Path(path))
    return removed


def is_abandoned(path: Path, then: Callable[[Path], object] = bool) -> bool:
    """Whether a draft's writer is dead: nobody holds its lock. Without locks its age must answer.

    `then` is called while the lock is ours, so that no writer can take the draft in between.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        mine = _lock(handle)
        dead = mine is True or (mine is None and time.time() - os.fstat(handle).st_mtime > UNLOCKED_S)
        if dead:
            then(path)
        return dead
    finally:
        os.close(handle)


# ---------------------------------------------------------------- flushing


def sync_file(path: Path) -> None:
    """On the disk, not only in its cache, when this returns."""
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
    """Makes a rename in the folder survive a power cut, where the disk can: some network and FUSE disks refuse it.

    The rename has happened by then, so such a refusal is no failure of the write.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EBADF):
            raise


# ---------------------------------------------------------------- why not


def _refuse_other_kinds(path: Path) -> None:
    """A rename would put a file in the place of a device or a pipe."""
    with suppress(FileNotFoundError):
        kind = path.lstat().st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
        if not stat.S_ISREG(kind) and not stat.S_ISLNK(kind):
            raise OSError(errno.EINVAL, "not a regular file", str(path))


def drop_middle(path: Path, keep: int) -> bool:
    """Gives back the disk of a file but for `keep` bytes at each end, which stay where they were; Linux.

    Whoever writes it goes on, and whoever reads it finds zeros. False where nothing was given back.
    """
    import ctypes  # here: seldom needed

    if sys.platform != "linux":
        return False
    try:
        with path.open("r+b") as file:
            start, length = keep, os.fstat(file.fileno()).st_size - 2 * keep
            libc = ctypes.CDLL(None, use_errno=True)
            call = libc.fallocate64 if hasattr(libc, "fallocate64") else libc.fallocate
            call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
            return length > 0 and call(file.fileno(), PUNCH_HOLE | KEEP_SIZE, start, length) == 0
    except (OSError, AttributeError):  # a file system or a C library that cannot
        return False


def _cannot(error: OSError, path: Path) -> CannotWrite:
    return error if isinstance(error, CannotWrite) else CannotWrite(error.errno, reason_of(error, path))


def reason_of(error: OSError, path: Path) -> str:
    """Why the path cannot be written, in one sentence: what the system said, what was found there, what helps."""
    if isinstance(error, CannotWrite):
        return str(error)
    path = _without_draft(path)
    folder = _existing(path.parent)
    return f"{shortened(path)} cannot be written: {_cause(error, path, folder)}"


def _without_draft(path: Path) -> Path:
    """What a draft, or a file in one, is to become: its own name says nothing to a person."""
    drafts = [part for part in (path, *path.parents) if DRAFT.fullmatch(part.name)]
    return drafts[-1].with_name(drafts[-1].name[1 : -len(".0123456789ab.part")]) if drafts else path


def _cause(error: OSError, path: Path, folder: Path) -> str:
    code = error.errno
    if code == errno.ENOSPC:
        return no_space(folder)
    if code == errno.EDQUOT:
        return f"the quota of this user on the disk of {folder} is used up ({space(folder)}): remove files there"
    if code == errno.ENAMETOOLONG:
        return _too_long(path, folder)
    if code == errno.EROFS:
        return f"the disk of {folder} is mounted read-only"
    if code in (errno.EACCES, errno.EPERM) and os.path.exists(path) and not os.access(path, os.W_OK):  # noqa: PTH110  # exists() raises
        return f"this user may not write to it ({_mode(path)})"
    if code in (errno.EACCES, errno.EPERM):
        return f"this user may not write to {folder} ({_mode(folder)})"
    if code == errno.EISDIR:
        return "it is a folder, expected a file"
    if code == errno.ELOOP:
        return "it is a link, and fts does not write through links here"
    if code == errno.EINVAL:
        return f"it is not a regular file ({error.strerror})"
    if code in (errno.ENOTDIR, errno.EEXIST):
        return f"{error.filename or folder} is a file, expected a folder"
    if code == errno.EFBIG:
        return "it would be larger than this process or this disk allows for one file (see `ulimit -f`)"
    if code == errno.EIO:
        return f"the disk of {folder} reports an input/output error: look into the system log"
    return error.strerror or str(error)


def no_space(folder: Path) -> str:
    """Why a disk takes no more: `... has 43 MB free but no free inodes`, or that it is full."""
    free, inodes = room(folder)
    if inodes == 0 and free:
        return f"the disk of {folder} has {size(free)} free but no free inodes: remove some files, not large ones only"
    return f"the disk of {folder} is full ({size(free)} free): free some space"


def space(folder: Path) -> str:
    free, inodes = room(folder)
    return f"the disk has {size(free)} free" + (" but no free inodes" if inodes == 0 else "")


def room(folder: Path) -> tuple[int, int | None]:
    """Bytes and inodes that this user may still take; None: this file system does not count inodes."""
    found = os.statvfs(_existing(folder))
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def size(count: int) -> str:
    """`812 bytes`, `43 kB`, `1.1 MB`, `44 MB`, `2.4 GB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}" if count < 10 * scale else f"{count / scale:.0f} {unit}"
    return f"{count} bytes"


def shortened(path: Path) -> str:
    """The path, with dots in the middle of a name that is too long to read."""
    name = path.name if len(path.name) <= NAME_KEPT else f"{path.name[:40]}...{path.name[-20:]}"
    return str(path.with_name(name)) if len(str(path.parent)) < 1000 else name


def _too_long(path: Path, folder: Path) -> str:
    longest = max(len(os.fsencode(part)) for part in path.parts)
    most = os.pathconf(folder, "PC_NAME_MAX")
    if longest > most:
        return f"its name has {longest} bytes, this file system allows {most}"
    return f"its path has {len(os.fsencode(path))} bytes, more than this system allows: use a folder nearer to /"


def _mode(folder: Path) -> str:
    found = folder.stat()
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    return f"mode {stat.S_IMODE(found.st_mode):o}, owner {owner}"


def can_write(folder: Path, count: int) -> bool:
    """Tries with a draft of so many bytes, which is removed."""
    try:
        draft, lock = _new_draft(folder / "room", lambda draft: os.open(draft, DRAFT_FLAGS, 0o600))
    except OSError:
        return False
    try:
        draft.write_bytes(b"\0" * count)
        sync_file(draft)
    except OSError:
        return False
    finally:
        remove(draft)
        os.close(lock)
    return True


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    for each in (folder, *folder.parents):
        with suppress(OSError):
            if each.is_dir():
                return each
    return folder


# ---------------------------------------------------------------- CSV


def csv_text(names: Iterable[str], rows: Iterable[Iterable[Any]], end: str = "\n") -> str:
    """A CSV file: a line of names, then the rows, every cell through csv_cell; None is an empty cell."""
    import csv  # here, not above: not every command that opens the database writes tables
    import io

    out = io.StringIO(newline="")
    usual = csv.writer(out, lineterminator=end)
    quoted = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    for row in (names, *rows):
        cells = [csv_cell(value) for value in row]
        broken = any(isinstance(cell, str) and "\r" in cell for cell in cells)  # csv takes it for no end of a line
        (quoted if broken else usual).writerow(cells)
    return out.getvalue()


def csv_cell(value: Any) -> Any:
    """The value as a cell of a CSV file: text that a spreadsheet would calculate gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value.lstrip("'")) else value


def from_csv_cell(text: str) -> str:
    """What csv_cell was given."""
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    return text.startswith(FORMULA) and not NUMBER.fullmatch(text)
