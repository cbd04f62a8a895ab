"""Uses a final model: probabilities for new bars, the same on every call, and a refusal for the wrong bars."""

# shapes: T days, F features, W windows, B windows in a batch

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fts.data.layouts import Reading
from fts.data.plausible import find_implausible
from fts.data.sources import AS_IT_STANDS, take_closes, take_file
from fts.features import tiers
from fts.model.architecture import ModelConfig
from fts.model.patchtst import PatchTST
from fts.search.spec import config_md5
from fts.training.checkpoint import CheckpointError, file_md5, read_weights
from fts.training.metrics import probabilities

FORMAT = 1  # of a model folder
FILES = ("config.json", "scaler.json", "model.safetensors")  # without which there is no model
KEYS = ("features", "model", "weights_md5", "context", "tier")  # of config.json, without which nothing is predicted
CURE = "take it from a copy, or train the model again"
BATCH = 256  # windows at a time
SHRUNK = 0.1  # of the training mean: volumes in thousands, or another ticker's, lie within 3 sd of a mean above 0
DRIFT = 3.0  # standard deviations of the training rows: a feature whose mean lies farther out is named


class NoModel(FileNotFoundError):
    """A folder that holds no final model."""


class WrongBars(ValueError):
    """Bars that this model cannot be asked about: the message says what was expected."""


@dataclass(frozen=True)
class FinalModel:
    """A model folder, read and checked."""

    folder: Path
    config: dict[str, Any]
    model: PatchTST
    mean: NDArray[np.float64]  # F, of the training rows
    sd: NDArray[np.float64]

    @property
    def context(self) -> int:
        return int(self.config["context"])


@dataclass(frozen=True)
class Predicted:
    """One probability per day that has a whole window behind it."""

    table: pd.DataFrame  # date, p
    warnings: tuple[str, ...]  # where these bars look unlike those of the training


def load_model(folder: Path | str) -> FinalModel:
    """Raises NoModel for a folder without a whole model, CheckpointError for weights that are damaged or another's."""
    folder = Path(folder)
    if lacking := [name for name in FILES if not (folder / name).is_file()]:
        raise NoModel(f"{folder} holds no final model: {', '.join(lacking)} is missing; `fts train CELL` makes one")
    config, scaler = (_stored(folder / name, kind) for name, kind in (("config.json", dict), ("scaler.json", list)))
    if config.get("format") != FORMAT:
        raise NoModel(f"{folder} has format {config.get('format')!r:.20}, this fts reads format {FORMAT}")
    if lacking := [name for name in KEYS if name not in config]:
        raise NoModel(f"{folder / 'config.json'} is damaged (no {', '.join(lacking)}); {CURE}")
    weights_file = folder / "model.safetensors"
    if (md5 := file_md5(weights_file)) != config["weights_md5"]:  # one changed byte still loads, and predicts otherwise
        raise CheckpointError(
            f"{weights_file} has md5 {md5[:12]}, config.json says {str(config['weights_md5'])[:12]}: the weights are "
            "damaged or another model's; take the folder from a copy, or train the model again"
        )
    header, weights = read_weights(weights_file)
    if not isinstance(header, dict) or not isinstance(header.get("model"), dict):
        raise CheckpointError(f"{weights_file} does not say which model its weights belong to; {CURE}")
    require_same(folder / "config.json", config, header["model"])
    mean, sd = _scaler(folder / "scaler.json", scaler, config)
    model = _model(weights_file, config, weights)
    if config.get("config_md5") not in (
        None,
        md5_of_config(config),
    ):  # a changed horizon fits any weights
        raise NoModel(f"{folder / 'config.json'} is not the one this model was trained with; {CURE}")
    return FinalModel(folder, config, model, mean, sd)


def md5_of_config(config: dict[str, Any]) -> str:
    """md5 of what config.json says, but for this number itself."""
    return config_md5({name: value for name, value in config.items() if name != "config_md5"})


