"""What control groups, taskset or an allocation leave of this machine to us: memory and processors (Linux).

Both versions of control groups are read: version 2, and version 1 of older clusters, which has a tree per controller.
In a container of version 1 the path on record is the host's; the controller's own root then is the container's group.
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
    """A control group that limits memory; reads its files anew at each call."""

    limit_file: Path
    used_file: Path
    stat_file: Path
    droppable: str  # the name of its pages of files that it can drop

    @property
    def limit(self) -> int | None:
        """Bytes; None: it has none now."""
        limit = _number(self.limit_file)
        return limit if limit is not None and limit < UNLIMITED else None

    def within(self, total: int, available: int) -> tuple[int, int]:
        """(total, available) bytes, cut to its limit; pages of files it can drop count as available."""
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
    """The control groups around this process that limit memory, the innermost first; [] elsewhere."""
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
    """Processors this process may use, at least 1: those it may run on, cut to the quota of its control groups.

    A quota of 2.5 processors is two: a third busy thread would wait half of the time.
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
    """`2 cores`, or `4 of 64 cores` where the rest of the machine is not ours."""
    whole = os.cpu_count() or cores
    return f"{cores} of {whole} cores" if cores < whole else f"{cores} core{'' if cores == 1 else 's'}"


def groups_around(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of our group and of those around it, in the tree of a controller ("": version 2)."""
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
