"""Compares the curve of a trial with the best trial, the median and the middle half of its cell at the same epoch."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.search.prune_line import value_of
from fts.state.values import Direction, Epoch, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Comparison:
    """Curves as (epoch, value in the units of the metric)."""

    live: Points
    best: Points
    median: Points
    band: tuple[tuple[float, float, float], ...]  # (epoch, lower quartile, upper quartile)
    others: int  # trials behind median and band
    prune_at: int | None  # next epoch at which the pruner judges the trial
    prune_line: float | None  # value that the trial needs there to continue, as of now
    beats_best: tuple[int, int] | None  # (n, of): complete trials whose gain from this epoch on would beat the best
    pruned_later: tuple[int, int] | None  # (n, of): trials that reached this epoch and were pruned later


def compare(
    trial: Trial,
    best: Trial | None,
    trials: Sequence[Trial],
    curves: Mapping[int, Sequence[Epoch]],
    ahead: tuple[int, float] | None = None,
    metric: str = "",
    deciding: str = "",
) -> Comparison:
    """Compares `trial` with the other trials of its cell whose curves are known.

    `ahead`: epoch and value of the next pruning decision. `metric`: draw this one instead of the objective; then no
    chances are computed. `deciding`: the metric that the pruner reads, by default the objective.
    """
    name, main, decides = metric or trial.metric, deciding or trial.metric, metric in ("", trial.metric)
    others = [t for t in trials if t.id != trial.id and t.status in ENDED and curves.get(t.id)]
    live = points(curves.get(trial.id, ()), name, main)
    best_points = points(curves.get(best.id, ()), name, main) if best and best.id != trial.id else ()
    median, band = _middle({t.id: dict(points(curves[t.id], name, main)) for t in others})
    at = int(live[-1][0]) if live else 0
    now = trial.direction.best(value for _, value in live)
    prune_at, prune_line = (ahead if name == main else None) or (None, None)
    paths = {t.id: _best_so_far(curves[t.id], trial, main) for t in others} if decides else {}
    return Comparison(
        live=live,
        best=best_points,
        median=median,
        band=band,
        others=len(others),
        prune_at=prune_at,
        prune_line=prune_line,
        beats_best=_chance(others, paths, at, now, best, trial.direction) if decides else None,
        pruned_later=_pruned_later(others, curves, at),
    )


def train_val_gap(epochs: Sequence[Epoch], at: int | None = None) -> float | None:
    """Returns training AUC minus validation AUC at epoch `at` (None: the latest); None if not measured.

    In AUC for every objective, because training and validation may use different losses. The training AUC is measured
    with dropout while the weights change, so only a large gap proves overfitting.
    """
    epoch = next((e for e in epochs if e.epoch == at), None) if at is not None else epochs[-1] if epochs else None
    if epoch is None or epoch.train_auc is None or epoch.val_auc is None:
        return None
    gap = epoch.train_auc - epoch.val_auc
    return gap if math.isfinite(gap) else None


ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED)
ENOUGH = 5  # trials that a share needs at least


def points(epochs: Sequence[Epoch], metric: str, deciding: str) -> Points:
    """Returns (epoch, value) of the epochs that have a value."""
    found = ((float(e.epoch), value_of(e, metric, deciding)) for e in epochs)
    return tuple((x, y) for x, y in found if y is not None and y == y)


def broken(epochs: Sequence[Epoch], metric: str, deciding: str) -> Points:
    """Returns (epoch, value) for drawing a line, with a nan where a value is missing, so that the line has a gap there.

    Values are expected at the median distance of the reported ones: at every step, or at every n-th.
    """
    values = [value_of(epoch, metric, deciding) for epoch in epochs]
    reported = [n for n, value in enumerate(values) if value is not None and value == value]
    if len(reported) < 2:
        return points(epochs, metric, deciding)
    usual = statistics.median_low([after - before for before, after in pairwise(reported)])
    found: list[tuple[float, float]] = []
    for before, n in zip([reported[0], *reported], reported, strict=False):
        if n - before > usual:
            found.append((float(epochs[before + 1].epoch), math.nan))
        found.append((float(epochs[n].epoch), values[n] or 0.0))
    return tuple(found)


def _best_so_far(epochs: Sequence[Epoch], trial: Trial, deciding: str) -> dict[int, float]:
    best: float | None = None
    path = {}
    for x, y in points(epochs, trial.metric, deciding):
        best = y if best is None or trial.direction.better(y, best) else best
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
    direction: Direction,
) -> tuple[int, int] | None:
    """Returns (n, of): complete trials whose gain after epoch `at`, added to `now`, beats the best; None below 5."""
    if now is None or best is None or best.value is None:
        return None
    gains = []
    for other in others:
        path = paths[other.id]
        if other.status is TrialStatus.COMPLETE and at in path:
            gains.append(path[max(path)] - path[at])
    if len(gains) < ENOUGH:
        return None
    wins = sum(direction.better(now + gain, best.value) for gain in gains)
    return wins, len(gains)


def _pruned_later(others: Sequence[Trial], curves: Mapping[int, Sequence[Epoch]], at: int) -> tuple[int, int] | None:
    reached = [t for t in others if curves[t.id][-1].epoch > at]
    if len(reached) < ENOUGH:
        return None
    return sum(t.status is TrialStatus.PRUNED for t in reached), len(reached)
