"""Checks what a trial process reports (facts, an epoch, metrics) and converts it to columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fts.state.errors import BadRow
from fts.state.rows import to_object
from fts.state.transitions.base import Row, checked_int, finite, short, to_json
from fts.state.values import bounded

MAX_METRICS = 256_000  # characters of JSON for one epoch: a thousand with the longest names and numbers
MAX_FACTS = 64_000 + MAX_METRICS  # for the facts without a column: the metrics of the result, and the others


_FACTS: dict[str, type | tuple[type, ...]] = {
    "n_params": int, "n_train": int, "n_val": int, "n_pos": int, "prior_loss": (float, int), "label_md5": str,
    "base_rate": (float, int), "data_md5": str, "code_commit": str, "code_dirty": (bool, int), "torch_version": str,
    "host": str, "device": str, "threads": int, "micro_batch": int, "accumulation": int, "recipe": Mapping,
    "predicted_bytes": int, "peak_bytes": int, "pid": int, "pid_started": (float, int), "log_path": str,
}  # fmt: skip


def checked_facts(facts: Mapping[str, Any]) -> Row:
    row: Row = {}
    own: Row = {}  # facts without a column
    for name, value in facts.items():
        if name not in _FACTS:
            own[checked_key(name, "the name of a fact")] = finite(value)
            continue
        if value is not None and not isinstance(value, _FACTS[name]):
            raise BadRow(f"{name} is a {type(value).__name__}, expected {_FACTS[name]}")
        if isinstance(value, Mapping):
            value = to_json(finite(value), name)
        row[name] = short(value) if isinstance(value, str) and name != "recipe" else value
    if row.get("code_dirty") is not None:
        row["code_dirty"] = int(row["code_dirty"])
    return row | ({"facts": to_json(own, "facts", MAX_FACTS)} if own else {})


def with_facts(trial: Row, changes: Row) -> Row:
    """Returns the changes with the trial's facts without a column updated; a fact with value None is removed."""
    if changes.get("facts", "{}") == "{}":
        return changes
    own = to_object(trial["facts"]) | to_object(changes["facts"])
    kept = {name: value for name, value in own.items() if value is not None}
    return changes | {"facts": to_json(kept, "facts", MAX_FACTS)}


def checked_key(name: Any, what: str) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable():
        raise BadRow(f"{what} is {str(name)[:80]!r}; expected 1 to 100 printable characters")
    return name


EPOCH_FIELDS = (
    "epoch", "step", "train_loss", "val_loss", "train_auc", "val_auc", "val_brier", "pred_min", "pred_max", "pred_sd",
    "learning_rate", "samples_per_s", "seconds",
)  # fmt: skip


def checked_epoch(epoch: Mapping[str, Any], general: bool) -> Row:
    """Checks an epoch and converts its numbers as SQLite stores them: nan becomes NULL, infinity stays."""
    unknown = set(epoch) - {*EPOCH_FIELDS, "value", "metrics"}
    missing = {"epoch"} - set(epoch)
    if unknown or missing:
        raise BadRow(f"an epoch row has unknown fields {sorted(unknown)}, has no {sorted(missing)}")
    if general and "value" not in epoch and "metrics" not in epoch:  # a row of all columns that misses one
        raise BadRow(f"an epoch row has no {sorted(set(EPOCH_FIELDS) - set(epoch))}; other studies report a value")
    checked_int(epoch["epoch"], "epoch", 0 if general else 1, 2**31 if general else 1_000_000)
    row: Row = {"epoch": epoch["epoch"], "step": checked_int(epoch.get("step", epoch["epoch"]), "step", 0)}
    row |= {name: checked_number(epoch.get(name), name) for name in EPOCH_FIELDS[2:]}
    if "value" in epoch:
        row["value"] = checked_number(epoch["value"], "value")
    return row | {"metrics": checked_metrics(epoch.get("metrics"))}


def checked_number(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRow(f"{name} is a {type(value).__name__}, expected a number")
    try:
        return None if math.isnan(value) else bounded(float(value))
    except OverflowError:
        raise BadRow(f"{name} is a whole number of {int(value).bit_length()} bits, expected at most 1.8e308") from None


def checked_metrics(given: Any) -> str:
    if given is not None and not isinstance(given, Mapping):
        raise BadRow(f"metrics is a {type(given).__name__}, expected names and numbers")
    found = {checked_key(name, "the name of a metric"): checked_number(n, name) for name, n in (given or {}).items()}
    return to_json(finite(found), "metrics", MAX_METRICS)
