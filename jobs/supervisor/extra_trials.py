"""Chooses the trials that a cell runs beside its search: its baseline, then its winner again with other seeds.

They are trials of the same job, numbered on, with a fact `role` and a badge; samplers, pruners and the best value of a
search do not see them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.bare_cell import BareCell
from fts.jobs.api.function import FunctionCell, code_md5
from fts.jobs.api.spec import seed_for
from fts.jobs.records.results import best_of
from fts.jobs.records.trial_roles import OF, role_of
from fts.state.values import BASELINE, REPLICATE, ROLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Trial


@dataclass(frozen=True)
class Beside:
    """One trial beside the search."""

    params: dict[str, Any]
    seed: int
    facts: dict[str, Any]


def next_beside(cell: Any, number: int, trials: Sequence[Trial]) -> Beside | None:
    """What runs as trial `number` when the search has ended; None: nothing is left to run."""
    if not isinstance(cell, BareCell):
        return None
    if cell.baseline is not None and not any(role_of(trial) == BASELINE for trial in trials):
        return Beside({}, seed_for(cell.seed, number, BASELINE), {ROLE: BASELINE})
    winner = best_of(trials)
    if winner is None:
        return None
    ran = sum(role_of(trial) == REPLICATE and trial.facts.get(OF) == winner.number for trial in trials)
    if ran >= cell.seeds - 1:
        return None
    facts = {ROLE: REPLICATE, OF: winner.number}
    return Beside(dict(winner.params), seed_for(cell.seed, number, REPLICATE), facts)


def cell_of(cell: Any, trial: Trial) -> Any:
    """The specification that such a trial runs by: nothing prunes it, and a baseline has a function of its own."""
    role = role_of(trial)
    if role is None or not isinstance(cell, BareCell):
        return cell
    if role == REPLICATE:
        return replace(cell, pruner="none", halving=None, warm_start=(), parallel=1)
    assert cell.baseline is not None, "it has a trial of that role"
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
    """May any of its trials be beside the search?"""
    return isinstance(cell, BareCell) and (cell.seeds > 1 or cell.baseline is not None)


def facts_of(trial: Trial) -> dict[str, Any]:
    """What must stay on record when a trial begins anew."""
    return {name: trial.facts[name] for name in (ROLE, OF) if name in trial.facts}


def searched(numbers_beside: Sequence[int], number: int) -> int:
    """The trial's number within the search: a search that was extended draws as if nothing had run beside it."""
    return number - sum(other < number for other in numbers_beside)


def _md5_of(path: Path) -> str:
    """Empty where it cannot be read, which the trial then says."""
    try:
        return code_md5(path.read_bytes())
    except OSError:
        return ""
