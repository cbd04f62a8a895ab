"""Gives a cell the name its users know, and another one where a cell of other features or prices has that name.

Exports, reports and folders go by the experiment's name: two questions under one name would hide each other.
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
    """phase6a_2M_h1_threshold_1pct; with walk-forward:5 ..._wf5, a cell judged otherwise that may stand beside it."""
    return f"phase6a_{budget}_h{horizon}_{task}{cv_suffix(cv)}"


def cv_suffix(cv: str | None) -> str:
    return f"_wf{cv.split(':')[-1]}" if cv else ""


def kept_apart(db: Database, cells: Sequence[CellSpec]) -> list[CellSpec]:
    """The cells and baselines, with what differs behind a name that another one already has here: `_NDX_a20_w20`."""

    held = sorted((job for job in own_jobs(db) if _holds(job)), key=lambda job: -job.id)
    holders = {(job.kind, job.experiment): asked_of(job) for job in held}  # the first one's, at last
    return [_apart(cell, holders) if cell.kind in APART else cell for cell in cells]


APART = ("cell", "baseline")  # what follows a cell is called after it


Asked = tuple[str, str, str, str]


def asked_of(job: Job | CellSpec) -> Asked:
    """Prices, tier, window and norm: what two jobs of one name must have in common, as words behind a name."""
    spec = job.to_json() if isinstance(job, CellSpec) else job.spec
    norm = str(spec.get("norm", "revin")).replace("+", "-")
    return ticker_of(str(spec.get("dataset"))), job.tier, f"w{spec.get('context', 80)}", norm


def ticker_of(dataset: str) -> str:
    """SPX of SPX.dataset.a25, BRK.B of BRK.B.dataset.a25."""
    return dataset.partition(".dataset.")[0]


def _holds(job: Job) -> bool:
    """Whether a name is taken by it: one cancelled before it began has left nothing under its name."""
    return job.kind in APART and (job.status is not JobStatus.CANCELLED or job.attempt > 0)


def _apart(cell: CellSpec, holders: Mapping[tuple[str, str], Asked]) -> CellSpec:
    """Under the name that its features and prices have here already; else under one that nobody has."""
    asked = asked_of(cell)
    ends = ["".join(f"_{word}" for word in words) for n in range(len(asked) + 1) for words in combinations(asked, n)]
    name = next(
        (name for name in (cell.experiment + end for end in ends) if holders.get((cell.kind, name)) == asked), None
    )
    if name is None:
        first = holders.get((cell.kind, cell.experiment), asked)
        name = cell.experiment + "".join(f"_{mine}" for mine, its in zip(asked, first, strict=True) if mine != its)
    return cell if name == cell.experiment else CellSpec.from_json(replace(cell, experiment=name).to_json())
