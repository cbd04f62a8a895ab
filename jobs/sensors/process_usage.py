"""Measures memory and processor time of a trial's process tree; cheap enough for 20 calls a second."""

from __future__ import annotations

import ctypes
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEARCH_EVERY_S = 2.0  # between two searches for children, which cost up to 1.6 ms; reading one's memory costs 0.05 ms
SEARCH_FIRST_S = 0.05  # the same for a young tree: a command is the child of a process that has just started
SHARED_EVERY_S = 10.0  # between two measurements of proportional sizes, which cost milliseconds per process
SHARED_GROWTH = 0.05  # measure earlier when the tree's size has changed by this fraction: new pages may be unshared
RUSAGE_WORDS = 24  # uint64 after the uuid, more than rusage_info_v0 has
FOOTPRINT_WORD = 7  # ri_phys_footprint
ENDED = (FileNotFoundError, ProcessLookupError, PermissionError, psutil.Error)  # or of another user; not: unreadable


class TreeUse:
    """Measures one process tree. `find` returns its living processes, the root first (TrialProcess.tree)."""

    def __init__(self, find: Callable[[], list[psutil.Process]], clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock = clock
        self._processes: list[psutil.Process] = []
        self._searched_at = float("-inf")
        self._born_at = clock()
        self._shared_at, self._shared_for = float("-inf"), 0  # time and summed size of the last measurement
        self._waits: dict[int, float] = {}  # pid -> seconds waited at the last call
        self._waited_s = 0.0
        self._shared_share = 1.0  # proportional size / summed resident size, when last measured

    def memory(self, exact_above: int | None = None) -> int:
        """Returns the bytes of the tree, in memory or swapped out.

        The sum of resident sizes counts shared pages several times. Above `exact_above` bytes it is scaled by the last
        measured ratio of proportional to resident sizes (Linux).
        """
        processes = self.processes()
        summed = sum(occupied(process) for process in processes)
        if exact_above is None or summed < exact_above or len(processes) < 2 or sys.platform != "linux":
            return summed
        moved = abs(summed - self._shared_for) > SHARED_GROWTH * self._shared_for
        if moved or self._clock() - self._shared_at >= SHARED_EVERY_S:
            self._shared_share = shared_share(processes)
            self._shared_at, self._shared_for = self._clock(), summed
        return int(summed * self._shared_share)

    def cpu_s(self) -> float:
        """Returns the processor seconds of the tree so far, including ended and reaped children."""
        return sum(cpu_seconds(process) for process in self.processes())

    def waited_s(self) -> float:
        """Returns the seconds that the tree's main threads have waited for a core (Linux; else 0)."""
        waits = {process.pid: queue_seconds(process.pid) for process in self.processes()}
        self._waited_s += sum(max(0.0, now - self._waits.get(pid, 0.0)) for pid, now in waits.items())
        self._waits = waits
        return self._waited_s

    def processes(self) -> list[psutil.Process]:
        now = self._clock()
        if now - self._searched_at >= min(SEARCH_EVERY_S, max(SEARCH_FIRST_S, 0.1 * (now - self._born_at))):
            self._processes = self._find()
            self._searched_at = now
        return self._processes


def occupied(process: psutil.Process) -> int:
    """Returns the bytes of one process: resident plus swapped (Linux), physical footprint (macOS); 0 if it has ended.

    Raises OSError if they cannot be read, for example with too many open files.
    """
    try:
        if sys.platform == "linux":
            return resident_and_swapped(Path(f"/proc/{process.pid}/status").read_bytes())
        if sys.platform == "darwin" and (footprint := physical_footprint(process.pid)) is not None:
            return footprint
        return process.memory_info().rss
    except ENDED:
        return 0


def resident_and_swapped(status: bytes) -> int:
    """Returns VmRSS + VmSwap in bytes from a /proc/PID/status, so that a swapped-out tree does not look small."""
    total = 0
    for key in (b"\nVmRSS:", b"\nVmSwap:"):
        at = status.find(key)
        if at >= 0:  # a zombie has neither
            total += 1024 * int(status[at + len(key) :].split(None, 1)[0])
    return total


def shared_share(processes: Iterable[psutil.Process]) -> float:
    """Returns proportional / resident bytes of a tree; 1 when they cannot be read."""
    resident = proportional = 0
    for process in processes:
        try:
            found = process.memory_full_info()
        except (OSError, psutil.Error):
            continue
        resident += found.rss
        proportional += getattr(found, "pss", found.rss)
    return min(1.0, proportional / resident) if resident else 1.0


def cpu_seconds(process: psutil.Process) -> float:
    """Returns the processor seconds of a process and its reaped children; 0 if it has ended. Raises OSError."""
    try:
        times: Any = process.cpu_times()
    except ENDED:
        return 0.0
    reaped = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + reaped)


def queue_seconds(pid: int) -> float:
    """Returns how long a process's main thread has waited for a core so far; 0 where there is no such number.

    Raises OSError if it cannot be read.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[1]) / 1e9
    except (*ENDED, NotADirectoryError, ValueError, IndexError):
        return 0.0


@lru_cache(maxsize=1)
def libproc() -> Any:
    try:
        return ctypes.CDLL("/usr/lib/libproc.dylib")
    except OSError:
        return None


def physical_footprint(pid: int) -> int | None:
    """Returns the bytes that macOS charges a process with, including compressed and GPU memory; None: unknown."""
    library = libproc()
    if library is None:
        return None
    buffer = (ctypes.c_uint64 * (2 + RUSAGE_WORDS))()  # struct rusage_info_v0 of <sys/resource.h>: uuid[16], then words
    if library.proc_pid_rusage(pid, 0, ctypes.byref(buffer)) != 0:
        return None
    return int(buffer[2 + FOOTPRINT_WORD])
