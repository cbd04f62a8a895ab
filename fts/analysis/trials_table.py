"""Reads trials into one table: from the database's v_trials view or from an exports folder, for notebooks and reports.

    from fts.analysis import load_trials
    trials = load_trials("outputs/fts.db")   # or load_trials("outputs/hpo")

One row per trial; the columns of COLUMNS come first, then others of the source.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS: dict[str, str] = {
    "experiment": "phase6a_2M_h1_threshold_1pct",
    "kind": "cell; replicate: another seed of a winner; walk: a winner on folds; baseline; train: a final model",
    "budget": "2M, 20M, 200M, 2B",
    "horizon": "trading days",
    "task": "threshold_1pct",
    "tier": "a20, a25, c",
    "number": "of the trial within its cell, from 0",
    "status": "running, interrupted, complete, pruned, failed",
    "objective": "val_loss or val_auc: what `value` is",
    "value": "objective at the best epoch",
    "best_epoch": "from 1",
    "last_value": "objective at the last epoch",
    "epochs": "recorded",
    "val_loss": "nats, at the best epoch",
    "val_auc": "at the best epoch",
    "auc_low": "95 % interval of val_auc",
    "auc_high": "95 % interval of val_auc",
    "n_train": "windows",
    "n_val": "windows",
    "n_pos": "positive windows in validation",
    "prior_loss": "validation loss of the class prior, nats",
    "architecture": "d512-L6-h8-ff2048",
    "d_model": "width",
    "n_layers": "depth",
    "n_heads": "",
    "d_ff": "",
    "n_params": "counted",
    "learning_rate": "",
    "weight_decay": "",
    "warmup_steps": "",
    "dropout": "",
    "label_md5": "of the labels the trial was trained and validated on",
    "base_rate": "share of positive labels",
    "data_md5": "of the processed file",
    "effective_md5": "of everything the trial consumed",
    "seed": "",
    "code_commit": "",
    "code_dirty": "uncommitted changes",
    "torch_version": "",
    "host": "",
    "device": "",
    "threads": "",
    "predicted_bytes": "peak memory, before",
    "peak_bytes": "peak memory, measured",
    "energy_wh": "watt hours, where a sensor knew",
    "badges": "tuple: collapsed, diverged, reused ...",
    "cause": "why it ended",
    "minutes": "of training",
}
TEXT = (
    "experiment", "kind", "budget", "task", "tier", "status", "objective", "architecture", "label_md5", "data_md5",
    "effective_md5", "seed", "code_commit", "code_dirty", "torch_version", "host", "device", "threads", "badges",
    "cause",
)  # fmt: skip
NUMBERS = [column for column in COLUMNS if column not in TEXT]
BUDGETS = ("tiny", "2M", "20M", "200M", "2B")
EXPERIMENT = re.compile(r"^(?:.*_)?(?P<budget>tiny|\d+[MB])_h(?P<horizon>\d+)_(?P<task>.+)$")
ARCHITECTURE = r"^d(?P<d_model>\d+)-L(?P<n_layers>\d+)-h(?P<n_heads>\d+)-ff(?P<d_ff>\d+)$"


class NoTrials(FileNotFoundError):
    """The source is neither a database nor an exports folder."""


def load_trials(source: str | Path) -> pd.DataFrame:
    """Returns one row per trial, with the columns of COLUMNS.

    source: an SQLite file of fts (read through v_trials, read-only, also while a worker writes) or a folder of exports
    (outputs/hpo, one cell's folder in it, or a folder of `fts export --parquet`). Raises NoTrials, or ValueError for a
    file that is not a database of fts.
    """
    path = Path(source)
    if (path / "trials.parquet").is_file():  # of `fts export --parquet`
        table = pd.read_parquet(path / "trials.parquet")
        return tidy_trials(table.assign(badges=table["badges"].map(list)))
    if path.is_dir():
        return tidy_trials(pd.DataFrame(_exported(path)))
    if not path.is_file():
        raise NoTrials(f"{path} is neither a database file nor an exports folder; `fts db path` names the database")
    return tidy_trials(_viewed(path))


def tidy_trials(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns any table of trials in the form of `load_trials`: JSON unpacked, shape and parameters as numeric columns.

    Accepts the rows of v_trials, of the exports, or `asdict` of fts.state.values.Trial with experiment added.
    """
    frame = frame.copy()
    _unpack(frame, "params", ("learning_rate", "weight_decay", "warmup_steps", "dropout", "architecture"))
    _unpack(frame, "effective", ("budget", "horizon", "task", "tier"))
    for column in COLUMNS:
        if column not in frame:
            frame[column] = None
    named = frame["experiment"].astype("string").str.extract(EXPERIMENT)
    shape = frame["architecture"].astype("string").str.extract(ARCHITECTURE)
    for extracted in (named, shape):
        for column in extracted.columns:
            frame[column] = frame[column].where(frame[column].notna(), extracted[column].astype(object))
    if "train_seconds" in frame:
        frame["minutes"] = frame["minutes"].where(frame["minutes"].notna(), frame["train_seconds"] / 60)
    for column in NUMBERS:
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    frame["kind"] = frame["kind"].where(frame["kind"].notna(), "cell")
    frame["badges"] = [_badges(value) for value in frame["badges"]]
    rest = [column for column in frame.columns if column not in COLUMNS]
    return frame[[*COLUMNS, *rest]].reset_index(drop=True)


def ranked(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns comparable trials, best first in each experiment: complete, with a value, not diverged or reused."""
    bad = trials["badges"].map(lambda badges: bool({"diverged", "reused"} & set(badges))).astype(bool)
    fit = trials[(trials["status"] == "complete") & trials["value"].notna() & ~bad & (trials["kind"] == "cell")]
    sign = np.where(fit["objective"] == "val_auc", -1.0, 1.0)
    order = fit.assign(_order=sign * fit["value"].to_numpy(float)).sort_values(["experiment", "_order", "number"])
    return order.drop(columns="_order")


def placed(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns every ranked trial of a search, best first: the `ranked` ones, then the pruned ones, last pruned first.

    A pruned trial was ended because others were better, so its place behind them is known although its value is not.
    Among trials pruned at the same epoch the better value at that epoch comes first.
    """
    fit = ranked(trials)
    rest = trials[(trials["status"] == "pruned") & trials["value"].notna() & (trials["kind"] == "cell")]
    rest = rest[~rest["badges"].map(lambda badges: bool({"diverged", "reused"} & set(badges))).astype(bool)]
    sign = np.where(rest["objective"] == "val_auc", -1.0, 1.0)
    late = rest.assign(_gone=-rest["epochs"].fillna(0), _order=sign * rest["value"].to_numpy(float))
    late = late.sort_values(["experiment", "_gone", "_order", "number"]).drop(columns=["_gone", "_order"])
    both = pd.concat([fit, late]) if len(late) else fit
    return both.sort_values("experiment", kind="stable")


def best_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns the best comparable trial of each experiment, one row each."""
    return ranked(trials).groupby("experiment", sort=False).head(1)


def trial_name(experiment: str, number: float) -> str:
    """Returns phase6a_2M_h1_threshold_1pct:t3, as the command line accepts it."""
    return f"{experiment}:t{int(number)}"


def budget_order(budget: str) -> tuple[int, str]:
    """Sort key: the matrix's budgets by size, then others by name."""
    return (BUDGETS.index(budget) if budget in BUDGETS else len(BUDGETS), budget)


def _viewed(path: Path) -> pd.DataFrame:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return pd.read_sql_query("SELECT * FROM v_trials", connection)
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        raise ValueError(f"{path} cannot be read as a database of fts: {error}") from error


def _exported(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("**/*_all_trials.json"))
    if not files:
        raise NoTrials(f"{folder} holds no *_all_trials.json; `fts export` writes them")
    return [row for file in files for row in _rows(file)]


def _rows(file: Path) -> Iterable[dict[str, Any]]:
    try:
        rows = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}; `fts export` rebuilds it from the database") from error
    if not isinstance(rows, list):
        raise ValueError(f"{file} holds a {type(rows).__name__}, expected a list of trials")
    for row in rows:
        yield {"experiment": file.name.removesuffix("_all_trials.json"), **row}


def _unpack(frame: pd.DataFrame, column: str, fields: tuple[str, ...]) -> None:
    if column not in frame:
        return
    contents = [_mapping(value) for value in frame[column]]
    for name in fields:
        found = pd.Series([content.get(name) for content in contents], index=frame.index, dtype=object)
        frame[name] = frame[name].where(frame[name].notna(), found) if name in frame else found


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = json.loads(value)
    return value if isinstance(value, dict) else {}


def _badges(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = json.loads(value)
    return tuple(str(badge) for badge in value) if isinstance(value, (list, tuple)) else ()
