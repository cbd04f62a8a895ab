"""Rows of the database to the frozen values that leave it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from state.errors import SchemaTooNew
from state.values import Cause, Epoch, Event, Job, JobStatus, Sample, Trial, TrialStatus, Worker, status_of


def to_job(row: Mapping[str, Any]) -> Job:
    kept = {name: row[name] for name in Job.__dataclass_fields__}
    kept["status"] = _known(JobStatus, row["status"])
    kept["cause"] = _cause(row["cause"])
    ended = row["trials_complete"] + row["trials_pruned"] + row["trials_failed"]
    if (meant := status_of(kept["status"], row["best_trial"], ended)) is not kept["status"]:
        kept |= {"status": meant, "cause": None, "message": "it ended without a complete trial"}
    spec = json.loads(row["spec"])
    kept["spec"] = spec if isinstance(spec, dict) else {}  # written by hand: its job fails for all that lacks
    return Job(**kept)


def to_trial(row: Mapping[str, Any]) -> Trial:
    kept = {name: row[name] for name in Trial.__dataclass_fields__}
    kept["status"] = TrialStatus.INTERRUPTED if is_put_back(row) else _known(TrialStatus, row["status"])
    kept["cause"] = _cause(row["cause"])
    kept["params"] = json.loads(row["params"])
    kept["effective"] = json.loads(row["effective"])
    kept["recipe"] = None if row["recipe"] is None else json.loads(row["recipe"])
    kept["badges"] = tuple(json.loads(row["badges"]))
    kept["code_dirty"] = None if row["code_dirty"] is None else bool(row["code_dirty"])
    return Trial(**kept)


def is_put_back(row: Mapping[str, Any]) -> bool:
    """Whether a retry has put this failed trial back: it runs again under its own number, and counts as not yet run."""
    return row["status"] == "failed" and row["ended_at"] is None


_ALWAYS = ("train_loss", "val_loss", "pred_min", "pred_max", "pred_sd", "learning_rate", "samples_per_s", "seconds")


def to_epoch(row: Mapping[str, Any]) -> Epoch:
    """A number that is always there was nan when its column is NULL: SQLite stores nan so."""
    return Epoch(**{**row, **{name: math.nan for name in _ALWAYS if row[name] is None}})


def to_event(row: Mapping[str, Any]) -> Event:
    inverse = None if row["inverse"] is None else json.loads(row["inverse"])
    return Event(**{**row, "data": json.loads(row["data"]), "inverse": inverse})


def to_worker(row: Mapping[str, Any]) -> Worker:
    stored = (name for name in Worker.__dataclass_fields__ if name != "gone")  # that the process table knows
    return Worker(**{name: row[name] for name in stored})


def to_sample(row: Mapping[str, Any]) -> Sample:
    return Sample(**{name: row[name] for name in Sample.__dataclass_fields__})


def _cause(text: str | None) -> Cause | None:
    return None if text is None else _known(Cause, text)


W = TypeVar("W", bound=StrEnum)


def _known(kind: type[W], text: str) -> W:
    """A word of a closed list; one that is not in it was written by an fts with a longer list."""
    try:
        return kind(text)
    except ValueError:
        expected = ", ".join(kind)
        raise SchemaTooNew(
            f"a row has the {kind.__name__} {text!r:.60}, unknown to this fts (it knows {expected}): update fts"
        ) from None
