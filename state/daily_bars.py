"""The defaults of a job that names no study: the study of daily bars, which was the only one in schema 1.

Its cells keep their names of that time: `20M/h3`, `base/h3`, `20M/h3 wf5`, `20M/h3 NDX a20`, `20M/h3 final`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.state.schema_2 import DECLARATION, PATCHTST
from fts.state.values import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AXES", "DECIDE_LABELS", "DECLARATION", "PATCHTST", "cell_name", "direction_of", "metric_of"]

AXES = ("budget", "horizon", "task", "tier")
DECIDE_LABELS = ("horizon", "task")  # the other axes train on the same labels
ENDINGS = {"cell": "", "baseline": "", "train": " final", "replicate": " seeds", "walk": ""}


def metric_of(spec: Mapping[str, Any]) -> str:
    return "val_auc" if spec.get("objective") == "val_auc" else "val_loss"


def direction_of(metric: str) -> Direction:
    return Direction.MAXIMIZE if metric == "val_auc" else Direction.MINIMIZE


def cell_name(kind: str, labels: Mapping[str, Any], spec: Mapping[str, Any], experiment: str) -> str:
    name = f"{'base' if kind == 'baseline' else labels.get('budget', '')}/h{labels.get('horizon', 0)}"
    if cv := spec.get("cv"):
        name += f" wf{str(cv).split(':')[-1]}"
    ticker, tier = str(spec.get("dataset", "")).partition(".dataset.")[0], labels.get("tier", "")
    return name + _suffix(kind, experiment, ticker, str(tier)) + ENDINGS.get(kind, f" {kind}")


def _suffix(kind: str, experiment: str, ticker: str, tier: str) -> str:
    """Returns ` NDX a20`: the ticker and tier that the experiment's name ends with if another data set or tier was
    enqueued first."""
    if kind == "baseline" and not experiment.endswith(f"_{ticker}"):
        return ""  # every baseline's name ends in its tier
    ends = (f"_{ticker}_{tier}", f"_{ticker}", f"_{tier}")
    return next((end.replace("_", " ") for end in ends if experiment.endswith(end)), "")
