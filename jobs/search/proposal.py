"""Chooses how a cell with a declared space draws a trial: from a grid, all parameters at once, or one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.api.bare_cell import BY_TRIAL
from fts.jobs.api.conditions import drawing_order, is_drawn
from fts.jobs.api.grid import GRID
from fts.jobs.api.grid import point as point_of
from fts.jobs.api.spec import BadSpec
from fts.jobs.search.sampler import Drawn, suggest
from fts.jobs.search.whole_imports import whole_imports
from fts.state.values import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.search.past_trial import PastTrial
    from fts.jobs.search.recorded_study import Rebuilt


def gives_all(cell: Any, fixed: Mapping[str, Any]) -> bool:
    """Is nothing left to draw after the `fixed` parameters? Always true for a grid, or if all are drawn at once."""
    if cell.sampler == GRID or getattr(cell, "streams", BY_TRIAL) == BY_TRIAL:
        return True
    known = getattr(cell, "axes", {}) | dict(fixed)
    return all(name in fixed for name in drawing_order(cell.space) if is_drawn(cell.space[name], known))


def drawn_for(
    cell: Any,
    history: Sequence[PastTrial],
    number: int,
    rebuilt: Rebuilt | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Drawn:
    """Draws the parameters of trial `number` of a cell with a declared space, except the `fixed` ones.

    Raises BadSpec if there are none.
    """
    if cell.sampler == GRID:
        point = point_of(cell, number)
        if point is None:
            raise BadSpec(f"the grid has no point for trial {number}: all of them have been tried")
        return Drawn(point)
    with whole_imports():
        from fts.jobs.search.drawing import draw  # here: 0.4 s for optuna

    if getattr(cell, "streams", BY_TRIAL) == BY_TRIAL:
        direction = Direction(cell.direction)
        return Drawn(suggest(cell.space, history, cell.seed, number, cell.sampler, direction, cell.diverged, rebuilt))
    return draw(cell, history, number, rebuilt, fixed)
