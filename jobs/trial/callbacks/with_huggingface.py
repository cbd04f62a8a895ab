"""Callback for the Trainer of transformers. An epoch is one evaluation. The callback saves: set save_strategy="no".

    callback = fts.callbacks.huggingface(trial, "eval_loss")
    trainer = Trainer(args=TrainingArguments(..., eval_strategy="epoch", save_strategy="no"), callbacks=[callback], ...)
    trainer.train(resume_from_checkpoint=callback.resume_from_checkpoint)

`callback.value` is the last eval_loss, even if a resumed trial has nothing left to train.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from fts.jobs.trial.callbacks.epochs import Epochs
from fts.state.files import remove

CLOCKS = ("_runtime", "_per_second", "_time")  # metrics of time, which differ between attempts


def huggingface(trial: Any, monitor: str = "eval_loss") -> Any:
    """Returns a callback for Trainer(callbacks=[...]). Pass its `resume_from_checkpoint` to train()."""
    base: Any = importlib.import_module("transformers").TrainerCallback
    epochs = Epochs(trial, monitor)

    class FtsCallback(base):  # type: ignore[misc]
        """Reports, saves and prunes after each evaluation."""

        resume_from_checkpoint = str(next(iter(epochs.checkpoint.files.values()))) if epochs.state else None

        training = saves = wanted = waits = False

        @property
        def value(self) -> float:
            return epochs.value

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.training = True

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.training = False

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            if not self.training:  # the user's own trainer.evaluate()
                return
            epochs.report(epochs.done, {name: one for name, one in metrics.items() if not name.endswith(CLOCKS)})
            self.saves, self.wanted = epochs.checkpoint.due, control.should_save
            control.should_save = self.waits = self.saves or self.wanted
            if not self.waits:
                self.judge()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not self.waits:  # no evaluation came before: the user's own checkpoint after some steps
                return
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if self.saves:
                epochs.save(epochs.done, dict, lambda: [folder])
                if not self.wanted:
                    remove(folder)
            self.judge()

        def judge(self) -> None:
            self.waits = False
            epochs.done += 1
            epochs.prune(epochs.done - 1)

    return FtsCallback()
