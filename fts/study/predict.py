"""Predicts probabilities for new bars with a final model: deterministic, and with an error for the wrong bars."""

# shapes: T days, F features, W windows, B windows in a batch

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from fts.data.plausible import find_implausible
from fts.data.sources import AS_IT_STANDS, take_closes, take_file
from fts.features import tiers
from fts.model.architecture import NONE
from fts.study.dataset import JoinFailed, check_join
from fts.study.model_folder import CURE, FinalModel, NoModel
from fts.training.metrics import probabilities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fts.data.layouts import ReadOptions

SHRUNK = 0.1  # share of the training mean; volumes in thousands are within 3 sd of a positive mean
DRIFT = 3.0  # standard deviations of the training rows: a feature with a mean farther away gets a warning


class WrongBars(ValueError):
    """Bars that this model cannot use; the message says what was expected."""


@dataclass(frozen=True)
class Predicted:
    """One probability per day that has a complete window."""

    table: pd.DataFrame  # date, p
    warnings: tuple[str, ...]  # how these bars differ from those of the training


def predict_file(
    model: FinalModel, path: Path | str, vix: Path | str | None = None, reading: ReadOptions = AS_IT_STANDS
) -> Predicted:
    """Returns probabilities for the bars of a csv or parquet file; `vix`: a file of VIX closes, if the tier needs them.

    Raises BadBars for a file without bars, WrongBars if the model cannot use them.
    """
    tier = str(model.config["tier"])
    if tiers.needs_vix(tier) and vix is None:
        raise WrongBars(f"the model reads tier {tier}, which needs VIX closes; give their file with --vix")
    bars = take_file(Path(path), reading).bars
    closes = take_closes(Path(vix)).bars["Close"] if vix is not None and tiers.needs_vix(tier) else None
    return predict_bars(model, bars, closes, Path(path).name)


def predict_bars(
    model: FinalModel, bars: pd.DataFrame, closes: pd.Series | None = None, origin: str = "these bars"
) -> Predicted:
    """Returns probabilities for checked bars (fts.data.bars.check_bars). Raises WrongBars, FeatureUnknown."""
    needed = tiers.WARM_UP + model.context
    if len(bars) < needed:
        raise WrongBars(
            f"{origin} has {len(bars)} rows; the model needs {needed}: {tiers.WARM_UP} until the slowest indicator has "
            f"a value, then {model.context} for one window"
        )
    tier = str(model.config["tier"])
    late = _vix_warnings(bars, closes, origin) if closes is not None and tiers.needs_vix(tier) else ()
    x = tiers.build(bars, tier, closes)
    if list(x.columns) != model.config["features"]:
        commit = model.config.get("cell", {}).get("code_commit")
        raise WrongBars(
            f"{origin}: tier {model.config['tier']} now has the features {', '.join(x.columns)}, the model was trained "
            f"on {', '.join(model.config['features'])}; use fts of commit {commit!s:.40}"
        )
    if len(x) < model.context:
        raise WrongBars(f"{origin}: {len(x)} rows are left after the warm-up, one window takes {model.context}")
    scaled_TF = scaled(model, x.to_numpy(np.float64))
    ends = np.arange(model.context - 1, len(x))
    p = window_probabilities(model, scaled_TF, ends)
    if odd := int((~np.isfinite(p)).sum()):
        raise NoModel(f"{model.folder}: no finite value on {odd} of {len(p)} days: the weights are damaged; {CURE}")
    table = pd.DataFrame({"date": x.index[ends], "p": p})
    findings = find_implausible(bars)
    if _trained_on_volume(model) and any(finding.kind == "no-volume" for finding in findings):
        raise WrongBars(f"{origin}: column Volume is missing or the same on each day; the model was trained on volumes")
    warnings = tuple(finding.sentence for finding in findings)
    return Predicted(table, (*warnings, *late, *drift_warnings(model, x)))


