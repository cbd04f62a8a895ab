"""Stores data sets on a node, by md5: received once for all agents of a user, checked, and linked for the trials.

They are stored in `.fts-data-UID` next to the agents' scratch folders. An agent locks a data set while it receives it;
others wait. A data set gets its final name only after its md5 was checked, so a killed agent leaves no broken one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.executors.incoming_files import MD5
from fts.jobs.executors.outgoing_files import open_plain, state_of
from fts.jobs.supervisor.staged_files import BadFile, checked_name
from fts.raising import quoted
from fts.state.files import atomic_write, make_folder, remove, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = ".fts-data-"  # hidden, so that it is not taken for code if scratch is in a study's folder
READ = 1 << 20  # bytes per read
LOOK_S = 0.05  # between two attempts to get a lock
KEPT_S = 30 * 86400.0  # unused data sets are removed after this time
SEEN, PART, LOCK = ".seen", ".part", ".lock"


class MustLeave(Exception):
    """The agent must leave while it waits for or reads a data set."""


class DataSets:
    """The data sets that one agent needs. `goes_on` is called during waits and reads; False raises MustLeave."""

    def __init__(self, scratch: Path, goes_on: Callable[[], bool]) -> None:
        self.root = scratch.parent / f"{PREFIX}{os.getuid()}"
        self.goes_on = goes_on
        self._wanted: dict[str, str] = {}  # name -> md5
        self._locks: dict[str, int] = {}
        self._missing: dict[str, int] = {}  # md5 -> bytes
        self._open: tuple[str, int, Any] | None = None  # md5, descriptor, md5 so far

    def want(self, files: Mapping[str, Any]) -> list[str]:
        """Locks the data sets and returns the md5s that must be sent. Raises BadFile, MustLeave, OSError."""
        sizes: dict[str, int] = {}
        for name, (md5, size) in files.items():
            if not MD5.fullmatch(str(md5)) or not isinstance(size, int) or size < 0:
                raise BadFile(f"the md5 and size of {name[:200]} are {quoted(md5)} and {quoted(size)}")
            self._wanted[checked_name(name)], sizes[md5] = md5, size
        self._own_root()
        try:
            for md5 in sorted(sizes):  # all agents lock in the same order, so that there is no deadlock
                self._lock(md5)
            self._sweep(KEPT_S)
            self._missing = {md5: sizes[md5] for md5 in sorted(sizes) if not self._is_there(md5)}
            self._make_room()
        except BaseException:
            self.close()
            raise
        return list(self._missing)

    def part(self, meta: Mapping[str, Any], body: bytes) -> None:
        """Writes a part of a missing data set; checks and renames a complete one. Raises BadFile, OSError."""
        md5 = str(meta.get("name"))
        if self._open is None:
            if self._missing.get(md5) != meta.get("size"):
                raise BadFile(f"a data set of {quoted(meta.get('size'), 20)} bytes came without a request")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self.root / f"{md5}{PART}", flags, 0o600)
            self._open = (md5, fd, hashlib.md5(usedforsecurity=False))
        opened, fd, so_far = self._open
        if opened != md5:
            raise BadFile(f"a part of data set {md5[:40]} came inside {opened}")
        write_all(fd, body)
        so_far.update(body)
        if "md5" not in meta:
            return
        os.fsync(fd)
        self._open = None
        received, size = os.lseek(fd, 0, os.SEEK_CUR), self._missing.pop(md5)
        os.close(fd)
        if received != size or so_far.hexdigest() != md5:
            remove(self.root / f"{md5}{PART}")
            raise BadFile(f"data set {md5} came with another content")
        (self.root / f"{md5}{PART}").chmod(0o444)
        (self.root / f"{md5}{PART}").rename(self.root / md5)
        self._note(md5)

    def place(self, folder: Path) -> None:
        """Links the data sets into the code folder, where trials read them. Raises BadFile if one is missing."""
        if self._missing or self._open is not None:
            raise BadFile(f"{len(self._missing)} data sets have not come")
        for name, md5 in self._wanted.items():
            make_folder((folder / name).parent, folder)
            remove(folder / name, folder)
            try:
                os.link(self.root / md5, folder / name)
            except OSError:  # a file system without hard links
                shutil.copyfile(self.root / md5, folder / name)
        self._wanted = {}
        self.close()

    def close(self) -> None:
        """Releases the locks and removes incomplete files."""
        if self._open is not None:
            os.close(self._open[1])
        for md5 in self._missing:
            remove(self.root / f"{md5}{PART}")
        for fd in self._locks.values():
            os.close(fd)
        self._open, self._locks, self._missing = None, {}, {}

    # -- the folder

    def _own_root(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.root.mkdir(mode=0o700, parents=True)
        if self.root.is_symlink() or not self.root.is_dir() or self.root.lstat().st_uid != os.getuid():
            raise BadFile(f"{self.root} belongs to somebody else; set FTS_SCRATCH to a folder of your own")

    def _lock(self, md5: str) -> None:
        fd = self._locks[md5] = self._lock_file(md5)
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOOK_S)
            if not self.goes_on():
                raise MustLeave

    def _lock_file(self, md5: str) -> int:
        return os.open(self.root / f"{md5}{LOCK}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _is_there(self, md5: str) -> bool:
        """Is it there and intact? Compares inode, size and time with the last check; if they differ, reads it again."""
        fd = open_plain(self.root / md5)
        if fd is None:
            return False
        try:
            if self._noted(md5) != state_words(fd):
                so_far = hashlib.md5(usedforsecurity=False)
                while body := os.read(fd, READ):
                    so_far.update(body)
                    if not self.goes_on():
                        raise MustLeave
                if so_far.hexdigest() != md5:
                    remove(self.root / md5)
                    return False
        finally:
            os.close(fd)
        self._note(md5)
        return True

    def _noted(self, md5: str) -> Any:
        try:
            return json.loads((self.root / f"{md5}{SEEN}").read_text())
        except (OSError, ValueError):
            return None

    def _note(self, md5: str) -> None:
        """Records that it is intact and was used now."""
        fd = os.open(self.root / md5, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            atomic_write(self.root / f"{md5}{SEEN}", json.dumps(state_words(fd)), durable=False)
        finally:
            os.close(fd)

    def _make_room(self) -> None:
        """Makes room for all missing data sets; removes unused ones if necessary. Raises OSError."""
        need = sum(self._missing.values())
        if need > shutil.disk_usage(self.root).free:
            self._sweep(0.0)
        if need > (free := shutil.disk_usage(self.root).free):
            raise OSError(errno.ENOSPC, f"{self.root} has {free:,} bytes left, the data sets need {need:,}")
        for md5 in self._missing:
            remove(self.root / f"{md5}{PART}")

    def _sweep(self, unused_s: float) -> None:
        """Removes incomplete files of dead agents and data sets unused for `unused_s`; not those in use."""
        for path in sorted(self.root.iterdir()):
            md5 = path.name.removesuffix(PART)
            if not MD5.fullmatch(md5) or md5 in self._locks:
                continue
            with contextlib.suppress(OSError):
                seen = self.root / f"{md5}{SEEN}"
                used = seen.stat().st_mtime if seen.exists() else 0.0
                if path.suffix != PART and (path.stat().st_nlink > 1 or time.time() - used < unused_s):
                    continue
                fd = self._lock_file(md5)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
                    remove(seen)
                finally:
                    os.close(fd)


def state_words(fd: int) -> list[int]:
    now = state_of(fd)
    return [now.inode, now.size, now.changed_ns]
