"""Applies gradients: all at once after backward, or parameter by parameter inside it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adafactor
from torch.optim.adamw import adamw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fts.training.config import TrainConfig


class Stepper(Protocol):
    """An optimizer as the training loop and the checkpoint use it."""

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of the next step; called before its backward pass."""

    def step(self) -> None:
        """Applies the gradients of the backward passes and frees them."""

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Yields every state tensor as (`parameter/key`, tensor), one at a time and without a copy."""

    def restore(self, name: str, value: Tensor) -> None:
        """Restores one tensor of state()."""


class Optimizer(Protocol):
    """The parts of torch's optimizers that the steppers use."""

    param_groups: list[dict[str, Any]]
    state: Any  # parameter -> name -> tensor

    def step(self) -> Any: ...


def make_stepper(model: nn.Module, config: TrainConfig) -> Stepper:
    return SteppedInBackward(model, config) if config.fused_backward else SteppedAfterBackward(model, config)


class SteppedAfterBackward:
    """The usual method: holds gradients of all parameters, clips them by their common norm, then applies them."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.parameters = dict(model.named_parameters())
        self.grad_clip = config.grad_clip
        matrices = [p for p in self.parameters.values() if p.dim() > 1]
        vectors = [p for p in self.parameters.values() if p.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = _optimizer(groups, config)

    def set_rate(self, rate: float) -> None:
        _set_rate(self.optimizer, rate)

    def step(self) -> None:
        if self.grad_clip:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.grad_clip)
        self.optimizer.step()
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.parameters.items():
            yield from _state(self.optimizer, name, parameter)

    def restore(self, name: str, value: Tensor) -> None:
        parameter, key = name.rsplit("/", 1)
        self.optimizer.state.setdefault(self.parameters[parameter], {})[key] = value


class SteppedInBackward:
    """Saves memory: steps each parameter as soon as its gradient is computed, and frees the gradient.

    The common norm of all gradients is never known, so grad_clip bounds each parameter's own gradient instead. A step
    cannot be reverted, so gradients cannot be accumulated over micro-batches (TrainConfig refuses it).
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.parameters = dict(model.named_parameters())
        self.grad_clip = config.grad_clip
        self.optimizers: dict[nn.Parameter, Optimizer] = {}
        for parameter in self.parameters.values():
            group = {"params": [parameter], **({"weight_decay": 0.0} if parameter.dim() <= 1 else {})}
            self.optimizers[parameter] = _optimizer([group], config)
            parameter.register_post_accumulate_grad_hook(self._hook())

    def _hook(self) -> Callable[[Tensor], None]:
        """Returns a hook with a weak reference to self: Python's garbage collector does not see the cycle
        parameter -> hook -> self -> parameter through torch, so a process would keep every model it ever trained.
        """
        this = weakref.ref(self)

        def hook(parameter: Tensor) -> None:
            if (living := this()) is not None:
                living._step_one(parameter)

        return hook

    def _step_one(self, parameter: Tensor) -> None:
        if self.grad_clip:
            nn.utils.clip_grad_norm_([parameter], self.grad_clip)
        self.optimizers[parameter].step()  # type: ignore[index]  # the hook's argument is the Parameter itself
        parameter.grad = None

    def set_rate(self, rate: float) -> None:
        for optimizer in self.optimizers.values():
            _set_rate(optimizer, rate)

    def step(self) -> None:
        """Does nothing, because backward has already stepped."""

    def state(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.parameters.items():
            yield from _state(self.optimizers[parameter], name, parameter)

    def restore(self, name: str, value: Tensor) -> None:
        parameter, key = name.rsplit("/", 1)
        self.optimizers[self.parameters[parameter]].state.setdefault(self.parameters[parameter], {})[key] = value


def _optimizer(groups: list[dict[str, Any]], config: TrainConfig) -> Optimizer:
    if config.optimizer != "adafactor":
        return FusedAdamW(groups, config)
    # foreach=False: one parameter's temporaries at a time, not all of them
    factored = Adafactor(groups, lr=config.learning_rate, weight_decay=config.weight_decay, foreach=False)
    for group in factored.param_groups:
        for parameter in group["params"]:
            factored.state[parameter] = begin_factored(parameter)
    return factored


class FusedAdamW:
    """torch.optim.AdamW(fused=True), bit for bit, on torch's functional form of it.

    torch's class imports torch._dynamo in its first step: a second of each new process's start, for a compiler that
    is not used here.
    """

    def __init__(self, groups: list[dict[str, Any]], config: TrainConfig) -> None:
        usual = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        self.param_groups = [usual | group for group in groups if group["params"]]
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Steps every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in parameters:
                if parameter not in self.state:
                    self.state[parameter] = _begin_adam(parameter)
            states = [self.state[parameter] for parameter in parameters]
            adamw(
                parameters,
                [parameter.grad for parameter in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=1e-8,
                maximize=False,
            )


def _begin_adam(parameter: nn.Parameter) -> dict[str, Tensor]:
    return {
        "step": torch.zeros((), device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def begin_factored(parameter: nn.Parameter) -> dict[str, Tensor]:
    """Returns Adafactor's initial state: row and column of second moments for a matrix, all of them for a vector.

    Made before the first step: within it these small tensors would lie between short-lived activations, whose memory
    could then not be reused: a third more memory for 0.6B parameters of width 1024.
    """
    state = {"step": torch.tensor(0.0)}
    if parameter.dim() == 1:
        return state | {"variance": torch.zeros_like(parameter)}
    *others, rows, columns = parameter.shape
    row_var, col_var = parameter.new_zeros(*others, rows, 1), parameter.new_zeros(*others, 1, columns)
    return state | {"row_var": row_var, "col_var": col_var}


def _set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _state(optimizer: Optimizer, name: str, parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
    for key, value in optimizer.state.get(parameter, {}).items():
        assert isinstance(value, torch.Tensor), f"optimizer state {key} of {name} is a {type(value).__name__}"
        yield f"{name}/{key}", value
