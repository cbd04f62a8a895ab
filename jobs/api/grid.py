"""Grid search: every point of a finite space once, in a fixed order. The last parameter changes fastest."""

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
    """Returns every value of one parameter. Raises BadSpec if there are infinitely or too many."""
    if d.get("kind") == "choice":
        return list(d["choices"])
    step = d.get("step") or (1 if d.get("kind") == "int" else None)
    if step is None:
        raise BadSpec(
            f"the grid is infinite: {name} is any number from {d['low']} to {d['high']}; give it a step or choices"
        )
    steps = (d["high"] - d["low"]) / step + 1e-9
    if steps >= MOST_POINTS:
        count = math.floor(steps) + 1 if math.isfinite(steps) else "too many"
        raise BadSpec(f"{name} has {count} values, expected at most {MOST_POINTS} in a grid; give it a larger step")
    return [min(d["low"] + n * step, d["high"]) for n in range(math.floor(steps) + 1)]  # 3 * 0.1 is above 0.3


def points(cell: Any) -> Iterator[dict[str, Any]]:
    """Yields each combination that the conditions (`when`) allow and no `forbid` excludes."""
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
    """Returns the parameters of trial `number`, counted after the warm starts; None: there are no more points."""
    return next(itertools.islice(points(cell), number - len(cell.warm_start), None), None)


def most_trials(cell: Any) -> int | None:
    """Returns how many trials the cell can have; None: any number."""
    if cell.sampler != GRID:
        return None
    return len(cell.warm_start) + sum(1 for _ in itertools.islice(points(cell), MOST_POINTS))


def check_grid(cell: Any) -> None:
    """Raises BadSpec if the cell wants a grid and its space is not declared or not finite."""
    if cell.sampler != GRID:
        return
    if not cell.space:
        raise BadSpec(
            "the sampler grid needs a declared space, such as --space lr=0.1,0.01; here the function itself draws"
        )
    for name, d in cell.space.items():
        values_of(name, d)
