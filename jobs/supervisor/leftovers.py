"""Ends what the trials of a dead worker have started: killed at the same moment, neither worker nor trial could.

Every trial process is started with a variable that says by whom; what it starts inherits it, in a session of its own
and after its parents have died, too.
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
ROUNDS = 3  # what a process starts while others are looked at is met in the next one
GONE_S = 5.0


def mark(outputs: Path) -> dict[str, str]:
    """For the environment of a trial process that this process starts for the study with these outputs."""
    pid = os.getpid()
    return {STARTED_BY: f"{pid} {_own_start(pid)!r} {_namespace()} {_identity(outputs)}"}


def end_leftovers(outputs: Path, spared: Collection[int]) -> int:
    """SIGKILL to what was started for trials of this study by processes that are dead; how many were met.

    `spared`: process ids of living workers. Processes that we may not look into are left alone.
    """
    met: set[psutil.Process] = set()
    for _ in range(ROUNDS):
        found = set(_leftovers(outputs, spared))
        if not found:
            break
        met |= found
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        wait_gone(found, GONE_S)
    return len(met)


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
    """Within which process ids mean something: a container has its own."""
    try:
        return str(OWN_NAMESPACE.readlink())
    except OSError:
        return "-"


def _identity(outputs: Path) -> str:
    """Of the folder, whatever its name: a copy of a study is another one."""
    try:
        status = outputs.stat()
    except OSError:
        return "-"
    return f"{status.st_dev}:{status.st_ino}"
