"""Kills processes that trials of a dead worker have started and that nobody could end.

This is needed when worker and trial are killed at the same moment. Every trial process gets an environment variable
that names its worker. Its descendants inherit it, even in a session of their own and after their parents have died.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from fts.jobs.supervisor.process_tree import same_process, started_at, wait_gone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STARTED_BY = "FTS_STARTED_BY"
OWN_NAMESPACE = Path("/proc/self/ns/pid")  # Linux
ROUNDS = 3  # a process that is started during one pass is found in the next
GONE_S = 5.0


def mark(outputs: Path) -> dict[str, str]:
    """Returns the variable for the environment of a trial process of the study with these outputs."""
    pid = os.getpid()
    return {STARTED_BY: f"{pid} {_own_start(pid)!r} {_namespace()} {_identity(outputs)}"}


def end_leftovers(outputs: Path, spared: Collection[int]) -> int:
    """Kills processes that dead workers started for trials of this study; returns how many were found.

    `spared`: process ids of living workers. Processes that we have no permission to inspect are left alone.
    """
    killed: set[psutil.Process] = set()
    for _ in range(ROUNDS):
        found = set(_leftovers(outputs, spared))
        if not found:
            break
        killed |= found
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        wait_gone(found, GONE_S)
    return len(killed)


def _leftovers(outputs: Path, spared: Collection[int]) -> Iterator[psutil.Process]:
    here = [_namespace(), _identity(outputs)]
    for process in psutil.process_iter():
        if process.pid == os.getpid() or process.pid in spared:
            continue
        try:
            pid, started, *where = process.environ().get(STARTED_BY, "").split()
            if where == here and not same_process(int(pid), float(started)):
                yield process
        except (psutil.Error, OSError, ValueError):  # it has ended, is another user's, or has no such variable
            continue


@functools.cache
def _own_start(pid: int) -> float:
    return started_at(pid) or 0.0


def _namespace() -> str:
    """Returns the pid namespace: a container has its own process ids."""
    try:
        return str(OWN_NAMESPACE.readlink())
    except OSError:
        return "-"


def _identity(outputs: Path) -> str:
    """Identifies the folder by device and inode, so that a copy of a study counts as another study."""
    try:
        status = outputs.stat()
    except OSError:
        return "-"
    return f"{status.st_dev}:{status.st_ino}"
