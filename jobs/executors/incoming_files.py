"""Receives a set of files over a connection and moves all of them to their places, or none.

They are staged in a folder `.arriving.X` inside their target folder. `commit` first writes the list of moves there,
then does them. After a kill the next worker finds the list and finishes the moves (staged_files.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.supervisor.shared_checkpoints import SUFFIX, Pointer, write
from fts.jobs.supervisor.staged_files import LIST, BadFile, apply_moves, checked_name, may_exist
from fts.raising import quoted
from fts.state.files import atomic_write, make_folder, refuse_links, remove, sync_folder, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_FILES = 10_000  # per trial
MOST_BYTES = 16 << 30  # per set of files
MD5 = re.compile(r"[0-9a-f]{32}")


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
        refuse_links((self.folder / name).parent, self.root)
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
        refuse_links((self.folder / name).parent, self.root)  # a link of that name is replaced
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

    def checked(self, gone: Iterable[Any]) -> list[str]:
        """Returns the names in `gone`. Raises BadFile if one is not allowed, or a file is not complete."""
        if self._open is not None:
            raise BadFile(f"{self._open[0]} is not whole")
        return [checked_name(name, may_be_folder=True) for name in gone]

    def commit(self, gone: Iterable[Any] = (), fence: AbstractContextManager[Any] | None = None) -> None:
        """Moves all received files to their places and removes those in `gone`, inside `fence`, which may raise.

        A name in `gone` that ends with a slash is that of a folder that was empty.
        """
        removed = self.checked(gone)
        if not self.names and not self.folders and not removed:
            return
        both = [*self.names, *removed]  # a file and its pointer replace each other
        others = [name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else name + SUFFIX for name in both]
        removed += [name for name in others if name not in self.names and may_exist(self.folder / name)]
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
