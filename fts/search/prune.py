"""Whether a running trial is hopeless: a pure function of recorded epochs, decided again and equally after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fts.search.suggest import PastTrial

# Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, section 3
ETA = 3  # keep the best third at each rung
FIRST_RUNG = 3  # epochs; warm-up has hardly ended before
STARTUP = 5  # trials whose epochs the median rule waits for


def should_prune(
    pruner: str, history: Sequence[PastTrial], number: int, epochs: dict[int, float], maximize: bool = False
) -> str | None:
    """The reason to end trial `number` after its latest epoch, or None.

    `history` are the other trials of the cell; only lower numbers count, so that the decision does not depend on when
    it is taken. `epochs` maps epoch to objective.
    """
    if pruner == "none" or not epochs:
        return None
    rivals = [past for past in history if past.number < number and past.epochs]
    epoch = max(epochs)
    if pruner == "median":
        return _below_median(rivals, epochs, epoch, maximize)
    return _below_rung(rivals, epochs, epoch, maximize)


def _below_median(rivals: list[PastTrial], epochs: dict[int, float], epoch: int, maximize: bool) -> str | None:
    """Optuna's median rule: the trial's best so far is worse than the median of the others at this epoch."""
    others = [past.epochs[epoch] for past in rivals if epoch in past.epochs]
    if epoch < FIRST_RUNG or len(others) < STARTUP:
        return None
    mine, middle = _best(epochs, epoch, maximize), median(others)
    return f"{mine:.4f} at epoch {epoch}, median {middle:.4f}" if _worse(mine, middle, maximize) else None


def _below_rung(rivals: list[PastTrial], epochs: dict[int, float], epoch: int, maximize: bool) -> str | None:
    """Asynchronous successive halving: at epochs 3, 9, 27 ... only the best third of those that came there goes on."""
    if epoch not in rungs(epoch):
        return None
    others = [_best(past.epochs, epoch, maximize) for past in rivals if max(past.epochs) >= epoch]
    ranked = sorted([*others, _best(epochs, epoch, maximize)], reverse=maximize)
    kept = len(ranked) // ETA
    if kept == 0:  # too few came here to judge
        return None
    mine, line = _best(epochs, epoch, maximize), ranked[kept - 1]
    return f"{mine:.4f} at epoch {epoch}, the best third needs {line:.4f}" if _worse(mine, line, maximize) else None


def rungs(up_to: int) -> list[int]:
    found, rung = [], FIRST_RUNG
    while rung <= up_to:
        found.append(rung)
        rung *= ETA
    return found


def _best(epochs: dict[int, float], up_to: int, maximize: bool) -> float:
    values = [value for epoch, value in epochs.items() if epoch <= up_to]
    return max(values) if maximize else min(values)


def _worse(mine: float, line: float, maximize: bool) -> bool:
    return mine < line if maximize else mine > line
