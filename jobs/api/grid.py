"""A grid search: every point of a finite space once, in a fixed order; the last parameter changes fastest."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from fts.jobs.api.conditions import drawing_order, forbidden_by, is_drawn
from fts.jobs.api.spec import BadSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GRID = "grid"
MOST_POINTS = 100_000  # trials that a job may have


def values_of(name: str, d: Mapping[str, Any]) -> list[Any]:
    """Every value of one parameter. Raises BadSpec where there is no end of them."""
    if d.get("kind") == "choice":
        return list(d["choices"])
    step = d.get("step") or (1 if d.get("kind") == "int" else None)
    if step is None:
        raise BadSpec(
            f"the grid has no end: {name} is any number from {d['low']} to {d['high']}; give it a step or choices"
        )
    count = math.floor((d["high"] - d["low"]) / step + 1e-9) + 1
    if count > MOST_POINTS:
        raise BadSpec(f"{name} has {count} values, expected at most {MOST_POINTS} in a grid; give it a larger step")
    return [d["low"] + n * step for n in range(count)]


def points(cell: Any) -> Iterator[dict[str, Any]]:
    """Each combination that its branches draw and nothing forbids."""
    space = cell.space or {}
    order = drawing_order(space)
    listed = {name: values_of(name, space[name]) for name in order}
    axes = dict(getattr(cell, "axes", {}))

    def below(at: int, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if at == len(order):
            yield params
            return
        name = order[at]
        if not is_drawn(space[name], axes | params):
            yield from below(at + 1, params)
            return
        for value in listed[name]:
            yield from below(at + 1, params | {name: value})

    for point in below(0, {}):
        if forbidden_by(getattr(cell, "forbid", {}), axes | point) is None:
            yield point


def point(cell: Any, number: int) -> dict[str, Any] | None:
    """The parameters of trial `number`, behind the warm starts; None: all points have been tried."""
    return next(itertools.islice(points(cell), number - len(cell.warm_start), None), None)


def most_trials(cell: Any) -> int | None:
    """How many trials the cell can have; None: as many as are wanted."""
    if cell.sampler != GRID:
        return None
    return len(cell.warm_start) + sum(1 for _ in itertools.islice(points(cell), MOST_POINTS))


def check_grid(cell: Any) -> None:
    """Raises BadSpec where a grid has no points to choose from."""
    if cell.sampler != GRID:
        return
    if not cell.space:
        raise BadSpec(
            "the sampler grid needs a declared space, such as --space lr=0.1,0.01; here the function itself draws"
        )
    for name, d in cell.space.items():
        values_of(name, d)
