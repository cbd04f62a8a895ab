"""Records which GPUs this user's processes hold on this machine, for all outputs folders: one lock file per process.

    ~/.local/state/fts/gpus/GPU-5c8a/
        lock         held for milliseconds while a process reads the others and takes the GPU
        4242.7f3a    held by process 4242 while it uses the GPU: {"bytes": 8000000000}; null: it shares none of it

The kernel releases a lock when its process dies, so a killed worker's GPU is free at once.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fts.state.files import NOWHERE, CannotWrite, home, make_folder
from fts.state.slot_lock import TRIES, try_lock

LOCK = "lock"
Used = dict[str, int | None]  # GPU -> bytes held by other processes; None: another process shares none of it


def gpus_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns the folder of the lock files; None if the user has no home folder."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if base.is_absolute():
        return base / "fts" / "gpus"
    return None if home() == NOWHERE else home() / ".local" / "state" / "fts" / "gpus"


class GpuLedger:
    """Records the GPUs that this process holds, and reads those of the others. Not thread-safe: the caller locks."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._name = f"{os.getpid()}.{secrets.token_hex(4)}"
        self._held: dict[str, int] = {}  # GPU -> descriptor of our file

    @contextlib.contextmanager
    def locked(self, gpus: Sequence[str]) -> Iterator[Used]:
        """Yields what other processes hold of these GPUs; none can take one meanwhile. Yields {} if files fail."""
        with contextlib.ExitStack() as stack:
            used: Used = {}
            try:
                if self.folder is not None:
                    for gpu in sorted(gpus):  # always the same order, so that two processes cannot deadlock
                        stack.enter_context(_locked(self._folder_of(gpu) / LOCK))
                    used = {gpu: self._held_by_others(gpu) for gpu in gpus}
            except BlockingIOError:
                used = dict.fromkeys(gpus)  # another process holds the lock for too long: all are taken, try again
            except OSError:
                pass  # a full or read-only home must not keep a trial from its GPU
            yield used

    def hold(self, held: Mapping[str, int | None]) -> None:
        """Records that this process now holds exactly these GPUs, with bytes of each (None: the whole GPU)."""
        for gpu in set(self._held) - set(held):
            self._release(gpu)
        for gpu, bytes_ in held.items():
            with contextlib.suppress(OSError):
                fd = self._held.get(gpu)
                if self.folder is not None and (fd is None or os.fstat(fd).st_nlink == 0):  # somebody removed the file
                    taken = _taken(self._folder_of(gpu) / self._name)
                    if fd is not None:
                        os.close(fd)
                    fd = self._held[gpu] = taken
                if fd is not None:
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, json.dumps({"bytes": bytes_}).encode(), 0)

    def close(self) -> None:
        self.hold({})

    def _release(self, gpu: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder_of(gpu) / self._name).unlink(missing_ok=True)
        os.close(self._held.pop(gpu))

    def _folder_of(self, gpu: str) -> Path:
        assert self.folder is not None, "the caller has looked"
        folder = self.folder / re.sub(r"[^A-Za-z0-9_-]", "_", gpu)[:80]
        make_folder(folder)
        return folder

    def _held_by_others(self, gpu: str) -> int | None:
        """Returns the bytes that other living processes hold (None: one shares nothing); removes files of dead ones."""
        total = 0
        for path in self._folder_of(gpu).iterdir():
            if path.name in (LOCK, self._name):
                continue
            found = _alive(path)
            if found is not None:
                if (bytes_ := found.get("bytes")) is None:
                    return None
                total += int(bytes_)
        return total


def _alive(path: Path) -> dict[str, int | None] | None:
    """Returns the content of a living holder's file. Returns None, and removes the file, if the holder is dead."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not try_lock(fd, tries=1):
            return _read(fd)
        path.unlink(missing_ok=True)
        return None
    finally:
        os.close(fd)


def _read(fd: int) -> dict[str, int | None]:
    try:
        found = json.loads(os.pread(fd, 4096, 0))
        return {"bytes": int(found["bytes"]) if found["bytes"] is not None else None}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {"bytes": None}  # it holds the GPU, and the amount is unknown


def _taken(path: Path) -> int:
    """Creates and locks this file; the lock lasts until the descriptor is closed or this process dies."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if not try_lock(fd, tries=1):
        os.close(fd)
        raise BlockingIOError(errno.EWOULDBLOCK, "held by another process", str(path))
    return fd


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CannotWrite(error.errno, f"{path} cannot be opened") from error
    try:
        if not try_lock(fd, TRIES):
            raise BlockingIOError(errno.EWOULDBLOCK, "held by another process", str(path))
        yield
    finally:
        os.close(fd)
