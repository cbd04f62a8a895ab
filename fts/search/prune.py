"""Whether a running trial is hopeless: a pure function of recorded epochs, decided again and equally after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fts.search.halving import HALVING, Halving
from fts.search.suggest import PastTrial

STARTUP, FIRST = 5, 3  # trials and epochs that the median rule waits for


def should_prune(
    pruner: str,
    history: Sequence[PastTrial],
    number: int,
    epochs: dict[int, float],
    maximize: bool = False,
    rule: Halving = HALVING,
) -> str | None:
    """The reason to end trial `number` after its latest epoch, or None.

    `history` are the other trials of the cell; only lower numbers count, so that the decision does not depend on when
    it is taken. `epochs` maps epoch to objective; `rule` are the numbers of halving: a cell's own.
    """
    if pruner == "none" or not epochs:
        return None
    rivals = [past for past in history if past.number < number and past.epochs]
    epoch = max(epochs)
    if pruner == "median":
        return _below_median(rivals, epochs, epoch, maximize)
    if number < rule.startup:
        return None
    return _below_rung(rule, rivals, epochs, epoch, maximize) or _trailing(rule, rivals, epochs, epoch, maximize)


def _below_median(rivals: list[PastTrial], epochs: dict[int, float], epoch: int, maximize: bool) -> str | None:
    """Optuna's median rule: the trial's best so far is worse than the median of the others at this epoch."""
    others = [past.epochs[epoch] for past in rivals if epoch in past.epochs]
    if epoch < FIRST or len(others) < STARTUP:
        return None
    mine, middle = _best(epochs, epoch, maximize), median(others)
    return f"{mine:.4f} at epoch {epoch}, median {middle:.4f}" if _worse(mine, middle, maximize) else None


def _below_rung(
    rule: Halving, rivals: list[PastTrial], epochs: dict[int, float], epoch: int, maximize: bool
) -> str | None:
    """At each rung only the best share of the trials that came there goes on."""
    if epoch not in rungs(epoch, rule):
        return None
    others = [_best(past.epochs, epoch, maximize) for past in rivals if max(past.epochs) >= epoch]
    mine = _best(epochs, epoch, maximize)
    ranked = sorted([*others, mine], reverse=maximize)
    kept = int(len(ranked) * rule.keep + 1e-9)
    if kept == 0:  # too few came here to judge
        return None
    line = ranked[kept - 1] + (-rule.margin if maximize else rule.margin)
    told = f"{mine:.4f} at epoch {epoch}, the best {rule.keep:.0%} need {line:.4f}"
    return told if _worse(mine, line, maximize) else None


def _trailing(
    rule: Halving, rivals: list[PastTrial], epochs: dict[int, float], epoch: int, maximize: bool
) -> str | None:
    """It has stopped to improve behind the best trial: what patience is left would only confirm that."""
    if rule.trailing is None or not rivals or epoch < rule.first_rung:
        return None
    mine = _best(epochs, epoch, maximize)
    since = epoch - min(e for e, value in epochs.items() if value == mine)
    leader = (max if maximize else min)(_best(past.epochs, max(past.epochs), maximize) for past in rivals)
    if since < rule.trailing or not _worse(mine, leader, maximize):
        return None
    return f"{mine:.4f} after epoch {epoch}, not better for {since} epochs, the best trial has {leader:.4f}"


def rungs(up_to: int, rule: Halving = HALVING) -> list[int]:
    """The epochs at which trials are judged."""
    found, rung = [], rule.first_rung
    while rung <= up_to:
        found.append(rung)
        rung *= rule.growth
    return found


def _best(epochs: dict[int, float], up_to: int, maximize: bool) -> float:
    values = [value for epoch, value in epochs.items() if epoch <= up_to]
    return max(values) if maximize else min(values)


def _worse(mine: float, line: float, maximize: bool) -> bool:
    return mine < line if maximize else mine > line
