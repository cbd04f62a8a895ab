"""Defines what each column may hold, and which fallback replaces a value that no fts writes."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fts.state.values import HUGE, Cause, Direction, JobStatus, TrialStatus, WorkerOrder

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import StrEnum

LATEST = 253_402_214_400.0  # the end of year 9999: no calendar can show a later time
MANY = 10**9  # upper limit of counts
LARGE = 2**62  # upper limit of bytes, parameters, tokens
DEPTH = 40  # most levels of nested JSON; a specification has six


class ColumnKind(NamedTuple):
    """What a column may hold: `read` raises ValueError for any other value, which `fallback` then replaces."""

    read: Callable[[Any], Any]
    fallback: Any = None
    nullable: bool = True


def number(low: float, high: float, fallback: Any = None, infinite: bool = False) -> ColumnKind:
    def read(value: Any) -> Any:
        if value is fallback:  # nan, with which fts.state.rows replaces NULL
            return value
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not (low <= value <= high or (infinite and math.isinf(value))):
            raise ValueError
        return value

    return ColumnKind(read, fallback, fallback is None)


def whole(low: int, high: int, fallback: int | None = None) -> ColumnKind:
    def read(value: Any) -> Any:
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return ColumnKind(read, fallback, fallback is None)


def text(fallback: str | None = None) -> ColumnKind:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError
        return value

    return ColumnKind(read, fallback, fallback is None)


def one_of(listed: type[StrEnum] | tuple[str, ...], fallback: str | None = None) -> ColumnKind:
    """A word of a closed list; any other word was written by hand, or by an fts with a longer list."""
    if isinstance(listed, tuple):
        return ColumnKind(lambda value: listed[listed.index(value)], fallback, fallback is None)
    return ColumnKind(listed, fallback, fallback is None)


def json_object(nullable: bool = False) -> ColumnKind:
    return ColumnKind(read_object, None if nullable else {}, nullable)


def read_object(text: str, whole_number: Callable[[str], int] | None = None) -> dict[str, Any]:
    found = as_json(text, whole_number)
    if type(found) is not dict:
        raise ValueError
    return found


def read_data(text: str) -> dict[str, Any]:
    """Reads the data of an event. Refuses numbers that no float can hold, because screens format them."""
    return read_object(text, _short)


_TOO_LONG = re.compile(r"\d{300}")


def _short(digits: str) -> int:
    """Reads an integer that a float can hold; raises ValueError for a longer one."""
    if len(digits) > 300:
        raise ValueError
    return int(digits)


def as_json(text: str, whole_number: Callable[[str], int] | None = None) -> Any:
    """Parses JSON. Raises ValueError if it is not JSON, or nested deeper than DEPTH."""
    if is_too_deep(text):
        raise ValueError
    if whole_number is None or not _TOO_LONG.search(text):  # the usual case: the C parser reads it all
        return json.loads(text)
    return json.loads(text, parse_int=whole_number)


def is_too_deep(text: str) -> bool:
    """Whether JSON has more levels than any reader accepts."""
    return text.count("{") + text.count("[") > DEPTH and _depth(text) > DEPTH


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _depth(text: str) -> int:
    """Counts the levels of nested JSON. A bracket in a string, such as one of a user's message, is none."""
    deepest = depth = 0
    for char in _STRING.sub("", text):
        depth += (char in "{[") - (char in "}]")
        deepest = max(deepest, depth)
    return deepest


def read_params(text: str) -> dict[str, Any]:
    """Reads the parameters that a sampler has drawn: plain values by name. Raises AttributeError if not an object."""
    found: dict[str, Any] = json.loads(text)
    for value in found.values():  # nested values are refused
        kind = type(value)
        if kind is float or kind is int:
            if not -HUGE < value < HUGE:
                raise ValueError
        elif kind is not str and kind is not bool and value is not None:
            raise ValueError
    return found


def read_labels(text: str) -> dict[str, Any]:
    """Reads a job's labels: a plain value for each axis."""
    found = read_params(text)
    if any(value is None for value in found.values()):
        raise ValueError
    return found


def read_facts(text: str) -> dict[str, Any]:
    """Reads the facts that a trial reported. Refuses numbers that no float can hold, because screens format them."""
    found = read_object(text, _short)
    if not _are_finite(found):
        raise ValueError
    return found


def _are_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_are_finite, value.values()))
    return all(map(_are_finite, value)) if isinstance(value, list) else True


