"""The report's numbers as tables for other programs (CSV and JSON)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from fts.analysis.horizon import HorizonEffect
from fts.analysis.paired_configurations import Shared
from fts.state.files import csv_cell

if TYPE_CHECKING:
    from fts.analysis.findings import Conclusion
    from fts.analysis.study_data import StudyData
    from fts.analysis.summarise import CellSummary, Group
    from fts.scores.intervals import Interval, Scores

PROVENANCE = (
    "dataset",
    "data_md5",
    "label_md5",
    "code_commit",
    "code_dirty",
    "seed",
    "pruner",
    "torch_version",
    "host",
    "device",
    "threads",
)
CELL_FIELDS = (
    "experiment", "budget", "horizon", "task", "tier", "state", "trials_wanted", "n_complete", "n_pruned", "n_failed",
    "n_collapsed", "minutes", "energy_wh", "n_seeds", "seed_mean", "seed_sd", "looks",
)  # fmt: skip
EMPTY = {  # first columns of each table, so that a program can read a table without rows
    "cells": CELL_FIELDS,
    "baselines": ("task", "horizon", "tier", "data_md5", "name", "inputs"),
    "horizon_variance": ("task", "tier", *HorizonEffect.__dataclass_fields__),
    "shared_configurations": ("task", "tier", *Shared.__dataclass_fields__),
    "scaling": ("task", "tier", "horizon", "n_params", "val_loss", "val_auc", "refusal"),
    "importance": ("experiment", "name", "share", "chance"),
}


def all_tables(study: StudyData, groups: tuple[Group, ...], found: tuple[Conclusion, ...]) -> dict[str, pd.DataFrame]:
    """Returns every table by file name."""
    shown = study.trials.assign(badges=[" ".join(badges) for badges in study.trials["badges"]])
    made = {
        "cells": cells(groups),
        "baselines": baselines(study),
        "horizon_variance": pd.DataFrame(
            [
                {"task": group.task, "tier": group.tier, **_flat(vars(effect))}
                for group in groups
                for effect in group.variance.effects
            ]
        ),
        "shared_configurations": pd.DataFrame(
            [
                {"task": group.task, "tier": group.tier, **vars(pair)}
                for group in groups
                for pair in group.variance.shared
            ]
        ),
        "scaling": scaling(groups),
        "importance": pd.DataFrame(
            [
                {"experiment": experiment, "name": name, "share": share, "chance": found.chance}
                for group in groups
                for experiment, found in group.importance.items()
                for name, share in found.shares.items()
            ]
        ),
        "findings": pd.DataFrame([vars(finding) for finding in found], columns=["kind", "about", "rule", "sentence"]),
        "provenance": provenance(groups),
        "trials": shown.drop(columns=[name for name in ("params", "effective", "recipe") if name in shown]),
    }
    return {name: frame if len(frame.columns) else pd.DataFrame(columns=EMPTY[name]) for name, frame in made.items()}


def cells(groups: tuple[Group, ...]) -> pd.DataFrame:
    """Returns one row per cell with every score, interval and count."""
    return pd.DataFrame([_cell_row(cell) for group in groups for cell in group.cells])


def baselines(study: StudyData) -> pd.DataFrame:
    """Returns one row per baseline with every score, interval and count, named as in `cells`."""
    rows = []
    for row in study.baselines:
        kept = {name: value for name, value in vars(row.result).items() if name != "predictions"}
        rows.append({"task": row.task, "horizon": row.horizon, "tier": row.tier, "data_md5": row.data_md5, **kept})
        if row.scores is not None:
            rows[-1] |= _spread("loss", row.scores.log_loss) | _score_columns(row.scores)
    return pd.DataFrame(rows)


def scaling(groups: tuple[Group, ...]) -> pd.DataFrame:
    """Returns one row per point, with its horizon's fit repeated."""
    rows = []
    for group in groups:
        for curve in group.scaling:
            fit = curve.loss_fit
            law = {} if fit is None else {f"law_{k}": v for k, v in vars(fit.law).items()}
            extra = {} if fit is None else {k: v for k, v in vars(fit).items() if k not in ("law", "sentence")}
            for n, loss, auc in zip(curve.n_params, curve.losses, curve.aucs, strict=True):
                point = {"n_params": n, "val_loss": loss, "val_auc": auc, "refusal": curve.refusal}
                rows.append({"task": group.task, "tier": group.tier, "horizon": curve.horizon, **point, **law, **extra})
    return pd.DataFrame(rows)


