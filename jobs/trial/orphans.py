"""Nothing that a trial started outlives it: what its children leave behind comes to its process, which ends it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux
LAST_S = 2.0  # that the dead may take to be gone
LISTED = Path("/proc/self/task")  # Linux
PS = ("ps", "-axo", "pid=,ppid=")  # macOS


def adopt() -> None:
    """From now on orphans of this process's tree become its children, also those that left its group (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than expected
            ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """SIGKILL to every descendant, reaped; what they start meanwhile is met in the next round."""
    until = time.monotonic() + LAST_S
    with unheard_deaths():
        while found := descendants():
            for pid in found:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            reap()
            if time.monotonic() > until:  # after the signals: on a busy machine one look may take that long
                return
            time.sleep(0.005)


@contextmanager
def unheard_deaths() -> Iterator[None]:
    """Nobody is told that a child has ended: PyTorch's handler raises when a data loader's worker was killed."""
    handler = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # a handler runs in the main thread alone
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)


def reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def has_started_any() -> bool:
    """Has this process children, or had it any that were waited for? True where the system does not say."""
    if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss:
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except (AttributeError, OSError):
        return True
    return True


def descendants() -> list[int]:
    """Below this process; none where the system does not list them."""
    listed = children if LISTED.is_dir() else by_ps()
    found, new = [], [os.getpid()]
    while new:
        new = [child for pid in new for child in listed(pid)]
        found += new
    return found


def children(pid: int) -> list[int]:
    """By Linux's own list."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # it has just ended, and the others have what it started
                found += map(int, (thread / "children").read_text().split())
    return found


def by_ps() -> Callable[[int], list[int]]:
    """The children of a process, as `ps` lists all processes of the machine once; `ps` itself left out."""
    told = ""
    with suppress(OSError), subprocess.Popen(PS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ps:
        told = ps.communicate()[0]
        told = "\n".join(line for line in told.splitlines() if line.split()[:1] != [str(ps.pid)])
    parents = [tuple(map(int, words)) for line in told.splitlines() if len(words := line.split()) == 2]
    return lambda pid: [child for child, parent in parents if parent == pid]
