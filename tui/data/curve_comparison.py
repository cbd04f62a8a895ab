"""The race view's numbers: the running trial against the best, the median and the middle half at the same epoch."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.state.values import Epoch, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Race:
    """Curves over epochs, in the objective's units."""

    live: Points
    best: Points
    median: Points
    band: tuple[tuple[float, float, float], ...]  # (epoch, lower quartile, upper quartile)
    others: int  # trials behind median and band
    prune_at: int | None  # next epoch at which the trial is put beside the others
    prune_line: float | None  # what it needs there to go on, as of now
    beats_best: tuple[int, int] | None  # of so many complete trials, whose gain from here would beat the best
    pruned_later: tuple[int, int] | None  # of so many trials that came this far, how many were pruned later


def objective_value(epoch: Epoch, objective: str) -> float | None:
    """The epoch's value of `val_auc` or `val_loss`."""
    return epoch.val_auc if objective.endswith("auc") else epoch.val_loss


def race(
    trial: Trial,
    best: Trial | None,
    trials: Sequence[Trial],
    curves: Mapping[int, Sequence[Epoch]],
    ahead: tuple[int, float] | None = None,
) -> Race:
    """`trial` against the others of its cell, as far as their curves are known; `ahead`: where it will be judged."""
    higher = trial.objective.endswith("auc")
    others = [t for t in trials if t.id != trial.id and t.status in ENDED and curves.get(t.id)]
    paths = {t.id: _best_so_far(curves[t.id], trial.objective, higher) for t in others}
    live = points(curves.get(trial.id, ()), trial.objective)
    best_points = points(curves.get(best.id, ()), trial.objective) if best and best.id != trial.id else ()
    median, band = _middle({t.id: dict(points(curves[t.id], trial.objective)) for t in others})
    at = int(live[-1][0]) if live else 0
    now = (max if higher else min)(value for _, value in live) if live else None
    prune_at, prune_line = ahead or (None, None)
    return Race(
        live=live,
        best=best_points,
        median=median,
        band=band,
        others=len(others),
        prune_at=prune_at,
        prune_line=prune_line,
        beats_best=_chance(others, paths, at, now, best, higher),
        pruned_later=_pruned_later(others, at),
    )


def train_val_gap(epochs: Sequence[Epoch], at: int | None = None) -> float | None:
    """AUC on the training windows minus AUC on validation at epoch `at` (None: the latest); None: not measured.

    In AUC whatever the objective is: the loss trained on may be another one than the loss validated with. Training's
    is taken with dropout while the weights move, so a small gap is no proof of anything; a large one is.
    """
    epoch = next((e for e in epochs if e.epoch == at), None) if at is not None else epochs[-1] if epochs else None
    if epoch is None or epoch.train_auc is None or epoch.val_auc is None:
        return None
    gap = epoch.train_auc - epoch.val_auc
    return gap if math.isfinite(gap) else None


ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED)
ENOUGH = 5  # trials below which a share says nothing


def points(epochs: Sequence[Epoch], objective: str) -> Points:
    """(epoch, value) of the epochs that have one."""
    found = ((float(e.epoch), objective_value(e, objective)) for e in epochs)
    return tuple((x, y) for x, y in found if y is not None and y == y)


def _best_so_far(epochs: Sequence[Epoch], objective: str, higher: bool) -> dict[int, float]:
    best: float | None = None
    path = {}
    for x, y in points(epochs, objective):
        best = y if best is None else max(best, y) if higher else min(best, y)
        path[int(x)] = best
    return path


def _middle(paths: Mapping[int, Mapping[float, float]]) -> tuple[Points, tuple[tuple[float, float, float], ...]]:
    by_epoch: dict[float, list[float]] = {}
    for path in paths.values():
        for x, y in path.items():
            by_epoch.setdefault(x, []).append(y)
    median = tuple((x, statistics.median(by_epoch[x])) for x in sorted(by_epoch) if len(by_epoch[x]) >= 2)
    band = []
    for x in sorted(by_epoch):
        values = by_epoch[x]
        if len(values) >= 4:
            low, _, high = statistics.quantiles(values, n=4, method="inclusive")
            band.append((x, low, high))
    return median, tuple(band)


def _chance(
    others: Sequence[Trial],
    paths: Mapping[int, Mapping[int, float]],
    at: int,
    now: float | None,
    best: Trial | None,
    higher: bool,
) -> tuple[int, int] | None:
    """(how many, of how many) complete trials' later gain, added to `now`, beats the best; None below five."""
    if now is None or best is None or best.value is None:
        return None
    gains = []
    for other in others:
        path = paths[other.id]
        if other.status is TrialStatus.COMPLETE and at in path:
            gains.append(path[max(path)] - path[at])
    if len(gains) < ENOUGH:
        return None
    wins = sum((now + gain > best.value) if higher else (now + gain < best.value) for gain in gains)
    return wins, len(gains)


def _pruned_later(others: Sequence[Trial], at: int) -> tuple[int, int] | None:
    reached = [t for t in others if t.epochs > at]
    if len(reached) < ENOUGH:
        return None
    return sum(t.status is TrialStatus.PRUNED for t in reached), len(reached)
