"""Reads how much memory and how many processors we may use: control groups, taskset, an allocation (Linux).

Reads both versions of control groups: version 2, and version 1 of older clusters, with one tree per controller. In a
container with version 1, /proc/self/cgroup has the path on the host; the controller's root then is the container's
group.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
UNLIMITED = 1 << 60  # bytes; version 1 writes "no limit" as the largest number of pages


@dataclass(frozen=True)
class MemoryGroup:
    """A control group with a memory limit; reads its files at each call."""

    limit_file: Path
    used_file: Path
    stat_file: Path
    droppable: str  # key in stat_file of the file pages that can be dropped

    @property
    def limit(self) -> int | None:
        """The limit in bytes; None: no limit now."""
        limit = _number(self.limit_file)
        return limit if limit is not None and limit < UNLIMITED else None

    def within(self, total: int, available: int) -> tuple[int, int]:
        """Returns (total, available) bytes within its limit; droppable file pages count as available."""
        limit, used = self.limit, _number(self.used_file)
        if limit is None or used is None:
            return total, available
        droppable = 0
        for line in _text(self.stat_file).splitlines():
            name, _, number = line.partition(" ")
            if name == self.droppable and number.isdecimal():
                droppable = int(number)
        return min(total, limit), max(0, min(available, limit - used + droppable))


def memory_groups(root: Path = ROOT, own: Path = OWN) -> list[MemoryGroup]:
    """Returns the control groups of this process that limit memory, innermost first; [] without any."""
    found = [
        MemoryGroup(folder / "memory.max", folder / "memory.current", folder / "memory.stat", "inactive_file")
        for folder in groups_around(root, own, "")
    ]
    found += [
        MemoryGroup(
            folder / "memory.limit_in_bytes",
            folder / "memory.usage_in_bytes",
            folder / "memory.stat",
            "total_inactive_file",
        )
        for folder in groups_around(root, own, "memory")
    ]
    return [group for group in found if group.limit is not None]


def usable_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """Returns the number of processors this process may use, at least 1: by affinity and quotas of control groups.

    A quota of 2.5 processors counts as 2: a third busy thread would wait half of the time.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [_text(folder / "cpu.max").split() for folder in groups_around(root, own, "")]
    shares += [
        [_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
        for folder in groups_around(root, own, "cpu")
    ]
    quotas = [int(share[0]) // int(share[1]) for share in shares if share and all(map(str.isdecimal, share))]
    return max(1, min([here, *quotas]))


def cores_in_words(cores: int) -> str:
    """Returns `2 cores`, or `4 of 64 cores` where we may not use all."""
    whole = os.cpu_count() or cores
    return f"{cores} of {whole} cores" if cores < whole else f"{cores} core{'' if cores == 1 else 's'}"


def groups_around(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of our group and its parents, in the tree of a controller ("": version 2)."""
    for line in _text(own).splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            top = root / controller
            folder = top / path.strip().lstrip("/")
            inside = [folder, *folder.parents]
            yield from inside[: inside.index(top) + 1]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max": no limit
