"""Callbacks for training libraries that report, checkpoint and prune. A library is imported when its name is used.

    callback = fts.callbacks.lightning(trial, "val_loss")
    Trainer(callbacks=[callback], ...).fit(model, data, ckpt_path=callback.ckpt_path)

lightning, huggingface, keras, xgboost, lightgbm and sklearn work in a function that fts runs and under plain Optuna.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["huggingface", "keras", "lightgbm", "lightning", "sklearn", "xgboost"]  # noqa: F822  # made by __getattr__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"fts.callbacks has no {name!r}, expected one of {', '.join(__all__)}")
    return getattr(importlib.import_module(f"fts.jobs.trial.callbacks.with_{name}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
