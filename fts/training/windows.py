"""The data of a trial: one matrix in memory, and windows that are views of it."""

# shapes: T days, F features, B windows, W window positions (T - context + 1)

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fts.training.metrics import prior_loss


class DataError(ValueError):
    """A trainer cannot train on these windows, labels or features; the message says which and why."""


@dataclass(frozen=True)
class TrainingData:
    """Features and labels of all days, and the last day of every training and validation window.

    features_TF: float32, one row per day. y_T: float32, 0 or 1 at every window end (NaN elsewhere is allowed).
    train_ends, val_ends: int64 positions of a window's last row; the window is rows end - context + 1 .. end.
    """

    features_TF: Tensor  # noqa: N815  # a tensor carries its shape
    y_T: Tensor  # noqa: N815  # the same
    train_ends: Tensor
    val_ends: Tensor
    context: int

    def __post_init__(self) -> None:
        T = len(self.features_TF)
        if self.features_TF.dtype != torch.float32 or self.y_T.dtype != torch.float32:
            raise DataError(f"features and labels must be float32, got {self.features_TF.dtype} and {self.y_T.dtype}")
        if self.y_T.shape != (T,):
            raise DataError(f"{T} days of features need {T} labels, got shape {tuple(self.y_T.shape)}")
        for name, ends in (("training", self.train_ends), ("validation", self.val_ends)):
            self._check_ends(name, ends, T)

    def _check_ends(self, name: str, ends: Tensor, T: int) -> None:
        if ends.dtype != torch.int64 or ends.dim() != 1 or not len(ends):
            raise DataError(
                f"{name} window ends must be one or more int64 positions, got {ends.dtype} {tuple(ends.shape)}"
            )
        first, last = int(ends.min()), int(ends.max())
        if first < self.context - 1 or last >= T:
            raise DataError(
                f"{name} windows of {self.context} days must end between rows {self.context - 1} and {T - 1}, "
                f"got {first} to {last}"
            )
        y_B = self.y_T[ends]
        if not ((y_B == 0) | (y_B == 1)).all():
            raise DataError(f"{name} labels must be 0 or 1, found {float(y_B[(y_B != 0) & (y_B != 1)][0])}")
        used_TF = self.features_TF[first - self.context + 1 : last + 1]
        if not used_TF.isfinite().all():
            row = int((~used_TF.isfinite().all(1)).nonzero()[0]) + first - self.context + 1
            raise DataError(f"{name} windows read row {row}, which has a feature that is not a finite number")

    def batch(self, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Returns windows [B, F, context] and labels [B] for the given last rows."""
        return self.windows[ends - (self.context - 1)], self.y_T[ends]

    @cached_property
    def windows(self) -> Tensor:
        """Every window [W, F, context], as a view: no day is copied."""
        return self.features_TF.unfold(0, self.context, 1)

    @cached_property
    def prior_loss(self) -> float:
        """Validation cross-entropy of the training base rate."""
        return prior_loss(self.y_T[self.train_ends].cpu().numpy(), self.y_T[self.val_ends].cpu().numpy())

    @cached_property
    def md5(self) -> str:
        """md5 of features, labels and windows: a checkpoint of other data is refused."""
        digest = hashlib.md5(str(self.context).encode(), usedforsecurity=False)
        for tensor in (self.features_TF, self.y_T, self.train_ends, self.val_ends):
            digest.update(tensor.contiguous().cpu().numpy().data)
        return digest.hexdigest()

    def to(self, device: str) -> TrainingData:
        """Returns the same data on the device of the model."""
        if self.features_TF.device == torch.device(device):
            return self
        return TrainingData(
            self.features_TF.to(device),
            self.y_T.to(device),
            self.train_ends.to(device),
            self.val_ends.to(device),
            self.context,
        )
