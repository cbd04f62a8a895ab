"""Callback for Lightning, imported as `lightning` or `pytorch_lightning`. Only validated epochs count.

    callback = fts.callbacks.lightning(trial, "val_loss")
    Trainer(callbacks=[callback], ...).fit(model, data, ckpt_path=callback.ckpt_path)

`callback.value` is the last val_loss, even if a resumed trial has nothing left to train.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from fts.jobs.trial.callbacks.epochs import Epochs
from fts.jobs.trial.checkpoint import set_generators

FILE = "lightning.ckpt"


def lightning(trial: Any, monitor: str = "val_loss") -> Any:
    """Returns a callback for Trainer(callbacks=[...]). Pass `ckpt_path=callback.ckpt_path` to fit."""
    package = "pytorch_lightning" if "pytorch_lightning" in sys.modules else "lightning.pytorch"
    base: Any = importlib.import_module(f"{package}.callbacks").Callback
    epochs = Epochs(trial, monitor)

    class FtsCallback(base):  # type: ignore[misc]
        """Reports, saves and prunes after each validated epoch."""

        ckpt_path = str(epochs.checkpoint.files[FILE]) if epochs.state else None
        validated = False

        @property
        def value(self) -> float:
            return epochs.value

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            if epochs.state:  # building the model has drawn from the generators
                set_generators(epochs.checkpoint.generators)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            self.validated = not trainer.sanity_checking

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            epoch = trainer.current_epoch
            if self.validated and epoch >= epochs.done:
                self.validated, epochs.done = False, epoch + 1
                epochs.report(epoch, trainer.callback_metrics)
                path = epochs.checkpoint.dir / FILE
                epochs.save(epoch, dict, lambda: (trainer.save_checkpoint(path), [path])[1])
                epochs.prune(epoch)

        def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.callback_metrics:  # nothing was left to train
                tensor = sys.modules["torch"].tensor
                trainer.callback_metrics.update({name: tensor(one) for name, one in epochs.metrics.items()})

    return FtsCallback()
