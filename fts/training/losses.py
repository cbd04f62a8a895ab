"""The training losses, as sums over windows, so that micro-batches add up to the batch exactly.

A loss of pairs does not add up over micro-batches: `of_pairs` says which loss it is, and `logit_gradient` gives the
gradient of the whole batch.
"""

# shapes: B windows, P rises, N windows without one

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from fts.training.config import TrainConfig


def loss_sum(logits_B: Tensor, y_B: Tensor, config: TrainConfig) -> Tensor:
    """Returns the sum over windows of the configured loss (divide by the number of windows for the mean)."""
    if config.loss == "softauc":
        return soft_auc(logits_B, y_B) * len(y_B)
    losses_B = cross_entropy(logits_B, y_B, config.pos_weight)
    if config.loss == "focal":
        losses_B = losses_B * focal_factor(logits_B, y_B, config.focal_gamma)
    return losses_B.sum()


def cross_entropy(logits_B: Tensor, y_B: Tensor, pos_weight: float | None = None) -> Tensor:
    """Returns the binary cross-entropy of each window from its logit; a rise counts pos_weight times."""
    weight = None if pos_weight is None else logits_B.new_tensor(pos_weight)
    return functional.binary_cross_entropy_with_logits(logits_B, y_B, pos_weight=weight, reduction="none")


def focal_factor(logits_B: Tensor, y_B: Tensor, gamma: float) -> Tensor:
    """Returns (1 - p_t)^gamma with p_t the probability of the true class (Lin et al. 2017, equation 4)."""
    towards_B = logits_B * (2 * y_B - 1)
    return (-gamma * functional.softplus(towards_B)).exp()  # (1 - sigmoid(z))^gamma, without loss of digits


def soft_auc(logits_B: Tensor, y_B: Tensor) -> Tensor:
    """Returns 1 - mean of sigmoid(z_i - z_j) over all pairs of a rise i and a window j without one; 0 without pairs.

    The AUC is the share of pairs in the right order (Wilcoxon, Mann, Whitney); here a sigmoid replaces the step:
    Herschtal and Raskutti 2004, Optimising area under the ROC curve using gradient descent (ICML). A shift of all
    logits changes nothing, so a model of this loss ranks windows and has no probabilities.
    """
    rises_P, others_N = logits_B[y_B > 0.5], logits_B[y_B <= 0.5]
    if not len(rises_P) or not len(others_N):
        return logits_B.sum() * 0  # keeps a gradient, of zeros
    return torch.sigmoid(others_N - rises_P.unsqueeze(1)).mean()


def of_pairs(config: TrainConfig) -> bool:
    """Whether the loss compares the windows of a batch with each other."""
    return config.loss == "softauc"


def logit_gradient(logits_B: Tensor, y_B: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Returns the batch's mean loss and its gradient by each logit."""
    free_B = logits_B.detach().requires_grad_()
    loss = loss_sum(free_B, y_B, config) / len(y_B)
    (gradient_B,) = torch.autograd.grad(loss, free_B)
    return loss.detach(), gradient_B
