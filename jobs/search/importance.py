"""Computes each parameter's importance: the share of the variance of ranks that it explains. Not a proof of cause.

For each parameter alone, the trials are put into up to four groups of similar values (each choice is its own group).
The share is the variance of the trials' ranks between the groups, corrected for chance (omega squared, Hays 1963).
Ranks, so that one diverged trial does not dominate; corrected, so that a parameter without effect gets a share near 0
with only ten trials. Interactions are not considered, and shares need not sum to 1.

A parameter of a branch, which only some trials drew, is computed among those, and its share is multiplied by their
part of all trials, because another parameter decides who takes the branch.

A parameter without effect also gets a share by chance. `chance_of` computes how large it can be, from the same trials
with shuffled values. The monitor, `fts trials` and the report page use these two functions.

Pruned trials count as worse than all complete ones, ordered by the epoch of pruning, then by value.
"""

from __future__ import annotations

import math
import random
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.state.values import BASELINE, REPLICATE, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPE = re.compile(r"d(\d+)-L(\d+)\b")
ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED)
ENOUGH = 10  # least number of trials
MOST = 1000  # latest trials that are used: more give the same result, and a screen is waiting
GROUPS = 4
CHANCE_DRAWS, CHANCE_TRIALS = 199, 300
BY_CHANCE = 0.05  # share of shuffled searches with a parameter above `chance_of`
SILENT = {"diverged", REPLICATE, BASELINE}  # badges of trials with a value that does not depend on their parameters


@dataclass(frozen=True)
class ParameterImportance:
    """One parameter's share."""

    name: str
    share: float  # 0..1 of the variance of ranks
    n: int  # number of trials used


def importance(trials: Sequence[Trial]) -> tuple[ParameterImportance, ...]:
    """Returns the parameters that vary, largest share first; empty with fewer than `ENOUGH` trials with a value."""
    latest = islice((trial for trial in reversed(trials) if counts(trial)), MOST)
    done = [(standing(trial), with_shape(trial.params)) for trial in latest]
    if len(done) < ENOUGH:
        return ()
    ranked = ranks([stands for stands, _ in done])
    found = []
    for name in sorted({name for _, params in done for name in params}):
        drew = [n for n, (_, params) in enumerate(done) if name in params]
        groups = grouped([done[n][1][name] for n in drew]) if len(drew) >= ENOUGH else None
        if groups is not None:
            share = between(ranked if len(drew) == len(done) else ranks([done[n][0] for n in drew]), groups)
            found.append(ParameterImportance(name, share * len(drew) / len(done), len(done)))
    return tuple(sorted(found, key=lambda each: (-each.share, each.name)))


def chance_of(trials: Sequence[Trial], draws: int = CHANCE_DRAWS, most: int = CHANCE_TRIALS) -> float:
    """Returns the share that the best parameter exceeds in 5 % of searches with shuffled values.

    Uses `most` of the latest trials and `draws` shuffles. A screen passes smaller numbers.
    """
    latest = islice((trial for trial in reversed(trials) if counts(trial)), MOST)
    judged = [(standing(trial), with_shape(trial.params)) for trial in latest]  # as many as have a share
    if len(judged) < ENOUGH:
        return 0.0
    done = judged[:most][::-1]
    ranked, params = ranks([stands for stands, _ in done]), [drawn for _, drawn in done]
    groups: list[tuple[list[int], list[int]]] = []
    for name in sorted({name for each in params for name in each}):
        drew = [n for n, each in enumerate(params) if name in each]
        made = grouped([params[n][name] for n in drew]) if len(drew) >= ENOUGH else None
        if made is not None:
            groups.append((drew, made))
    chance, largest = random.Random(0), []
    for _ in range(draws):
        shuffled = chance.sample(ranked, len(ranked))
        found = [between([shuffled[n] for n in drew], made) * len(drew) / len(done) for drew, made in groups]
        largest.append(max(found, default=0.0))
    at = sorted(largest)[math.ceil((1 - BY_CHANCE) * (draws + 1)) - 1]
    return at * len(done) / max(len(judged), 1)  # the share by chance is proportional to 1 / n


def counts(trial: Trial) -> bool:
    """Did the trial end with its own finite value that depends on its parameters?"""
    ended = trial.status in ENDED and trial.value is not None and math.isfinite(trial.value)
    return ended and trial.reused_from is None and not SILENT.intersection(trial.badges)


def with_shape(params: dict[str, Any]) -> dict[str, Any]:
    """Replaces `architecture` by its width and layers, because it has more choices than there are trials."""
    found = SHAPE.match(str(params.get("architecture", "")))
    if found is None:
        return params
    others = {name: value for name, value in params.items() if name != "architecture"}
    return others | {"d_model": int(found[1]), "layers": int(found[2])}


def standing(trial: Trial) -> tuple[float, float, float]:
    """Returns a key that is larger for better trials: complete before pruned, then by epochs, then by value."""
    assert trial.value is not None, "only trials with a value are compared"
    value = -trial.direction.key(trial.value)
    if trial.status is TrialStatus.COMPLETE:
        return 1.0, 0.0, value
    return 0.0, float(trial.epochs), value


def ranks(values: Sequence[Any]) -> list[float]:
    """Returns the ranks of the values, from 1; equal values get their mean rank."""
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
    """Returns a group number per value: quartiles of numbers, or one group per choice. None: they vary too little."""
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
    """Returns omega squared of the ranks over the groups, at least 0."""
    n, sums, sizes = len(ranked), [0.0] * (max(groups) + 1), [0] * (max(groups) + 1)
    for rank, group in zip(ranked, groups, strict=True):
        sums[group] += rank
        sizes[group] += 1
    squares, kinds = sum(rank * rank for rank in ranked), sum(size > 0 for size in sizes)
    total = squares - sum(sums) ** 2 / n
    inside = squares - math.fsum(own * own / size for own, size in zip(sums, sizes, strict=True) if size)
    error = max(inside, 0.0) / (n - kinds) if n > kinds else 0.0
    if total + error <= 1e-9:
        return 0.0
    return max((total - inside - (kinds - 1) * error) / (total + error), 0.0)
