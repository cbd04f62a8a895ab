"""Decides whether to prune a running trial, as a pure function of recorded epochs: the same again after a crash."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from fts.jobs.api.halving import HALVING, PERCENTILE, Halving
from fts.state.values import Direction, in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.search.past_trial import PastTrial

STARTUP, FIRST = 5, 3  # least number of other trials, first epoch at which the median rule prunes


def should_prune(
    pruner: str,
    history: Sequence[PastTrial],
    number: int,
    epochs: dict[int, float],
    direction: Direction = Direction.MINIMIZE,
    rule: Halving = HALVING,
    percentile: float = PERCENTILE,
) -> str | None:
    """Returns the reason to prune trial `number` after its latest epoch, or None.

    `history` are the other trials of the cell. Only lower numbers count, so that the decision does not depend on when
    it is made. `epochs` maps epoch to objective. `rule` and `percentile` are the cell's settings for halving and for
    the percentile pruner.
    """
    if pruner == "none" or not epochs:
        return None
    rivals = [past for past in history if past.number < number and past.epochs]
    epoch = max(epochs)
    if pruner == "median":
        return _below_median(rivals, epochs, epoch, direction)
    if pruner == "percentile":
        return _below_percentile(history, number, epochs, epoch, direction, percentile)
    if number < rule.startup:
        return None
    return _below_rung(rule, rivals, epochs, epoch, direction) or _trailing(rule, rivals, epochs, epoch, direction)


def line_ahead(
    pruner: str,
    history: Sequence[PastTrial],
    number: int,
    epoch: int,
    last: int,
    direction: Direction = Direction.MINIMIZE,
    rule: Halving = HALVING,
    percentile: float = PERCENTILE,
) -> tuple[int, float] | None:
    """Returns the next epoch at which trial `number` will be compared with the others, and the objective it needs.

    None if there is no comparison up to epoch `last`, or its threshold is unknown. Ignores halving's `trailing` rule.
    """
    rivals = [past for past in history if past.number < number and past.epochs]
    if pruner == "median" and len(others := _at(rivals, ahead := max(epoch + 1, FIRST))) >= STARTUP and ahead <= last:
        return ahead, median(others)
    if pruner == "percentile" and epoch + 1 <= last:
        needed = _percentile_line(history, number, epoch + 1, direction, percentile)
        return None if needed is None else (epoch + 1, needed)
    if pruner == "halving" and number >= rule.startup:
        for rung in rungs(last, rule):
            if rung > epoch and (needed := _line(rule, rivals, rung, direction)) is not None:
                return rung, needed
    return None


def _below_median(rivals: list[PastTrial], epochs: dict[int, float], epoch: int, direction: Direction) -> str | None:
    """Prunes if the trial's best is worse than the median of all others at this epoch, including pruned ones.

    Optuna's MedianPruner counts only complete trials, so it prunes less when few are complete.
    """
    others = _at(rivals, epoch)
    if epoch < FIRST or len(others) < STARTUP:
        return None
    mine, middle = _best(epochs, epoch, direction), median(others)
    return f"{in_words(mine)} at epoch {epoch}, median {in_words(middle)}" if _worse(mine, middle, direction) else None


def _below_percentile(
    history: Sequence[PastTrial],
    number: int,
    epochs: dict[int, float],
    epoch: int,
    direction: Direction,
    percentile: float,
) -> str | None:
    """Prunes as Optuna's PercentilePruner if the trial's best is not among the best share of complete ones here."""
    line, mine = _percentile_line(history, number, epoch, direction, percentile), _best(epochs, epoch, direction)
    if line is None or not _worse(mine, line, direction):
        return None
    return f"{in_words(mine)} at epoch {epoch}, the best {percentile:g} % have {in_words(line)}"


def _percentile_line(
    history: Sequence[PastTrial], number: int, epoch: int, direction: Direction, percentile: float
) -> float | None:
    """Returns the objective needed at an epoch; None: too few trials are complete, or none reported that epoch."""
    complete = [past for past in history if past.number < number and past.status == "complete"]
    values = sorted(_at(complete, epoch))
    if len(complete) < STARTUP or not values:
        return None
    share = percentile if direction is Direction.MINIMIZE else 100.0 - percentile
    return _quantile(values, share / 100.0)


def _quantile(values: list[float], share: float) -> float:
    """Interpolates between sorted values exactly as numpy does, to the last bit."""
    place = (len(values) - 1) * share
    below = min(int(place), len(values) - 2) if len(values) > 1 else 0
    low, high, part = values[below], values[min(below + 1, len(values) - 1)], place - below
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


def _below_rung(
    rule: Halving, rivals: list[PastTrial], epochs: dict[int, float], epoch: int, direction: Direction
) -> str | None:
    """Prunes at a rung unless the trial is in the best share of the trials that reached it."""
    if epoch not in rungs(epoch, rule):
        return None
    line, mine = _line(rule, rivals, epoch, direction), _best(epochs, epoch, direction)
    if line is None or not _worse(mine, line, direction):
        return None
    return f"{in_words(mine)} at epoch {epoch}, the best {rule.keep:.0%} need {in_words(line)}"


def _line(rule: Halving, rivals: list[PastTrial], rung: int, direction: Direction) -> float | None:
    """Returns the objective that a trial needs to be in the best share of those that reached a rung, itself included.

    None: too few have reached it, or all are kept.
    """
    others = sorted(
        (_best(past.epochs, rung, direction) for past in rivals if max(past.epochs) >= rung), key=direction.key
    )
    kept = int((len(others) + 1) * rule.keep + 1e-9)
    if not 0 < kept <= len(others):
        return None
    return others[kept - 1] + direction.key(rule.margin)


def _trailing(
    rule: Halving, rivals: list[PastTrial], epochs: dict[int, float], epoch: int, direction: Direction
) -> str | None:
    """Prunes a trial that is worse than the best one and has not improved for `trailing` epochs."""
    if rule.trailing is None or not rivals or epoch < rule.first_rung:
        return None
    mine = _best(epochs, epoch, direction)
    since = epoch - min(e for e, value in epochs.items() if value == mine)
    leader = min((_best(past.epochs, max(past.epochs), direction) for past in rivals), key=direction.key)
    if since < rule.trailing or not _worse(mine, leader, direction):
        return None
    return f"{in_words(mine)} after epoch {epoch}, not better for {since} epochs, the best trial has {in_words(leader)}"


def _at(rivals: list[PastTrial], epoch: int) -> list[float]:
    return [past.epochs[epoch] for past in rivals if epoch in past.epochs]


def rungs(up_to: int, rule: Halving = HALVING) -> list[int]:
    """Returns the epochs of the rungs up to an epoch."""
    found, rung = [], rule.first_rung
    while rung <= up_to:
        found.append(rung)
        rung *= rule.growth
    return found


def _best(epochs: dict[int, float], up_to: int, direction: Direction) -> float:
    return min((value for epoch, value in epochs.items() if epoch <= up_to), key=direction.key)


def _worse(mine: float, line: float, direction: Direction) -> bool:
    return direction.key(mine) > direction.key(line)
