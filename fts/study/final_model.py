"""Trains a winner's configuration on training and validation windows together, and writes the final model.

No validation data is left to stop by, so it trains for exactly the winner's best number of epochs. Learning-rate
schedule and scaler are the winner's: the scaler of the training rows, under which the configuration won.

A model is a folder: model.safetensors, config.json (everything needed to use the model, and its origin),
scaler.json, card.md; after the test set was opened also test.json and test_predictions.parquet.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fts.data.splits import window_ends
from fts.model.patchtst import PatchTST
from fts.state.files import atomic_write, make_folder
from fts.study.build import BuiltTrial, assemble
from fts.study.cell import TrialSpec, as_trained
from fts.study.cell_data import few
from fts.study.evidence import cell_data
from fts.study.model_card import card
from fts.study.model_folder import FORMAT, md5_of_config
from fts.training.checkpoint import file_md5, write_weights
from fts.training.results import DIVERGED

if TYPE_CHECKING:
    from pathlib import Path

    from fts.study.cell_data import CellData


IN_SAMPLE = "in-sample"  # badge: its validation windows were also trained on


@dataclass(frozen=True)
class FinalTrial(BuiltTrial):
    """A trial that produces a model. Its validation scores mean nothing, because it was trained on those windows."""

    @property
    def keeps_best(self) -> bool:
        return False

    def result(self, folder: Path | None) -> dict[str, Any]:
        """Writes the model folder (unless `folder` is None, or the training diverged) and returns the result."""
        outcome = self.trainer.outcome()
        last = self.trainer.history[-1] if self.trainer.history else None
        if folder is not None and last is not None and outcome.reason != DIVERGED:
            save_model(folder / "model", self)
        return {
            "value": outcome.last_value,
            "best_epoch": outcome.epochs or None,
            "last_value": outcome.last_value,
            "epochs": outcome.epochs,
            "reason": "finished" if outcome.reason == "step limit" else outcome.reason,
            "badges": [*outcome.badges, IN_SAMPLE],
            "message": outcome.message,
            "val_loss": last.val_loss if last else None,
            "val_auc": last.val_auc if last else None,
            "auc_low": None,
            "auc_high": None,
            "peak_bytes": self.measured_bytes(),
        }


def build_final(spec: TrialSpec) -> BuiltTrial:
    """Builds the trial of a train job. Raises what build_trial raises."""
    spec = as_trained(spec)
    cell = spec.cell
    data = all_windows(cell_data(spec.data_root, cell))
    if spec.dry_run_rows is not None:
        train, val = (few(ends, data.y_T, spec.dry_run_rows) for ends in (data.train_ends, data.val_ends))
        return assemble(spec, replace(data, train_ends=train, val_ends=val), FinalTrial)
    steps = best_epoch(spec) * math.ceil(data.n_train / cell.effective_batch)
    if cell.max_steps is not None:
        steps = min(steps, cell.max_steps)
    return assemble(spec, data, FinalTrial, max_steps=steps, patience=cell.epochs + 1)


def all_windows(data: CellData) -> CellData:
    """Returns the data with every window before the test part for training; validation windows stay for its scores."""
    ends = window_ends(0, data.split.val_stop, data.span, data.horizon)
    prior = float(data.y_T[ends].mean(dtype=np.float64))
    return replace(data, train_ends=ends, n_train=len(ends), prior=prior)


def best_epoch(spec: TrialSpec) -> int:
    """Returns the number of epochs up to the winner's best one."""
    return max(1, int(spec.cell.origin.get("best_epoch") or spec.cell.epochs))


def save_model(folder: Path, trial: FinalTrial) -> None:
    """Writes the model folder, each file atomically and config.json last: without it there is no model."""
    spec, data = trial.spec, trial.cell_data
    make_folder(folder)
    model = trial.trainer.model
    assert isinstance(model, PatchTST), "assemble builds one"
    weights = {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}
    model_config = model.config.to_json()
    md5 = write_weights(
        folder / "model.safetensors", weights, {"model": model_config, "experiment": spec.cell.experiment}
    )
    scaler = [
        {"feature": name, "mean": float(mean), "sd": float(sd)}
        for name, mean, sd in zip(data.feature_names, data.mean, data.sd, strict=True)
    ]
    atomic_write(folder / "scaler.json", json.dumps(scaler, indent=1) + "\n")
    config = {
        "format": FORMAT,
        "model": model_config,
        "weights_md5": md5,
        "scaler_md5": file_md5(folder / "scaler.json"),
        "n_params": sum(tensor.numel() for tensor in weights.values()),
        "features": list(data.feature_names),
        "task": spec.cell.task,
        "horizon": spec.cell.horizon,
        "tier": spec.cell.tier,
        "context": spec.cell.context,
        "params": spec.params,
        "epochs": len(trial.trainer.history),
        "steps": trial.trainer.step,
        "seed": spec.seed,
        "torch_version": torch.__version__,
        "threads": spec.threads,
        "trained_on": {
            "dataset": data.name,
            "data_md5": data.data_md5,
            "windows": data.n_train,
            "first_day": str(data.dates[0]),
            "last_day": str(data.dates[int(data.train_ends[-1])]),
            "base_rate": data.prior,
            "label_md5": data.label.md5,
            "label": data.label.definition,
        },
        "origin": spec.cell.origin,
        "cell": spec.cell.to_json(),
    }
    config["config_md5"] = md5_of_config(config)
    atomic_write(folder / "config.json", json.dumps(config, indent=1, sort_keys=True) + "\n")
    write_card(folder)


def write_card(folder: Path) -> None:
    """Writes card.md from the files of the folder."""
    config = json.loads((folder / "config.json").read_text())
    test = folder / "test.json"
    atomic_write(folder / "card.md", card(config, json.loads(test.read_text()) if test.exists() else None))
