"""Keeps checkpoints that are too large to send on a shared file system; only a pointer file is sent to the worker.

They are stored at CHECKPOINTS/STUDY/JOB/TRIAL/TOKEN/NUMBER. Each attempt has its own folder, so that a node which was
cut off overwrites nothing. On the worker's machine ("home") `model.bin.fts-elsewhere` stands for `model.bin` and holds
its path, bytes and md5. Files that no pointer of the trial names any more are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.files import ABSENT, atomic_write, make_folder, naming, remove, replacing, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SUFFIX = ".fts-elsewhere"
BLOB = re.compile(r"(/.+-[0-9a-f]{8}/[^/]+/trial_[0-9]+)/[0-9]+-[0-9a-f]{8}/[0-9]+")  # group 1: the trial's folder
TOKEN = re.compile(r"[0-9]+-[0-9a-f]{8}")
PART = 8 << 20  # bytes copied between two calls of `alive`


class CannotKeep(Exception):
    """A checkpoint could not be written to the shared file system."""


class BadBlob(ValueError):
    """The file that a pointer names is gone or damaged."""


@dataclass(frozen=True)
class Pointer:
    """Path, size and md5 of a file on the shared file system."""

    at: str
    bytes: int
    md5: str

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))


def folder_of(checkpoints: Path, outputs: Path, job: str, trial: str) -> Path:
    """Returns the trial's folder; the name contains the study, so that studies can share the file system."""
    own = hashlib.md5(f"{os.uname().nodename}:{outputs.resolve()}".encode(), usedforsecurity=False).hexdigest()
    return checkpoints / f"{outputs.resolve().parent.name[:60]}-{own[:8]}" / job / trial


def read(path: Path) -> Pointer | None:
    """Reads a pointer file; None if it is not one of ours.

    A pointer to any other kind of path counts as not ours, because we remove the files that pointers name. Raises
    OSError if it cannot be read now: the file that it names must not be removed.
    """
    try:
        with naming(path):
            content = json.loads(path.read_text())
        found = Pointer(str(content["at"]), int(content["bytes"]), str(content["md5"]))
    except (*ABSENT, ValueError, LookupError, TypeError):
        return None
    return found if BLOB.fullmatch(found.at) and ".." not in Path(found.at).parts else None


def pointers(folder: Path) -> Iterator[tuple[Path, Pointer]]:
    """Yields (path, pointer) of every pointer file below a folder. Raises OSError if a folder cannot be read now."""
    files = [Path(at) / name for at, _, names in os.walk(folder, onerror=_refuse) for name in names]
    for path in sorted(path for path in files if path.name.endswith(SUFFIX)):
        if not path.is_symlink() and (found := read(path)) is not None:
            yield path, found


def _refuse(error: OSError) -> None:
    if not isinstance(error, ABSENT):
        raise error


def keep(fd: int, path: Path, root: Path, alive: Callable[[], None]) -> tuple[int, str]:
    """Stores an open file below `root`, which must exist. Raises CannotKeep; errors of `alive` pass through."""
    if not root.is_dir():
        raise CannotKeep(f"a checkpoint cannot be kept: {root} is no folder on {os.uname().nodename}")
    try:
        return store(fd, path, root, alive)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotKeep(f"a checkpoint cannot be kept: {error}") from error


def store(fd: int, path: Path, root: Path, alive: Callable[[], None]) -> tuple[int, str]:
    """Copies an open file and its executable bit to `path` atomically and flushes it; returns (bytes, md5).

    Raises OSError.
    """
    md5, at = hashlib.md5(usedforsecurity=False), 0
    make_folder(path.parent, root)
    with (
        replacing(path, root, 0o700 if os.fstat(fd).st_mode & stat.S_IXUSR else 0o600) as draft,
        draft.open("wb") as out,
    ):
        while body := os.pread(fd, PART, at):
            out.write(body)
            md5.update(body)
            at += len(body)
            alive()
    sync_folder(path.parent)
    return at, md5.hexdigest()


def fetch(pointer: Pointer, path: Path, root: Path, alive: Callable[[], None] = lambda: None) -> None:
    """Copies the file of a pointer to `path`. Raises BadBlob; OSError if it cannot be read or written now."""
    try:
        fd = os.open(pointer.at, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except ABSENT as error:
        raise BadBlob(f"{pointer.at} cannot be read: {error.strerror}") from error
    try:
        size = os.fstat(fd).st_size
        if size != pointer.bytes:
            raise BadBlob(f"{pointer.at} has {size:,} bytes, expected {pointer.bytes:,}")
        _, md5 = store(fd, path, root, alive)
    finally:
        os.close(fd)
    if md5 != pointer.md5:
        remove(path, root)
        raise BadBlob(f"{pointer.at} does not match its md5")


def bring_home(home: Path, root: Path) -> list[str]:
    """Replaces pointers by their files, for a trial that continues on this machine; returns errors as sentences."""
    missing, found = [], list(pointers(home))
    for path, pointer in found:
        try:
            fetch(pointer, path.with_name(path.name.removesuffix(SUFFIX)), root)
            remove(path, root)
        except BadBlob as error:
            missing.append(str(error))
    for folder in folders_of(found):
        sweep(folder, home, None)
    return missing


def sweep(folder: Path, home: Path, live: str | None) -> None:
    """Removes files of the trial's shared `folder` that no pointer below `home` names.

    `live`: the token of the running attempt. Its files after the newest known pointer stay: their pointers are being
    sent.
    """
    clear(folder, {pointer.at for _, pointer in pointers(home)}, live)


def forget(home: Path) -> None:
    """Removes all shared checkpoints of a trial, before its folder `home` is removed."""
    for folder in folders_of(pointers(home)):
        clear(folder, set(), None)


def folders_of(found: Iterable[tuple[Path, Pointer]]) -> set[Path]:
    """Returns the shared trial folders that these pointers name."""
    return {Path(pointer.at).parents[1] for _, pointer in found}


def clear(folder: Path, named: set[str], live: str | None) -> None:
    newest = max((int(Path(at).name) for at in named if Path(at).parent == folder / str(live)), default=-1)
    for attempt in listed(folder):
        if not TOKEN.fullmatch(attempt.name) or attempt.is_symlink():
            continue
        for blob in listed(attempt):
            old = attempt.name != live or (blob.name.isdecimal() and int(blob.name) < newest)
            if old and str(blob) not in named and not blob.is_dir():
                remove(blob, folder)
    with contextlib.suppress(OSError):  # not empty, or gone
        for attempt in listed(folder):
            if attempt.name != live and not listed(attempt):
                attempt.rmdir()
        for each in (folder, *folder.parents[:2]):  # trial, job, study
            each.rmdir()


def listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def bytes_of(home: Path) -> int:
    return sum(pointer.bytes for _, pointer in pointers(home))


def write(path: Path, pointer: Pointer, root: Path) -> None:
    atomic_write(path, pointer.text, root, durable=False)
