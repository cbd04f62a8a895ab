"""Measures training speed: the five 2M shapes against a plain trainer and against this machine's matrix product."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from benchmarks import Row, median_and_spread
from benchmarks.reference import reference_steps
from fts.model.architecture import Architecture, ModelConfig
from fts.model.patchtst import PatchTST
from fts.training.config import PRECISIONS, TrainConfig
from fts.training.results import StepDone
from fts.training.trainer import Trainer
from fts.training.windows import TrainingData

SHAPES = (
    Architecture(64, 48, 2, 256),
    Architecture(128, 12, 8, 512),
    Architecture(192, 6, 8, 384),
    Architecture(256, 2, 8, 1024),
    Architecture(384, 2, 8, 768),
)
BATCH = 256
GEMM = 1024  # rows, columns and depth of the matrix product that represents the peak


def rows(quick: bool = True, threads: int = 1) -> list[Row]:
    """Returns a row for each shape and precision, against the reference in fp32, with steps taken in turns.

    One thread, as a worker with one slot per core trains.
    """
    torch.set_num_threads(threads)
    repeats = 5 if quick else 15
    return [row for shape in SHAPES for row in _compare(shape, repeats)]


def _compare(shape: Architecture, repeats: int) -> list[Row]:
    config = ModelConfig(shape, n_features=25, context=60, patch=10, stride=5, dropout=0.3)
    data = random_walks(config)
    reference, n_reference = reference_steps(config, data.features_TF, data.y_T, data.train_ends, BATCH)
    assert n_reference == sum(p.numel() for p in PatchTST(config).parameters()), "two different models"
    matrix = torch.randn(GEMM, GEMM)
    steps: dict[str, Callable[[], object]] = {"reference": reference, "gemm": lambda: matrix @ matrix}
    steps |= {precision: _our_steps(config, data, precision) for precision in PRECISIONS}
    times = _in_turns(steps, repeats)
    return [_row(f"train {shape.name} {precision}", times, precision, config) for precision in PRECISIONS]


def _row(name: str, times: dict[str, list[float]], precision: str, config: ModelConfig) -> Row:
    seconds, spread = median_and_spread(times[precision])
    peak = 2 * GEMM**3 / median_and_spread(times["gemm"])[0]
    return Row(
        name=name,
        ours=BATCH / seconds,
        unit="samples/s",
        reference=BATCH / median_and_spread(times["reference"])[0],
        reference_name="nn.TransformerEncoder, Adam, DataLoader",
        share_of_peak=flops(config) * BATCH / seconds / peak,
        repeats=len(times[precision]),
        spread=spread,
        note=f"{torch.get_num_threads()} thread(s), fp32 peak {peak / 1e9:.0f} GFLOP/s, CPU time",
    )


def flops(config: ModelConfig) -> float:
    """Returns FLOPs of one window's training step: matrix products only, backward twice the forward."""
    a, N = config.architecture, config.n_patches
    layer = 4 * a.d_model**2 + 2 * a.d_model * a.d_ff + 2 * N * a.d_model
    embedding = config.patch * config.n_features * a.d_model
    return 6.0 * N * (a.n_layers * layer + embedding)


def _in_turns(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Returns CPU seconds of each call, in turns after one round of warm-up, so that load affects all alike."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn:
                times[name].append(time.process_time() - start)
    return times


def _our_steps(config: ModelConfig, data: TrainingData, precision: str) -> Callable[[], None]:
    settings = TrainConfig(max_epochs=1000, effective_batch=BATCH, precision=precision)
    return steps_of(Trainer(PatchTST(config), data, settings))


def steps_of(trainer: Trainer) -> Callable[[], None]:
    """Returns a function that trains one optimizer step per call."""
    events = trainer.run()

    def step() -> None:
        while not isinstance(next(events), StepDone):
            pass

    return step


def random_walks(config: ModelConfig) -> TrainingData:
    """Returns as many windows as a full run has steps, so that no validation falls into a measurement.

    Every window has a next day, which forecasters need.
    """
    generator = torch.Generator().manual_seed(0)
    n_windows = 64 * BATCH
    n_days = n_windows + config.context + 1
    features_TF = torch.randn(n_days, config.n_features, generator=generator).cumsum(0)
    y_T = (torch.rand(n_days, generator=generator) < 0.4).float()
    ends = torch.arange(config.context - 1, n_days - 1)
    return TrainingData(features_TF, y_T, ends[:n_windows], ends[-2:], config.context)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="15 repeats instead of 5")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for row in rows(quick=not arguments.full, threads=arguments.threads):
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
