"""The data sets of a node, by md5: fetched once for all agents of a user, checked, linked to where trials read them.

They lie in `fts-data-UID` beside the scratch folders of the agents. Who fetches one holds its lock; others wait for it.
A data set takes its name only once its md5 is right, so an agent that is killed half-way leaves nothing that counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.executors.arriving import BadFile, checked_name
from fts.jobs.executors.on_node import MD5
from fts.jobs.executors.outgoing import State, open_plain, state_of
from fts.state.files import atomic_write, make_folder, remove, size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "fts-data-"
READ = 1 << 20  # bytes at once
LOOK_S = 0.05  # between two looks whether another agent has it
SEEN, PART, LOCK = ".seen", ".part", ".lock"


class Left(Exception):
    """The agent has to leave while it waits for a data set."""


class DataSets:
    """What one agent wants of them. `goes_on` is called while it waits or reads; it says whether to stay."""

    def __init__(self, beside: Path, goes_on: Callable[[], bool]) -> None:
        self.root = beside.parent / f"{PREFIX}{os.getuid()}"
        self.goes_on = goes_on
        self._wanted: dict[Path, dict[str, str]] = {}  # folder here -> name -> md5
        self._locks: dict[str, int] = {}
        self._missing: dict[str, int] = {}  # md5 -> bytes
        self._open: tuple[str, int, Any] | None = None  # md5, descriptor, md5 so far

    def want(self, folder: Path, files: Mapping[str, Any], most: int) -> list[str]:
        """The md5s that have to be sent, of those that belong into the folder. Raises BadFile, Left, OSError."""
        sizes: dict[str, int] = {}
        named: dict[str, str] = {}
        for name, told in files.items():
            md5, count = told
            if not isinstance(md5, str) or not MD5.fullmatch(md5) or not isinstance(count, int) or count < 0:
                raise BadFile(f"the md5 and size of {name[:200]} are {told!r:.80}")
            named[checked_name(name)], sizes[md5] = md5, count
        self._own_root()
        self._wanted[folder] = named
        try:
            for md5 in sorted(set(named.values())):  # all agents in one order: none waits for one that waits for it
                if md5 not in self._locks:
                    self._lock(md5)
            missing = [md5 for md5 in sorted(set(named.values())) if not self._is_there(md5)]
            self._make_room({md5: sizes[md5] for md5 in missing}, most)
        except BaseException:
            self.close()
            raise
        self._missing |= {md5: sizes[md5] for md5 in missing}
        return missing

    def part(self, meta: Mapping[str, Any], body: bytes) -> None:
        """A part of one that was missing. Raises BadFile, OSError."""
        md5 = str(meta.get("name"))
        if self._open is None:
            if self._missing.get(md5) != meta.get("size"):
                raise BadFile(f"a data set of {meta.get('size')!r:.20} bytes came that nobody had asked for")
            fd = os.open(self.root / f"{md5}{PART}", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._open = (md5, fd, hashlib.md5(usedforsecurity=False))
        opened, fd, so_far = self._open
        if opened != md5:
            raise BadFile(f"a part of data set {md5[:40]} came inside {opened}")
        written = 0
        while written < len(body):
            written += os.write(fd, body[written:])
        so_far.update(body)
        if "md5" not in meta:
            return
        os.fsync(fd)
        self._open = None
        whole = os.fstat(fd).st_size == self._missing.pop(md5)
        os.close(fd)
        if not whole or so_far.hexdigest() != md5:
            raise BadFile(f"data set {md5} came with another content")
        (self.root / f"{md5}{PART}").chmod(0o444)
        (self.root / f"{md5}{PART}").rename(self.root / md5)
        self._note(md5)

    def place(self) -> None:
        """Links them into their folders, for a trial to read. Raises BadFile when one has not come."""
        if self._missing or self._open is not None:
            raise BadFile(f"{len(self._missing)} data sets have not come")
        for folder, named in self._wanted.items():
            for name, md5 in named.items():
                path = folder / name
                make_folder(path.parent, folder)
                remove(path, folder)
                try:
                    os.link(self.root / md5, path)
                except OSError:  # a file system without hard links
                    shutil.copyfile(self.root / md5, path)
        self._wanted = {}
        self.close()

    def close(self) -> None:
        """Others may have them."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None
        for fd in self._locks.values():
            os.close(fd)
        self._locks, self._missing = {}, {}

    # -- the folder

    def _own_root(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.root.mkdir(mode=0o700, parents=True)
        told = self.root.lstat()
        if self.root.is_symlink() or not self.root.is_dir() or told.st_uid != os.getuid():
            raise BadFile(f"{self.root} belongs to somebody else; set FTS_SCRATCH to a folder of your own")

    def _lock(self, name: str) -> None:
        fd = os.open(self.root / f"{name}{LOCK}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._locks[name] = fd
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(LOOK_S)
            if not self.goes_on():
                raise Left

    def _is_there(self, md5: str) -> bool:
        """By what was noted when its md5 was last right; else its content is read again."""
        fd = open_plain(self.root / md5)
        if fd is None:
            return False
        try:
            now = state_of(fd)
            if self._noted(md5) != now:
                so_far = hashlib.md5(usedforsecurity=False)
                while body := os.read(fd, READ):
                    so_far.update(body)
                    if not self.goes_on():
                        raise Left
                if so_far.hexdigest() != md5:
                    remove(self.root / md5)
                    return False
        finally:
            os.close(fd)
        self._note(md5)
        return True

    def _noted(self, md5: str) -> State | None:
        try:
            return State(*json.loads((self.root / f"{md5}{SEEN}").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _note(self, md5: str) -> None:
        """That it is whole, and used now."""
        told = (self.root / md5).stat()
        state = [told.st_ino, told.st_size, told.st_mtime_ns]
        atomic_write(self.root / f"{md5}{SEEN}", json.dumps(state), durable=False)

    def _make_room(self, missing: Mapping[str, int], most: int) -> None:
        """Drops the half ones of dead agents, then those used longest ago; sets aside what comes. Raises BadFile."""
        if not missing:
            return
        self._lock("room")
        try:
            kept: list[tuple[float, str, int, bool]] = []
            for path in self.root.iterdir():
                md5 = path.name.removesuffix(PART)
                if not MD5.fullmatch(md5) or md5 in missing:
                    continue
                if path.name.endswith(PART) and self._drop(md5, path):
                    continue
                with contextlib.suppress(OSError):
                    told, seen = path.stat(), self.root / f"{md5}{SEEN}"
                    used = seen.stat().st_mtime if seen.exists() else 0.0
                    kept.append((used, md5, told.st_size, told.st_nlink > 1 or path.name.endswith(PART)))
            total, wanted = sum(one[2] for one in kept), sum(missing.values())
            for _, md5, count, in_use in sorted(kept):
                if total + wanted > most and not in_use and self._drop(md5, self.root / md5):
                    total -= count
            if total + wanted > most:
                raise BadFile(
                    f"the data sets of the study have {size(wanted)}; the node keeps at most {size(most)} of them "
                    f"(FTS_NODE_DATA), and {size(total)} are in use"
                )
            for md5, count in missing.items():
                path = self.root / f"{md5}{PART}"
                remove(path)
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                try:
                    os.ftruncate(fd, count)
                finally:
                    os.close(fd)
        finally:
            os.close(self._locks.pop("room"))

    def _drop(self, md5: str, path: Path) -> bool:
        """Unless an agent holds it."""
        if md5 in self._locks:
            return False
        fd = os.open(self.root / f"{md5}{LOCK}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
            remove(self.root / f"{md5}{SEEN}")
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True
