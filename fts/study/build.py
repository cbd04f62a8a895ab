"""Builds model, data and trainer from a trial spec."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fts.jobs.trial.cause import DeviceMissing
from fts.model.patchtst import PatchTST
from fts.scores.dependence import TooFewSamples
from fts.scores.intervals import auc_interval
from fts.study.cell import TrialSpec, as_trained
from fts.study.evidence import cell_data, data_facts, peak_bytes, write_predictions
from fts.study.recipe import model_config, models_of, plan_for, precisions, predict
from fts.training.config import TrainConfig
from fts.training.memory import Recipe
from fts.training.trainer import Trainer
from fts.training.windows import TrainingData

if TYPE_CHECKING:
    from pathlib import Path

    from fts.model.architecture import ModelConfig
    from fts.study.cell_data import CellData


@dataclass(frozen=True)
class BuiltTrial:
    """A trial ready to run."""

    spec: TrialSpec
    cell_data: CellData
    train_config: TrainConfig
    trainer: Trainer
    recipe: dict[str, Any]
    predicted_bytes: int | None

    @property
    def keeps_best(self) -> bool:
        """Whether to keep the weights of the best epoch: only if its validation windows were not trained on."""
        return True

    def facts(self) -> dict[str, Any]:
        """Returns the trial's facts: sizes, fingerprints, versions (lessons 2, 8, 33)."""
        config = self.train_config
        return {
            "n_params": sum(p.numel() for p in self.trainer.model.parameters()),
            **data_facts(self.cell_data),
            "torch_version": torch.__version__,
            "device": config.device,
            "threads": config.threads,
            "micro_batch": config.micro_batch,
            "accumulation": config.accumulation,
            "recipe": self.recipe,
            "predicted_bytes": self.predicted_bytes,
        }

    def summary(self) -> str:
        """Returns the first line of the log, in the terms of the earlier scripts."""
        config = self.train_config
        return (
            f"{self.spec.params['architecture']} {config.batch_line()} dropout={self.spec.params['dropout']:.3f} "
            f"lr={config.learning_rate:.2e} wd={config.weight_decay:.2e} warmup={config.warmup_steps} "
            f"threads={config.threads} {config.device} n_train={self.cell_data.n_train} "
            f"n_val={self.cell_data.n_val} n_pos={self.cell_data.n_pos} prior_loss={self.cell_data.prior_loss:.4f}"
        )

    def result(self, folder: Path | None) -> dict[str, Any]:
        """Writes the best epoch's validation predictions into `folder`, if given, and returns the result."""
        outcome = self.trainer.outcome()
        best = self.trainer.history[outcome.best_epoch - 1] if outcome.best_epoch else None
        low, high = self._interval()
        if folder is not None and self.trainer.val_predictions is not None:
            write_predictions(folder / "predictions.parquet", self.cell_data, self.trainer.val_predictions)
        return {
            "value": outcome.best_value,
            "best_epoch": outcome.best_epoch,
            "last_value": outcome.last_value,
            "epochs": outcome.epochs,
            "reason": outcome.reason,
            "badges": list(outcome.badges),
            "message": outcome.message,
            "val_loss": best.val_loss if best else None,
            "val_auc": best.val_auc if best else None,
            "auc_low": low,
            "auc_high": high,
            "peak_bytes": self.measured_bytes(),
        }

    def probe(self) -> dict[str, int | None]:
        """Returns the predicted bytes, and the bytes measured in the first optimizer steps (lesson 8)."""
        return {"predicted": self.predicted_bytes, "measured": self.measured_bytes()}

    def measured_bytes(self) -> int | None:
        """Returns the peak bytes so far: of the GPU if the trial trains on one, else of the process."""
        if self.train_config.device.startswith("cuda"):
            return torch.cuda.max_memory_reserved(self.train_config.device)
        return peak_bytes()

    def _interval(self) -> tuple[float | None, float | None]:
        p = self.trainer.val_predictions
        if p is None:
            return None, None
        y = self.cell_data.y_T[self.cell_data.val_ends]
        try:
            return auc_interval(y, p, self.spec.cell.horizon, seed=0)
        except TooFewSamples:
            return None, None


