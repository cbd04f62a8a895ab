"""What a trial will need when nobody has said it: from the peaks of the trials on record, nearest parameters first.

A pure function of the record: equal rows give equal bytes, on any machine and after any restart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KNOWN = 5  # trials whose peaks count; with fewer on record nobody knows what decides the memory
NEAR = 1.25  # times the largest peak among the nearest
FEW = 1.5  # times the largest peak, while there are few
NEIGHBOURS = 1.5  # times the largest peak of the cells that differ in one axis


@dataclass(frozen=True)
class Peak:
    """What one trial took, and with which parameters."""

    params: Mapping[str, Any]
    bytes: int


def learned(
    params: Mapping[str, Any],
    space: Mapping[str, Mapping[str, Any]],
    peaks: Sequence[Peak],
    neighbours: Sequence[int] = (),
) -> int | None:
    """Bytes; None: nothing like it is on record, so it has to run alone.

    `space` gives the distributions of the parameters known so far; where none is, every trial is equally near.
    """
    if not peaks:
        return int(NEIGHBOURS * max(neighbours)) if neighbours else None
    if len(peaks) < KNOWN:
        return int(FEW * max(peak.bytes for peak in peaks))
    if params:
        peaks = sorted(peaks, key=lambda peak: distance(params, peak.params, space))[
            :KNOWN
        ]  # equally near: as recorded
    return int(NEAR * max(peak.bytes for peak in peaks))


def distance(one: Mapping[str, Any], other: Mapping[str, Any], space: Mapping[str, Mapping[str, Any]]) -> float:
    """Between two trials, over the parameters of `one`: 0 for equal, 1 for each at the other end of its range."""
    return math.sqrt(sum(gap(one[name], other.get(name), space.get(name, {})) ** 2 for name in one))


def gap(one: Any, other: Any, distribution: Mapping[str, Any]) -> float:
    """Between two values of one parameter; 1 for different choices and for one that the other trial did not draw."""
    places = [place(value, distribution) for value in (one, other)]
    if places[0] is None or places[1] is None:
        return 0.0 if one == other else 1.0
    return abs(places[0] - places[1])


def place(value: Any, distribution: Mapping[str, Any]) -> float | None:
    """Where a number stands in its range, from 0 to 1; None for what is no number of a range."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or distribution.get("kind") not in ("float", "int")
    ):
        return None
    low, high = distribution["low"], distribution["high"]
    if distribution.get("log") and min(value, low) > 0:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.0
