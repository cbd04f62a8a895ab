"""Compares our training speed with PatchTST of transformers and of neuralforecast; needs `pip install '.[peers]'`.

Equal width, depth, heads and feed-forward (so about equal parameters), the same windows, in turns, in CPU time. Both
peers read every feature as a separate sequence: 25 times the tokens, which count as work in their share of the peak.
So ours runs twice, once as the study uses it (a token holds all features) and once feature by feature like them: the
first shows the cost of a trial, the second compares trainers at equal work.
"""

# shapes: B batch, C features, T days, M = B*C sequences

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from neuralforecast.models import PatchTST as ForecastPatchTST
from torch import Tensor, nn
from torch.nn import functional
from transformers import PatchTSTConfig, PatchTSTForClassification

from benchmarks import Row, median_and_spread
from benchmarks.trainer import BATCH, GEMM, SHAPES, flops, random_walks, steps_of
from fts.model.architecture import Architecture, ModelConfig
from fts.model.patchtst import PatchTST
from fts.training.config import TrainConfig
from fts.training.trainer import Trainer
from fts.training.windows import TrainingData

FEATURES = 25
PEER_BATCH = 32  # windows per step, feature by feature: at 256 either peer needs more than 12 GB
MICRO_ALONE = 4  # our windows in memory, feature by feature: 100 sequences, about as many as a usual micro-batch
DROPOUT = 0.3
CONFIGS = (
    ModelConfig(Architecture(128, 10, 8, 512), FEATURES, context=80, dropout=DROPOUT),
    *(ModelConfig(shape, FEATURES, context=60, dropout=DROPOUT) for shape in SHAPES),
)


@dataclass(frozen=True)
class Contender:
    """A model in training: `step` runs `windows` windows through an optimizer step."""

    step: Callable[[], object]
    windows: int
    flops: float  # of one window's step, by a common formula
    parameters: int

    @property
    def size(self) -> str:
        return f"{self.parameters / 1e6:.2f}M parameters in steps of {self.windows} windows"


@dataclass(frozen=True)
class Speed:
    """The measured speed of a contender."""

    samples_per_s: float
    share_of_peak: float
    spread: float


def rows(quick: bool = True, threads: int = 1) -> list[Row]:
    """Returns samples/s and share of peak, ours and each peer's: the 2M shape of the records, or all of 2M."""
    torch.set_num_threads(threads)
    configs, repeats = (CONFIGS[:1], 5) if quick else (CONFIGS, 9)
    return [row for config in configs for row in _compare(config, repeats)]


def _compare(config: ModelConfig, repeats: int) -> list[Row]:
    data = random_walks(config)
    ours = {"ours": _ours(config, data), "ours feature by feature": _ours_alone(config, data)}
    peers = {"transformers": _transformers(config, data), "neuralforecast": _neuralforecast(config, data)}
    peak, speeds = _in_turns({**ours, **peers}, repeats)
    machine = f"{torch.get_num_threads()} thread(s), fp32 peak {peak / 1e9:.0f} GFLOP/s, CPU time"
    return [
        row
        for theirs, peer in peers.items()
        for mine, contender in ours.items()
        for row in _pair(
            f"{mine}, {config.architecture.name} context {config.context}",
            speeds[mine],
            f"PatchTST of {theirs}",
            speeds[theirs],
            repeats,
            f"{contender.size} against {peer.size}; {machine}",
        )
    ]


def _pair(name: str, ours: Speed, peer_name: str, peer: Speed, repeats: int, note: str) -> tuple[Row, Row]:
    """Returns the two halves as samples/s and as share of the peak."""
    speed = Row(
        name=name,
        ours=ours.samples_per_s,
        unit="samples/s",
        reference=peer.samples_per_s,
        reference_name=peer_name,
        share_of_peak=ours.share_of_peak,
        repeats=repeats,
        spread=ours.spread,
        note=note,
    )
    share = replace(speed, ours=100 * ours.share_of_peak, unit="% of peak", reference=100 * peer.share_of_peak)
    return speed, replace(share, share_of_peak=None, note="")


def _in_turns(contenders: dict[str, Contender], repeats: int) -> tuple[float, dict[str, Speed]]:
    """Returns the peak in FLOP/s and each contender's speed, from CPU seconds in turns after a warm-up.

    The product that represents the peak takes a fiftieth of a step's time, so one precedes every step.
    """
    matrix = torch.randn(GEMM, GEMM)
    products: list[float] = []
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, contender in contenders.items():
            product_s, step_s = _cpu_seconds(lambda: matrix @ matrix), _cpu_seconds(contender.step)
            if turn:
                products.append(product_s)
                times[name].append(step_s)
    peak = 2 * GEMM**3 / median_and_spread(products)[0]
    return peak, {name: _speed(contender, times[name], peak) for name, contender in contenders.items()}


