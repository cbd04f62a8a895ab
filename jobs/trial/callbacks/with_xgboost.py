"""XGBoost, its own interface or that of scikit-learn: an epoch is a boosting round.

    callback = fts.callbacks.xgboost(trial, "validation-rmse")
    xgb.train(params, data, callback.rounds(100), evals=[(held_out, "validation")], callbacks=[callback],
              xgb_model=callback.model)

`callback.value` is the metric of the last round. Each round draws its rows and columns from a seed of its own, made of
`seed` and the round, so that a resumed one draws the same. With early stopping, which counts in the process alone, give
`resume=False`: then the trial begins anew.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from fts.jobs.api.spec import seed_for
from fts.jobs.trial.callbacks.epochs import Epochs

SEED_BITS = 31


def xgboost(trial: Any, monitor: str, every: int = 1, resume: bool = True) -> Any:
    """A callback for train(callbacks=[...]), with the model and the rounds to go on with; reports each n-th round."""
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
            if self.method is not None:  # what grows trees draws from a generator of its own, until it is made anew
                model.set_param("tree_method", "exact" if self.method == "approx" else "approx")
                model.save_config()
                model.set_param("tree_method", self.method)
            return False

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            epochs.done = self.first + epoch + 1
            if epochs.done % every == 0:
                told = {f"{data}-{name}": line[-1] for data, lines in evals_log.items() for name, line in lines.items()}
                epochs.report(epochs.done - 1, told)
                if resume:
                    raw = lambda: {"model": numpy.frombuffer(model.save_raw("ubj"), dtype=numpy.uint8)}  # noqa: E731
                    epochs.save(epochs.done - 1, raw)
                epochs.prune(epochs.done - 1)
            return False

    return FtsCallback()