def read_metrics(text: str) -> dict[str, float]:
    """Reads an epoch's metrics: numbers by name, where null stands for nan."""
    found = json.loads(text)
    return {name: _metric(value) for name, value in found.items()}


def _metric(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in (float, int) or not (-HUGE <= value <= HUGE):
        raise ValueError
    return float(value)


def read_value(text: str) -> Any:
    """Reads one plain value that a trial drew."""
    return read_params(f'{{"value":{text}}}')["value"]


def read_badges(text: str) -> tuple[str, ...]:
    found = as_json(text)
    if not isinstance(found, list) or not all(isinstance(badge, str) for badge in found):
        raise ValueError
    return tuple(found)


TIME, SOME_TIME = number(0.0, LATEST, 0.0), number(0.0, LATEST)
COUNT, SOME_COUNT = whole(0, MANY, 0), whole(0, MANY)
STEP, SOME_STEP = whole(0, 2**31, 0), whole(0, 2**31)  # of a report: functions count samples, too
ROW, SOME_ROW = whole(0, 2**63 - 1, 0), whole(0, 2**63 - 1)
SIZE = whole(-LARGE, LARGE)
SCORE = number(-HUGE, HUGE)
MEASURED = number(-HUGE, HUGE, math.nan, infinite=True)
SOME_MEASURED = number(-HUGE, HUGE, infinite=True)
LATEST_START = 1e18  # of a process, in the system's unit: a virtual machine's clock may be 7 million years ahead
STARTED = number(-LATEST_START, LATEST_START)
PROCESS = whole(0, 2**31 - 1, 0)
SENSED = number(-1e15, 1e15)
ASKED_OF_JOB = ("pause", "cancel")

JOB: dict[str, ColumnKind] = {
    "id": ROW, "experiment": text(""), "kind": text(""), "study": text(""), "cell": text(""),
    "labels": ColumnKind(read_labels, {}, False), "metric": text(""),
    "direction": one_of(Direction, Direction.MINIMIZE),
    "status": one_of(JobStatus, JobStatus.FAILED), "rank": number(-1e15, 1e15, 0.0),
    "hold_reason": text(), "asked": one_of(ASKED_OF_JOB), "trials_wanted": COUNT, "trials_complete": COUNT,
    "trials_pruned": COUNT, "trials_failed": COUNT, "attempt": COUNT, "idle_attempts": COUNT,
    "token": whole(0, LARGE, 0), "lease_until": SOME_TIME, "worker_id": SOME_ROW, "cause": one_of(Cause),
    "message": text(), "best_value": SCORE, "best_trial": SOME_COUNT, "spec": json_object(), "created_at": TIME,
    "started_at": SOME_TIME, "ended_at": SOME_TIME, "acknowledged_at": SOME_TIME,
}  # fmt: skip
TRIAL: dict[str, ColumnKind] = {
    "id": ROW, "job_id": ROW, "number": COUNT, "status": one_of(TrialStatus, TrialStatus.FAILED),
    "params": ColumnKind(read_params, {}, False), "effective": json_object(), "effective_md5": text(""),
    "architecture": text(""), "n_params": SIZE, "objective": text(""),
    "direction": one_of(Direction, Direction.MINIMIZE), "value": SCORE, "best_epoch": SOME_STEP, "last_value": SCORE,
    "epochs": COUNT, "val_loss": SCORE, "val_auc": SCORE, "auc_low": SCORE, "auc_high": SCORE,
    "n_train": SIZE, "n_val": SIZE, "n_pos": SIZE,
    "prior_loss": SCORE, "label_md5": text(), "base_rate": SCORE, "data_md5": text(), "code_commit": text(),
    "code_dirty": ColumnKind(bool), "seed": whole(-(2**63), 2**63 - 1, 0), "torch_version": text(), "host": text(),
    "device": text(), "threads": SOME_COUNT, "micro_batch": SOME_COUNT, "accumulation": SOME_COUNT,
    "recipe": json_object(nullable=True), "predicted_bytes": SIZE, "peak_bytes": SIZE,
    "badges": ColumnKind(read_badges, (), False), "reused_from": SOME_ROW, "cause": one_of(Cause), "message": text(),
    "log_path": text(), "started_at": TIME, "ended_at": SOME_TIME, "train_seconds": number(0.0, LATEST, 0.0),
    "pid": whole(0, 2**31 - 1), "pid_started": STARTED, "facts": ColumnKind(read_facts, {}, False),
}  # fmt: skip
EPOCH: dict[str, ColumnKind] = {
    "trial_id": ROW, "epoch": STEP, "step": whole(0, LARGE, 0), "train_loss": MEASURED, "val_loss": MEASURED,
    "train_auc": SOME_MEASURED, "val_auc": SOME_MEASURED, "val_brier": SOME_MEASURED, "pred_min": MEASURED,
    "pred_max": MEASURED, "pred_sd": MEASURED, "learning_rate": MEASURED, "samples_per_s": MEASURED,
    "seconds": number(0.0, LATEST, math.nan), "at": TIME, "value": SOME_MEASURED,
    "metrics": ColumnKind(read_metrics, {}, False),
}  # fmt: skip
EVENT: dict[str, ColumnKind] = {
    "id": ROW, "at": TIME, "who": text(""), "verb": text(""), "job_id": SOME_ROW, "trial_id": SOME_ROW,
    "message": text(""), "data": ColumnKind(read_data, {}, False), "inverse": json_object(nullable=True),
    "undone_by": SOME_ROW,
}  # fmt: skip
WORKER: dict[str, ColumnKind] = {
    "id": ROW, "host": text(""), "pid": PROCESS, "slots": whole(1, MANY, 1),
    "pid_started": STARTED._replace(fallback=0.0, nullable=False),
    "status": one_of(("running", "stopped", "lost"), "lost"), "asked": one_of(WorkerOrder), "started_at": TIME,
    "heartbeat_at": TIME, "stopped_at": SOME_TIME, "guard": text("unknown"), "guard_message": text(),
}  # fmt: skip
SAMPLE: dict[str, ColumnKind] = {
    "at": TIME, "worker_id": ROW, "trial_rss": SIZE, "available": SIZE, "total": SIZE, "swap_used": SIZE,
    "cpu_percent": SENSED, "temperature": SENSED, "gpu_percent": SENSED, "gpu_memory": SIZE, "power_w": SENSED,
    "disk_free": SIZE, "step_s": SENSED,
}  # fmt: skip
CHECKPOINT: dict[str, ColumnKind] = {
    "id": ROW, "trial_id": ROW, "step": whole(0, LARGE, 0), "epoch": STEP, "path": text(""),
    "bytes": whole(0, LARGE, 0), "md5": text(""), "seconds": number(0.0, LATEST, 0.0), "at": TIME,
}  # fmt: skip
STUDY: dict[str, ColumnKind] = {"name": text(""), "declaration": ColumnKind(read_facts, {}, False), "created_at": TIME}
DRAW: dict[str, ColumnKind] = {
    "trial_id": ROW, "k": COUNT, "name": text(""), "value": ColumnKind(read_value, None, False),
    "distribution": ColumnKind(read_facts, {}, False),
}  # fmt: skip
ATTEMPT: dict[str, ColumnKind] = {
    "trial_id": ROW, "n": COUNT, "token": whole(0, LARGE, 0), "host": text(), "pid": whole(0, 2**31 - 1),
    "began_at": TIME, "ended_at": SOME_TIME, "how": text(),
}  # fmt: skip
FLAG: dict[str, ColumnKind] = {"name": text(""), "value": text(""), "reason": text(), "who": text(), "at": TIME}
MARGIN = {
    "job_id": ROW, "trial": COUNT, "rival": text(""), "rival_job": ROW, "rival_trial": COUNT, "n": COUNT,
    **dict.fromkeys(("auc", "auc_low", "auc_high", "loss", "loss_low", "loss_high"), number(-HUGE, HUGE, 0.0)),
    "at": TIME,
}  # fmt: skip

TABLES = {
    "job": JOB, "trial": TRIAL, "epoch": EPOCH, "event": EVENT, "worker": WORKER, "sample": SAMPLE,
    "checkpoint": CHECKPOINT, "flag": FLAG, "study": STUDY, "draw": DRAW, "attempt": ATTEMPT,
}  # fmt: skip
ALWAYS_MEASURED = (  # columns of an epoch in which NULL stands for nan
    "train_loss", "val_loss", "pred_min", "pred_max", "pred_sd", "learning_rate", "samples_per_s", "seconds",
)  # fmt: skip


def read(kind: ColumnKind, value: Any) -> Any:
    """Reads a value by its kind. Raises ValueError for any value that the kind does not allow."""
    if value is None and kind.nullable:
        return None
    try:
        return kind.read(value)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def shown(value: Any) -> str:
    """Formats a column's value in few characters: 1e308, 'x', NULL."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return repr(value).replace("e+", "e")
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}... ({len(str(value))} characters)"
