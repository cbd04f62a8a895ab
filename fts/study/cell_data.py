"""Loads a data set as a cell uses it: features, labels, and the windows of training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fts.data import labels, splits, tasks
from fts.data.bars import COLUMNS
from fts.data.files import read_columns, read_dates
from fts.data.manifest import Manifest, ManifestError
from fts.features import tiers
from fts.raising import quoted


@dataclass(frozen=True)
class CellData:
    """The data of a cell. T rows, F features; while sealed it has no row of the test part."""

    name: str  # SPX.dataset.a25
    data_md5: str  # of the processed file
    feature_names: tuple[str, ...]
    dates: np.ndarray  # datetime64[D], T
    features_TF: np.ndarray  # noqa: N815  # shapes are upper-case suffixes; float32, C-contiguous
    bars_T5: np.ndarray  # noqa: N815  # float64, as they are: Open High Low Close Volume
    y_T: np.ndarray  # noqa: N815  # float32, NaN where the future is unknown
    train_ends: np.ndarray  # int64, position of the last row of each window
    val_ends: np.ndarray
    test_ends: np.ndarray  # empty while sealed
    context: int  # days
    span: int  # days of the longest window that must fit before each end; cells of one span use the same days
    horizon: int  # trading days
    task: str
    mean: np.ndarray  # float64, F; of the train rows; features_TF = (x - mean) / sd
    sd: np.ndarray
    label: labels.LabelFingerprint  # of all labels of train and validation
    prior: float  # base rate of the train windows
    prior_loss: float  # log loss of `prior` on the validation windows
    n_train: int
    n_val: int
    n_pos: int  # positives among the validation windows
    split: splits.Borders
    sealed: bool


def load(
    root: Path | str,
    dataset: str,
    task: str,
    horizon: int,
    context: int,
    split: Mapping[str, Any] | splits.Split | None = None,
    *,
    norm: str = "standard",
    sealed: bool = True,
    min_positives: int = splits.MIN_POSITIVES,
    tier: str | None = None,
    span: int | None = None,
) -> CellData:
    """Loads the data set `dataset` (a name, or the md5 of the processed file) from the data folder `root` for one cell.

    `tier`: the tier of the cell; needed with an md5, because tiers of the same columns share a file. `span`: a window
    must have this many days before its end (default: `context`).
    `split` as in `fts.data.splits.parse`; `norm` standard (train mean and sd, in float64) or none. While `sealed`, rows
    from the test part on are dropped before anything is computed, labels included. Raises UnknownDataset,
    ManifestError, BadSplit, SplitTooSmall, UnknownTask.
    """
    manifest = Manifest(Path(root))
    entry = manifest.find(dataset, tier)
    if entry.tier is None:
        raise ManifestError(f"{entry.dataset} is raw; a cell needs a processed data set such as SPX.dataset.a25")
    path = manifest.file(entry)
    chosen = splits.parse(split) if split is None or isinstance(split, Mapping) else split
    all_dates = read_dates(path)
    borders = splits.borders(all_dates, chosen)
    test_start = all_dates[borders.val_stop] if borders.val_stop < len(all_dates) else None
    dates, columns = read_columns(path, before=test_start if sealed else None)
    bars = pd.DataFrame({name: columns[name] for name in COLUMNS})
    names = tuple(tiers.tier_features(entry.tier))
    if missing := [n for n in (*COLUMNS, *names) if n not in columns]:
        raise ManifestError(
            f"{entry.dataset} {entry.md5[:12]} has no {', '.join(missing)}; build it again with this version"
        )
    features_TF, mean_F, sd_F = _scaled(np.column_stack([columns[n] for n in names]), borders.train_stop, norm)
    y_T = labels.label(bars, task, horizon)
    span = context if span is None else span
    assert span >= context, f"windows of {context} days do not fit into {span}"
    ends = {part: splits.window_ends(*borders.part(part), span, horizon) for part in ("train", "val")}
    splits.check_counts(y_T, ends["train"], ends["val"], min_positives, borders.text)
    test_ends = splits.window_ends(*borders.part("test"), span, horizon) if not sealed else np.empty(0, np.int64)
    y_val = y_T[ends["val"]]
    prior = float(y_T[ends["train"]].mean(dtype=np.float64))
    definition = f"{tasks.task(task).definition}.h{horizon}"
    return CellData(
        name=entry.dataset,
        data_md5=entry.md5,
        feature_names=names,
        dates=dates,
        features_TF=features_TF,
        bars_T5=bars[list(COLUMNS)].to_numpy(np.float64),
        y_T=y_T,
        train_ends=ends["train"],
        val_ends=ends["val"],
        test_ends=test_ends,
        context=context,
        span=span,
        horizon=horizon,
        task=task,
        mean=mean_F,
        sd=sd_F,
        label=labels.fingerprint(_labels_before_test(bars, task, horizon, borders), definition),
        prior=prior,
        prior_loss=_log_loss(prior, y_val),
        n_train=len(ends["train"]),
        n_val=len(ends["val"]),
        n_pos=int(y_val.sum()),
        split=borders,
        sealed=sealed,
    )


def label_fingerprint(
    root: Path,
    dataset: str,
    task: str,
    horizon: int,
    split: Mapping[str, Any] | None = None,
    tier: str | None = None,
) -> labels.LabelFingerprint:
    """Returns the fingerprint that `load` would find, without the features; arguments and errors as for `load`."""
    manifest = Manifest(root)
    path = manifest.file(manifest.find(dataset, tier))
    dates = read_dates(path)
    borders = splits.borders(dates, splits.parse(split))
    _, columns = read_columns(path, before=dates[borders.val_stop] if borders.val_stop < len(dates) else None)
    bars = pd.DataFrame({name: columns[name] for name in COLUMNS})
    definition = f"{tasks.task(task).definition}.h{horizon}"
    return labels.fingerprint(_labels_before_test(bars, task, horizon, borders), definition)


def few(ends: np.ndarray, y_T: np.ndarray, rows: int | None) -> np.ndarray:
    """Returns the first `rows` windows for a dry run; if all have one label, the last one is replaced.

    A validation part may begin with months without a rise, and a score needs both classes.
    """
    chosen: np.ndarray = ends[:rows].copy()
    others = np.flatnonzero(y_T[ends] != y_T[ends[0]])
    if len(others) and others[0] >= len(chosen):
        chosen[-1] = ends[others[0]]
    return chosen


def _scaled(x_TF: np.ndarray, train_stop: int, norm: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns features as float32, with the float64 mean and sd that scaled them; both come from train rows only."""
    if norm not in ("standard", "none"):
        raise ValueError(f"norm is {quoted(norm, 40)}, expected standard or none")
    x_TF = x_TF.astype(np.float64)
    mean_F, sd_F = np.zeros(x_TF.shape[1]), np.ones(x_TF.shape[1])
    if norm == "standard":
        mean_F, sd_F = x_TF[:train_stop].mean(axis=0), x_TF[:train_stop].std(axis=0)
        sd_F[sd_F <= 1e-12 * np.abs(mean_F)] = 1.0  # a feature that is constant in train stays at 0, up to rounding
    return np.ascontiguousarray(((x_TF - mean_F) / sd_F).astype(np.float32)), mean_F, sd_F


def rescaled(data: CellData, train_stop: int) -> CellData:
    """Scales the data again by the mean and sd of its first `train_stop` rows. Unscaled data stays unscaled."""
    if not data.mean.any() and (data.sd == 1).all():
        return data
    x_TF = data.features_TF.astype(np.float64) * data.sd + data.mean
    features_TF, mean_F, sd_F = _scaled(x_TF, train_stop, "standard")
    return replace(data, features_TF=features_TF, mean=mean_F, sd=sd_F)


def _labels_before_test(bars: pd.DataFrame, task: str, horizon: int, borders: splits.Borders) -> np.ndarray:
    """Returns labels of train and validation, none of which looks into the test part."""
    return labels.label(bars.iloc[: borders.val_stop], task, horizon)


def _log_loss(probability: float, y: np.ndarray) -> float:
    """Returns the log loss (natural logarithm, mean over samples) of one constant prediction."""
    share = float(y.mean(dtype=np.float64))
    return float(-(share * np.log(probability) + (1 - share) * np.log(1 - probability)))
