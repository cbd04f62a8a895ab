"""Callbacks for LightGBM, with its own interface or that of scikit-learn. An epoch is a boosting round.

    callbacks = fts.callbacks.lightgbm(trial, "valid_0-l2")
    lgb.train(params, data, callbacks.rounds(100), valid_sets=[held_out], callbacks=callbacks,
              init_model=callbacks.model)

`callbacks.value` is the metric of the last round. Each round has its own seed, derived from `seed` and the round, so
that a resumed trial draws the same rows and columns. Forests (rf), GOSS, quantized gradients and linear trees cannot be
resumed exactly, so such a trial restarts from the beginning. So does early stopping, which counts rounds in the
process: pass `resume=False` for it.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from fts.jobs.api.spec import seed_for
from fts.jobs.trial.callbacks.epochs import Epochs

SEED_BITS = 31
SEEDS = ("feature_fraction_seed", "extra_seed", "drop_seed")
NOT_RESUMABLE = (  # parameters with which a resumed trial would have other results
    ("boosting", "rf"),
    ("data_sample_strategy", "goss"),
    ("use_quantized_grad", "1"),
    ("linear_tree", "1"),
)
LAST = 100  # order after every callback of LightGBM


class Callbacks(list[Any]):
    """The two callbacks that LightGBM calls, with the model to resume from and the number of rounds left."""

    def __init__(self, trial: Any, monitor: str, every: int = 1, resume: bool = True) -> None:
        library = importlib.import_module("lightgbm")
        self.epochs = Epochs(trial, monitor)
        self.every, self.resume = every, resume
        state = self.epochs.state
        self.model = library.Booster(model_str=state["model"]) if state else None
        super().__init__([Before(self), After(self)])

    @property
    def value(self) -> float:
        return self.epochs.value

    def rounds(self, wanted: int) -> int:
        return max(0, wanted - self.epochs.done)


class Before:
    """Seeds each round, so that a resumed trial draws the same."""

    before_iteration, order = True, LAST

    def __init__(self, of: Callbacks) -> None:
        self.of = of
        self.known: dict[str, str] = {}  # parameters by LightGBM's names

    def __call__(self, env: Any) -> None:
        self.known = self.known or parameters(env.model)
        if env.iteration == 0 and any(self.known.get(name) == value for name, value in NOT_RESUMABLE):
            self.of.resume = False
        given, bag = int(self.known["seed"]), int(self.known["bagging_freq"])
        changes: dict[str, Any] = {name: seed_of(given, env.iteration, name) for name in SEEDS}
        if bag > 0 and (fraction := float(self.known["bagging_fraction"])) < 1.0:
            env.model.reset_parameter({"bagging_fraction": fraction / 2})  # it draws again only if the fraction changes
            changes["bagging_fraction"] = fraction
            changes["bagging_seed"] = seed_of(given, env.iteration // bag * bag, "bagging_seed")
        env.model.reset_parameter(changes)


def parameters(model: Any) -> dict[str, str]:
    return dict(re.findall(r"^\[(\w+): (.*)\]$", model.model_to_string(num_iteration=1), re.MULTILINE))


def seed_of(given: int, iteration: int, name: str) -> int:
    return int(seed_for(abs(given), iteration, name) % 2**SEED_BITS)


class After:
    """Reports, saves and prunes after each round."""

    before_iteration, order = False, LAST

    def __init__(self, of: Callbacks) -> None:
        self.of = of

    def __call__(self, env: Any) -> None:
        epochs = self.of.epochs
        epochs.done = env.iteration + 1
        if epochs.done % self.of.every:
            return
        epochs.report(env.iteration, {f"{each[0]}-{each[1]}": each[2] for each in env.evaluation_result_list or ()})
        if self.of.resume:
            epochs.save(env.iteration, lambda: {"model": env.model.model_to_string(num_iteration=-1)})
        epochs.prune(env.iteration)


def lightgbm(trial: Any, monitor: str, every: int = 1, resume: bool = True) -> Callbacks:
    """Returns callbacks for train(callbacks=callbacks) that report every `every`-th round."""
    return Callbacks(trial, monitor, every, resume)
