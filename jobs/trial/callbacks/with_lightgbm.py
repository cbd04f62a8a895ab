"""LightGBM, its own interface or that of scikit-learn: an epoch is a boosting round.

    callbacks = fts.callbacks.lightgbm(trial, "valid_0-l2")
    lgb.train(params, data, callbacks.rounds(100), valid_sets=[held_out], callbacks=callbacks,
              init_model=callbacks.model)

With early stopping, which counts in the process alone, give `resume=False`: then the trial begins anew.
"""

from __future__ import annotations

import importlib
from typing import Any

from fts.jobs.api.spec import seed_for
from fts.jobs.trial.callbacks.epochs import Epochs

SEED_BITS = 31
SEEDS = ("bagging_seed", "feature_fraction_seed", "extra_seed", "drop_seed")
LAST = 100  # behind every callback of LightGBM


class Callbacks(list[Any]):
    """The two that LightGBM calls, the model to go on with, and the rounds left."""

    def __init__(self, trial: Any, monitor: str, every: int = 1, resume: bool = True) -> None:
        library = importlib.import_module("lightgbm")
        self.epochs = Epochs(trial, monitor)
        self.every, self.resume = every, resume
        state = self.epochs.state
        self.model = library.Booster(model_str=state["model"]) if state else None
        super().__init__([Before(self), After(self)])

    def rounds(self, wanted: int) -> int:
        return max(0, wanted - self.epochs.done)


class Before:
    """Seeds each round by itself, so that a resumed one draws the same."""

    before_iteration, order = True, LAST

    def __init__(self, of: Callbacks) -> None:
        self.of = of

    def __call__(self, env: Any) -> None:
        given = int(env.params.get("seed", env.params.get("random_state", 0)) or 0)
        seeds = {name: seed_for(abs(given), env.iteration, name) % 2**SEED_BITS for name in SEEDS}
        env.model.reset_parameter(seeds)


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
    """Callbacks for train(callbacks=callbacks); every n-th round is reported."""
    return Callbacks(trial, monitor, every, resume)