def _stored(path: Path, kind: type) -> Any:
    """What a JSON file of a model folder holds. Raises NoModel for a damaged one."""
    try:
        found = json.loads(path.read_text())
    except ValueError as damage:  # of JSON and of UTF-8
        raise NoModel(f"{path} is damaged ({damage}); {CURE}") from None
    if not isinstance(found, kind):
        raise NoModel(f"{path} is damaged (no {kind.__name__}); {CURE}")
    return found


def require_same(path: Path, config: dict[str, Any], trained: dict[str, Any]) -> None:
    """Raises NoModel where config.json describes another model than the weights, which say themselves what they are.

    Before a model is built: another norm or number of heads would load and predict otherwise, a shape too large would
    take all memory.
    """
    told = config["model"]
    said: list[tuple[str, object, object]]
    if isinstance(told, dict):
        said = [(name, told.get(name), trained.get(name)) for name in sorted({*told, *trained})]
    else:
        said = [("model", told, trained)]
    features = config["features"]
    said += [
        ("context", config["context"], trained["context"]),
        ("number of features", len(features) if isinstance(features, list) else features, trained["n_features"]),
    ]
    for name, here, there in said:
        if here != there:
            raise NoModel(f"{path} says {name} {here!r:.40}, the weights are of a model with {there!r:.40}; {CURE}")


