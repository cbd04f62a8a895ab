"""Adds to a snapshot what this machine knows before the database does: dead workers and the free disk space."""

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


def gone_workers(workers: Iterable[Worker], study: Path) -> frozenset[int]:
    """Returns the ids of this machine's workers that are recorded as running and are dead; `study` is the database's
    folder."""
    return frozenset(worker.id for worker in workers if worker.status == "running" and _has_died(worker, study))


def mark_gone(snapshot: Snapshot, dead: frozenset[int]) -> Snapshot:
    """Returns the snapshot with these workers marked as gone."""
    if not dead:
        return snapshot
    return replace(snapshot, workers=tuple(replace(w, gone=w.id in dead) for w in snapshot.workers))


def with_local_facts(snapshot: Snapshot, study: Path) -> Snapshot:
    """Returns the snapshot with dead workers marked as gone, and with the disk's free space now."""
    return with_free_disk(mark_gone(snapshot, gone_workers(snapshot.workers, study)), study)


def with_free_disk(snapshot: Snapshot, study: Path) -> Snapshot:
    """Returns the snapshot with the disk's free space now: the latest sample may be older than a full disk."""
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
    """Whether a worker of this machine is dead, or works on the study that this one is a copy of.

    False for a worker of another machine, which cannot be checked.
    """
    if host != os.uname().nodename:
        return False
    held = [_is_held_by(pid, path) for path in study.glob("slot-*.lock")]
    if True in held:
        return False
    return False in held or not _is_there(pid)  # a worker holds its slots as long as it lives


def _is_there(pid: int) -> bool:
    """Whether a process with this pid lives. A newer process with the same pid counts too; the heartbeat shows that."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except (OSError, IndexError):  # another person's process, or a system without /proc
        return True
    return state not in ("Z", "X")  # a zombie has ended; only its exit status has not been read


def _is_held_by(pid: int, path: Path) -> bool | None:
    """Whether a worker with this pid holds the slot lock; None if the file names another one.

    A container's pid differs outside, but the lock is seen.
    """
    try:
        with path.open("rb") as file:
            if json.loads(file.read(4096) or b"{}").get("pid") != pid:
                return None
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # a worker that starts right now tries again
    except (OSError, ValueError, AttributeError):  # held or unreadable: the worker may live
        return True
    return False
