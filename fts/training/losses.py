"""The losses a trial may train on, as sums over windows, so that micro-batches add up to the batch exactly."""

# shapes: B windows

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from fts.training.config import TrainConfig


def loss_sum(logits_B: Tensor, y_B: Tensor, config: TrainConfig) -> Tensor:
    """Sum over windows of the configured loss (divide by the number of windows for the mean)."""
    losses_B = cross_entropy(logits_B, y_B, config.pos_weight)
    if config.loss == "focal":
        losses_B = losses_B * focal_factor(logits_B, y_B, config.focal_gamma)
    return losses_B.sum()


def cross_entropy(logits_B: Tensor, y_B: Tensor, pos_weight: float | None = None) -> Tensor:
    """Binary cross-entropy of each window from its logit; a rise counts pos_weight times."""
    weight = None if pos_weight is None else logits_B.new_tensor(pos_weight)
    return functional.binary_cross_entropy_with_logits(logits_B, y_B, pos_weight=weight, reduction="none")


def focal_factor(logits_B: Tensor, y_B: Tensor, gamma: float) -> Tensor:
    """(1 - p_t)^gamma with p_t the probability of what happened (Lin et al. 2017, equation 4)."""
    towards_B = logits_B * (2 * y_B - 1)
    return (-gamma * functional.softplus(towards_B)).exp()  # (1 - sigmoid(z))^gamma, with no lost digits
