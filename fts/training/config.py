"""Training parameters of a trial: everything except its data and architecture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

LOSSES = ("bce", "focal", "softauc")
OBJECTIVES = ("val_loss", "val_auc")
OPTIMIZERS = ("adamw", "adafactor")
PRECISIONS = ("fp32", "bf16")

# Fields that may differ between the two halves of an interrupted trial: the numbers then agree up to rounding, not bit
# for bit. All other fields must be equal. `threads` is checked separately, see Trainer.
RECIPE_FIELDS = ("micro_batch", "checkpoint_layers", "precision", "device", "threads")


@dataclass(frozen=True)
class TrainConfig:
    """Training parameters of one trial, and its recipe (last block), which a memory plan may choose."""

    learning_rate: float = 3e-4
    weight_decay: float = 1e-3  # decoupled, on matrices only
    warmup_steps: int = 100  # optimizer steps; if longer than the whole run, the peak rate is never reached
    max_epochs: int = 50
    max_steps: int | None = None  # ends the run early; the schedule stays that of max_epochs
    patience: int = 10  # epochs without an improvement of min_delta
    min_delta: float = 0.001
    effective_batch: int = 256  # windows per optimizer step
    loss: str = "bce"
    focal_gamma: float = 2.0
    pos_weight: float | None = None  # weight of a rise relative to a non-rise
    objective: str = "val_loss"
    grad_clip: float = 1.0  # 0: off
    seed: int = 0

    micro_batch: int = 128  # windows in memory at a time; on a CPU 64 or 128 beat 256 by 5-25 % (cache)
    optimizer: str = "adamw"
    fused_backward: bool = False  # step each parameter inside backward: never holds all gradients
    checkpoint_layers: bool = False  # keep only layer inputs, recompute the rest in backward
    precision: str = "fp32"
    device: str = "cpu"
    threads: int | None = None  # set by the caller; None: unknown

    def __post_init__(self) -> None:
        for name in ("max_epochs", "patience", "effective_batch", "micro_batch"):
            _whole(name, getattr(self, name), 1)
        for name in ("warmup_steps", "seed"):
            _whole(name, getattr(self, name), 0)
        for name in ("max_steps", "threads"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1)
        for name in ("weight_decay", "min_delta", "grad_clip", "focal_gamma"):
            _number(name, getattr(self, name), above=False)
        _number("learning_rate", self.learning_rate, above=True)
        if self.pos_weight is not None:
            _number("pos_weight", self.pos_weight, above=True)
        _one_of("loss", self.loss, LOSSES)
        _one_of("objective", self.objective, OBJECTIVES)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("precision", self.precision, PRECISIONS)
        if self.loss == "softauc" and self.pos_weight is not None:
            raise ValueError(
                "pos_weight has no meaning with loss softauc: each of its pairs has one rise; leave it out"
            )
        if self.micro_batch > self.effective_batch:
            raise ValueError(f"micro_batch {self.micro_batch} is larger than effective_batch {self.effective_batch}")
        if self.fused_backward and self.micro_batch != self.effective_batch:
            raise ValueError(
                "fused_backward steps inside the backward pass and cannot accumulate: "
                f"effective_batch {self.effective_batch} must equal micro_batch {self.micro_batch}"
            )

    @property
    def accumulation(self) -> int:
        """Number of micro-batches in a full optimizer step."""
        return math.ceil(self.effective_batch / self.micro_batch)

    def batch_line(self) -> str:
        """Returns `batch=64x4`, as in the logs of the earlier scripts."""
        return f"batch={self.micro_batch}x{self.accumulation}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of to_json; raises TypeError for an unknown field, ValueError for a value out of range."""
        return cls(**values)


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _number(name: str, value: Any, above: bool) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if value < 0 or (above and value == 0):
        raise ValueError(f"{name} must be {'above' if above else 'at least'} 0, got {value!r}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
