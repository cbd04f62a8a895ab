"""How much of the trials' spread each parameter goes with: a share of variance by ranks, not a cause.

For one parameter alone: the trials are put into up to four groups of similar values (a choice is a group of its own),
and the share of the variance of the trials' ranks that lies between the groups is corrected for what chance alone
would give (omega squared, Hays 1963). Ranks, so that one diverged trial decides nothing; corrected, so that a parameter
that does nothing stands near 0 with ten trials too. Interactions are not seen; shares need not sum to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from state.values import Trial, TrialStatus

ENOUGH = 10  # complete trials below which nothing is said
MOST = 1000  # of the latest ones: more say the same, and a screen is waiting
GROUPS = 4


@dataclass(frozen=True)
class Importance:
    """One parameter's share."""

    name: str
    share: float  # 0..1 of the variance of ranks
    n: int  # trials behind it


def importance(trials: Sequence[Trial]) -> tuple[Importance, ...]:
    """The parameters that vary, the largest share first; empty below `ENOUGH` complete trials with a value."""
    done = [t for t in trials if t.status is TrialStatus.COMPLETE and t.value is not None and math.isfinite(t.value)]
    done = [t for t in done if "diverged" not in t.badges and t.reused_from is None][-MOST:]
    if len(done) < ENOUGH:
        return ()
    ranked = ranks([t.value for t in done if t.value is not None])
    found = []
    for name in sorted({name for trial in done for name in trial.params}):
        groups = grouped([trial.params.get(name) for trial in done])
        if groups is not None:
            found.append(Importance(name, between(ranked, groups), len(done)))
    return tuple(sorted(found, key=lambda each: (-each.share, each.name)))


def ranks(values: Sequence[float]) -> list[float]:
    """Mean ranks from 1."""
    order = sorted(range(len(values)), key=lambda n: values[n])
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for n in order[start : end + 1]:
            found[n] = (start + end) / 2 + 1
        start = end + 1
    return found


def grouped(values: Sequence[Any]) -> list[int] | None:
    """A group number for each value: quarters of numbers, one group per choice; None when they do not vary enough."""
    known = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(known) == len(values) and len(set(known)) > GROUPS:
        order = ranks([float(v) for v in known])
        groups = [min(int((rank - 0.5) / len(order) * GROUPS), GROUPS - 1) for rank in order]
    else:
        names = sorted({repr(v) for v in values})
        groups = [names.index(repr(v)) for v in values]
    kinds = len(set(groups))
    return groups if 1 < kinds <= len(values) // 2 else None


def between(ranked: Sequence[float], groups: Sequence[int]) -> float:
    """Omega squared of the ranks over the groups, not below 0."""
    n, mean = len(ranked), sum(ranked) / len(ranked)
    members: dict[int, list[float]] = {}
    for rank, group in zip(ranked, groups, strict=True):
        members.setdefault(group, []).append(rank)
    total = sum((rank - mean) ** 2 for rank in ranked)
    inside = sum(sum((rank - sum(own) / len(own)) ** 2 for rank in own) for own in members.values())
    error = inside / (n - len(members)) if n > len(members) else 0.0
    if total + error <= 0:
        return 0.0
    return max((total - inside - (len(members) - 1) * error) / (total + error), 0.0)
