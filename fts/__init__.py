"""The public interface of fts, and the flagship study: data, features, model, training, scores, analysis.

    import fts                     # 1 ms: the names in __all__ are imported when they are used

fts.checkpoint(trial), fts.report(trial, step, **metrics), fts.seed(trial, purpose), fts.cell(trial), fts.shrink(trial),
fts.predictions, fts.artifact and fts.callbacks work in a function that fts runs and under plain Optuna; fts.PureSampler
and fts.PurePruner are sampler and pruner of a worker, for Optuna. fts.load(db) reads a study as tables;
fts.create_study(...).optimize(objective, n_trials=100) enqueues a function and waits for it;
fts.Study(...) is a study.toml in Python.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fts import callbacks
    from fts.jobs.api.objective import Stopped
    from fts.jobs.library.reading import load
    from fts.jobs.library.studies import create_study
    from fts.jobs.library.study import Study
    from fts.jobs.search.pure_pruner import PurePruner
    from fts.jobs.search.pure_sampler import PureSampler
    from fts.jobs.trial.artifacts import artifact, predictions
    from fts.jobs.trial.checkpoint import checkpoint
    from fts.jobs.trial.public import cell, report, seed, shrink

__all__ = [
    "PurePruner",
    "PureSampler",
    "Stopped",
    "Study",
    "artifact",
    "callbacks",
    "cell",
    "checkpoint",
    "create_study",
    "load",
    "predictions",
    "report",
    "seed",
    "shrink",
]

__version__ = "0.2.0"

_HOME = {
    "PurePruner": "fts.jobs.search.pure_pruner",
    "PureSampler": "fts.jobs.search.pure_sampler",
    "Stopped": "fts.jobs.api.objective",
    "Study": "fts.jobs.library.study",
    "artifact": "fts.jobs.trial.artifacts",
    "cell": "fts.jobs.trial.public",
    "checkpoint": "fts.jobs.trial.checkpoint",
    "create_study": "fts.jobs.library.studies",
    "load": "fts.jobs.library.reading",
    "predictions": "fts.jobs.trial.artifacts",
    "report": "fts.jobs.trial.public",
    "seed": "fts.jobs.trial.public",
    "shrink": "fts.jobs.trial.public",
}


def __getattr__(name: str) -> Any:
    if name == "callbacks":
        return importlib.import_module("fts.callbacks")
    if name not in _HOME:
        raise AttributeError(f"module 'fts' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
