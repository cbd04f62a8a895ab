"""Checks every walk-forward fold of a cell before it enters the queue: each fold needs days of both classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.study.cell import WALKED, CellSpec, evaluated_folds

if TYPE_CHECKING:
    from pathlib import Path

    from fts.analysis.walk_forward import Fold
    from fts.study.cell_data import CellData


def problem(root: Path, cell: CellSpec) -> str | None:
    """Returns why the data does not allow the folds of the cell or of its winner; None if it does."""
    if cell.kind == "cell" and cell.winner_folds is not None:
        return _problem(root, cell, f"{WALKED}{cell.winner_folds}") or _problem(root, cell, cell.cv)
    return _problem(root, cell, cell.cv)


def _problem(root: Path, cell: CellSpec, cv: str | None) -> str | None:
    if cv is None:
        return None
    from fts.data.splits import BadSplit  # here, not above: pandas, which a cell on one split need not load
    from fts.study.evidence import cell_data
    from fts.study.walk_forward_objective import last_folds

    judged, of = evaluated_folds(cv)
    try:
        data = cell_data(str(root), cell)
        folds = last_folds(data, judged, of)
    except (BadSplit, ValueError) as error:
        return str(error)
    return next((said for fold in folds if (said := _fold_problem(data, fold, of))), None)


def _fold_problem(data: CellData, fold: Fold, of: int) -> str | None:
    for part, ends in (("training", fold.train_ends), ("validation", fold.val_ends)):
        n, n_pos = len(ends), int(data.y_T[ends].sum())
        if n_pos in (0, n):
            first, last = data.dates[ends[0]], data.dates[ends[-1]]
            return (
                f"fold {fold.number} of {of} has {n_pos} rises in {n} {part} windows ({first} to {last}), but days "
                "with and without one are needed; take fewer folds, a longer history or another task"
            )
    return None
