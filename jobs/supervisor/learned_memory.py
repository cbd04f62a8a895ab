"""Predicts the memory of a trial from the peaks of recorded trials with the nearest parameters.

A pure function of the record: equal rows give equal bytes, on any machine and after any restart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KNOWN = 5  # number of nearest trials; with fewer on record the effect of the parameters is unknown
NEAR = 1.25  # times the largest peak of the nearest trials
FEW = 1.5  # times the largest peak, while fewer than KNOWN are on record
NEIGHBOURS = 1.5  # times the largest peak of the cells that differ in one axis


@dataclass(frozen=True)
class Peak:
    """Peak memory of one trial, with its parameters."""

    params: Mapping[str, Any]
    bytes: int


def learned(
    params: Mapping[str, Any],
    space: Mapping[str, Mapping[str, Any]],
    peaks: Sequence[Peak],
    neighbours: Sequence[int] = (),
) -> int | None:
    """Returns the predicted bytes; None: no similar trial is on record, so it has to run alone.

    `space` holds the distributions of the parameters known so far. `neighbours`: peaks of similar cells, used while the
    job has none.
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
    """Returns the Euclidean distance over the parameters of `one`, each difference scaled to 0..1."""
    return math.sqrt(sum(gap(one[name], other.get(name), space.get(name, {})) ** 2 for name in one))


def gap(one: Any, other: Any, distribution: Mapping[str, Any]) -> float:
    """Returns the difference of two values of one parameter, 0..1; 1 for different choices or a missing value."""
    places = [place(value, distribution) for value in (one, other)]
    if places[0] is None or places[1] is None:
        return 0.0 if one == other else 1.0
    return abs(places[0] - places[1])


def place(value: Any, distribution: Mapping[str, Any]) -> float | None:
    """Returns the position of a number in its range, 0..1; None if it is not a number with a range."""
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
