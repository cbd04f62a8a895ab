"""Splits hardware samples at gaps, so that charts draw no line through time without a worker."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Point = tuple[float, float]  # seconds since the epoch, value

# A worker measures every 10 s, but for a day the reader reads one sample per 180 s and worker. A distance of more than
# one and a half of those means that nothing was measured.
GAP_S = 270.0


def unbroken_runs(points: Sequence[Point]) -> list[tuple[Point, ...]]:
    """Splits the points into runs without a gap."""
    starts = [n for n in range(1, len(points)) if points[n][0] - points[n - 1][0] > GAP_S]
    edges = [0, *starts, len(points)]
    return [tuple(points[first:last]) for first, last in pairwise(edges) if last > first]


def measured_s(points: Sequence[Point]) -> float:
    """Returns the seconds covered by measurements."""
    return sum(run[-1][0] - run[0][0] for run in unbroken_runs(points))


def binned(points: Sequence[Point], columns: int, end: float) -> list[float]:
    """Returns the largest value in each of `columns` equal slices from the first point to `end`; NaN in gaps.

    The largest, because a peak may cross a limit. A slice between two samples of one run has the value of the later.
    """
    if not points or columns <= 0:
        return []
    start, end = points[0][0], max(end, points[-1][0])
    if end <= start:
        return [points[-1][1]]
    slices = [math.nan] * columns
    for run in unbroken_runs(points):
        last = -1
        for at, value in run:
            here = min(int((at - start) / (end - start) * columns), columns - 1)
            for n in range(last + 1 if last >= 0 else here, here + 1):
                slices[n] = value if math.isnan(slices[n]) else max(slices[n], value)
            if last == here:
                slices[here] = max(slices[here], value)
            last = here
    if end - points[-1][0] <= GAP_S:  # the next sample may still come: the last value lasts until `end`
        for n in range(columns - 1, 0, -1):
            if not math.isnan(slices[n]):
                slices[n + 1 :] = [points[-1][1]] * (columns - n - 1)
                break
    return slices
