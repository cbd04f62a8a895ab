"""PatchTST: cuts a window of daily features into patches, encodes them with a transformer, and returns logits."""

# shapes: B batch, C features, T days, N patches, P days in a patch, D width,
# M = B or B*C sequences

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fts.model.architecture import NONE
from fts.model.attention import attend
from fts.model.dropout import add_dropped, branch_masks, drop_mask

if TYPE_CHECKING:
    from fts.model.architecture import ModelConfig


class PatchTST(nn.Module):
    """The study's model. `forward` returns logits; only fts.training.metrics computes probabilities.

    Weights are a pure function of `seed`, dropout of the `dropout_seed` of each call: nothing here reads or changes
    a global random state.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        a = config.architecture
        self.config = config
        token = config.patch * (1 if config.channel_independent else config.n_features)
        head_tokens = config.n_tokens * (config.n_features if config.channel_independent else 1)
        self.embed = Linear(token, a.d_model)
        if config.has_statistics:
            self.embed_statistics = Linear(2 * config.n_features, a.d_model)
        self.position_ND = nn.Parameter(torch.empty(config.n_tokens, a.d_model))
        self.blocks = nn.ModuleList(
            Block(a.d_model, a.n_heads, a.d_ff, config.dropout, index) for index in range(a.n_layers)
        )
        self.norm = nn.LayerNorm(a.d_model)
        self.head = Linear(head_tokens * a.d_model, config.n_outputs)
        if not self.position_ND.is_meta:
            self._initialise(seed)

    def forward(self, x_BCT: Tensor, dropout_seed: int | None = None, checkpoint_layers: bool = False) -> Tensor:
        """Returns logits [B], or [B, n_outputs] if there are several, of raw windows [B, C, T].

        dropout_seed: seed of the dropout masks; None: no dropout (evaluation).
        checkpoint_layers: keep only each layer's input for the backward pass and recompute the rest.
        """
        config = self.config
        B, C, T = x_BCT.shape
        assert config.context == T, f"window has {T} days, the model was built for {config.context}"
        assert config.n_features == C, f"window has {C} features, the model was built for {config.n_features}"
        x_MND = self._tokens(x_BCT) + self.position_ND
        if dropout_seed is not None and config.dropout:
            x_MND = x_MND * drop_mask(x_MND, config.dropout, dropout_seed)
        for block in self.blocks:
            if checkpoint_layers and torch.is_grad_enabled():
                x_MND = checkpoint(block, x_MND, dropout_seed, use_reentrant=False, preserve_rng_state=False)
            else:
                x_MND = block(x_MND, dropout_seed)
        logits: Tensor = self.head(self.norm(x_MND).reshape(B, -1)).squeeze(-1)
        return logits

    def _tokens(self, x_BCT: Tensor) -> Tensor:
        """Returns the embedded patches of the normalised window, followed by its statistics if the norm keeps them."""
        config = self.config
        patches_MND: Tensor = self.embed(self._patches(self._normalised(x_BCT)))
        if not config.has_statistics:
            return patches_MND
        statistics_B1D: Tensor = self.embed_statistics(window_statistics(x_BCT)).unsqueeze(1)
        return torch.cat([patches_MND, statistics_B1D], 1)

    def _normalised(self, x_BCT: Tensor) -> Tensor:
        config = self.config
        if config.norm == NONE:
            return x_BCT
        if not config.is_partial:
            return normalise_window(x_BCT)
        levels = torch.tensor(config.levels, device=x_BCT.device)
        return x_BCT.index_copy(1, levels, normalise_window(x_BCT[:, levels]))

    def _patches(self, x_BCT: Tensor) -> Tensor:
        """Returns tokens [M, N, P*C] (M = B) or, with channel_independent, [M, N, P] with M = B*C."""
        x_BCNP = x_BCT.unfold(-1, self.config.patch, self.config.stride)
        if self.config.channel_independent:
            return x_BCNP.flatten(0, 1)
        return x_BCNP.transpose(1, 2).flatten(2)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Xavier for matrices. The last matrix of each branch is divided by sqrt(2L), so that depth 256 starts stable,
        and the head by ten, so that the first loss is near log(2).
        """
        generator = torch.Generator(self.position_ND.device).manual_seed(seed)
        branch_end = 1 / math.sqrt(2 * len(self.blocks))
        shrink = {"attention_out.weight": branch_end, "ff_out.weight": branch_end, "head.weight": 0.1}
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() == 1:
                parameter.fill_(1.0)  # LayerNorm
            elif name == "position_ND":
                parameter.normal_(0, 0.02, generator=generator)
            else:
                nn.init.xavier_uniform_(parameter, generator=generator)
                parameter.mul_(shrink.get(".".join(name.split(".")[-2:]), 1.0))


class Block(nn.Module):
    """One pre-norm encoder layer: attention, then feed-forward, each added to the residual stream with dropout."""

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float, index: int) -> None:
        super().__init__()
        self.n_heads, self.dropout, self.index = n_heads, dropout, index
        self.attention_norm = nn.LayerNorm(d_model)
        self.qkv = Linear(d_model, 3 * d_model)
        self.attention_out = Linear(d_model, d_model)
        self.ff_norm = nn.LayerNorm(d_model)
        self.ff_in = Linear(d_model, d_ff)
        self.ff_out = Linear(d_ff, d_model)

    def forward(self, x_MND: Tensor, dropout_seed: int | None = None) -> Tensor:
        attention_mask, ff_mask = branch_masks(x_MND, self.dropout, dropout_seed, self.index)
        attended = attend(self.qkv(self.attention_norm(x_MND)), self.n_heads)
        x_MND = add_dropped(x_MND, self.attention_out(attended), attention_mask)
        hidden = functional.gelu(self.ff_in(self.ff_norm(x_MND)))
        return add_dropped(x_MND, self.ff_out(hidden), ff_mask)


class Linear(nn.Linear):
    """A linear layer without its own initialization: the model draws the weights (2B weights take seconds)."""

    def reset_parameters(self) -> None:
        pass


def normalise_window(x_BCT: Tensor) -> Tensor:
    """RevIN without affine part: subtracts mean and divides by standard deviation, per window and feature.

    Price levels differ 6.5-fold between train and test; a window's own scale does not. The first day is subtracted
    before averaging, so that a price of 3,000 or a volume of 1e9 loses no digits. A standard deviation below the
    rounding error of float32 (1e-6 of the level) is replaced by that: a constant feature becomes 0, not noise.
    """
    level_BC1 = x_BCT[..., :1]
    moved_BCT = x_BCT - level_BC1
    centred_BCT = moved_BCT - moved_BCT.mean(-1, keepdim=True)
    spread_BC1 = centred_BCT.square().mean(-1, keepdim=True).sqrt()
    return centred_BCT / torch.maximum(spread_BC1, level_BC1.abs() * 1e-6).clamp_min(1e-12)


def window_statistics(x_BCT: Tensor) -> Tensor:
    """Returns mean and log standard deviation of each feature in each window [B, 2C], which RevIN removes.

    Inputs have a standard deviation of about 1 over all training days; in a window at least 1e-4 is used.
    """
    sd_BC, mean_BC = torch.std_mean(x_BCT, -1, correction=0)
    return torch.cat([mean_BC, sd_BC.clamp_min(1e-4).log()], 1)
