"""Ends all processes that a trial has started: orphans become children of the trial's process, which kills them."""

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
LAST_S = 2.0  # the longest time that end_children may take
LISTED = Path("/proc/self/task")  # exists on Linux
SERVERS = (  # of multiprocessing: module, its object, and there the process and the pipe that keeps it alive
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid", "_forkserver_alive_fd"),
    ("multiprocessing.resource_tracker", "_resource_tracker", "_pid", "_fd"),
)
PS = ("ps", "-axo", "pid=,ppid=")  # macOS


def adopt() -> None:
    """Makes orphaned descendants children of this process, also those that left its group (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library without prctl
            ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """Kills and reaps every descendant, in rounds, because they may start more processes meanwhile."""
    until = time.monotonic() + LAST_S
    with without_sigchld_handler():
        while found := descendants():
            for pid in found:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            reap()
            if time.monotonic() > until:  # checked after killing: on a busy machine one round may take that long
                return
            time.sleep(0.005)


def forget_servers() -> None:
    """Lets multiprocessing start its server processes anew, after `end_children` has ended and reaped them.

    It would wait for the fork server, which is no child any more, and each second trial of a reused process would fail.
    The names are not part of its documented interface.
    """
    for module, server, process, pipe in SERVERS:
        found = getattr(sys.modules.get(module), server, None)
        if getattr(found, process, None) is not None:
            with suppress(OSError, TypeError):
                os.close(getattr(found, pipe, -1))
            setattr(found, process, None)
            setattr(found, pipe, None)


@contextmanager
def without_sigchld_handler() -> Iterator[None]:
    """Removes the SIGCHLD handler for a while: PyTorch's raises an error when a worker of a data loader is killed."""
    handler = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # handlers run only in the main thread
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
    """Does this process have children, or has it waited for any? True if the system cannot tell."""
    if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss:
        return True
    return has_any()


def has_any() -> bool:
    """Does this process have children that nobody has waited for? True if the system cannot tell."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except (AttributeError, OSError):
        return True
    return True


def descendants() -> list[int]:
    """Returns the pids of all descendants of this process; empty if the system cannot list them."""
    listed = children if LISTED.is_dir() else by_ps()
    found, new = [], [os.getpid()]
    while new:
        new = [child for pid in new for child in listed(pid)]
        found += new
    return found


def children(pid: int) -> list[int]:
    """Returns the children of a process from /proc (Linux)."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # the thread has just ended; its children belong to the other threads
                found += map(int, (thread / "children").read_text().split())
    return found


def by_ps() -> Callable[[int], list[int]]:
    """Runs `ps` once and returns a function from pid to its children, without the `ps` process itself."""
    listed = ""
    with suppress(OSError), subprocess.Popen(PS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ps:
        listed = ps.communicate()[0]
        listed = "\n".join(line for line in listed.splitlines() if line.split()[:1] != [str(ps.pid)])
    parents = [tuple(map(int, words)) for line in listed.splitlines() if len(words := line.split()) == 2]
    return lambda pid: [child for child, parent in parents if parent == pid]
