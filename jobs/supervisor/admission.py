"""Whether a cell or a trial may start: what cannot fit is held, with its bytes as reason, before any process starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.devices import index_of, kind_of
from fts.jobs.sensors.detect import Reading, from_env
from fts.jobs.settings import best_device, memory_limit_from_env
from fts.study.recipe import CannotFit, Plan, fitted, plan_recipe

if TYPE_CHECKING:
    from fts.study.cell import CellSpec

SHARE = 0.85  # of the memory there is that trials may plan with
TRAINS = ("cell", "train", "replicate")  # kinds of jobs whose trials train a model of ours


MARGIN = 1.15  # the plan's own error: what a trial larger than its share may take beyond its prediction


@dataclass(frozen=True)
class Admission:
    """How a trial may train, what it may use, and what it is expected to take; bytes."""

    recipe: dict[str, Any] | None  # None: a baseline, or nobody knows how much memory there is
    limit: int | None
    need: int


def admit(
    cell: CellSpec,
    params: dict[str, Any],
    stored: dict[str, Any] | None,
    share: int | None,
    most: int | None,
    device: str,
) -> Admission:
    """The fastest recipe within a slot's `share`; if there is none, the leanest one, if it is within `most` bytes.

    So the recipe does not depend on what the other slots happen to do. A trial in progress (`stored`) keeps its
    optimizer. Raises CannotFit with the bytes it would need at the least.
    """
    if cell.kind not in TRAINS or share is None:
        return Admission(stored, share, 0)
    try:
        chosen = _plan(cell, params, stored, share, device)
    except CannotFit as refused:
        if most is None or refused.needed > most:
            raise
        chosen = _plan(cell, params, stored, refused.needed, device)
    need = chosen.estimate.total
    limit = max(share, min(most or share, int(MARGIN * need)))
    return Admission((stored or {}) | chosen.recipe.to_json(), limit, need)


def _plan(cell: CellSpec, params: dict[str, Any], stored: dict[str, Any] | None, limit: int, device: str) -> Plan:
    architecture = str(params["architecture"])
    if stored is None:
        return plan_recipe(cell, architecture, limit, device)
    return fitted(cell, architecture, limit, device, stored)


def hold_reason(cell: CellSpec, limit: int, device: str) -> str | None:
    """Why a whole cell cannot run here, in words with bytes; None if at least one of its architectures fits."""
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
    """Every architecture a trial of the cell can get."""
    if cell.kind not in TRAINS:
        return
    yield from drawn(cell.space.get("architecture"), (str(params["architecture"]) for params in cell.warm_start))


def drawn(distribution: dict[str, Any] | None, named: Iterable[str]) -> list[str]:
    choices = [str(name) for name in distribution["choices"]] if distribution else []
    return list(dict.fromkeys([*choices, *named]))


def allowed_bytes(reading: Reading, slots: int, held: int, device: str = "cpu") -> int | None:
    """85 % of what is free or held by our own trials, shared by the slots: GPU memory on a GPU; None: nobody knows."""
    if kind_of(device) == "cuda":
        if reading.gpu_memory_total is None or reading.gpu_memory is None:
            return None
        return int(SHARE * (reading.gpu_memory_total - reading.gpu_memory + held) / slots)
    return None if reading.available is None else int(SHARE * (reading.available + held) / slots)


def machine_bytes(reading: Reading, device: str = "cpu") -> int | None:
    """The same for the whole machine with nothing else running: what decides whether a cell can ever run here."""
    total = reading.gpu_memory_total if kind_of(device) == "cuda" else reading.total
    return None if total is None else int(SHARE * total)


def too_large(cell: CellSpec) -> str | None:
    """Why a cell cannot run on this machine even if nothing else does; None: it can, or nobody knows."""
    device = best_device()
    limit = usual_limit(Path(), 1, device) if cell.kind in TRAINS else None
    return None if limit is None else hold_reason(cell, limit, device)


def usual_limit(disk: Path, slots: int, device: str) -> int | None:
    """What a trial may use on this machine when nothing else runs: FTS_MEMORY_LIMIT, else 85 % of all, per slot."""
    if (limit := memory_limit_from_env()) is not None:
        return limit
    machine = from_env(disk, gpu=index_of(device))
    try:
        total = machine_bytes(machine.read(), device)
    finally:
        machine.close()
    return None if total is None else total // slots