def provenance(groups: tuple[Group, ...]) -> pd.DataFrame:
    """Returns the origin of each best value: trial, data, labels, code, machine."""
    rows = []
    for cell in (cell for group in groups for cell in group.cells if cell.best is not None):
        assert cell.best is not None
        kept = {name: cell.best.get(name) for name in PROVENANCE}
        auc = None if cell.auc is None else cell.auc.value
        shape = {"architecture": cell.best["architecture"], "n_params": cell.best["n_params"]}
        rows.append({"trial": cell.name, "objective": cell.best["value"], "auc": auc, **shape, **kept})
    return pd.DataFrame(rows, columns=["trial", "objective", "auc", "architecture", "n_params", *PROVENANCE])


def safe_for_spreadsheets(frame: pd.DataFrame) -> pd.DataFrame:
    """Puts an apostrophe before text that a spreadsheet would read as a formula, in cells and in the header."""
    text = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    safe = frame.assign(**{str(name): [csv_cell(value) for value in frame[name]] for name in text})
    return safe.rename(columns={name: csv_cell(name) for name in safe.columns})


def _cell_row(cell: CellSummary) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(cell, name) for name in CELL_FIELDS}
    row["trial"] = cell.name
    best = cell.best or {}
    row |= {name: best.get(name) for name in ("architecture", "n_params", "n_val", "n_pos", "prior_loss", "base_rate")}
    for name, interval in (("auc", cell.auc), ("loss", cell.loss)):
        row |= _spread(name, interval)
    if cell.scores is not None:
        row |= _score_columns(cell.scores)
    if cell.baseline is not None:
        row |= {"baseline": cell.baseline.result.name, "baseline_inputs": cell.baseline.result.inputs}
        row["baseline_auc"] = cell.baseline.result.auc
    if cell.lowest is not None:
        row |= {"lowest_loss_baseline": cell.lowest.result.name, "lowest_loss_inputs": cell.lowest.result.inputs}
    gains = (
        *(("auc_gain", cell.auc_gain), ("loss_gain", cell.loss_gain)),
        *(("gain_over_lowest_loss", cell.lowest_gain), ("gain_over_prior", cell.prior_gain)),
    )
    for name, gain in gains:
        row |= _spread(name, gain.interval if gain else None)
    row |= _spread("auc_gain_at_once", cell.auc_gain_at_once)
    if cell.reality is not None:
        row |= {"spa_p": cell.reality.p_value, "in_confidence_set": cell.reality.n_in_set}
        row["baselines_in_confidence_set"] = "; ".join(cell.reality.baselines_in_set)
    if cell.beyond is not None:
        row |= {"volatility_forecast": cell.beyond.forecast.result.name, "volatility_spa_p": cell.beyond.superior_p}
        row |= _spread("auc_over_volatility_at_once", cell.beyond.auc_at_once)
        row |= _spread("loss_over_volatility_at_once", cell.beyond.loss_at_once)
    if cell.luck is not None:
        row |= {f"luck_{name}": value for name, value in vars(cell.luck).items()}
    return row


def _score_columns(scores: Scores) -> dict[str, float | None]:
    """Returns every score except AUC and loss, with its ends, and the counts behind the intervals."""
    row: dict[str, float | None] = {"n_effective": scores.n_effective, "block_days": scores.block, "rate": scores.rate}
    for name in ("brier", "average_precision", "precision", "recall", "calibration_error"):
        row |= _spread(name, getattr(scores, name))
    return row | {"calibration_limit": scores.calibration_limit}


def _spread(name: str, interval: Interval | None) -> dict[str, float | None]:
    ends = (None, None, None) if interval is None else (interval.value, interval.low, interval.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _flat(effect: dict[str, Any]) -> dict[str, Any]:
    medians = {f"median_h{h}": value for h, value in effect["medians"].items()}
    return {**{k: v for k, v in effect.items() if k != "medians"}, **medians}
