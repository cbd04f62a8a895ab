"""From a trial spec to a model, its data and a trainer: the one place where data, model and training meet."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fts.model.architecture import ModelConfig
from fts.search import dataset
from fts.search.spec import TrialSpec, effective_config
from fts.training.config import TrainConfig
from fts.training.trainer import Trainer


@dataclass(frozen=True)
class BuiltTrial:
    spec: TrialSpec
    cell_data: dataset.CellData
    model_config: ModelConfig
    train_config: TrainConfig
    trainer: Trainer
    recipe: dict[str, Any]
    predicted_bytes: int | None

    def facts(self) -> dict[str, Any]:
        """What this trial is, for its record: sizes, fingerprints, versions (lessons 2, 8, 33)."""
        data, config = self.cell_data, self.train_config
        return {
            "n_params": sum(p.numel() for p in self.trainer.model.parameters()),
            "n_train": data.n_train,
            "n_val": data.n_val,
            "n_pos": data.n_pos,
            "prior_loss": data.prior_loss,
            "label_md5": data.label.md5,
            "base_rate": data.label.base_rate,
            "data_md5": data.data_md5,
            "effective": effective_config(self.spec.cell, self.spec.params),
            "torch_version": torch.__version__,
            "host": socket.gethostname(),
            "device": config.device,
            "threads": config.threads,
            "micro_batch": config.micro_batch,
            "accumulation": config.accumulation,
            "recipe": self.recipe,
            "predicted_bytes": self.predicted_bytes,
            "pid": os.getpid(),
            "python_version": platform.python_version(),
        }

    def summary(self) -> str:
        p = self.spec.params
        batch = f"batch={self.train_config.micro_batch}x{self.train_config.accumulation}"
        return f"{p['architecture']} {batch} dropout={p['dropout']:.3f} lr={p['learning_rate']:.2e} {self.recipe}"

    def result(self, folder: Path | None) -> dict[str, Any]:
        """How it ended, after writing the best epoch's validation predictions (folder None: write nothing)."""
        return {}
