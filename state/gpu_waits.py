"""Lists the trials that wait for GPUs of this machine, of all its workers, and puts them in order.

    ~/.local/state/fts/gpus/.waiting/
        4242.7f3a    written and locked by process 4242 while trials of it wait

The kernel releases the lock when the process dies, and an entry that is not renewed for a lease no longer counts: a
killed or stopped worker keeps nobody waiting. The order is only as good as these files: without them a trial takes its
GPUs as if no other process waited.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.state.files import make_folder
from fts.state.slot_lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

FOLDER = ".waiting"  # no GPU has this name (fts.state.gpu_ledger)
NEW = ".new"  # suffix of a file that is not locked, or not written yet
BLOCK = 4096  # bytes by which a file grows
MOST = 1 << 20  # bytes that are read of one file


@dataclass(frozen=True)
class WaitingTrial:
    """A trial that waits for GPUs. Times are those of the machine's monotonic clock, which its processes share."""

    slot: int
    gpus: int  # how many
    of: frozenset[str]  # the GPUs that it may get
    since: float
    until: float = float("inf")  # it no longer counts afterwards, unless it is renewed
    bytes: int | None = None  # on each GPU; None: the whole GPU
    rank: float = 0.0  # of its job
    database: str = ""  # ranks of different databases cannot be compared
    process: str = ""


def in_turn(waiting: Iterable[WaitingTrial]) -> list[tuple[float, WaitingTrial]]:
    """Returns the trials in the order in which they get GPUs, each with the time that decides its place.

    Those of one database by rank, then by who has waited longest; databases by who has waited longest. For that the
    first trial of a database by rank gets the earliest time of any of its trials, the second one the next.
    """
    of: dict[str, list[WaitingTrial]] = {}
    for one in waiting:
        of.setdefault(one.database, []).append(one)
    found: list[tuple[float, WaitingTrial]] = []
    for name in sorted(of):
        by_rank = sorted(of[name], key=lambda one: (one.rank, one.since, one.process, one.slot))
        found += zip(sorted(one.since for one in by_rank), by_rank, strict=True)
    return sorted(found, key=lambda pair: pair[0])  # equal times stay in this order, the same in every process


