"""Says what cells of the matrix would cost on this machine, with the numbers of `fts plan --memory`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.forecast import SD_ONE, SD_UNSEEN, Z80, placed, worth_of_pruned
from fts.state.scheduling import preference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.study.estimate import CellPlan, Same

Cell = tuple[str, int]  # (budget, horizon)


@dataclass(frozen=True)
class CellCost:
    """One cell of the plan; bytes and seconds of its architectures."""

    trial_s: float | None  # of the median architecture; None: none fits
    low: int  # bytes of the smallest architecture that fits, or of the smallest of all
    high: int
    shapes: int
    too_large: int  # architectures that cannot run here
    waiting: int  # architectures that need more than a slot's share
    same: tuple[Same, ...] = ()  # jobs of the same question


@dataclass(frozen=True)
class Preview:
    """The plan of some cells of the matrix."""

    cells: Mapping[Cell, CellCost]
    slots: int
    share: int  # bytes per slot
    device: str
    source: str  # source of the seconds
    recorded: bool = False  # whether they come from trials that ran here


def cost_of(plan: CellPlan) -> CellCost:
    """Returns the cost of a trial of the median architecture, for the usual number of epochs of an unpruned trial."""
    fitting = plan.fitting
    needs = [shape.predicted_bytes for shape in fitting or plan.shapes] or [0]
    trial_s = plan.epochs * median(shape.epoch_s or 0.0 for shape in fitting) if fitting else None
    waiting = sum(shape.beyond_share for shape in fitting)
    return CellCost(trial_s, min(needs), max(needs), len(plan.shapes), len(plan.too_large), waiting, plan.same)


def existing_job(cost: CellCost | None, trials: int) -> Same | None:
    """Returns the job that `fts enqueue` would find for the cell; None: the cell is new."""
    there = cost.same if cost is not None else ()
    return min(there, key=lambda job: preference(job.status, job.trials, job.job, trials), default=None)


def trials_left(cost: CellCost, trials: int, pruner: str = "none") -> float:
    """Returns how many trials would run, in unpruned trials; for an existing job only the additional ones."""
    there = existing_job(cost, trials)
    had = 0 if there is None else min(there.trials, trials)
    return float(trials - had) if pruner == "none" or trials == had else worth_of_pruned(trials, had)


def time_of(plan: Preview, cells: Sequence[Cell], trials: int, pruner: str = "none", after: float = 0.0) -> str:
    """Says how long the new trials take, with an 80 % range, and for how many cells the time is unknown.

    `after`: what follows the search of a new cell, in units of its trials.
    """
    known = [plan.cells[cell] for cell in cells if cell in plan.cells]
    left = [
        (cost.trial_s, trials_left(cost, trials, pruner) + (0.0 if existing_job(cost, trials) else after))
        for cost in known
    ]
    seconds = [trial_s * count for trial_s, count in left if trial_s is not None]
    free = [0.0] * plan.slots
    for each in seconds:
        placed(free, 1, each)  # a cell runs its trials one after another
    unknown = len(cells) - len(seconds)
    more = f", and {formatting.count(unknown, 'cell')} of unknown duration" if unknown else ""
    if not more and not sum(seconds):
        return "nothing to run"
    total = max(free)
    factor = math.exp(Z80 * (SD_ONE if plan.recorded else SD_UNSEEN))
    within = f"(80 %: {formatting.spell_range(total / factor, total * factor)})"
    return f"{formatting.about(total)} {within} with {formatting.count(plan.slots, 'slot')}{more}"


def winner_costs(plan: Preview, cells: Sequence[Cell], trials: int, after: float) -> str:
    """Says what the winners of new cells cost; empty if nothing follows their searches."""
    new = any(existing_job(plan.cells[cell], trials) is None for cell in cells if cell in plan.cells)
    if not after or not new:
        return ""
    return f"; of each new cell, its winner's other seeds and walk-forward cost as much as {after:.0f} trials"


def pruner_savings(plan: Preview, cells: Sequence[Cell], trials: int, pruner: str) -> str:
    """Says how much the pruner saves; empty without a pruner, or if nothing runs."""
    known = [plan.cells[cell] for cell in cells if cell in plan.cells]
    whole = sum(trials_left(cost, trials) for cost in known)
    worth = sum(trials_left(cost, trials, pruner) for cost in known)
    if pruner == "none" or not whole:
        return ""
    return (
        f"; with {pruner}, {formatting.count(round(whole), 'trial')} cost as much as {max(round(worth), 1)} whole ones "
        "(replays of 300 real curves of 2M)"
    )


def sentences(plan: Preview, cells: Sequence[Cell], trials: int, pruner: str = "none", after: float = 0.0) -> list[str]:
    """Returns sentences on time, memory by size, and what does not fit, for the chosen cells."""
    known = [(cell, plan.cells[cell]) for cell in cells if cell in plan.cells]
    said = [
        f"time: {time_of(plan, cells, trials, pruner, after)}; from {plan.source}"
        f"{winner_costs(plan, cells, trials, after)}{pruner_savings(plan, cells, trials, pruner)}",
        f"memory, {formatting.size(plan.share)} for each slot: {_by_budget(known)}",
    ]
    for budget in dict.fromkeys(budget for (budget, _), _ in known):
        costs = [cost for (own, _), cost in known if own == budget]
        large, waiting, shapes = (max(getattr(c, name) for c in costs) for name in ("too_large", "waiting", "shapes"))
        if large:
            said.append(f"{budget}: {large} of {shapes} architectures do not fit this machine")
        if waiting:
            said.append(f"{budget}: {waiting} of {shapes} architectures wait until other trials free their memory")
    return said


def _by_budget(known: Sequence[tuple[Cell, CellCost]]) -> str:
    spans: dict[str, tuple[int, int]] = {}
    for (budget, _), cost in known:
        low, high = spans.get(budget, (cost.low, cost.high))
        spans[budget] = min(low, cost.low), max(high, cost.high)
    return ", ".join(f"{budget} {span(*both)}" for budget, both in spans.items())


def span(low: int, high: int) -> str:
    """Formats a range of bytes: 1.0 to 3.1 GB."""
    first, last = formatting.size(low), formatting.size(high)
    if first == last:
        return first
    unit = last.split()[-1]
    return f"{first.removesuffix(' ' + unit)} to {last}"
