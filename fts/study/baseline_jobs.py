"""Adds one baseline job before the cells of each task and horizon, to compare every cell with.

A random forest beat the transformer for five weeks before anybody looked (lesson 25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.study.cell import CellSpec
from fts.study.naming import cv_suffix
from fts.study.own import own_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fts.state.db import Database
    from fts.state.values import Enqueued

BUDGET = "base"  # in place of a cell's size


def with_baselines(cells: Iterable[CellSpec]) -> list[CellSpec]:
    """Returns the cells, with each question's baseline right before its first cell."""
    seen: set[str] = set()
    line: list[CellSpec] = []
    for cell in cells:
        baseline = baseline_of(cell)
        if baseline.question not in seen:
            seen.add(baseline.question)
            line.append(baseline)
        line.append(cell)
    return line


def baseline_of(cell: CellSpec) -> CellSpec:
    """Returns the baselines for a cell's question: same task, horizon, data and windows, for all budgets."""
    from fts.analysis.baselines import BASELINES  # here, not above: numpy

    return CellSpec(
        experiment=f"baseline_h{cell.horizon}_{cell.task}_{cell.tier}{cv_suffix(cell.cv)}"[:80],
        budget=BUDGET,
        horizon=cell.horizon,
        task=cell.task,
        tier=cell.tier,
        dataset=cell.dataset,
        data_md5=cell.data_md5,
        trials=len(BASELINES),
        epochs=1,
        space={},
        kind="baseline",
        context=cell.span,  # the longest window of those days
        split=cell.split,
        cv=cell.cv,
        min_positives=cell.min_positives,
        code_commit=cell.code_commit,
        code_dirty=cell.code_dirty,
    )


def move_before_cells(db: Database, written: Sequence[tuple[CellSpec, Enqueued]], who: str | None = None) -> None:
    """Moves new baselines before queued cells: they take seconds, and every cell is compared with them."""
    from fts.state import transitions

    fresh = [entry.job_id for cell, entry in written if cell.kind == "baseline" and entry.created]
    old = {entry.job_id for cell, entry in written if cell.kind == "cell" and not entry.created}
    waiting = [job.id for job in own_jobs(db, ["queued", "paused"]) if job.id in old]
    if fresh and waiting:
        transitions.move(db, fresh, before=waiting[0], who=who)


def first_params() -> dict[str, Any]:
    """Returns the parameters of the cheapest baseline, for a dry run."""
    from fts.analysis.baselines import baseline_params

    return dict(baseline_params(0))
