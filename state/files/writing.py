"""Writes a file or a folder completely or not at all, through a locked draft."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fts.raising import raise_as
from fts.state.files.folders import make_folder, make_own, remove, sync_file, sync_folder
from fts.state.files.reasons import DRAFT, NAME_KEPT, CannotWrite, cannot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNLOCKED_S = 86_400.0  # age after which a draft counts as abandoned on a file system without locks
TRIES = 50


def atomic_write(
    path: Path, content: str | bytes, root: Path | None = None, mode: int = 0o600, durable: bool = True
) -> None:
    """Replaces the file in one step: a reader finds the old content or the new one. Raises CannotWrite.

    No folder between `root` and the file may be a link. Without `durable`, a power cut may bring the old file back:
    right for files that can be written again from the database.
    """
    with replacing(path, root, mode, durable) as draft, draft.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, root: Path | None = None, mode: int = 0o600, durable: bool = True) -> Iterator[Path]:
    """Yields a draft next to `path`; renames it to `path` after the block, or removes it if the block fails."""

    def make(draft: Path) -> int:
        _refuse_other_kinds(path)
        return os.open(draft, DRAFT_FLAGS, mode)

    def place(draft: Path) -> None:
        sync_file(draft)
        draft.replace(path)
        if durable:
            sync_folder(path.parent)

    with _drafted(path, root, make, place) as draft:
        yield draft


@contextmanager
def new_folder(path: Path, root: Path | None = None) -> Iterator[Path]:
    """Yields an empty draft folder; renames it to `path` after the block, or removes it if the block fails.

    Replaces an existing folder of that name.
    """

    def make(draft: Path) -> int:
        make_own(draft)
        return os.open(draft, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)

    def place(draft: Path) -> None:
        sync_folder(draft)
        _replace_folder(draft, path)
        sync_folder(path.parent)

    with _drafted(path, root, make, place) as draft:
        yield draft


@contextmanager
def _drafted(
    path: Path, root: Path | None, make: Callable[[Path], int], place: Callable[[Path], None]
) -> Iterator[Path]:
    """Yields a draft that `make` creates; `place` moves it to `path` after the block."""
    make_folder(path.parent, root)
    try:
        draft, lock = _new_draft(path, make)
    except OSError as error:
        raise_as(cannot(error, path), error)
    try:
        yield draft
        place(draft)
    except OSError as error:
        raise_as(cannot(error, path), error)
    finally:
        try:
            remove(draft)
        finally:
            os.close(lock)


NUMBER = re.compile(r"\[Errno (\d+)\]")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def take(source: Path, path: Path, move: bool = False) -> None:
    """Copies or moves a file or folder to `path`, completely and flushed or not at all. Raises CannotWrite.

    A link becomes a copy of what it leads to, which may change later; so nothing with a link in it is moved.
    """
    make_folder(path.parent)
    if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
        raise CannotWrite(errno.EINVAL, f"{source} cannot be copied into itself, to {path}; name a part of it")
    try:
        if move and not has_link(source):
            _flush(source)
            source.rename(path)
        elif source.is_dir():
            with new_folder(path) as draft:
                _copy_folder(source, draft)
                _flush(draft)
        else:
            with replacing(path, mode=0o700 if source.stat().st_mode & stat.S_IXUSR else 0o600) as draft:
                shutil.copyfile(source, draft)
    except OSError as error:
        raise_as(cannot(error, path), error)


def _copy_folder(source: Path, draft: Path) -> None:
    try:
        shutil.copytree(source, draft, dirs_exist_ok=True)
    except shutil.Error as error:  # holds a list of failures, with their numbers as text only
        failures = [(str(one), str(why)) for one, _, why in error.args[0]]
        numbers = [int(found[1]) for _, why in failures if (found := NUMBER.match(why))]
        if (full := next((one for one in numbers if one in FULL), None)) is not None:
            raise OSError(full, os.strerror(full)) from error
        one, why = failures[0]  # such as a file that another thread has just removed
        raise CannotWrite(numbers[0] if numbers else errno.EINVAL, f"{one} cannot be copied: {why}") from error


def has_link(source: Path) -> bool:
    return any(each.is_symlink() for each in [source, *source.rglob("*")])


def cannot_take(source: Path) -> Path | None:
    """Returns the first path that `take` cannot copy: a broken link, an unreadable file, a pipe, a link to a folder."""
    for path in [source, *sorted(source.rglob("*"))] if source.is_dir() else [source]:
        linked = path.is_symlink() and path.is_dir() and path != source
        if linked or not (path.is_dir() or path.is_file()) or not os.access(path, os.R_OK):
            return path
    return None


def _flush(source: Path) -> None:
    for file in [source, *source.rglob("*")] if source.is_dir() else [source]:
        sync_folder(file) if file.is_dir() else sync_file(file)


def _replace_folder(draft: Path, path: Path) -> None:
    """Renames the draft to `path`. A rename cannot replace a folder with content, so the old one is moved away first,
    and moved back if the rename fails."""
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


def _new_draft(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Makes and locks a draft, so that no sweep removes it; returns (path, handle of the lock)."""
    for _ in range(TRIES):
        draft = path.with_name(draft_name(path.name))
        handle = make(draft)
        _own(handle)
        if _lock(handle) is not False and draft.exists():
            return draft, handle
        os.close(handle)  # a sweep removed it before it was locked
    raise OSError(errno.EAGAIN, f"every draft in {path.parent} was deleted before it could be locked; try again")


