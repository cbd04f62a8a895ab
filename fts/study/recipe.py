"""Chooses the recipe of a trial: the memory plan of fts.training.memory for a cell and an architecture.

Imports neither torch nor pandas: the worker needs it before a process starts, `fts plan` for hundreds of architectures.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import BadSpec
from fts.jobs.devices import index_of, kind_of
from fts.model.architecture import PARTIAL, Architecture, ModelConfig
from fts.model.budgets import count_parameters
from fts.training import memory
from fts.training.memory import CannotFit, Estimate, MemoryPlan, Recipe, Shape

if TYPE_CHECKING:
    from fts.study.cell import CellSpec

# tier -> number of features per day; not imported from fts.features, which loads pandas and TA-Lib (a test compares)
FEATURES = {"a20": 20, "a25": 25, "c": 33, "r20": 20, "a39": 39}
_OF_A20 = (0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 19)  # indices of features in units of price or volume
_OF_A25 = (0, 1, 2, 3, 4, *(5 + n for n in _OF_A20))  # also for c and a39, which begin with a25
LEVELS: dict[str, tuple[int, ...]] = {"a20": _OF_A20, "a25": _OF_A25, "c": _OF_A25, "r20": (), "a39": _OF_A25}
FOLD_KINDS = ("cell", "replicate")  # kinds of jobs whose trials train a model for each fold of `cv`


def plan_recipe(cell: CellSpec, architecture: str, limit: int, device: str) -> MemoryPlan:
    """Returns the fastest recipe of one architecture within `limit` bytes. Raises CannotFit with the bytes."""
    return plan_for(cell, _config(cell, architecture), limit, device)


def plan_for(cell: CellSpec, config: ModelConfig, limit: int, device: str) -> MemoryPlan:
    """Returns the fastest recipe of a model's configuration within `limit` bytes. Raises CannotFit."""
    shape = shape_of(config, models_of(cell))
    return memory.plan(shape, cell.effective_batch, limit, device, precisions(cell.precision, device))


def precisions(wanted: str, device: str) -> tuple[str, ...]:
    """Returns the precisions of matrix products to try, the preferred first; weights and optimizer always stay fp32.

    auto: bf16 if the machine is fast at it. On the study's cells it changed no validation loss by more than 0.0005
    and trained 1.1 to 1.8 times as fast on a processor (docs/LOG.md). A GPU then does not need fp32; on a processor
    fp32 may fit where bf16 does not, because bf16 keeps a second copy of the weights.
    """
    if wanted != "auto":
        return (wanted,)
    if not good_at_bf16(device):
        return ("fp32",)
    return ("bf16",) if device.startswith("cuda") else ("bf16", "fp32")


def predict(config: ModelConfig, recipe: Recipe, device: str, models: int = 1) -> Estimate:
    """Predicts the peak bytes of training with this recipe, by part; `models` as in `models_of`."""
    return memory.estimate(shape_of(config, models), recipe, device)


def models_of(cell: CellSpec) -> int:
    """Returns the number of models that a trial of the cell holds at once: one per walk-forward fold."""
    return cell.folds if cell.kind in FOLD_KINDS else 1


def fitted(cell: CellSpec, architecture: str, limit: int, device: str, stored: dict[str, Any]) -> MemoryPlan:
    """Returns the stored recipe of a resumed trial, reduced until it fits. Raises CannotFit with the bytes.

    The optimizer stays, because the checkpoint holds its state.
    """
    shape = cell_shape(cell, architecture)
    recipe: Recipe | None = Recipe.from_json(stored, cell.effective_batch)
    while recipe is not None:
        found = MemoryPlan(recipe, memory.estimate(shape, recipe, device))
        if found.estimate.total <= limit:
            return found
        recipe = memory.smaller(recipe)
    raise CannotFit(found.estimate.total, limit, found.recipe)


def shrunk(cell: CellSpec, stored: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the stored recipe with the next smaller memory, for a trial over its limit; None if there is none."""
    smaller = memory.smaller(Recipe.from_json(stored, cell.effective_batch))
    return None if smaller is None else stored | smaller.to_json()


def model_config(cell: CellSpec, architecture: str, n_features: int, dropout: float = 0.0) -> ModelConfig:
    """Returns the model's configuration for a trial of the cell."""
    return ModelConfig(
        Architecture.parse(architecture),
        n_features=n_features,
        context=cell.context,
        patch=cell.patch,
        stride=cell.stride,
        dropout=dropout,
        norm=cell.norm,
        channel_independent=cell.channel_independent,
        levels=LEVELS.get(cell.tier, ()) if cell.norm.startswith(PARTIAL) else (),
    )


def cell_shape(cell: CellSpec, architecture: str) -> Shape:
    """Returns bytes and work of one architecture of a cell. Raises BadSpec for an unknown tier."""
    return shape_of(_config(cell, architecture), models_of(cell))


def shape_of(config: ModelConfig, models: int = 1) -> Shape:
    """Returns the fields of a model's configuration that decide its bytes."""
    return memory.shape_of(
        config.architecture,
        count_parameters(config),
        config.n_features,
        config.n_tokens,
        config.patch,
        config.context,
        config.channel_independent,
        models,
    )


def _config(cell: CellSpec, architecture: str) -> ModelConfig:
    if cell.tier not in FEATURES:
        raise BadSpec(f"tier {cell.tier!r} is unknown to the memory plan; it knows {', '.join(FEATURES)}")
    return model_config(cell, architecture, FEATURES[cell.tier])


@lru_cache(maxsize=4)
def good_at_bf16(device: str) -> bool:
    """Whether the processor has bf16 products (twice as fast, docs/LOG.md), or the GPU compute capability 8."""
    if device == "cpu":
        try:
            flags = Path("/proc/cpuinfo").read_text()
        except OSError:
            return False
        return "amx_bf16" in flags or "avx512_bf16" in flags
    if kind_of(device) != "cuda":
        return False
    import pynvml  # here, not above: only machines with a GPU need it

    from fts.jobs.sensors.detect import gpu_handle, visible_gpu

    try:
        pynvml.nvmlInit()
        gpu = gpu_handle(pynvml, visible_gpu(os.environ, index_of(device)))
        return bool(pynvml.nvmlDeviceGetCudaComputeCapability(gpu)[0] >= 8)
    except pynvml.NVMLError:
        return False
