"""Lists the architectures of each budget, and counts their parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from fts.model.architecture import PARTIAL, REVIN, Architecture, ModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGETS = {  # label -> nominal number of parameters; the counted number is within TOLERANCE
    "tiny": 16_000,  # for tests: a few fixed shapes; a whole trial takes about a second
    "2M": 2_000_000,
    "20M": 20_000_000,
    "200M": 200_000_000,
    "2B": 2_000_000_000,
}
TOLERANCE = 0.25

WIDTHS = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
DEPTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 180, 192, 256)
HEADS = (2, 4, 8, 16, 32)
FF_RATIOS = (2, 4)

TINY = (
    Architecture(16, 1, 2, 32),
    Architecture(16, 2, 4, 64),
    Architecture(24, 1, 4, 96),
    Architecture(24, 2, 2, 48),
    Architecture(32, 1, 4, 64),
)


def count_parameters(config: ModelConfig) -> int:
    """Returns the number of trainable parameters, by the study's formula.

    (pF*d + d) + N*d + L*(4d^2 + 4d + 4d + 2*d*ff + ff + d) + 2d + (d*N*C + C) with p days in a patch, F features,
    N patches, C outputs. With channel_independent a token holds one feature (F = 1 in the first term) and the head
    sees F*N tokens. RevIN has no weights here (no affine part), so the formula is exact with it. A token of
    statistics (2F numbers) adds its embedding, its position, and its place in the head.
    """
    a = config.architecture
    d, ff, N = a.d_model, a.d_ff, config.n_tokens
    token_features = 1 if config.channel_independent else config.n_features
    head_tokens = N * config.n_features if config.channel_independent else N
    embedding = config.patch * token_features * d + d + N * d
    if config.has_statistics:
        embedding += 2 * config.n_features * d + d
    layer = 4 * d * d + 4 * d + 4 * d + 2 * d * ff + ff + d
    head = d * head_tokens * config.n_outputs + config.n_outputs
    return embedding + a.n_layers * layer + 2 * d + head


def weight_shapes(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields name and shape of each weight without building the model, so that a file can be checked first."""
    a = config.architecture
    d, ff, N = a.d_model, a.d_ff, config.n_tokens
    features = config.n_features if config.channel_independent else 1
    yield "position_ND", (N, d)
    yield from _linear("embed", config.patch * (1 if config.channel_independent else config.n_features), d)
    if config.has_statistics:
        yield from _linear("embed_statistics", 2 * config.n_features, d)
    for n in range(a.n_layers):
        block = f"blocks.{n}"
        for norm in ("attention_norm", "ff_norm"):
            yield f"{block}.{norm}.weight", (d,)
            yield f"{block}.{norm}.bias", (d,)
        for name, inner, outer in (("qkv", d, 3 * d), ("attention_out", d, d), ("ff_in", d, ff), ("ff_out", ff, d)):
            yield from _linear(f"{block}.{name}", inner, outer)
    yield "norm.weight", (d,)
    yield "norm.bias", (d,)
    yield from _linear("head", N * features * d, config.n_outputs)


def _linear(name: str, inner: int, outer: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outer, inner)
    yield f"{name}.bias", (outer,)


@lru_cache(maxsize=64)
def grid(
    budget: str,
    n_features: int = 25,
    context: int = 80,
    patch: int = 10,
    stride: int = 5,
    channel_independent: bool = False,
    norm: str = "revin",
) -> tuple[Architecture, ...]:
    """Every architecture whose counted parameters lie within 25 % of the budget, ordered by width, depth, heads, ff.

    Raises ValueError for an unknown budget. At 25 features: 80 / 75 / 125 / 75 for 2M / 20M / 200M / 2B.
    """
    if budget not in BUDGETS:
        raise ValueError(f"unknown budget {budget!r}; there are {', '.join(BUDGETS)}")
    if budget == "tiny":
        return TINY
    shapes = (
        Architecture(d, n_layers, n_heads, ratio * d)
        for d in WIDTHS
        for n_layers in DEPTHS
        for n_heads in HEADS
        if d % n_heads == 0
        for ratio in FF_RATIOS
    )
    return tuple(
        shape
        for shape in shapes
        if fits(budget, count_parameters(_config(shape, n_features, context, patch, stride, channel_independent, norm)))
    )


def fits(budget: str, n_params: int) -> bool:
    """Whether a counted size fits the budget (tiny is a set of shapes and fits any size)."""
    return budget == "tiny" or abs(n_params / BUDGETS[budget] - 1) <= TOLERANCE


def _config(
    shape: Architecture, n_features: int, context: int, patch: int, stride: int, channel_independent: bool, norm: str
) -> ModelConfig:
    """Returns a config for counting: the features that a partial norm changes do not matter."""
    return ModelConfig(
        shape,
        n_features,
        context=context,
        patch=patch,
        stride=stride,
        channel_independent=channel_independent,
        norm=norm.replace(PARTIAL, REVIN),
    )
