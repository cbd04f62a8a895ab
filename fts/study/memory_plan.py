"""Decides whether a cell can run on this machine at all, before it enters the queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.settings import best_device
from fts.jobs.supervisor.admission import usual_limit
from fts.study.cell import TRAINS
from fts.study.recipe import plan_recipe
from fts.training.memory import CannotFit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fts.study.cell import CellSpec


def too_large(cell: CellSpec) -> str | None:
    """Returns why a cell cannot run here even when no other trial runs; None if it can, or the memory is unknown."""
    device = best_device()
    limit = usual_limit(Path(), 1, device) if cell.kind in TRAINS else None
    return None if limit is None else hold_reason(cell, limit, device)


def hold_reason(cell: CellSpec, limit: int, device: str) -> str | None:
    """Returns why a whole cell cannot run here, with bytes; None if at least one of its architectures fits."""
    smallest: CannotFit | None = None
    for architecture in architectures(cell):
        try:
            plan_recipe(cell, architecture, limit, device)
        except CannotFit as refused:
            if smallest is None or refused.needed < smallest.needed:
                smallest = refused
        else:
            return None
    return None if smallest is None else f"no architecture fits: the smallest {smallest}"


def architectures(cell: CellSpec) -> Iterator[str]:
    """Yields every architecture that a trial of the cell can get."""
    if cell.kind not in TRAINS:
        return
    yield from drawn(cell.space.get("architecture"), (str(params["architecture"]) for params in cell.warm_start))


def drawn(distribution: dict[str, Any] | None, named: Iterable[str]) -> list[str]:
    choices = [str(name) for name in distribution["choices"]] if distribution else []
    return list(dict.fromkeys([*choices, *named]))
