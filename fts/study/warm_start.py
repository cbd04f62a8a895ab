"""Starts a search with the best trials of neighbouring cells; these first trials get the badge `warm`.

A cell of another horizon and the same budget gives its whole configuration; one of a smaller budget and the same
horizon only its training parameters, because its architecture has another size. Only cells of the same data and task
count. The trials are frozen in the specification at enqueue, so a resumed search is the same search.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import BadSpec
from fts.jobs.records.searches import begun_cells
from fts.state import queries
from fts.state.pareto_front import best_of
from fts.state.values import Direction
from fts.study.cell import CellSpec
from fts.study.own import own_jobs
from fts.study.results import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.state.db import Database
    from fts.state.values import Job, Trial

MOST = 3  # warm trials per cell: a search must also look elsewhere
DATA = ("data_md5", "split")  # with other data or borders, validation days of the neighbour may be test days here
TRAINING = ("learning_rate", "weight_decay", "warmup_steps", "dropout")


def with_warm_trials(db: Database, cells: Iterable[CellSpec], most: int = MOST, again: bool = False) -> list[CellSpec]:
    """Returns the cells with warm trials, if they have neighbours with complete trials; others unchanged.

    A cell that has a job keeps the first trials of that job: its neighbours have improved since, and it would become
    another search. With `again` it does.
    """
    cells, won = list(cells), winners(db)
    there = {} if again else _existing_first_trials(own_jobs(db))
    known = (there.get(cell.cold_question) for cell in cells)
    return [
        replace(cell, warm_start=tuple(first_trials(cell, won, most)) if first is None else first)
        for cell, first in zip(cells, known, strict=True)
    ]


def _existing_first_trials(jobs: Iterable[Job]) -> dict[str, tuple[dict[str, Any], ...]]:
    """Returns the first trials of the newest job, by question."""
    found: dict[str, tuple[dict[str, Any], ...]] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        with contextlib.suppress(BadSpec):  # specification of an older fts
            spec = CellSpec.from_json(job.spec)
            found[spec.cold_question] = spec.warm_start
    return found


def winners(db: Database) -> list[tuple[Job, Trial]]:
    """Returns the best trial of each cell so far."""
    cells = begun_cells(own_jobs(db))
    found = ((job, best_of(job, queries.trials(db, job.id))) for job in cells)
    return [(job, best) for job, best in found if best is not None]


def first_trials(cell: CellSpec, won: Sequence[tuple[Job, Trial]], most: int = MOST) -> list[dict[str, Any]]:
    """Returns parameters to try first, nearest neighbour first; never outside the cell's own space."""
    first: list[dict[str, Any]] = []
    for job, best in sorted(won, key=lambda pair: _distance(cell, pair[0])):
        params = _params_for(cell, job, best, len(first))
        if params is not None and params not in first:
            first.append(params)
    return first[:most]


def _params_for(cell: CellSpec, job: Job, best: Trial, number: int) -> dict[str, Any] | None:
    """Returns the parameters that a neighbour's winner gives to this cell; None: none."""
    if (job.task, job.tier, best.objective) != (cell.task, cell.tier, cell.objective):
        return None
    if any(job.spec.get(name) != getattr(cell, name) for name in DATA):
        return None
    if job.budget == cell.budget and job.horizon != cell.horizon:
        params = dict(best.params)
    elif job.horizon == cell.horizon and _size(job.budget) < _size(cell.budget):
        params = _random_params(cell, number) | {name: best.params[name] for name in TRAINING if name in best.params}
    else:
        return None
    return params if fits(cell.space, params) else None


def fits(space: dict[str, dict[str, Any]], params: dict[str, Any]) -> bool:
    """Whether a search of this space could have suggested these parameters."""
    return set(params) == set(space) and all(_inside(space[name], value) for name, value in params.items())


def _inside(distribution: dict[str, Any], value: Any) -> bool:
    if distribution["kind"] == "choice":
        return value in distribution["choices"]
    return isinstance(value, int | float) and distribution["low"] <= value <= distribution["high"]


def _random_params(cell: CellSpec, number: int) -> dict[str, Any]:
    """Draws like a cold search: a smaller budget has no architecture of this size."""
    from fts.jobs.search.sampler import suggest  # here, not above: optuna costs 0.4 s

    return suggest(cell.space, [], cell.seed, number, "random", Direction(cell.direction))


def _distance(cell: CellSpec, job: Job) -> tuple[int, int, int]:
    """Sort key: other horizons of the budget first, then the next smaller budget; job numbers break ties."""
    return abs(_size(cell.budget) - _size(job.budget)), abs(cell.horizon - job.horizon), job.id


def _size(budget: str) -> int:
    return BUDGETS.get(budget, len(BUDGETS))
