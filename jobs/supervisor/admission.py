"""Decides before any process starts whether a trial fits into memory, and with which recipe and limit."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.study import CannotFit, Cell, Study
from fts.jobs.devices import index_of, kind_of
from fts.jobs.sensors.detect import from_env
from fts.jobs.settings import memory_limit_from_env
from fts.jobs.supervisor.memory_pool import RoomWant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fts.jobs.sensors.reading import Reading


SHARE = 0.85  # fraction of the available memory that trials may plan with
MARGIN = 1.15  # the plan's own error: a trial larger than its share may use this multiple of its prediction


@dataclass(frozen=True)
class Admission:
    """Recipe, memory limit and expected need of one trial."""

    recipe: dict[str, Any] | None  # None: the study has no plan, or the machine's memory is unknown
    limit: int | None  # bytes it may use
    need: int  # bytes it is expected to use
    want: RoomWant = field(default_factory=RoomWant)
    shared: bool = False  # the limit is what the other slots leave free, and changes while the trial runs


def admit(
    study: Study,
    cell: Cell,
    params: Mapping[str, Any],
    stored: dict[str, Any] | None,
    share: int | None,
    most: int | None,
    device: str,
) -> Admission:
    """Returns the fastest recipe within a slot's `share`, else the leanest one if it is within `most` bytes.

    So the recipe does not depend on the current load of the other slots. A trial in progress (`stored`) keeps its
    optimizer. Raises CannotFit with the smallest number of bytes that the trial needs.
    """
    if share is None:
        return Admission(stored, share, 0)
    try:
        chosen = study.plan(cell, params, stored, share, device)
    except CannotFit as refused:
        if most is None or refused.needed > most:
            raise
        chosen = study.plan(cell, params, stored, refused.needed, device)
    if chosen is None:
        return Admission(stored, share, 0)
    limit = max(share, min(most or share, int(MARGIN * chosen.need)))
    return Admission((stored or {}) | (chosen.recipe or {}), limit, chosen.need)


def allowed_bytes(reading: Reading, slots: int, held: int, device: str = "cpu") -> int | None:
    """Returns a slot's share of 85 % of the memory that is free or held by our own trials (of the GPU on CUDA).

    None: the sensors do not know.
    """
    if kind_of(device) == "cuda":
        if reading.gpu_memory_total is None or reading.gpu_memory is None:
            return None
        return int(SHARE * (reading.gpu_memory_total - reading.gpu_memory + held) / slots)
    return None if reading.available is None else int(SHARE * (reading.available + held) / slots)


def machine_bytes(reading: Reading, device: str = "cpu") -> int | None:
    """Returns 85 % of the machine's whole memory: a cell that needs more can never run here."""
    total = reading.gpu_memory_total if kind_of(device) == "cuda" else reading.total
    return None if total is None else int(SHARE * total)


def usual_limit(disk: Path, slots: int, device: str) -> int | None:
    """Returns what a trial may use when nothing else runs: FTS_MEMORY_LIMIT, else 85 % of the memory / slots."""
    if (limit := memory_limit_from_env()) is not None:
        return limit
    machine = from_env(disk, gpu=index_of(device))
    try:
        total = machine_bytes(machine.read(), device)
    finally:
        machine.close()
    return None if total is None else total // slots
