"""What the numbers mean: baselines, intervals, horizon variance, scaling, figures and the report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fts.analysis.trials_table import load_trials as load_trials

WHERE = {"load_trials": "fts.analysis.trials_table"}  # loaded on first use: pandas costs 0.5 s that an import need not


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"fts.analysis has no {name!r}; it offers {', '.join(WHERE)} and its modules")
    return getattr(import_module(WHERE[name]), name)
