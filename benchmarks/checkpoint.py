"""Measures the cost of checkpoints: seconds of one save and of the training between two, for a 2M and a 200M model.

python -m benchmarks.checkpoint
"""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path

import torch

from benchmarks import Row, median_and_spread
from fts.jobs.trial.process import CHECKPOINT_SHARE
from fts.model.architecture import Architecture, ModelConfig
from fts.model.patchtst import PatchTST
from fts.training.config import TrainConfig
from fts.training.results import StepDone
from fts.training.trainer import Trainer
from fts.training.windows import TrainingData

EVERY_S = 60.0  # default of trials
WINDOWS = 3302  # training windows of the S&P 500 cells
SHAPES = {"2M": (Architecture(128, 12, 8, 256), 256), "200M": (Architecture(1024, 16, 16, 4096), 8)}  # shape, batch


def rows(quick: bool = True) -> list[Row]:
    """Returns one row per budget; the larger model's step is timed on a small batch and scaled to an epoch."""
    return [_row(name, *SHAPES[name], repeats=3 if quick else 7) for name in SHAPES]


def _row(name: str, shape: Architecture, batch: int, repeats: int) -> Row:
    trainer = _trainer(shape, batch)
    steps = [event.seconds for event in islice(trainer.run(), 4) if isinstance(event, StepDone)]
    step_s, _ = median_and_spread(steps[1:])
    epoch_s = step_s / batch * WINDOWS
    with tempfile.TemporaryDirectory(dir=".") as folder:  # a temporary folder in memory would be too fast
        save_s, spread = median_and_spread([_save(trainer, Path(folder)) for _ in range(repeats)])
    between_s = max(save_s / CHECKPOINT_SHARE, min(EVERY_S, epoch_s))  # rule of fts.jobs.trial.process.Pace
    size = sum(p.numel() for p in trainer.model.parameters())
    return Row(
        name=f"checkpoint {name} ({size / 1e6:.1f}M parameters)",
        ours=100 * save_s / (between_s + save_s),
        unit="% of training",
        reference=100 * CHECKPOINT_SHARE,
        reference_name="allowed",
        lower_is_better=True,
        repeats=repeats,
        spread=spread,
        note=f"{save_s:.2f} s a save, every {between_s:.0f} s; an epoch takes {epoch_s:.0f} s",
    )


def _save(trainer: Trainer, folder: Path) -> float:
    start = time.perf_counter()
    trainer.save(folder / "checkpoint")
    return time.perf_counter() - start


def _trainer(shape: Architecture, batch: int) -> Trainer:
    config = ModelConfig(shape, n_features=25)
    days = 400
    torch.manual_seed(0)
    ends = torch.arange(config.context - 1, days)
    features, y = torch.randn(days, config.n_features), (torch.rand(days) < 0.3).float()
    data = TrainingData(features, y, ends, ends[-60:], config.context)
    return Trainer(PatchTST(config), data, TrainConfig(effective_batch=batch, micro_batch=batch))


def main() -> None:
    for row in rows():
        print(row.line())


if __name__ == "__main__":
    main()
