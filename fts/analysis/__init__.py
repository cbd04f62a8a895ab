"""Analyses a study: baselines, intervals, horizon variance, scaling, figures and the report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fts.analysis.trials_table import load_trials as load_trials

WHERE = {"load_trials": "fts.analysis.trials_table"}  # imported on first use: pandas costs 0.5 s


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"fts.analysis has no {name!r}; it offers {', '.join(WHERE)} and its modules")
    return getattr(import_module(WHERE[name]), name)
