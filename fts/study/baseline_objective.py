"""Runs a baseline as a trial: fits one scikit-learn model and reports its scores (protocol of fts.jobs.trial.process).

    python -m fts.study.baseline_objective --facts-fd 5        (the supervisor starts it for jobs of kind `baseline`)

So baselines have rows, logs, predictions, intervals and a watchdog like every other trial.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fts.analysis.baselines import fit_one, on_folds, score_predictions
from fts.jobs.trial.process import Commands, log_to, main, say
from fts.study.cell import TrialSpec
from fts.study.evidence import cell_data, data_facts, peak_bytes, reset_peak, write_predictions
from fts.study.walk_forward_objective import in_folds

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_baseline(spec: TrialSpec, _orders: Commands) -> Iterator[dict[str, Any]]:
    """Yields started, then result. No checkpoints, because a baseline takes seconds."""
    log_to(Path(spec.log_path))
    reset_peak()
    if spec.cell.cv is not None:
        data, parts = in_folds(spec)
    else:
        data = cell_data(spec.data_root, spec.cell, spec.dry_run_rows)
        parts = [data]
    yield {"fact": "started", **data_facts(data), "device": "cpu", "threads": spec.threads}
    model, inputs = spec.params["model"], spec.params["inputs"]
    say(f"{model} on {inputs}: n_train={data.n_train} n_val={data.n_val} n_pos={data.n_pos}")
    seed = spec.seed % 2**32
    fitted = [fit_one(model, inputs, part, seed, n_jobs=spec.threads) for part in parts]
    p, seconds = np.concatenate([one.predictions for one in fitted]), sum(one.seconds for one in fitted)
    scored = score_predictions(model, inputs, data.y_T[data.val_ends], p, data.horizon, seed, seconds)
    if spec.cell.is_walked:
        scored = on_folds(scored, data.y_T[data.val_ends], spec.cell.folds, data.horizon)
    say(f"log loss {scored.loss:.4f} auc {scored.auc:.4f} [{scored.auc_low:.4f}, {scored.auc_high:.4f}]")
    if spec.dry_run_rows is None:
        write_predictions(Path(spec.folder) / "predictions.parquet", data, scored.predictions)
    value = scored.auc if spec.cell.objective == "val_auc" else scored.loss
    yield {
        "fact": "result",
        "value": value,
        "last_value": value,
        "reason": "finished",
        "badges": [],
        "val_loss": scored.loss,
        "val_auc": scored.auc,
        "auc_low": scored.auc_low,
        "auc_high": scored.auc_high,
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    sys.exit(main(run_baseline, TrialSpec.from_json))
