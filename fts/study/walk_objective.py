"""Evaluates a winner by walk-forward: trains it again on the days before each fold, without choosing anything.

python -m fts.study.walk_objective --facts-fd 5        (the supervisor starts it for jobs of kind `walk`)
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.trial.process import Commands, main
from fts.study.cell import TrialSpec, as_trained
from fts.study.objective import run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from fts.study.cell_data import CellData


def run_walk(spec: TrialSpec, orders: Commands) -> Iterator[dict[str, Any]]:
    """Yields the facts of one training of a winner, fold after fold."""
    from fts.study.build import BuiltTrial, assemble  # here, not above: torch and pandas, about 3 s

    @dataclass(frozen=True)
    class WalkTrial(BuiltTrial):
        """Its score is the mean over the folds; the models of the folds are not kept."""

        @property
        def keeps_best(self) -> bool:
            return False  # each fold has its own model; `fts train` makes the one to use

        def result(self, folder: Path | None) -> dict[str, Any]:
            found = super().result(folder)
            p = self.trainer.val_predictions
            if p is None:
                return found
            found |= scores(self.cell_data, p, spec.cell.folds)
            value = found[spec.cell.objective]
            return found | {"value": value, "last_value": value}

    def build(spec: TrialSpec) -> BuiltTrial:
        from fts.study.final_model import best_epoch
        from fts.study.walk_forward_objective import in_folds
        from fts.study.walk_trainer import FoldsInTurn

        spec = as_trained(spec)
        cell, rows = spec.cell, spec.dry_run_rows
        whole, parts = in_folds(spec)
        made: dict[str, Any] = {}

        def trainer(fold: int) -> Any:
            part = parts[fold]
            steps = 1 if rows else best_epoch(spec) * math.ceil(part.n_train / cell.effective_batch)
            steps = min(steps, cell.max_steps or steps)
            trial = assemble(spec, part, max_steps=steps, patience=cell.epochs + 1)
            made.update(train_config=trial.train_config, recipe=trial.recipe, predicted_bytes=trial.predicted_bytes)
            return trial.trainer

        turns = FoldsInTurn(trainer, cell.folds, None if rows else Path(spec.folder))
        return WalkTrial(spec=spec, cell_data=whole, trainer=turns, **made)  # type: ignore[arg-type]  # it does all that is asked of a Trainer

    return run_trial(spec, orders, build)


def scores(data: CellData, p: np.ndarray, folds: int) -> dict[str, Any]:
    """Returns scores on all folds: log loss, and AUC as the mean over them, with the interval of its days."""
    import numpy as np

    from fts.scores.dependence import TooFewSamples
    from fts.scores.folds import measured, over_folds

    y, p = data.y_T[data.val_ends].astype(np.float64), p.astype(np.float64)
    found: dict[str, Any] = {
        "auc_low": None,
        "auc_high": None,
        "val_loss": float(over_folds("log_loss", y, p, folds)[0]),
        "val_auc": float(over_folds("auc", y, p, folds)[0]),
    }
    try:
        interval = measured("auc", y, [p], folds, data.horizon, None, 500)
    except TooFewSamples:
        return found
    return found | {"auc_low": interval.low, "auc_high": interval.high}


if __name__ == "__main__":
    sys.exit(main(run_walk, TrialSpec.from_json))
