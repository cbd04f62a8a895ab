"""Parts the samples of the hardware where nobody measured, so that no line is drawn through time without a worker."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Point = tuple[float, float]  # seconds since the epoch, value

# A worker measures every 10 s; of a day one sample per 180 s and worker is read (reader). One and a half of those
# without a sample is time in which nobody measured.
GAP_S = 270.0


def spells(points: Sequence[Point]) -> list[tuple[Point, ...]]:
    """The points in runs without a gap."""
    starts = [n for n in range(1, len(points)) if points[n][0] - points[n - 1][0] > GAP_S]
    edges = [0, *starts, len(points)]
    return [tuple(points[first:last]) for first, last in pairwise(edges) if last > first]


def measured_s(points: Sequence[Point]) -> float:
    """Seconds in which somebody measured."""
    return sum(run[-1][0] - run[0][0] for run in spells(points))


def binned(points: Sequence[Point], columns: int, end: float) -> list[float]:
    """The largest value of each of `columns` equal slices from the first point to `end`; NaN where nobody measured.

    The largest, because limits are crossed by peaks. A slice between two samples of one run has the later one's value.
    """
    if not points or columns <= 0:
        return []
    start, end = points[0][0], max(end, points[-1][0])
    if end <= start:
        return [points[-1][1]]
    slices = [math.nan] * columns
    for run in spells(points):
        last = -1
        for at, value in run:
            here = min(int((at - start) / (end - start) * columns), columns - 1)
            for n in range(last + 1 if last >= 0 else here, here + 1):
                slices[n] = value if math.isnan(slices[n]) else max(slices[n], value)
            if last == here:
                slices[here] = max(slices[here], value)
            last = here
    if end - points[-1][0] <= GAP_S:  # the next sample is not due yet
        for n in range(columns - 1, 0, -1):
            if not math.isnan(slices[n]):
                slices[n + 1 :] = [points[-1][1]] * (columns - n - 1)
                break
    return slices
