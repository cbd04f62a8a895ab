"""The smallest real trainer there is: 240 windows, 6.7 thousand parameters, an epoch in a few milliseconds."""

import dataclasses
from typing import Any

import torch

from fts.model.architecture import Architecture, ModelConfig
from fts.model.patchtst import PatchTST
from fts.training.config import TrainConfig
from fts.training.results import EpochDone, EpochResult
from fts.training.trainer import Trainer
from fts.training.windows import TrainingData

CONTEXT = 16


def make_data(n_days: int = 380, n_features: int = 5, seed: int = 0) -> TrainingData:
    """Random walks, and a label that today's move of the first one half explains."""
    generator = torch.Generator().manual_seed(seed)
    steps_TF = torch.randn(n_days, n_features, generator=generator)
    noise_T = torch.randn(n_days, generator=generator)
    y_T = (steps_TF[:, 0] + noise_T > 0.3).float()
    return TrainingData(steps_TF.cumsum(0), y_T, torch.arange(15, 255), torch.arange(280, n_days), CONTEXT)


def make_model(dropout: float = 0.3, n_layers: int = 1, seed: int = 1) -> PatchTST:
    return PatchTST(ModelConfig(Architecture(16, n_layers, 2, 32), 5, CONTEXT, 4, 4, dropout=dropout), seed)


def make_config(**changes: Any) -> TrainConfig:
    settings = {"learning_rate": 3e-3, "warmup_steps": 4, "max_epochs": 3, "effective_batch": 64, "micro_batch": 24}
    return TrainConfig(**(settings | changes))


def make_trainer(dropout: float = 0.3, prior_loss: float | None = None, **changes: Any) -> Trainer:
    return Trainer(make_model(dropout), make_data(), make_config(**changes), prior_loss)


def finish(trainer: Trainer) -> list[EpochResult]:
    return [event.result for event in trainer.run() if isinstance(event, EpochDone)]


def numbers(history: tuple[EpochResult, ...] | list[EpochResult]) -> list[EpochResult]:
    """Epoch results without what may differ between two equal runs: time."""
    return [dataclasses.replace(result, samples_per_s=0.0, seconds=0.0) for result in history]
