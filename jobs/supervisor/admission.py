"""Whether a trial may start: what cannot fit is held, with its bytes as reason, before any process starts."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.study import CannotFit, Cell, Study
from fts.jobs.devices import index_of, kind_of
from fts.jobs.sensors.detect import from_env
from fts.jobs.settings import memory_limit_from_env
from fts.jobs.supervisor.memory_pool import Want

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fts.jobs.sensors.reading import Reading


SHARE = 0.85  # of the memory there is that trials may plan with
MARGIN = 1.15  # the plan's own error: what a trial larger than its share may take beyond its prediction


@dataclass(frozen=True)
class Admission:
    """How a trial may run, what it may use, and what it is expected to take; bytes."""

    recipe: dict[str, Any] | None  # None: the study has no plan, or nobody knows how much memory there is
    limit: int | None
    need: int
    want: Want = field(default_factory=Want)
    shared: bool = False  # its limit is what the other slots leave, now and later

    def with_want(self, want: Want) -> Admission:
        return replace(self, want=want)


def admit(
    study: Study,
    cell: Cell,
    params: Mapping[str, Any],
    stored: dict[str, Any] | None,
    share: int | None,
    most: int | None,
    device: str,
) -> Admission:
    """The fastest recipe within a slot's `share`; if there is none, the leanest one, if it is within `most` bytes.

    So the recipe does not depend on what the other slots happen to do. A trial in progress (`stored`) keeps its
    optimizer. Raises CannotFit with the bytes it would need at the least.
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
