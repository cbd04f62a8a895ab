"""Receives a set of files over a connection and moves all of them to their places, or none.

They are staged in a folder `.arriving.X` inside their target folder. `commit` first writes the list of moves there,
then does them. After a kill the next worker finds the list and finishes the moves with `finish_commit`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.supervisor.shared_checkpoints import SUFFIX, Pointer, write
from fts.raising import quoted
from fts.state.files import (
    ABSENT,
    DRAFT,
    atomic_write,
    make_folder,
    naming,
    refuse_links,
    remove,
    sync_folder,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_FILES = 10_000  # per trial
MOST_BYTES = 16 << 30  # per set of files
DEEPEST = 12  # parts of a path
LONGEST = 255  # bytes of each part of a path
STAGING = re.compile(r"\.arriving\.[0-9a-f]{12}")
LIST = "commit.json"
MD5 = re.compile(r"[0-9a-f]{32}")


class BadFile(ValueError):
    """The other side sent a file that is not allowed; the message says why."""


class IncomingFiles:
    """Receives one set of files after another for a folder. `root`: no links are followed below it."""

    def __init__(self, folder: Path, root: Path, durable: bool = True) -> None:
        self.folder, self.root, self.durable = folder, root, durable
        self.staging = folder / f".arriving.{os.urandom(6).hex()}"
        self.names: dict[str, str] = {}  # target name -> name in the staging folder
        self.folders: list[str] = []  # names of empty folders
        self._open: tuple[str, int, int, Any] | None = None  # name, descriptor, bytes missing, md5
        self._bytes = self._count = 0

    def part(self, meta: dict[str, Any], body: bytes) -> str | None:
        """Writes a part of a file; returns the name when the file is complete. Raises BadFile, OSError.

        With `folder` the name is that of an empty folder; a file with `runs` becomes executable.
        """
        name = checked_name(meta.get("name"))
        if meta.get("folder") is True:
            self._add_folder(name)
            return None
        if name.endswith(SUFFIX):
            raise BadFile(f"{name} looks like a pointer to a checkpoint, and is none")
        if self._open is None:
            self._begin(name, meta.get("size"))
        assert self._open is not None, "_begin has opened it"
        opened, fd, missing, md5 = self._open
        if opened != name:
            raise BadFile(f"a part of {name} came inside {opened}")
        if len(body) > missing:
            raise BadFile(f"{name} has more bytes than were announced")
        write_all(fd, body)
        md5.update(body)
        missing -= len(body)
        self._open = (name, fd, missing, md5)
        if missing or "md5" not in meta:
            return None
        if meta.get("runs") is True:
            os.fchmod(fd, 0o700)
        if self.durable:
            os.fsync(fd)
        os.close(fd)
        self._open = None
        if md5.hexdigest() != meta["md5"]:
            raise BadFile(f"{name} does not match its md5")
        self.names[name] = str(self._count - 1)
        return name

    def add_pointer(self, meta: dict[str, Any], at: Path) -> None:
        """Adds a pointer to a file that stays on the shared file system. Raises BadFile, OSError."""
        name = checked_name(meta.get("name"))
        if self._open is not None:
            raise BadFile(f"a pointer to {name} came inside {self._open[0]}")
        md5, size = meta.get("md5"), meta.get("size")
        if not isinstance(size, int) or not isinstance(md5, str) or not MD5.fullmatch(md5):
            raise BadFile(f"a pointer to {name} has neither md5 nor size")
        self._count += 1
        make_folder(self.staging, self.root)
        write(self.staging / str(self._count - 1), Pointer(str(at), size, md5), self.root)
        self.names[checked_name(name + SUFFIX)] = str(self._count - 1)

    def _add_folder(self, name: str) -> None:
        if self._open is not None:
            raise BadFile(f"the folder {name} came inside {self._open[0]}")
        refuse_links(self.folder / name, self.root)
        self._count += 1
        self._refuse_too_many(name)
        self.folders.append(name)

    def _refuse_too_many(self, name: str) -> None:
        if self._bytes > MOST_BYTES or self._count > MOST_FILES:
            raise BadFile(
                f"{name} is one too many: a trial sends at most {MOST_FILES:,} files and {MOST_BYTES:,} bytes"
            )

    def _begin(self, name: str, size: Any) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise BadFile(f"the size of {name} is {quoted(size, 40)}, expected a number of bytes")
        self._bytes += size
        self._count += 1
        self._refuse_too_many(name)
        refuse_links(self.folder / name, self.root)
        make_folder(self.staging, self.root)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.staging / str(self._count - 1), flags, 0o600)
        self._open = (name, fd, size, hashlib.md5(usedforsecurity=False))

    def drop(self) -> None:
        """Removes everything received since the last commit."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None
        remove(self.staging, self.root)
        self.names.clear()
        self.folders.clear()
        self._bytes = self._count = 0

    def commit(self, gone: Iterable[Any] = (), fence: AbstractContextManager[Any] | None = None) -> None:
        """Moves all received files to their places and removes those in `gone`, inside `fence`, which may raise.

        A name in `gone` that ends with a slash is that of a folder that was empty.
        """
        if self._open is not None:
            raise BadFile(f"{self._open[0]} is not whole")
        removed = [checked_name(name, may_be_folder=True) for name in gone]
        if not self.names and not self.folders and not removed:
            return
        both = [*self.names, *removed]  # a file and its pointer replace each other
        others = [name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else name + SUFFIX for name in both]
        removed += [name for name in others if name not in self.names and (self.folder / name).exists()]
        make_folder(self.staging, self.root)
        if self.durable:
            sync_folder(self.staging)
        try:
            with fence or nullcontext():
                todo = {"files": sorted(self.names.items()), "gone": removed, "folders": self.folders}
                atomic_write(self.staging / LIST, json.dumps(todo), self.root, durable=self.durable)
                apply_moves(self.staging, self.root, self.durable)
        except BaseException:
            if not (self.staging / LIST).exists():  # refused: no file was moved
                self.drop()
            raise
        self.names, self.folders = {}, []
        self._bytes = self._count = 0


