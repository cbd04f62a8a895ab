"""Runs a trial on walk-forward folds instead of one split, with the same facts, records and pruning.

python -m fts.study.walk_forward_objective --facts-fd 5        (the supervisor starts it for cells with `cv`)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fts.analysis.walk_forward import Fold, walk_forward
from fts.data.splits import check_counts, window_ends
from fts.jobs.trial.process import Commands, main
from fts.study.cell import CellSpec, TrialSpec, as_trained
from fts.study.cell_data import CellData, few, rescaled
from fts.study.evidence import cell_data
from fts.study.objective import run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_cv(spec: TrialSpec, orders: Commands) -> Iterator[dict[str, Any]]:
    """Yields the facts of one trial on all folds of its cell."""
    from fts.study.build import BuiltTrial, assemble  # here, not above: torch and pandas, about 3 s

    @dataclass(frozen=True)
    class CrossTrial(BuiltTrial):
        """Its score is the mean over the folds; its predictions cover the validation windows of all folds."""

        @property
        def keeps_best(self) -> bool:
            return False  # each fold has its own model; `fts train` makes the one to use

        def result(self, folder: Path | None) -> dict[str, Any]:
            found = super().result(folder)
            p = self.trainer.val_predictions
            if p is not None:  # one AUC over all windows, as in the interval and the comparisons
                found["val_auc"] = pooled_auc(self.cell_data, p)
            return found

    def build(spec: TrialSpec) -> BuiltTrial:
        from fts.study.fold_trainer import FoldTrainer

        spec = as_trained(spec)
        pooled, parts = in_folds(spec)
        built = [assemble(spec, part, patience=spec.cell.epochs + 1) for part in parts]
        config = replace(built[0].train_config, patience=max(1, spec.cell.patience))
        folder = None if spec.dry_run_rows else Path(spec.folder)
        trainer = FoldTrainer([trial.trainer for trial in built], config, folder)
        return CrossTrial(spec, pooled, config, trainer, built[0].recipe, built[0].predicted_bytes)  # type: ignore[arg-type]  # it does all that is asked of a Trainer

    return run_trial(spec, orders, build)


def in_folds(spec: TrialSpec) -> tuple[CellData, list[CellData]]:
    """Returns the pooled windows of all folds, for the scores of the trial, and the data of each fold."""
    data, rows = cell_data(spec.data_root, spec.cell), spec.dry_run_rows
    parts = [on_fold(data, fold, rows) for fold in folds_of(data, spec.cell)]
    return _together(data, parts, 0 if rows else spec.cell.min_positives), parts


def folds_of(data: CellData, cell: CellSpec) -> list[Fold]:
    """Returns the folds over every window before the test part. Raises ValueError if the days do not allow them."""
    return last_folds(data, *cell.evaluated_folds)


def last_folds(data: CellData, judged: int, of: int) -> list[Fold]:
    """Returns the last `judged` of `of` folds: the first ones would leave too little to train on."""
    ends = window_ends(0, data.split.val_stop, data.span, data.horizon)
    return walk_forward(ends, of, data.span, data.horizon)[of - judged :]


def on_fold(data: CellData, fold: Fold, rows: int | None = None) -> CellData:
    """Returns the data with one fold's windows, scaled by its training days, which the split's scaler is not."""
    data = rescaled(data, int(fold.train_ends[-1]) + 1)
    train, val = (few(ends, data.y_T, rows) for ends in (fold.train_ends, fold.val_ends))
    prior = float(data.y_T[train].mean(dtype=np.float64))
    share = float(data.y_T[val].mean(dtype=np.float64))
    sure = min(max(prior, 0.5 / len(train)), 1 - 0.5 / len(train))
    loss = -(share * np.log(sure) + (1 - share) * np.log(1 - sure))
    return replace(
        data, train_ends=train, val_ends=val, prior=prior, prior_loss=float(loss), n_train=len(train), n_val=len(val),
        n_pos=int(data.y_T[val].sum()),
    )  # fmt: skip


def _together(data: CellData, parts: list[CellData], min_positives: int) -> CellData:
    """Returns the validation windows of all folds, in time order, to evaluate the trial as a whole."""
    val = np.concatenate([part.val_ends for part in parts])
    if min_positives:
        check_counts(data.y_T, parts[-1].train_ends, val, min_positives, f"{len(parts)} walk-forward folds")
    return replace(
        data, train_ends=parts[-1].train_ends, val_ends=val, n_train=len(parts[-1].train_ends), n_val=len(val),
        n_pos=int(data.y_T[val].sum()), prior_loss=float(np.mean([part.prior_loss for part in parts])),
    )  # fmt: skip


def pooled_auc(data: CellData, p: np.ndarray) -> float:
    from fts.scores.metrics import auc

    return float(auc(data.y_T[data.val_ends].astype(np.float64), p.astype(np.float64), None)[0])


if __name__ == "__main__":
    sys.exit(main(run_cv, TrialSpec.from_json))
