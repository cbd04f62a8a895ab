"""Calculates the bytes of a training step, and finds the fastest recipe within a memory limit.

    plan(shape, effective_batch=256, limit=20 << 30).recipe   # Recipe(micro_batch=256, ...), or raises CannotFit

Imports no torch: the worker and `fts plan` call it before any trial process starts. The constants were fitted to peaks
of fresh processes (VmHWM of two optimizer steps and a validation pass); `python -m benchmarks.memory` repeats that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MiB = 1 << 20
FLOAT = 4  # bytes

# A process with torch and pandas imported and its data loaded; on a GPU, its context and libraries.
BASE_BYTES = {"cpu": 300 * MiB, "mps": 300 * MiB, "cuda": 600 * MiB}
COMPILER_BYTES = 80 * MiB  # torch._dynamo, which Adafactor and recomputed layers import, and our AdamW does not
FIRST_STEP_BYTES = 95 * MiB  # memory of the first step on a CPU: code pages and buffers of the matrix library, autograd

SAVED_PER_TOKEN = 12.4  # floats per token and d_model that a layer keeps besides its feed-forward: stream, q, k, v ...
GELU_PER_TOKEN = 2  # floats per token and d_ff: before and after the activation function
CHECKPOINT_PER_TOKEN = 1  # floats per token and d_model: a recomputed layer keeps its input

# glibc's heap keeps holes where short-lived activations were between gradients and optimizer state that stay.
NOT_REUSED = 0.65  # share of the smaller of activations and gradients that is not reused by the other
HOLES = 0.45  # share of the activations lost in holes, with micro-batches beside gradients
HOLES_OF_RECOMPUTED = 0.5, 0.7  # shares of gradients and optimizer state, and of a layer's activations, if recomputed
HOLES_AT_MOST = 384 * MiB  # larger holes are reused by the next micro-batch or layer
MAPPED_ABOVE = 32 * MiB  # glibc maps larger blocks separately, which leaves no holes

# Relative seconds of a step, only for ranking recipes.
ROWS_AT_HALF_SPEED = 64  # tokens in a micro-batch at which a matrix product has about half its best speed
ROWS_IN_CACHE = {"cpu": 2048}  # above this number of tokens activations do not fit into the processor's cache ...
OUT_OF_CACHE = 1.15  # ... which cost 5-25 % (benchmarks.trainer)
RECOMPUTE = 4 / 3  # forward twice and backward once instead of once and once


class Architecture(Protocol):
    """The encoder's shape, as in fts.model.architecture.Architecture."""

    @property
    def d_model(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def d_ff(self) -> int: ...


class CannotFit(MemoryError):
    """No recipe trains this model within the limit; `needed` is the smallest number of bytes."""

    def __init__(self, needed: int, limit: int, recipe: Recipe) -> None:
        super().__init__(f"needs {in_gb(needed)} at the least ({recipe.words()}), {in_gb(limit)} allowed")
        self.needed, self.limit, self.recipe = needed, limit, recipe


@dataclass(frozen=True)
class Shape:
    """The parts of a model and its windows that decide bytes and time."""

    n_params: int
    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    tokens: int  # per window; with channel_independent, of all features
    window: int  # numbers in a window: features x days
    patch_numbers: int  # numbers in a window's patches; more than `window`, because patches overlap
    largest: int  # parameters of the largest matrix
    models: int = 1  # models that a trial trains in turns, one per fold, each with its weights and optimizer state

    @property
    def flops_per_window(self) -> float:
        """Operations of forward and backward: 6 per layer weight and token, and the attention's two products."""
        layer = 4 * self.d_model**2 + 2 * self.d_model * self.d_ff
        attention = 2 * self.tokens * self.d_model
        return 6.0 * self.tokens * self.n_layers * (layer + attention)


@dataclass(frozen=True)
class Recipe:
    """How an optimizer step is carried out; `to_json` returns its fields of TrainConfig."""

    micro_batch: int
    effective_batch: int
    checkpoint_layers: bool = False
    optimizer: str = "adamw"
    fused_backward: bool = False
    precision: str = "fp32"

    @property
    def accumulation(self) -> int:
        """Number of micro-batches in an optimizer step."""
        return -(-self.effective_batch // self.micro_batch)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "effective_batch"}

    @classmethod
    def from_json(cls, values: dict[str, Any], effective_batch: int) -> Recipe:
        """Returns the recipe of a stored trial. Missing fields get defaults, micro_batch the whole batch."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        return cls(**{"micro_batch": effective_batch, **known, "effective_batch": effective_batch})

    def words(self) -> str:
        """Returns text such as `batch=64x4, layers recomputed, adafactor inside backward`."""
        parts = [f"batch={self.micro_batch}x{self.accumulation}"]
        parts += ["layers recomputed"] * self.checkpoint_layers
        parts += [self.optimizer + " inside backward" * self.fused_backward] * (self.optimizer != "adamw")
        parts += [self.precision] * (self.precision != "fp32")
        return ", ".join(parts)


@dataclass(frozen=True)
class Estimate:
    """Peak bytes of training, by part."""

    base: int  # the process before it has a model
    weights: int
    gradients: int  # those held at the peak of the activations
    optimizer: int
    activations: int
    temporary: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class MemoryPlan:
    """The chosen recipe and its expected bytes."""

    recipe: Recipe
    estimate: Estimate


def shape_of(
    architecture: Architecture,
    n_params: int,
    n_features: int,
    n_patches: int,
    patch: int,
    context: int,
    channel_independent: bool = False,
    models: int = 1,
) -> Shape:
    """Returns the shape of `models` models of `n_params` parameters each, for windows of n_features x context."""
    a = architecture
    width = patch * (1 if channel_independent else n_features)
    return Shape(
        n_params=n_params,
        d_model=a.d_model,
        n_layers=a.n_layers,
        n_heads=a.n_heads,
        d_ff=a.d_ff,
        tokens=n_patches * (n_features if channel_independent else 1),
        window=n_features * context,
        patch_numbers=n_patches * patch * n_features,
        largest=max(3 * a.d_model**2, a.d_model * a.d_ff, width * a.d_model),
        models=models,
    )


def plan(
    shape: Shape, effective_batch: int, limit: int, device: str = "cpu", precisions: Sequence[str] = ("fp32",)
) -> MemoryPlan:
    """Returns the fastest recipe within `limit` bytes, tried from the fastest to the smallest.

    precisions: those to try, the preferred first. The optimizer changes only if no recipe with AdamW fits in any
    precision, because it changes results.
    Raises CannotFit with the bytes of the smallest recipe.
    """
    smallest: MemoryPlan | None = None
    for recipe in recipes(shape, effective_batch, device, precisions):
        found = MemoryPlan(recipe, estimate(shape, recipe, device))
        if found.estimate.total <= limit:
            return found
        if smallest is None or found.estimate.total < smallest.estimate.total:
            smallest = found
    assert smallest is not None, "there is always a recipe to try"
    raise CannotFit(smallest.estimate.total, limit, smallest.recipe)


def recipes(
    shape: Shape, effective_batch: int, device: str = "cpu", precisions: Sequence[str] = ("fp32",)
) -> Iterator[Recipe]:
    """Yields every useful recipe in the order to try them: recipes that change results least come first."""
    usual = [Recipe(micro, effective_batch, again) for micro in halvings(effective_batch) for again in (False, True)]
    lean = [Recipe(effective_batch, effective_batch, again, "adafactor", True) for again in (False, True)]
    accumulated = [replace(recipe, optimizer="adafactor") for recipe in usual if recipe.checkpoint_layers]
    for group in (usual, lean, accumulated):
        fast_first = sorted(group, key=lambda recipe: relative_seconds(shape, recipe, device))
        for precision in precisions:
            yield from (replace(recipe, precision=precision) for recipe in fast_first)


def smaller(recipe: Recipe) -> Recipe | None:
    """Returns the next smaller recipe for a trial in progress, with the same effective batch and optimizer, or None.

    Halves the micro-batch, unless the step is taken inside backward, which cannot accumulate; then recomputes layers.
    """
    if recipe.micro_batch > 1 and not recipe.fused_backward:
        return replace(recipe, micro_batch=-(-recipe.micro_batch // 2))
    return None if recipe.checkpoint_layers else replace(recipe, checkpoint_layers=True)


def estimate(shape: Shape, recipe: Recipe, device: str = "cpu", base: int | None = None) -> Estimate:
    """Returns the peak bytes of an optimizer step, by part, with the optimizer's state present.

    During backward activations shrink while gradients grow, so without accumulation only the larger of the two counts;
    with accumulation the gradients of earlier micro-batches exist when the activations of the next one peak.
    With several models all weights and states stay, while one of them is in its step.
    """
    weights = FLOAT * shape.n_params
    device = device.partition(":")[0]  # cuda:1 is like cuda
    saved, state = activation_bytes(shape, recipe, device), optimizer_bytes(shape, recipe)
    holes = 0.0
    if recipe.fused_backward:
        gradients = FLOAT * shape.largest
    elif recipe.accumulation > 1:
        gradients, holes = weights, HOLES * saved
    else:
        gradients, holes = max(0, weights - saved), NOT_REUSED * min(weights, saved)
    if recipe.checkpoint_layers and not recipe.fused_backward:
        of_state, of_layer = HOLES_OF_RECOMPUTED
        holes = of_state * (weights + state) + of_layer * layer_bytes(shape, recipe, device)
    if recipe.accumulation > 1 or recipe.checkpoint_layers:
        holes = min(holes, HOLES_AT_MOST)
    leaves_holes = device == "cpu" and block_bytes(shape, recipe) < MAPPED_ABOVE
    if base is None:
        brings_compiler = device != "cuda" and (recipe.checkpoint_layers or recipe.optimizer != "adamw")
        base = BASE_BYTES[device] + (COMPILER_BYTES if brings_compiler else 0)
    cast = weights // 2 if recipe.precision == "bf16" else 0  # autocast keeps bf16 copies during a step
    return Estimate(
        base=base,
        weights=shape.models * weights + cast,
        gradients=gradients,
        optimizer=shape.models * state,
        activations=saved,
        temporary=(
            layer_bytes(shape, recipe, device)
            + optimizer_temporaries(shape, recipe)
            + (FIRST_STEP_BYTES if device != "cuda" else 0)
            + (int(holes) if leaves_holes else 0)
        ),
    )


def activation_bytes(shape: Shape, recipe: Recipe, device: str = "cpu") -> int:
    """Bytes that forward keeps for backward, for one micro-batch."""
    per_layer = CHECKPOINT_PER_TOKEN * shape.d_model if recipe.checkpoint_layers else _saved_numbers(shape)
    per_window = shape.tokens * (shape.n_layers * per_layer + 4 * shape.d_model) + shape.window + shape.patch_numbers
    return int(FLOAT * _precision_factor(recipe, device) * recipe.micro_batch * per_window)


def layer_bytes(shape: Shape, recipe: Recipe, device: str = "cpu") -> int:
    """Bytes of one layer besides the saved ones: its gradients, and if recomputed all its activations again."""
    rows = recipe.micro_batch * shape.tokens
    gradients = 2 * shape.d_ff + 4 * shape.d_model
    again = _saved_numbers(shape) if recipe.checkpoint_layers else 0.0
    return int(FLOAT * _precision_factor(recipe, device) * rows * (gradients + again))


def block_bytes(shape: Shape, recipe: Recipe) -> int:
    """Bytes of a typical tensor of a layer."""
    return FLOAT * recipe.micro_batch * shape.tokens * shape.d_model


def optimizer_bytes(shape: Shape, recipe: Recipe) -> int:
    """Bytes of optimizer state: AdamW keeps two numbers per weight; Adafactor a row and a column of each matrix."""
    if recipe.optimizer == "adamw":
        return 2 * FLOAT * shape.n_params
    per_layer = 2 * (4 * shape.d_model + 2 * shape.d_ff) + 10 * shape.d_model
    return FLOAT * shape.n_layers * per_layer


def optimizer_temporaries(shape: Shape, recipe: Recipe) -> int:
    """Temporary bytes: none for AdamW; Adafactor needs squares, estimate and update of one matrix at a time."""
    return 3 * FLOAT * shape.largest if recipe.optimizer == "adafactor" else 0


def relative_seconds(shape: Shape, recipe: Recipe, device: str = "cpu") -> float:
    """Seconds of a step relative to its best possible speed; for ranking."""
    rows = recipe.micro_batch * shape.tokens
    slow = 1 + ROWS_AT_HALF_SPEED / rows
    if rows > ROWS_IN_CACHE.get(device, rows):
        slow *= OUT_OF_CACHE
    return slow * (RECOMPUTE if recipe.checkpoint_layers else 1.0)


def step_seconds(shape: Shape, recipe: Recipe, flops: float, device: str = "cpu") -> float:
    """Seconds of an optimizer step if training reaches at best `flops` operations per second."""
    return recipe.effective_batch * shape.flops_per_window * relative_seconds(shape, recipe, device) / flops


def halvings(number: int) -> list[int]:
    """Returns number, its half, ... 1, rounded up."""
    found = [number]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return found


def in_gb(count: int) -> str:
    """Formats bytes: 1.9 GB, with GB of 2^30 bytes, as memory is sold."""
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count / MiB:.0f} MB"


def _saved_numbers(shape: Shape) -> float:
    """Floats per token that one layer keeps for its backward pass."""
    return SAVED_PER_TOKEN * shape.d_model + GELU_PER_TOKEN * shape.d_ff


def _precision_factor(recipe: Recipe, device: str) -> float:
    """Returns the factor on saved bytes: bf16 halves those of matrix products; norms, masks and stream stay fp32.

    On a CPU attention is fp32, too, and its casts are kept as well: nothing is saved (docs/LOG.md).
    """
    return 0.65 if recipe.precision == "bf16" and device != "cpu" else 1.0