def finish_commit(folder: Path, root: Path) -> None:
    """Finishes the commit of a dead worker; removes staged files that were not committed."""
    try:
        found = [folder / entry.name for entry in os.scandir(folder) if STAGING.fullmatch(entry.name)]
    except ABSENT:
        return
    for staging in sorted(found):
        apply_moves(staging, root)


def apply_moves(staging: Path, root: Path, durable: bool = True) -> None:
    """Does the moves in the list of a staging folder, then removes the folder; without a list it moves nothing."""
    folder = staging.parent
    try:
        with naming(staging / LIST):
            todo = json.loads((staging / LIST).read_text())
        files: Sequence[tuple[str, str]] = [(checked_name(name), Path(str(kept)).name) for name, kept in todo["files"]]
        gone = [checked_name(name, may_be_folder=True) for name in todo["gone"]]
        empty = [checked_name(name) for name in todo.get("folders", ())]  # a list of an older version has none
    except (*ABSENT, ValueError, LookupError, TypeError):
        remove(staging, root)
        return
    folders = set()
    for name, kept in files:
        path = folder / name
        if path.is_dir() and not path.is_symlink():  # a folder has become a file
            remove(path, root)
        make_room(path.parent, folder, root)
        if (staging / kept).exists():  # otherwise it was already moved before the kill
            (staging / kept).rename(path)
        folders.add(path.parent)
    for name in gone:
        if name.endswith("/"):
            with suppress(OSError):  # it has a file now
                (folder / name).rmdir()
        elif not (folder / name).is_dir():  # else it is a folder now
            remove(folder / name, root)
        parent = (folder / name).parent
        while parent != folder and parent.is_dir() and not any(parent.iterdir()):
            remove(parent, root)
            parent = parent.parent
    for name in empty:
        make_room(folder / name, folder, root)
        folders.add((folder / name).parent)
    for each in sorted(folders) if durable else ():
        sync_folder(each)
    (staging / LIST).unlink()  # first, and not silently: with a list left, the next attempt would do the moves again
    remove(staging, root)


def make_room(path: Path, folder: Path, root: Path) -> None:
    """Makes a folder below `folder`; removes files in its way: a file has become a folder."""
    for each in (path, *path.parents):
        if each.is_relative_to(folder) and each.is_file():
            remove(each, root)
    make_folder(path, root)


def is_unfinished(name: str) -> bool:
    """Is it a name of a file or folder that we are still writing?"""
    return DRAFT.fullmatch(name) is not None or STAGING.fullmatch(name) is not None


def checked_name(name: Any, may_be_folder: bool = False) -> str:
    """Returns the name if it is a plain relative path inside the folder. Raises BadFile."""
    if not isinstance(name, str) or not name.isprintable():
        raise BadFile(f"the name of a file is {quoted(name)}, expected a relative path")
    parts = (name.removesuffix("/") if may_be_folder else name).split("/")
    odd = any(part in ("", ".", "..") or len(part.encode()) > LONGEST or "\\" in part for part in parts)
    if odd or len(parts) > DEEPEST or any(map(is_unfinished, parts)):
        raise BadFile(f"the name of a file is {name[:200]!r}, expected one inside the trial's folder")
    return name
