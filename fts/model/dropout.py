"""Dropout with a mask that is a pure function of a seed: fast on a CPU, and equal after a resume or a recompute."""

# shapes: M sequences, N tokens, D width

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

LEVELS = 256  # one random byte per activation, so a rate is rounded to 1/256 (0.1 -> 26/256 = 0.1016)


def branch_masks(x_MND: Tensor, rate: float, seed: int | None, layer: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Returns two masks like x, of 0 and 1/(1-rate), for the two branches of a layer; (None, None) without dropout.

    torch's own dropout takes 10 ns per element on a CPU (bernoulli from one Mersenne word each), as long as a matrix
    product of the narrow shapes; one random word for eight takes 1.3 ns per element.
    """
    if seed is None or not rate:
        return None, None
    masks = _draw((2, *x_MND.shape), rate, _mix(seed, layer + 1), x_MND)
    return masks[0], masks[1]


def drop_mask(x_MND: Tensor, rate: float, seed: int) -> Tensor:
    """Returns one mask like x, of 0 and 1/(1-rate)."""
    return _draw(tuple(x_MND.shape), rate, _mix(seed, 0), x_MND)


def add_dropped(x_MND: Tensor, branch_MND: Tensor, mask_MND: Tensor | None) -> Tensor:
    """Returns x + branch * mask in one pass over memory."""
    return x_MND + branch_MND if mask_MND is None else torch.addcmul(x_MND, branch_MND, mask_MND)


def _draw(shape: tuple[int, ...], rate: float, seed: int, like: Tensor) -> Tensor:
    n = 1
    for size in shape:
        n *= size
    random_bytes = _one_by_one if like.device.type == "mps" else _by_words
    drawn = random_bytes(n, like.device, _generator(like.device).manual_seed(seed))
    # compared as floats: torch compares bytes into bools one at a time, and also converts bools to floats slowly (6x)
    kept = drawn.view(shape).to(like.dtype).ge_(_threshold(rate))
    return kept.mul_(LEVELS / (LEVELS - _threshold(rate)))


def _by_words(n: int, device: torch.device, generator: torch.Generator) -> Tensor:
    words = torch.empty(-(-n // 8), dtype=torch.int64, device=device)
    return words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:n]


def _one_by_one(n: int, device: torch.device, generator: torch.Generator) -> Tensor:
    """For MPS, which refuses to draw from all values of an int64."""
    return torch.empty(n, dtype=torch.uint8, device=device).random_(0, LEVELS, generator=generator)


def _threshold(rate: float) -> int:
    return min(round(rate * LEVELS), LEVELS - 1)


def _mix(seed: int, layer: int) -> int:
    """Returns a 32-bit seed for one layer of one call (torch's CPU generator reads 32 bits): splitmix64, folded."""
    z = (seed + layer * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) & 0xFFFFFFFF


@cache
def _generator(device: torch.device) -> torch.Generator:
    return torch.Generator(device)  # seeded before every draw, so sharing it is safe
