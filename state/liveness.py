"""Sees at once what a worker of this machine has not told yet: that it has died, or that the disk has filled."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.values import Snapshot, Worker


def gone(workers: Iterable[Worker], study: Path) -> frozenset[int]:
    """The numbers of those that say they run, on this machine, and do not; `study` is the folder of the database."""
    return frozenset(worker.id for worker in workers if worker.status == "running" and _has_died(worker, study))


def without(snapshot: Snapshot, dead: frozenset[int]) -> Snapshot:
    """The same snapshot, in which those are known to be gone."""
    if not dead:
        return snapshot
    return replace(snapshot, workers=tuple(replace(w, gone=w.id in dead) for w in snapshot.workers))


def seen(snapshot: Snapshot, study: Path) -> Snapshot:
    """The same snapshot, in which who is gone at this moment is known to be, and how much the disk takes."""
    return with_room(without(snapshot, gone(snapshot.workers, study)), study)


def with_room(snapshot: Snapshot, study: Path) -> Snapshot:
    """The same snapshot with the room of the study's disk now: a worker's latest sample may be of before it filled."""
    here = {worker.id for worker in snapshot.workers if worker.host == os.uname().nodename}
    try:
        free = shutil.disk_usage(study).free
    except OSError:
        return snapshot
    samples = (replace(one, disk_free=free) if one.worker_id in here else one for one in snapshot.samples)
    return replace(snapshot, samples=tuple(samples))


def _has_died(worker: Worker, study: Path) -> bool:
    return is_gone(worker.host, worker.pid, study)


def is_gone(host: str, pid: int, study: Path) -> bool:
    """Whether a worker of this machine has died; False for one of another machine, of which nobody here knows."""
    if host != os.uname().nodename or _is_there(pid):
        return False
    return not any(_is_held_by(pid, path) for path in study.glob("slot-*.lock"))


def _is_there(pid: int) -> bool:
    """Whether a process of that number lives; a younger one counts too, and the heartbeat tells the difference."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except (OSError, IndexError):  # another person's process, or a system without /proc
        return True
    return state not in ("Z", "X")  # nobody has asked yet how it ended


def _is_held_by(pid: int, path: Path) -> bool:
    """A worker in a container has another number out here, but its slot's lock is of the machine."""
    try:
        with path.open("rb") as file:
            if json.loads(file.read(4096) or b"{}").get("pid") != pid:
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # a worker that starts this instant tries again
    except (OSError, ValueError, AttributeError):  # held, or not to be read: it may live
        return True
    return False