def _scaler(path: Path, scaler: list[Any], config: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sd of the training rows, one each per feature. Raises NoModel for other numbers than were written."""
    if not all(isinstance(entry, dict) and {"feature", "mean", "sd"} <= set(entry) for entry in scaler):
        raise NoModel(f"{path} is damaged (an entry without feature, mean and sd); {CURE}")
    if [entry["feature"] for entry in scaler] != config["features"]:
        raise NoModel(f"{path.parent}: scaler.json and config.json name different features; train the model again")
    for entry in scaler:
        if not all(isinstance(entry[part], float | int) and math.isfinite(entry[part]) for part in ("mean", "sd")) or (
            entry["sd"] <= 0
        ):
            raise NoModel(
                f"{path} has mean {entry['mean']!r:.20} and sd {entry['sd']!r:.20} for {entry['feature']}, expected "
                f"two numbers and an sd above 0; {CURE}"
            )
    if config.get("scaler_md5") not in (None, file_md5(path)):  # None: trained before it was written down
        raise NoModel(f"{path} is not the one this model was trained with; {CURE}")
    mean, sd = (np.array([entry[part] for entry in scaler], dtype=np.float64) for part in ("mean", "sd"))
    return mean, sd


def _model(path: Path, config: dict[str, Any], weights: dict[str, torch.Tensor]) -> PatchTST:
    """The model with its weights. Raises CheckpointError for weights that do not fit or are no numbers."""
    model = PatchTST(ModelConfig.from_json(config["model"]))
    try:
        model.load_state_dict(weights)
    except RuntimeError as misfit:  # torch's only word for names and shapes that do not fit
        raise CheckpointError(f"{path} holds other weights than config.json describes; {CURE} ({misfit})") from None
    if odd := [name for name, weight in weights.items() if not torch.isfinite(weight).all()]:
        raise CheckpointError(f"{path}: {odd[0]} holds values that are no numbers; train the model again")
    return model.eval()


def predict_file(
    model: FinalModel, path: Path | str, vix: Path | str | None = None, reading: Reading = AS_IT_STANDS
) -> Predicted:
    """Probabilities for the bars of a csv or parquet file; `vix`: a file of VIX closes, for tiers that need them.

    Raises BadBars for a file that holds no bars, WrongBars when the model cannot read them.
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
    """Probabilities for checked bars (fts.data.bars.check_bars). Raises WrongBars, FeatureUnknown."""
    needed = tiers.WARM_UP + model.context
    if len(bars) < needed:
        raise WrongBars(
            f"{origin} has {len(bars)} rows; the model needs {needed}: {tiers.WARM_UP} until the slowest indicator has "
            f"a value, then {model.context} for one window"
        )
    x = tiers.build(bars, str(model.config["tier"]), closes)
    if list(x.columns) != model.config["features"]:
        raise WrongBars(
            f"{origin}: tier {model.config['tier']} now has the features {', '.join(x.columns)}, the model was trained "
            f"on {', '.join(model.config['features'])}; use fts of commit {model.config['cell'].get('code_commit')}"
        )
    if len(x) < model.context:
        raise WrongBars(f"{origin}: {len(x)} rows are left after the warm-up, one window takes {model.context}")
    scaled_TF = scaled(model, x.to_numpy(np.float64))
    ends = np.arange(model.context - 1, len(x))
    table = pd.DataFrame({"date": x.index[ends], "p": window_probabilities(model, scaled_TF, ends)})
    findings = find_implausible(bars)
    if _trained_on_volume(model) and any(finding.kind == "no-volume" for finding in findings):
        raise WrongBars(f"{origin}: column Volume is missing or the same on each day; the model was trained on volumes")
    warnings = tuple(finding.sentence for finding in findings)
    return Predicted(table, (*warnings, *drift_warnings(model, x)))


def _trained_on_volume(model: FinalModel) -> bool:
    """Without volume (1 on each day) adosc, which every tier has, stays below 3 in size."""
    features = list(model.config["features"])
    return "adosc" in features and float(model.sd[features.index("adosc")]) > 10


def scaled(model: FinalModel, x_TF: NDArray[np.float64]) -> NDArray[np.float32]:
    """The features as the model was trained on them."""
    return np.ascontiguousarray(((x_TF - model.mean) / model.sd).astype(np.float32))


@torch.inference_mode()
def window_probabilities(model: FinalModel, x_TF: NDArray[np.float32], ends: NDArray[np.int64]) -> NDArray[np.float32]:
    """One probability per window end. One thread: sums of several come out differently from run to run of a machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        windows_WFT = torch.from_numpy(x_TF).unfold(0, model.context, 1)
        starts = torch.from_numpy(np.asarray(ends, dtype=np.int64) - (model.context - 1))
        logits = [model.model(windows_WFT[part_B]).float() for part_B in starts.split(BATCH)]
        return probabilities(torch.cat(logits).numpy())
    finally:
        torch.set_num_threads(before)


def drift_warnings(model: FinalModel, x: pd.DataFrame) -> tuple[str, ...]:
    """Features that look unlike the training rows: over all these bars, else in the newest window, which matters most.

    A long history of a price that has multiplied looks like its own past on average, and its last days do not.
    """
    newest = f"in the newest window, until {x.index[-1]:%Y-%m-%d}, "
    for rows, where in ((x, ""), (x.tail(model.context), newest)):
        if unlike := _unlike(model, rows):
            return (f"{where}{unlike}{_softened(model)}",)
    return ()


def _unlike(model: FinalModel, x: pd.DataFrame) -> str | None:
    """Which features' means are far from those of the training rows; None: no one's."""
    mean_F = x.to_numpy(np.float64).mean(axis=0)
    shift_F = np.abs(mean_F - model.mean) / model.sd
    shrunk_F = (np.abs(model.mean) > model.sd) & (np.abs(mean_F) < SHRUNK * np.abs(model.mean))
    far = sorted((-shift, name) for name, shift in zip(x.columns, shift_F, strict=True) if shift > DRIFT)
    shrunk_F &= shift_F <= DRIFT  # the others are named already
    small = list(x.columns[shrunk_F])
    told = []
    if far:
        named = _first(f"{name} by {-shift:.1f}" for shift, name in far)
        told.append(f"{len(far)} of {x.shape[1]} features stand more than {DRIFT:g} training sd off: {named}")
    if small:
        told.append(f"{_first(small)}: less than a tenth of the training mean, another unit or ticker?")
    return "; ".join(told) or None


def _first(names: Iterable[str]) -> str:
    """The first five, and how many more."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _softened(model: FinalModel) -> str:
    revin = model.config["model"]["norm"] == "revin"
    return " (each window is read relative to itself, which softens this)" if revin else ""
