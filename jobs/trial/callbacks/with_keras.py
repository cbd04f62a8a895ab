"""Callback for Keras 3, with any backend.

    callback = fts.callbacks.keras(trial, "val_loss")
    model.fit(x, y, epochs=20, initial_epoch=callback.initial_epoch, callbacks=[callback], ...)

`callback.value` is the last val_loss, even if a resumed trial has nothing left to train.
"""

from __future__ import annotations

import importlib
from typing import Any

from fts.jobs.trial.callbacks.epochs import Epochs
from fts.jobs.trial.checkpoint import set_generators


def keras(trial: Any, monitor: str = "val_loss") -> Any:
    """Returns a callback for fit(callbacks=[...]). Also pass `initial_epoch=callback.initial_epoch` to fit."""
    library = importlib.import_module("keras")
    epochs = Epochs(trial, monitor)

    class FtsCallback(library.callbacks.Callback):  # type: ignore[misc, name-defined]
        """Reports, saves and prunes after each epoch. A resumed trial restores weights, optimizer and seeds."""

        initial_epoch = epochs.done

        @property
        def value(self) -> float:
            return epochs.value

        def variables(self) -> list[Any]:
            self.model.optimizer.build(self.model.trainable_variables)
            return [*self.model.variables, *self.model.optimizer.variables]

        def on_train_begin(self, logs: Any = None) -> None:
            if epochs.state:
                for variable, value in zip(self.variables(), epochs.state["variables"], strict=True):
                    variable.assign(value)
                set_generators(epochs.checkpoint.generators)  # building the model has drawn from them

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            epochs.report(epoch, logs or {})
            to_numpy = library.ops.convert_to_numpy
            epochs.save(epoch, lambda: {"variables": [to_numpy(one).copy() for one in self.variables()]})
            epochs.prune(epoch)

    return FtsCallback()
