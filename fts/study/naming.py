"""Names cells, and gives a cell another name if a cell of other features or prices already has its usual name.

Exports, reports and folders use the experiment's name, so two questions under one name would hide each other.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from fts.state.values import Job, JobStatus
from fts.study.cell import CellSpec
from fts.study.own import own_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.db import Database


def experiment_name(budget: str, horizon: int, task: str, cv: str | None) -> str:
    """Returns phase6a_2M_h1_threshold_1pct, and with the cv walk-forward:5 phase6a_2M_h1_threshold_1pct_wf5."""
    return f"phase6a_{budget}_h{horizon}_{task}{cv_suffix(cv)}"


def cv_suffix(cv: str | None) -> str:
    return f"_wf{cv.split(':')[-1]}" if cv else ""


def with_unique_names(db: Database, cells: Sequence[CellSpec]) -> list[CellSpec]:
    """Returns the cells and baselines, with a suffix of what differs if the name is already taken: `_NDX_a20_w20`."""

    held = sorted((job for job in own_jobs(db) if _holds(job)), key=lambda job: -job.id)
    holders = {(job.kind, job.experiment): name_parts(job) for job in held}  # the first one's entry stays
    return [_with_unique_name(cell, holders) if cell.kind in NAMED else cell for cell in cells]


NAMED = ("cell", "baseline")  # kinds with names of their own; jobs that follow a cell are named after it


NameParts = tuple[str, str, str, str]


def name_parts(job: Job | CellSpec) -> NameParts:
    """Returns prices, tier, window and norm, as suffixes: two jobs of one name must have the same."""
    spec = job.to_json() if isinstance(job, CellSpec) else job.spec
    norm = str(spec.get("norm", "revin")).replace("+", "-")
    return ticker_of(str(spec.get("dataset"))), job.tier, f"w{spec.get('context', 80)}", norm


def ticker_of(dataset: str) -> str:
    """Returns SPX for SPX.dataset.a25, BRK.B for BRK.B.dataset.a25."""
    return dataset.partition(".dataset.")[0]


def _holds(job: Job) -> bool:
    """Whether a job takes its name; one that was cancelled before it started has left nothing under it."""
    return job.kind in NAMED and (job.status is not JobStatus.CANCELLED or job.attempt > 0)


def _with_unique_name(cell: CellSpec, holders: Mapping[tuple[str, str], NameParts]) -> CellSpec:
    """Names a cell as an equal one is already named here; else by a name that is free."""
    parts = name_parts(cell)
    ends = ["".join(f"_{word}" for word in words) for n in range(len(parts) + 1) for words in combinations(parts, n)]
    name = next(
        (name for name in (cell.experiment + end for end in ends) if holders.get((cell.kind, name)) == parts), None
    )
    if name is None:
        first = holders.get((cell.kind, cell.experiment), parts)
        name = cell.experiment + "".join(f"_{mine}" for mine, its in zip(parts, first, strict=True) if mine != its)
    return cell if name == cell.experiment else CellSpec.from_json(replace(cell, experiment=name).to_json())
