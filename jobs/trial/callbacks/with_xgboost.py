"""Callback for XGBoost, with its own interface or that of scikit-learn. An epoch is a boosting round.

    callback = fts.callbacks.xgboost(trial, "validation-rmse")
    xgb.train(params, data, callback.rounds(100), evals=[(held_out, "validation")], callbacks=[callback],
              xgb_model=callback.model)

`callback.value` is the metric of the last round. Each round has its own seed, derived from `seed` and the round, so
that a resumed trial draws the same rows and columns. Early stopping counts rounds in the process: pass `resume=False`
for it, and an interrupted trial restarts from the beginning.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from fts.jobs.api.spec import seed_for
from fts.jobs.trial.callbacks.epochs import Epochs

SEED_BITS = 31


def xgboost(trial: Any, monitor: str, every: int = 1, resume: bool = True) -> Any:
    """Returns a callback for train(callbacks=[...]) that reports every `every`-th round.

    It has the model to resume from and the number of rounds left.
    """
    library, numpy = importlib.import_module("xgboost"), importlib.import_module("numpy")
    epochs = Epochs(trial, monitor)

    class FtsCallback(library.callback.TrainingCallback):  # type: ignore[misc, name-defined]
        """Reports, saves and prunes after each round."""

        model = library.Booster(model_file=bytearray(epochs.state["model"].tobytes())) if epochs.state else None
        seed = 0

        @property
        def value(self) -> float:
            return epochs.value

        def rounds(self, wanted: int) -> int:
            return max(0, wanted - epochs.done)

        def before_training(self, model: Any) -> Any:
            learner = json.loads(model.save_config())["learner"]
            self.seed, self.first = int(learner["generic_param"]["seed"]), epochs.done
            booster = learner["gradient_booster"]
            self.method = booster.get("gbtree", booster).get("gbtree_train_param", {}).get("tree_method")
            return model

        def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            seed = seed_for(abs(self.seed), self.first + epoch, "round") % 2**SEED_BITS
            model.set_param("seed", seed)
            if self.method is not None:  # trees are grown from a generator that is seeded only when it is created
                model.set_param("tree_method", "exact" if self.method == "approx" else "approx")
                model.save_config()
                model.set_param("tree_method", self.method)
            return False

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            epochs.done = self.first + epoch + 1
            if epochs.done % every == 0:
                epochs.report(
                    epochs.done - 1,
                    {f"{data}-{name}": line[-1] for data, lines in evals_log.items() for name, line in lines.items()},
                )
                if resume:
                    raw = lambda: {"model": numpy.frombuffer(model.save_raw("ubj"), dtype=numpy.uint8)}  # noqa: E731
                    epochs.save(epochs.done - 1, raw)
                epochs.prune(epochs.done - 1)
            return False

    return FtsCallback()
