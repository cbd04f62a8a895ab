"""One worker per slot: a file lock that the kernel releases when its owner dies, and that names its holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

from fts.frozen import dataclass
from fts.state.files import CannotWrite, make_folder, reason_of

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

TRIES = 10  # a process that only checks who holds the lock takes it for a moment
TRY_EVERY_S = 0.02
LATEST = 253_402_214_400.0  # the end of year 9999: no calendar shows a later start; some virtual machines report one
UNKNOWN = "an unknown process"  # it has locked the file and not written its name, or nobody can read it


class SlotTaken(RuntimeError):
    """Another living process holds the slot."""


@dataclass(frozen=True)
class Holder:
    """The process that wrote the lock file last."""

    pid: int
    host: str
    started: float  # start of the process, seconds since 1970
    slot: int
    worker: int | None = None  # its id in the database, once it has registered

    def __str__(self) -> str:
        if self.pid == 0:
            return UNKNOWN
        who = f"process {self.pid} on {self.host}"
        if self.worker is not None:
            who = f"worker {self.worker} (process {self.pid} on {self.host})"
        if not 0 <= self.started <= LATEST:
            return who
        return f"{who}, running since {datetime.fromtimestamp(self.started, UTC):%Y-%m-%d %H:%M:%S UTC}"


class SlotLock:
    """Holds one slot of a database's folder from `acquire` (or `with`) until `release` or the process's death.

    flock belongs to the open file, which is close-on-exec: children that outlive a killed worker do not keep the slot.
    The file stays: if it were removed, two processes could lock two files of the same name.
    """

    def __init__(self, folder: Path, slot: int) -> None:
        self.path = lock_path(folder, slot)
        self.slot = slot
        self._fd: int | None = None

    def acquire(self) -> SlotLock:
        """Takes the slot. Raises SlotTaken with the holder's name, OSError if the file system has no locks."""
        assert self._fd is None, f"slot {self.slot} is already held by this object"
        make_folder(self.path.parent)
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise CannotWrite(error.errno, reason_of(error, self.path)) from error
        try:
            if not try_lock(fd, TRIES):
                raise SlotTaken(taken_sentence(self.path, self.slot, read_holder(fd)))
            os.fchmod(fd, 0o600)
            write_holder(fd, this_process(self.slot))
        except OSError as error:
            os.close(fd)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return self

    def name(self, worker: int) -> None:
        """Writes the holder's worker id into the lock file, so that SlotTaken can name it."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # on a full disk the file names only the process
                write_holder(self._fd, replace(this_process(self.slot), worker=worker))

    def release(self) -> None:
        """Releases the slot; does nothing if it is not held."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a full disk must not prevent the release
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> SlotLock:
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


def holder(folder: Path, slot: int) -> Holder | None:
    """Returns who holds a slot now, or None if it is free. An unreadable lock file gives a holder with pid 0."""
    path = lock_path(folder, slot)
    try:
        fd = os.open(path, (os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        if try_lock(fd, tries=1):
            return None
        return read_holder(fd) or Holder(pid=0, host="unknown", started=0.0, slot=slot)
    finally:
        os.close(fd)


def lock_path(folder: Path, slot: int) -> Path:
    return folder / f"slot-{slot}.lock"


def try_lock(fd: int, tries: int) -> bool:
    for left in range(tries, 0, -1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise OSError(
                    error.errno, f"{error.strerror}: this file system has no file locks; keep outputs/ on a local disk"
                ) from error
            if left > 1:
                time.sleep(TRY_EVERY_S)
            continue
        return True
    return False


def taken_sentence(path: Path, slot: int, found: Holder | None) -> str:
    who = str(found) if found else UNKNOWN
    return f"slot {slot} of {path.parent} is taken by {who}; stop that worker first (`fts stop`), or use another slot"


def this_process(slot: int) -> Holder:
    return Holder(os.getpid(), socket.gethostname(), psutil.Process().create_time(), slot)


def write_holder(fd: int, found: Holder) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(asdict(found)).encode() + b"\n", 0)


def read_holder(fd: int) -> Holder | None:
    try:
        raw = json.loads(os.pread(fd, 4096, 0))
        worker = None if raw.get("worker") is None else int(raw["worker"])
        found = Holder(int(raw["pid"]), str(raw["host"])[:80], float(raw["started"]), int(raw["slot"]), worker)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        return None
    return found
