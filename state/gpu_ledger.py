"""Which GPUs processes of this user hold on this machine, whatever their outputs folders: one lock file per process.

    ~/.local/state/fts/gpus/GPU-5c8a/
        lock         held while somebody looks and takes, for milliseconds
        4242.7f3a    held by process 4242 as long as it has the GPU: {"bytes": 8000000000}; null: it shares none

The kernel lets go of a lock when its process dies, so a GPU of a killed worker is free at once.
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
Used = dict[str, int | None]  # GPU -> bytes that others hold of it; None: somebody shares none of it


def gpus_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where processes of this user tell each other; None: the user has no folder of their own."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if base.is_absolute():
        return base / "fts" / "gpus"
    return None if home() == NOWHERE else home() / ".local" / "state" / "fts" / "gpus"


class GpuLedger:
    """What this process holds, and a look at what the others do. Not thread-safe: its caller has a lock."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._name = f"{os.getpid()}.{secrets.token_hex(4)}"
        self._held: dict[str, int] = {}  # GPU -> descriptor of our file

    @contextlib.contextmanager
    def looking(self, gpus: Sequence[str]) -> Iterator[Used]:
        """What others hold of these GPUs; nobody else takes one meanwhile. Where files do not work: nothing."""
        with contextlib.ExitStack() as stack:
            used: Used = {}
            try:
                if self.folder is not None:
                    for gpu in sorted(gpus):  # in one order, so that two that look never wait for each other
                        stack.enter_context(_locked(self._folder_of(gpu) / LOCK))
                    used = {gpu: self._of_others(gpu) for gpu in gpus}
            except BlockingIOError:
                used = dict.fromkeys(gpus)  # somebody has looked for so long: ask again
            except OSError:
                pass  # a full or read-only home keeps no trial from its GPU
            yield used

    def hold(self, held: Mapping[str, int | None]) -> None:
        """This process holds these GPUs from now on, and no other; so many bytes of each, None: all of it."""
        for gpu in set(self._held) - set(held):
            self._let_go(gpu)
        for gpu, bytes_ in held.items():
            with contextlib.suppress(OSError):
                fd = self._held.get(gpu)
                if fd is None and self.folder is not None:
                    fd = self._held[gpu] = _taken(self._folder_of(gpu) / self._name)
                if fd is not None:
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, json.dumps({"bytes": bytes_}).encode(), 0)

    def close(self) -> None:
        self.hold({})

    def _let_go(self, gpu: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder_of(gpu) / self._name).unlink(missing_ok=True)
        os.close(self._held.pop(gpu))

    def _folder_of(self, gpu: str) -> Path:
        assert self.folder is not None, "the caller has looked"
        folder = self.folder / re.sub(r"[^A-Za-z0-9_-]", "_", gpu)[:80]
        make_folder(folder)
        return folder

    def _of_others(self, gpu: str) -> int | None:
        """The sum of what living processes say; files of dead ones are removed."""
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
    """What the holder of this file says; None: it is dead, and its file is gone."""
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
        return {"bytes": None}  # it holds the GPU, and does not say how much


def _taken(path: Path) -> int:
    """A file of this name, locked; closed with the descriptor, and when this process dies."""
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
