"""Gives a cell the name its users know, and another one where a cell of other features or prices has that name.

Exports, reports and folders go by the experiment's name: two questions under one name would hide each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fts.search.spec import CellSpec
from state.values import JobStatus


def experiment_name(budget: str, horizon: int, task: str, cv: str | None) -> str:
    """phase6a_2M_h1_threshold_1pct; with walk-forward:5 ..._wf5, a cell judged otherwise that may stand beside it."""
    return f"phase6a_{budget}_h{horizon}_{task}{cv_suffix(cv)}"


def cv_suffix(cv: str | None) -> str:
    return f"_wf{cv.split(':')[-1]}" if cv else ""


def kept_apart(db: Any, cells: Sequence[CellSpec]) -> list[CellSpec]:
    """The cells, with `_a20` or `_NDX` behind the name of one whose name another tier or data set already has here."""
    from state import queries  # here, not above: peewee, which a mere --help need not load

    held = [job for job in queries.jobs(db) if job.kind == "cell" and job.status is not JobStatus.CANCELLED]
    held.sort(key=lambda job: -job.id)
    holders = {job.experiment: (job.tier, str(job.spec.get("dataset"))) for job in held}  # the first one's, at last
    return [_apart(cell, *holders.get(cell.experiment, (cell.tier, cell.dataset))) for cell in cells]


def _apart(cell: CellSpec, tier: str, dataset: str) -> CellSpec:
    if cell.kind != "cell":
        return cell
    own, theirs = (name.partition(".")[0] for name in (cell.dataset, dataset))
    suffix = (f"_{own}" if own != theirs else "") + (f"_{cell.tier}" if cell.tier != tier else "")
    return replace(cell, experiment=f"{cell.experiment}{suffix}") if suffix else cell