def _own(handle: int) -> None:
    """Gives the owner read and write permission: a umask such as 777 would lock us out of our own files."""
    found = stat.S_IMODE(os.fstat(handle).st_mode)
    wanted = found | (0o700 if stat.S_ISDIR(os.fstat(handle).st_mode) else 0o600)
    if found != wanted:
        os.fchmod(handle, wanted)


def draft_name(name: str) -> str:
    return f".{name.encode()[:NAME_KEPT].decode(errors='ignore')}.{os.urandom(6).hex()}.part"


def _lock(handle: int) -> bool | None:
    """Takes the lock. Returns False if another process holds it, None if the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(folder: Path) -> int:
    """Removes the drafts of dead writers from one folder; returns how many."""
    try:
        names = [entry.name for entry in os.scandir(folder) if DRAFT.fullmatch(entry.name)]
    except OSError:
        return 0
    return sum(is_abandoned(folder / name, remove) for name in names)


def sweep_below(root: Path) -> int:
    """Sweeps a folder and all folders below it, without following links; returns how many drafts it removed."""
    removed = 0
    for path, folders, _ in os.walk(root):
        folders[:] = [name for name in folders if not DRAFT.fullmatch(name)]
        removed += sweep(Path(path))
    return removed


def is_abandoned(path: Path, then: Callable[[Path], object] = bool) -> bool:
    """Whether a draft's writer is dead: its lock is free. On a file system without locks, its age decides.

    Calls `then` while it holds the lock, so that no writer can take the draft in between.
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


def _refuse_other_kinds(path: Path) -> None:
    """Raises OSError for a folder, a device or a pipe, which a rename would replace with a file."""
    with suppress(FileNotFoundError):
        kind = path.lstat().st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
        if not stat.S_ISREG(kind) and not stat.S_ISLNK(kind):
            raise OSError(errno.EINVAL, "not a regular file", str(path))


def refusal(folder: Path, count: int) -> OSError | None:
    """Tries to write a draft of `count` bytes in the folder; returns the system's error, or None."""
    try:
        draft, lock = _new_draft(folder / "room", lambda draft: os.open(draft, DRAFT_FLAGS, 0o600))
    except OSError as error:
        return error
    try:
        draft.write_bytes(b"\0" * count)
        sync_file(draft)
    except OSError as error:
        return error
    finally:
        remove(draft)
        os.close(lock)
    return None
