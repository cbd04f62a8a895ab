"""Chooses the extra trials of a cell: its baseline, then its best configuration again with other seeds.

They are trials of the same job with the next numbers, a fact `role` and a badge. Samplers, pruners and the best value
of the search ignore them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.bare_cell import BareCell
from fts.jobs.api.function import FunctionCell, code_md5
from fts.jobs.api.spec import seed_for
from fts.jobs.records.trial_roles import OF, role_of
from fts.state.pareto_front import best_of
from fts.state.values import BASELINE, REPLICATE, ROLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job, Trial


@dataclass(frozen=True)
class ExtraTrial:
    """One trial that is not part of the search."""

    params: dict[str, Any]
    seed: int
    facts: dict[str, Any]


def next_extra_trial(job: Job, cell: Any, number: int, trials: Sequence[Trial]) -> ExtraTrial | None:
    """Returns the extra trial to run as trial `number` after the search has ended; None: no more to run."""
    if not isinstance(cell, BareCell):
        return None
    if cell.baseline is not None and not any(role_of(trial) == BASELINE for trial in trials):
        return ExtraTrial({}, seed_for(cell.seed, number, BASELINE), {ROLE: BASELINE})
    winner = best_of(job, trials)
    if winner is None:
        return None
    ran = sum(role_of(trial) == REPLICATE and trial.facts.get(OF) == winner.number for trial in trials)
    if ran >= cell.seeds - 1:
        return None
    facts = {ROLE: REPLICATE, OF: winner.number}
    return ExtraTrial(dict(winner.params), seed_for(cell.seed, number, REPLICATE), facts)


def cell_of(cell: Any, trial: Trial) -> Any:
    """Returns the cell that a trial runs with: an extra trial has no pruner, and a baseline its own function."""
    role = role_of(trial)
    if role is None or not isinstance(cell, BareCell):
        return cell
    if role == REPLICATE:
        return replace(cell, pruner="none", halving=None, warm_start=(), parallel=1)
    assert cell.baseline is not None, "a trial with the baseline role belongs to a cell with a baseline"
    folder = str(getattr(cell, "folder", "."))
    return FunctionCell(
        study=cell.study,
        experiment=cell.experiment,
        objective=cell.baseline,
        folder=folder,
        code_md5=_md5_of(Path(folder) / cell.baseline.rpartition(":")[0]),
        trials=cell.trials,
        metric=cell.metric,
        direction=cell.direction,
        axes=cell.axes,
        seed=cell.seed,
        sampler="random",
        pruner="none",
        env=cell.env,
        baseline=cell.baseline,
        python=getattr(cell, "python", None),
        goals=cell.goals,
        threads=cell.threads,
        gpu=cell.gpu,
    )


def runs_more(cell: Any) -> bool:
    """Can the cell have extra trials?"""
    return isinstance(cell, BareCell) and (cell.seeds > 1 or cell.baseline is not None)


def facts_of(trial: Trial) -> dict[str, Any]:
    """Returns the facts that must stay on record when a trial restarts from its beginning."""
    return {name: trial.facts[name] for name in (ROLE, OF) if name in trial.facts}


def search_number(extra_numbers: Sequence[int], number: int) -> int:
    """Returns the trial's number within the search, which does not count extra trials.

    So a search that is extended after its extra trials draws the same parameters as one without them.
    """
    return number - sum(other < number for other in extra_numbers)


def _md5_of(path: Path) -> str:
    """Returns "" for an unreadable file; the trial then reports that."""
    try:
        return code_md5(path.read_bytes())
    except OSError:
        return ""
