"""Keeps memory, heat and GPU use of a node over the last hours, in at most 48 points for its chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fts.jobs.sensors.reading import Reading

MOST = 48  # points; then every second one is dropped
EVERY_S = (15.0, 240.0)  # between two points: first, and at most; at most the oldest points are dropped instead

Point = tuple[float, float | None, float | None, float | None]  # time, fraction of memory in use, °C, GPU %


class NodeHistory:
    """The recent readings of one node."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._every_s = EVERY_S[0]

    def add(self, reading: Reading) -> tuple[Point, ...]:
        """Adds a reading if the last one is old enough; returns all points."""
        if not self.points or reading.at - self.points[-1][0] >= self._every_s:
            used = None
            if reading.total and reading.available is not None:
                used = round(1 - reading.available / reading.total, 3)
            self.points.append((round(reading.at, 1), used, reading.temperature, reading.gpu_percent))
        if len(self.points) > MOST:
            if self._every_s < EVERY_S[1]:
                self.points, self._every_s = self.points[::2], 2 * self._every_s
            else:
                self.points = self.points[-MOST:]
        return tuple(self.points)