def build_trial(spec: TrialSpec) -> BuiltTrial:
    """Loads the data (once per process and cell), builds the model under the trial's seed, and its trainer.

    Raises what its parts raise for bad data, UnusedParameter for a parameter that nothing uses, BadSpec for an invalid
    recipe.
    """
    spec = as_trained(spec)
    return assemble(spec, cell_data(spec.data_root, spec.cell, spec.dry_run_rows))


def assemble(spec: TrialSpec, data: CellData, built_as: type[BuiltTrial] = BuiltTrial, **training: Any) -> BuiltTrial:
    """Builds a trial on this data; `training` replaces fields of its TrainConfig."""
    cell = spec.cell
    torch.set_num_threads(spec.threads)
    use_device(spec.device)
    config = model_config(cell, spec.params["architecture"], len(data.feature_names), spec.params["dropout"])
    recipe, predicted = choose_recipe(spec, config)
    train_config = replace(make_train_config(spec, recipe, data), **training)
    torch.manual_seed(spec.seed)
    trainer = Trainer(PatchTST(config, spec.seed), tensors(data), train_config, prior_loss=data.prior_loss)
    return built_as(spec, data, train_config, trainer, recipe, predicted)


def use_device(device: str) -> None:
    """Makes `device` the current device of this process. Raises DeviceMissing if torch does not see it (any more)."""
    kind, _, index = device.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    there["mps"] = int(torch.backends.mps.is_available())
    if int(index or 0) >= there.get(kind, 0):
        raise DeviceMissing(f"this machine has no {device} now; torch {torch.__version__} sees {_seen(there)}")
    if kind == "cuda":
        torch.cuda.set_device(int(index or 0))


def release_gpu(device: str) -> None:
    """Gives the memory of earlier trials of this process back to the GPU, and measures its peak anew."""
    if device.startswith("cuda") and torch.cuda.is_initialized():
        gc.collect()  # a reference cycle may still hold a model
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _seen(there: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" if kind == "cuda" else kind for kind, count in there.items() if count)


def choose_recipe(spec: TrialSpec, config: ModelConfig) -> tuple[dict[str, Any], int | None]:
    """Returns recipe and predicted bytes: the spec's recipe, else the memory plan's, else the whole batch at once."""
    if spec.recipe is None and spec.memory_limit is not None:
        found = plan_for(spec.cell, config, spec.memory_limit, spec.device)
        return found.recipe.to_json(), found.estimate.total
    recipe = Recipe.from_json(
        spec.recipe or {"precision": precisions(spec.cell.precision, spec.device)[0]}, spec.cell.effective_batch
    )
    return recipe.to_json(), predict(config, recipe, spec.device, models_of(spec.cell)).total


def make_train_config(spec: TrialSpec, recipe: dict[str, Any], data: CellData) -> TrainConfig:
    cell, params = spec.cell, spec.params
    return TrainConfig(
        learning_rate=params["learning_rate"],
        weight_decay=params["weight_decay"],
        warmup_steps=params["warmup_steps"],
        max_epochs=1 if spec.dry_run_rows else cell.epochs,
        max_steps=1 if spec.dry_run_rows else cell.max_steps,
        patience=max(1, cell.patience),
        min_delta=cell.min_delta,
        effective_batch=cell.effective_batch,
        loss=cell.loss,
        focal_gamma=cell.focal_gamma,
        pos_weight=(1 - data.prior) / data.prior if cell.pos_weight else None,
        objective=cell.objective,
        grad_clip=cell.grad_clip,
        seed=spec.seed,
        device=spec.device,
        threads=spec.threads,
        **recipe,
    )


def tensors(data: CellData) -> TrainingData:
    """Returns the data as tensors that share the arrays' memory."""
    train, val = (torch.from_numpy(np.ascontiguousarray(e, dtype=np.int64)) for e in (data.train_ends, data.val_ends))
    return TrainingData(torch.from_numpy(data.features_TF), torch.from_numpy(data.y_T), train, val, data.context)