def _vix_warnings(bars: pd.DataFrame, closes: pd.Series, origin: str) -> tuple[str, ...]:
    """Says how many of the newest days have no probability. Raises WrongBars if the VIX lacks more days than a
    build accepts, because the last known close would stand in for each of them.
    """
    first, last = closes.index[0], closes.index[-1]
    try:
        check_join(bars.loc[first:last].index, closes.index, "bars", "VIX closes")
    except JoinFailed as apart:
        raise WrongBars(f"{origin}: {apart}") from None
    late = int((bars.index > last).sum())
    return (f"no probability for the newest {late} days: the VIX closes end on {last:%Y-%m-%d}",) if late else ()


def _trained_on_volume(model: FinalModel) -> bool:
    """Whether the training bars had volumes; without (1 on each day) |adosc| is below 3 and volume_ratio has sd 1."""
    features = list(model.config["features"])
    if "adosc" in features:
        return float(model.sd[features.index("adosc")]) > 10
    return "volume_ratio" in features and float(model.sd[features.index("volume_ratio")]) != 1


def scaled(model: FinalModel, x_TF: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns the features scaled as in training. Raises NoModel if the scaled values are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled_TF = ((x_TF - model.mean) / model.sd).astype(np.float32)
    if not np.isfinite(scaled_TF).all():
        raise NoModel(
            f"{model.folder / 'scaler.json'} does not fit these features: scaled values are not finite numbers; {CURE}"
        )
    return np.ascontiguousarray(scaled_TF)


@torch.inference_mode()
def window_probabilities(model: FinalModel, x_TF: NDArray[np.float32], ends: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns one probability per window end. With one thread, because sums over several threads vary between runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        windows_WFT = torch.from_numpy(x_TF).unfold(0, model.context, 1)
        starts = torch.from_numpy(np.asarray(ends, dtype=np.int64) - (model.context - 1))
        logits = [model.model(windows_WFT[part_B]).float() for part_B in starts.split(model.batch)]
        return probabilities(torch.cat(logits).numpy())
    finally:
        torch.set_num_threads(before)


def drift_warnings(model: FinalModel, x: pd.DataFrame) -> tuple[str, ...]:
    """Returns warnings on features that differ from the training rows: in all bars, else in the newest window.

    A long history of a price that has multiplied is similar to the training on average, but its last days are not.
    """
    newest = f"in the newest window, until {x.index[-1]:%Y-%m-%d}, "
    for rows, where in ((x, ""), (x.tail(model.context), newest)):
        if unlike := _unlike(model, rows):
            return (f"{where}{unlike}{_softened(model)}",)
    return ()


def _unlike(model: FinalModel, x: pd.DataFrame) -> str | None:
    """Names the features with means far from the training rows; None if there are none."""
    mean_F = x.to_numpy(np.float64).mean(axis=0)
    shift_F = np.abs(mean_F - model.mean) / model.sd
    shrunk_F = (np.abs(model.mean) > model.sd) & (np.abs(mean_F) < SHRUNK * np.abs(model.mean))
    far = sorted((-shift, name) for name, shift in zip(x.columns, shift_F, strict=True) if shift > DRIFT)
    shrunk_F &= shift_F <= DRIFT  # the others are named already
    small = list(x.columns[shrunk_F])
    told = []
    if far:
        named = _first(f"{name} by {-shift:.1f}" for shift, name in far)
        told.append(
            f"{len(far)} of {x.shape[1]} features are more than {DRIFT:g} sd away from their training mean: {named}"
        )
    if small:
        told.append(f"{_first(small)}: less than a tenth of the training mean; is it another unit or ticker?")
    return "; ".join(told) or None


def _first(names: Iterable[str]) -> str:
    """Joins the first five names, and says how many more there are."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _softened(model: FinalModel) -> str:
    config = model.model.config
    if config.norm == NONE:
        return ""
    what = "features in units of price or volume in " if config.is_partial else ""
    return f" (the model normalises {what}each window, which reduces the effect)"