class GpuWaits:
    """The waiting trials of this process, as other processes see them, and theirs. Not thread-safe: the caller locks.

    `folder`: of the GPUs (None: nothing is shared). `lease_s`: how long an entry counts that is not renewed.
    """

    def __init__(
        self,
        folder: Path | None,
        database: str = "",
        lease_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database, self.lease_s, self.clock = database, lease_s, clock
        self.process = f"{os.getpid()}.{secrets.token_hex(4)}"
        self._folder = None if folder is None else folder / FOLDER
        self._fd: int | None = None
        self._written: dict[int, WaitingTrial] = {}

    def of(self, slot: int, gpus: int, keys: Iterable[str], since: float, bytes_: int | None) -> WaitingTrial:
        """Returns the entry of a trial of this process that begins to wait."""
        return WaitingTrial(slot, gpus, frozenset(keys), since, since, bytes_, 0.0, self.database, self.process)

    def renewed(self, one: WaitingTrial, rank: float) -> WaitingTrial:
        """Returns the entry of a trial that has just looked whether its GPUs are free."""
        return replace(one, rank=rank, until=self.clock() + self.lease_s)

    def announce(self, mine: Iterable[WaitingTrial]) -> None:
        """Shows other processes that these trials of this one wait. Writes if something has changed or gets old."""
        now = {one.slot: one for one in mine}
        if self._folder is None or not (now or self._written) or not self._is_outdated(now):
            return
        with contextlib.suppress(OSError):  # a full or read-only home must not keep a trial from its GPU
            if now:
                self._write([{**asdict(one), "of": sorted(one.of)} for one in now.values()])
            else:
                self.close()
            self._written = now

    def elsewhere(self) -> list[WaitingTrial]:
        """Returns the trials of other living processes that wait; removes the files of dead processes."""
        found: list[WaitingTrial] = []
        if self._folder is None:
            return found
        try:
            paths = list(self._folder.iterdir())
        except OSError:  # no trial has ever waited here, or the folder cannot be read
            return found
        for path in paths:
            if path.name != self.process:
                with contextlib.suppress(OSError):  # removed just now, or not one of ours
                    entries = self._read(path)  # removes what a process left that was killed before it had renamed it
                    found += [] if path.name.endswith(NEW) else entries
        return found

    def close(self) -> None:
        """Takes back what was announced."""
        if self._fd is not None and self._folder is not None:
            _drop(self._folder / self.process, self._fd)
            self._fd = None
        self._written = {}

    def _is_outdated(self, now: dict[int, WaitingTrial]) -> bool:
        if now.keys() != self._written.keys():
            return True
        for slot, one in now.items():
            written = self._written[slot]
            if replace(written, until=one.until) != one or one.until - written.until > self.lease_s / 4:
                return True
        return False

    def _write(self, entries: Sequence[dict[str, Any]]) -> None:
        """Writes over the file if that takes no more of the disk, which may be full; else makes another one."""
        text = json.dumps(entries).encode()
        text = text.ljust(-(-len(text) // BLOCK) * BLOCK)  # a reader never sees half of a longer old text
        if self._fd is not None and self._is_at_place(self._fd) and os.fstat(self._fd).st_size == len(text):
            _put(self._fd, text)
            return
        assert self._folder is not None, "the caller has looked"
        make_folder(self._folder)
        fd = _draft(draft := self._folder / f"{self.process}{NEW}", text)
        try:
            draft.rename(self._folder / self.process)  # only now others see it, and an unlocked one is of the dead
        except BaseException:
            _drop(draft, fd)
            raise
        old, self._fd = self._fd, fd
        if old is not None:
            os.close(old)

    def _is_at_place(self, fd: int) -> bool:
        """Is the file of this process still in the folder? Somebody may have removed either."""
        assert self._folder is not None, "the caller has looked"
        return _is_same(fd, self._folder / self.process)

    def _read(self, path: Path) -> list[WaitingTrial]:
        for _ in range(2):  # its process may put another file there meanwhile
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if not try_lock(fd, tries=1):
                    return [one for one in _entries(os.pread(fd, MOST, 0), path.name) if self._counts(one)]
                if _is_same(fd, path):
                    path.unlink(missing_ok=True)
                    return []
            finally:
                os.close(fd)
        return []

    def _counts(self, one: WaitingTrial) -> bool:
        left_s = one.until - self.clock()
        return 0 <= left_s <= 86_400.0  # more: a process whose clock is another one, as in some containers


def _draft(path: Path, text: bytes) -> int:
    """Creates a file that is locked until its descriptor is closed or this process dies. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not try_lock(fd, tries=1):  # a reader looks just now whether its process is dead
            raise BlockingIOError(errno.EWOULDBLOCK, "held by another process", str(path))
        _put(fd, text)
    except BaseException:
        _drop(path, fd)
        raise
    return fd


def _put(fd: int, text: bytes) -> None:
    if os.pwrite(fd, text, 0) < len(text):
        raise OSError(errno.ENOSPC, "No space left on device")


def _drop(path: Path, fd: int) -> None:
    """Removes the file before the lock on it ends."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    os.close(fd)


def _is_same(fd: int, path: Path) -> bool:
    """Is this the file at the path?"""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def _entries(text: bytes, process: str) -> list[WaitingTrial]:
    try:
        return [_entry(one, process) for one in json.loads(text)]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        return []  # written by hand, or by another version


def _entry(one: dict[str, Any], process: str) -> WaitingTrial:
    return WaitingTrial(
        slot=int(one["slot"]),
        gpus=int(one["gpus"]),
        of=frozenset(map(str, one["of"])),
        since=float(one["since"]),
        until=float(one["until"]),
        bytes=None if one["bytes"] is None else int(one["bytes"]),
        rank=float(one["rank"]),
        database=str(one["database"]),
        process=process,
    )


def identity_of(database: Path) -> str:
    """Names a database so that all processes of the machine name it alike, by whatever path they open it."""
    with contextlib.suppress(OSError):
        status = database.stat()
        return f"{status.st_dev}:{status.st_ino}"
    return str(database)
