"""Evaluates a final model on the test set, once, after a person opened it. No other module reads test labels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.analysis.baselines import best_baseline, fit_one, run_baselines
from fts.data.splits import window_ends
from fts.scores.intervals import compare, measure
from fts.state.files import atomic_write, replacing
from fts.study.cell import CellSpec
from fts.study.cell_data import CellData, load
from fts.study.final_model import write_card
from fts.study.model_folder import FinalModel, load_model
from fts.study.predict import WrongBars, window_probabilities

if TYPE_CHECKING:
    from pathlib import Path


def evaluate_test(folder: Path, data_root: Path | str, opened_by: str) -> dict[str, Any]:
    """Returns scores with 95 % intervals on the test windows; writes test.json, test_predictions.parquet and the card.

    `opened_by`: who opened the test set and when; the caller has checked it. The best baseline is evaluated at the same
    time, because the test set allows no second evaluation; for a model that was evaluated before, the stored scores are
    returned. Raises WrongBars if the data set's features are not the model's, TooFewSamples if the test part is too
    small for an interval.
    """
    scores: dict[str, Any]
    if (stored := folder / "test.json").exists():
        scores = json.loads(stored.read_text())
        return scores
    model = load_model(folder)
    data = _open(model, data_root)
    p = window_probabilities(model, data.features_TF, data.test_ends)
    y = data.y_T[data.test_ends]
    scores = {"opened_by": opened_by, **scores_of(y, p, data.horizon, float(model.config["trained_on"]["base_rate"]))}
    scores |= rival_of(data, p)
    table = pd.DataFrame({"date": data.dates[data.test_ends], "y": y.astype("int8"), "p": p})
    with replacing(folder / "test_predictions.parquet") as draft:
        table.to_parquet(draft, index=False)
    atomic_write(folder / "test.json", json.dumps(scores, indent=1, sort_keys=True) + "\n")
    write_card(folder)
    return scores


def scores_of(y: np.ndarray, p: np.ndarray, horizon: int, base_rate: float) -> dict[str, Any]:
    """Returns the recorded scores: loss, AUC and Brier score with intervals, and the class prior's loss."""
    if not np.isfinite(y).all() or not np.isfinite(p).all():
        raise WrongBars(
            f"{int((~np.isfinite(y)).sum())} of {len(y)} test windows have no label and "
            f"{int((~np.isfinite(p)).sum())} no prediction: the test part of the data has gaps"
        )
    scores = measure(y, p, horizon)
    share = float(y.mean())
    prior_loss = -(share * np.log(base_rate) + (1 - share) * np.log(1 - base_rate))
    found: dict[str, Any] = {"n": scores.n, "n_pos": scores.n_pos, "n_effective": round(scores.n_effective, 1)}
    for name, interval in (("loss", scores.log_loss), ("auc", scores.auc), ("brier", scores.brier)):
        found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return found | {"prior_loss": float(prior_loss)}


def rival_of(data: CellData, p: np.ndarray) -> dict[str, Any]:
    """Fits the best baseline of the validation windows on all windows before the test part, and evaluates it there.

    Returns its scores, and the model's (`p`, one probability per test window) minus its own, paired, with 95 %
    intervals. Raises what run_baselines and compare raise.
    """
    chosen = best_baseline(list(run_baselines(data)))
    ends = window_ends(0, data.split.val_stop, data.span, data.horizon)
    prior = float(data.y_T[ends].mean(dtype=np.float64))
    rival = fit_one(chosen.name, chosen.inputs, replace(data, train_ends=ends, val_ends=data.test_ends, prior=prior))
    y = data.y_T[data.test_ends]
    found: dict[str, Any] = {
        "rival": f"{rival.name} ({rival.inputs})", "rival_auc": rival.auc, "rival_auc_low": rival.auc_low,
        "rival_auc_high": rival.auc_high, "rival_loss": rival.loss,
    }  # fmt: skip
    for name, metric in (("auc_gain", "auc"), ("loss_gain", "log_loss")):
        gain = compare(y, p, rival.predictions, data.horizon, metric).interval
        found |= {name: gain.value, f"{name}_low": gain.low, f"{name}_high": gain.high}
    return found


def _open(model: FinalModel, data_root: Path | str) -> CellData:
    cell = CellSpec.from_json(model.config["cell"])
    data = load(
        data_root,
        cell.data_md5,
        task=cell.task,
        horizon=cell.horizon,
        context=cell.context,
        split=cell.split,
        min_positives=cell.min_positives,
        sealed=False,
        tier=cell.tier,
        span=cell.span,
    )
    if list(data.feature_names) != model.config["features"]:
        raise WrongBars(f"{data.name} has other features than the training data of {model.folder.name}; build it again")
    return data