def _cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _speed(contender: Contender, times: list[float], peak: float) -> Speed:
    seconds, spread = median_and_spread(times)
    samples_per_s = contender.windows / seconds
    return Speed(samples_per_s, samples_per_s * contender.flops / peak, spread)


def _ours(config: ModelConfig, data: TrainingData) -> Contender:
    settings = TrainConfig(max_epochs=1000, effective_batch=BATCH)
    return _training(config, data, settings, flops(config))


def _ours_alone(config: ModelConfig, data: TrainingData) -> Contender:
    settings = TrainConfig(max_epochs=1000, effective_batch=PEER_BATCH, micro_batch=MICRO_ALONE)
    return _training(replace(config, channel_independent=True), data, settings, _flops_alone(config))


def _training(config: ModelConfig, data: TrainingData, settings: TrainConfig, flops_a_window: float) -> Contender:
    model = PatchTST(config)
    return Contender(steps_of(Trainer(model, data, settings)), settings.effective_batch, flops_a_window, _count(model))


def _transformers(config: ModelConfig, data: TrainingData) -> Contender:
    """Uses its classifier, with dropout as in ours (after the embedding and on every branch), else its defaults."""
    a = config.architecture
    model = PatchTSTForClassification(
        PatchTSTConfig(
            num_input_channels=config.n_features,
            context_length=config.context,
            patch_length=config.patch,
            patch_stride=config.stride,
            d_model=a.d_model,
            num_hidden_layers=a.n_layers,
            num_attention_heads=a.n_heads,
            ffn_dim=a.d_ff,
            positional_dropout=config.dropout,
            path_dropout=config.dropout,
            num_targets=2,
        )
    )

    def loss(x_BTC: Tensor, y_B: Tensor, _: Tensor) -> Tensor:
        return model(past_values=x_BTC, target_values=y_B.long()).loss

    return _peer(model, loss, data, _flops_alone(config))


def _neuralforecast(config: ModelConfig, data: TrainingData) -> Contender:
    """Has no classifier: it forecasts each feature's next day, which is one output more or less in two million.

    It pads a window by one stride, so it reads one more token.
    """
    a = config.architecture
    model = ForecastPatchTST(
        h=1,
        input_size=config.context,
        patch_len=config.patch,
        stride=config.stride,
        hidden_size=a.d_model,
        encoder_layers=a.n_layers,
        n_heads=a.n_heads,
        linear_hidden_size=a.d_ff,
        dropout=config.dropout,
    )

    def loss(x_BTC: Tensor, _: Tensor, next_BC: Tensor) -> Tensor:
        x_MT1 = x_BTC.transpose(1, 2).reshape(-1, config.context, 1)
        return functional.l1_loss(model({"insample_y": x_MT1}).flatten(), next_BC.flatten())

    return _peer(model, loss, data, _flops_alone(replace(config, context=config.context + config.stride)))


def _peer(
    model: nn.Module, loss: Callable[[Tensor, Tensor, Tensor], Tensor], data: TrainingData, flops_a_window: float
) -> Contender:
    """The lightest possible trainer for a peer: windows cut at once, torch's fused AdamW, no framework around it."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    batches = _batches(data)

    def step() -> None:
        optimizer.zero_grad()
        loss(*next(batches)).backward()
        optimizer.step()

    return Contender(step, PEER_BATCH, flops_a_window, _count(model))


def _batches(data: TrainingData) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields windows [B, T, C], labels [B] and the next day's features [B, C], in random order, forever."""
    generator = torch.Generator().manual_seed(0)
    days_T = torch.arange(1 - data.context, 1)
    while True:
        order = torch.randperm(len(data.train_ends), generator=generator)
        for ends_B in data.train_ends[order].split(PEER_BATCH):
            yield data.features_TF[ends_B[:, None] + days_T], data.y_T[ends_B], data.features_TF[ends_B + 1]


def _flops_alone(config: ModelConfig) -> float:
    """Returns the FLOPs of one window's step if each feature is a separate sequence."""
    return config.n_features * flops(replace(config, n_features=1))


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all 2M shapes and 9 repeats instead of one shape and 5")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for row in rows(quick=not arguments.full, threads=arguments.threads):
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
