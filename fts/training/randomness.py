"""Random numbers as pure functions of their place of use, and the global random states for a checkpoint."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

ORDER, DROPOUT = 1, 2  # streams: the same (seed, number) must not give the same numbers twice


def permutation(n: int, seed: int, epoch: int) -> Tensor:
    """Returns the order of n training windows in an epoch, int64[n]."""
    generator = torch.Generator().manual_seed(_derive(seed, ORDER, epoch))
    return torch.randperm(n, generator=generator)


def dropout_seed(seed: int, step: int, micro_batch: int) -> int:
    """Returns the dropout seed of a micro-batch, 0 .. 2^63 - 1."""
    return _derive(seed, DROPOUT, step, micro_batch)


def _derive(*numbers: int) -> int:
    words = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def python_states() -> dict[str, Any]:
    """Returns the states of Python's and numpy's global generators, as JSON."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
    }


def restore_python(states: dict[str, Any]) -> None:
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))


def torch_states() -> Iterator[tuple[str, Tensor]]:
    """Yields the states of torch's global generators, by device."""
    yield "cpu", torch.get_rng_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            yield f"cuda{index}", state


def restore_torch(device: str, state: Tensor) -> None:
    if device == "cpu":
        torch.set_rng_state(state)
    elif torch.cuda.is_available() and int(device.removeprefix("cuda")) < torch.cuda.device_count():
        torch.cuda.set_rng_state(state, int(device.removeprefix("cuda")))
