"""Reads the power of the processor packages on Linux from the kernel's energy counters (RAPL).

On most kernels since 5.10 only root can read them, and virtual machines have none; then the power is unknown.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path("/sys/class/powercap")  # intel-rapl:0 is a package, intel-rapl:0:1 a part of it; AMD has the same names
SHORTEST_S = 0.2  # between two readings: the counter itself is updated about every millisecond
MOST_W = 5_000.0  # a higher value means that the counter was reset


class Rapl:
    """A part of `fts.jobs.sensors.detect.Machine`: the mean power of all packages since the last reading."""

    def __init__(self, folder: Path = FOLDER, clock: Callable[[], float] = time.monotonic) -> None:
        self._packages = packages(folder)
        self._clock = clock
        self._before: tuple[float, list[int]] | None = None

    def read(self) -> dict[str, Any]:
        """Returns {"power_w": watts}; empty at the first reading, or when a package cannot be read."""
        now, counters = self._clock(), [number(package / "energy_uj") for package in self._packages]
        known = [counter for counter in counters if counter is not None]
        if not known or len(known) < len(counters):
            self._before = None
            return {}
        if self._before is not None and now - self._before[0] < SHORTEST_S:
            return {}
        before, self._before = self._before, (now, known)
        if before is None:
            return {}
        used = sum(risen(old, new, package) for old, new, package in zip(before[1], known, self._packages, strict=True))
        watts = used / 1e6 / (now - before[0])
        return {"power_w": watts} if 0 <= watts <= MOST_W else {}

    def close(self) -> None:
        pass


def packages(folder: Path) -> list[Path]:
    """Returns the folders of whole processor packages; their parts are included in them."""
    return sorted(
        path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1 and name(path).startswith("package")
    )


def risen(old: int, new: int, package: Path) -> int:
    """Returns the microjoules between two counter values; a full counter starts again at zero.

    Below zero if it did, and its range is not known.
    """
    return new - old if new >= old else new - old + (number(package / "max_energy_range_uj") or 0)


def name(package: Path) -> str:
    try:
        return (package / "name").read_text().strip()
    except OSError:
        return ""


def number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # only for root, or gone
        return None
