"""Rows of the database to the frozen values that leave it; a row that cannot be read leaves as a value marked so.

A column that holds what no fts writes (a time of the year 10^300, JSON of another kind, a status that does not exist)
is replaced by what stands for "no such thing", and the value says so in `unreadable`. Reading never raises for it.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from state.errors import UnreadableHistory
from state.values import (
    Cause,
    Epoch,
    Event,
    Job,
    JobStatus,
    Margin,
    Opening,
    Sample,
    Trial,
    TrialStatus,
    UnreadableRow,
    Worker,
    status_of,
)

T = TypeVar("T")
LATEST = 253_402_214_400.0  # the end of year 9999: beyond it no calendar can show a time
MANY = 10**9  # of anything that is counted one by one
LARGE = 2**62  # bytes, parameters, tokens
HUGE = 1e100  # a parameter that a search may draw
FLOAT32 = 3.5e38  # what a loss can reach
DEPTH = 40  # of nested JSON; a specification has six


class Kind(NamedTuple):
    """What a column may hold: `read` raises ValueError for anything else, and `neutral` then takes its place."""

    read: Callable[[Any], Any]
    neutral: Any = None
    may_lack: bool = True


def number(low: float, high: float, neutral: Any = None, infinite: bool = False) -> Kind:
    def read(value: Any) -> Any:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not (low <= value <= high or (infinite and math.isinf(value))):
            raise ValueError
        return value

    return Kind(read, neutral, neutral is None)


def whole(low: int, high: int, neutral: int | None = None) -> Kind:
    def read(value: Any) -> Any:
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Kind(read, neutral, neutral is None)


def words(neutral: str | None = None) -> Kind:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError
        return value

    return Kind(read, neutral, neutral is None)


def one_of(listed: type[StrEnum] | tuple[str, ...], neutral: str | None = None) -> Kind:
    """A word of a closed list; one that is not in it was written by hand, or by an fts with a longer list."""
    if isinstance(listed, tuple):
        return Kind(lambda value: listed[listed.index(value)], neutral, neutral is None)
    return Kind(listed, neutral, neutral is None)


def json_object(lacking: bool = False) -> Kind:
    return Kind(_object, None if lacking else {}, lacking)


def _object(text: str) -> dict[str, Any]:
    found = as_json(text)
    if type(found) is not dict:
        raise ValueError
    return found


def _data(text: str) -> dict[str, Any]:
    """What an event tells; without numbers that no float can hold, for screens format them."""
    if len(text) > 300 and _ENDLESS.search(text):
        raise ValueError
    return _object(text)


_ENDLESS = re.compile(r"\d{300}")


def as_json(text: str) -> Any:
    """What the text says. Raises ValueError for what is nested too deeply to be walked through."""
    if text.count("{") + text.count("[") > DEPTH and _depth(text) > DEPTH:
        raise ValueError
    return json.loads(text)


def _depth(text: str) -> int:
    deepest = depth = 0
    for char in text:
        depth += (char in "{[") - (char in "}]")
        deepest = max(deepest, depth)
    return deepest


def _params(text: str) -> dict[str, Any]:
    """Names and plain values: what a sampler has drawn."""
    found = json.loads(text)
    for value in found.values():  # AttributeError: another kind of JSON; nothing nested gets through
        kind = type(value)
        if kind is float or kind is int:
            if not -HUGE < value < HUGE:
                raise ValueError
        elif kind is not str and kind is not bool and value is not None:
            raise ValueError
    return found  # type: ignore[no-any-return]


def _badges(text: str) -> tuple[str, ...]:
    found = as_json(text)
    if not isinstance(found, list) or not all(isinstance(badge, str) for badge in found):
        raise ValueError
    return tuple(found)


TIME, SOME_TIME = number(0.0, LATEST, 0.0), number(0.0, LATEST)
COUNT, SOME_COUNT = whole(0, MANY, 0), whole(0, MANY)
ROW, SOME_ROW = whole(0, 2**63 - 1, 0), whole(0, 2**63 - 1)
SIZE = whole(-LARGE, LARGE)
SCORE = number(-FLOAT32, FLOAT32)
MEASURED = number(-FLOAT32, FLOAT32, math.nan, infinite=True)
SOME_MEASURED = number(-FLOAT32, FLOAT32, infinite=True)
STARTED = number(-1e18, 1e18)  # of a process, as the system counts: a virtual machine may be 7 million years ahead
PROCESS = whole(0, 2**31 - 1, 0)
SENSED = number(-1e15, 1e15)
ASKED_OF_JOB, ASKED_OF_WORKER = ("pause", "cancel"), ("drain_job", "drain_trial", "stop")

JOB: dict[str, Kind] = {
    "id": ROW, "experiment": words(""), "kind": words(""), "budget": words(""), "horizon": COUNT, "task": words(""),
    "tier": words(""), "status": one_of(JobStatus, JobStatus.FAILED), "rank": number(-1e15, 1e15, 0.0),
    "hold_reason": words(), "asked": one_of(ASKED_OF_JOB), "trials_wanted": COUNT, "trials_complete": COUNT,
    "trials_pruned": COUNT, "trials_failed": COUNT, "attempt": COUNT, "idle_attempts": COUNT,
    "token": whole(0, LARGE, 0), "lease_until": SOME_TIME, "worker_id": SOME_ROW, "cause": one_of(Cause),
    "message": words(), "best_value": SCORE, "best_trial": SOME_COUNT, "spec": json_object(), "created_at": TIME,
    "started_at": SOME_TIME, "ended_at": SOME_TIME, "acknowledged_at": SOME_TIME,
}  # fmt: skip
TRIAL: dict[str, Kind] = {
    "id": ROW, "job_id": ROW, "number": COUNT, "status": one_of(TrialStatus, TrialStatus.FAILED),
    "params": Kind(_params, {}, False), "effective": json_object(), "effective_md5": words(""),
    "architecture": words(""), "n_params": SIZE, "objective": one_of(("val_loss", "val_auc"), "val_loss"),
    "value": SCORE, "best_epoch": SOME_COUNT, "last_value": SCORE, "epochs": COUNT, "val_loss": SCORE,
    "val_auc": SCORE, "auc_low": SCORE, "auc_high": SCORE, "n_train": SIZE, "n_val": SIZE, "n_pos": SIZE,
    "prior_loss": SCORE, "label_md5": words(), "base_rate": SCORE, "data_md5": words(), "code_commit": words(),
    "code_dirty": Kind(bool), "seed": whole(-(2**63), 2**63 - 1, 0), "torch_version": words(), "host": words(),
    "device": words(), "threads": SOME_COUNT, "micro_batch": SOME_COUNT, "accumulation": SOME_COUNT,
    "recipe": json_object(lacking=True), "predicted_bytes": SIZE, "peak_bytes": SIZE,
    "badges": Kind(_badges, (), False), "reused_from": SOME_ROW, "cause": one_of(Cause), "message": words(),
    "log_path": words(), "started_at": TIME, "ended_at": SOME_TIME, "train_seconds": number(0.0, LATEST, 0.0),
    "pid": whole(0, 2**31 - 1), "pid_started": STARTED,
}  # fmt: skip
EPOCH: dict[str, Kind] = {
    "trial_id": ROW, "epoch": COUNT, "step": whole(0, LARGE, 0), "train_loss": MEASURED, "val_loss": MEASURED,
    "train_auc": SOME_MEASURED, "val_auc": SOME_MEASURED, "val_brier": SOME_MEASURED, "pred_min": MEASURED,
    "pred_max": MEASURED, "pred_sd": MEASURED, "learning_rate": MEASURED, "samples_per_s": MEASURED,
    "seconds": number(0.0, LATEST, math.nan), "at": TIME,
}  # fmt: skip
EVENT: dict[str, Kind] = {
    "id": ROW, "at": TIME, "who": words(""), "verb": words(""), "job_id": SOME_ROW, "trial_id": SOME_ROW,
    "message": words(""), "data": Kind(_data, {}, False), "inverse": json_object(lacking=True), "undone_by": SOME_ROW,
}  # fmt: skip
WORKER: dict[str, Kind] = {
    "id": ROW, "host": words(""), "pid": PROCESS, "slots": whole(1, MANY, 1),
    "pid_started": STARTED._replace(neutral=0.0, may_lack=False),
    "status": one_of(("running", "stopped", "lost"), "lost"), "asked": one_of(ASKED_OF_WORKER), "started_at": TIME,
    "heartbeat_at": TIME, "stopped_at": SOME_TIME, "guard": words("unknown"), "guard_message": words(),
}  # fmt: skip
SAMPLE: dict[str, Kind] = {
    "at": TIME, "worker_id": ROW, "trial_rss": SIZE, "available": SIZE, "total": SIZE, "swap_used": SIZE,
    "cpu_percent": SENSED, "temperature": SENSED, "gpu_percent": SENSED, "gpu_memory": SIZE, "power_w": SENSED,
    "disk_free": SIZE, "step_s": SENSED,
}  # fmt: skip
CHECKPOINT: dict[str, Kind] = {
    "id": ROW, "trial_id": ROW, "step": whole(0, LARGE, 0), "epoch": COUNT, "path": words(""),
    "bytes": whole(0, LARGE, 0), "md5": words(""), "seconds": number(0.0, LATEST, 0.0), "at": TIME,
}  # fmt: skip
FLAG: dict[str, Kind] = {"name": words(""), "value": words(""), "reason": words(), "who": words(), "at": TIME}
TABLES = {
    "job": JOB, "trial": TRIAL, "epoch": EPOCH, "event": EVENT, "worker": WORKER, "sample": SAMPLE,
    "checkpoint": CHECKPOINT, "flag": FLAG,
}  # fmt: skip

# One look at all numbers of a row: nearly every row passes it, and only the others are looked at column by column.
_ORDINARY = 2**31  # times until 2038, counts and process numbers
_small_of_job = itemgetter(
    "horizon", "trials_wanted", "trials_complete", "trials_pruned", "trials_failed", "attempt", "idle_attempts",
    "lease_until", "best_trial", "created_at", "started_at", "ended_at", "acknowledged_at",
)  # fmt: skip
_large_of_job = itemgetter("rank", "token", "best_value")
_small_of_trial = itemgetter(
    "number", "best_epoch", "epochs", "threads", "micro_batch", "accumulation", "started_at", "ended_at",
    "train_seconds", "pid",
)  # fmt: skip
_large_of_trial = itemgetter(
    "n_params", "value", "last_value", "val_loss", "val_auc", "auc_low", "auc_high", "n_train", "n_val", "n_pos",
    "prior_loss", "base_rate", "predicted_bytes", "peak_bytes", "pid_started",
)  # fmt: skip
_large_of_epoch = itemgetter(
    "train_loss", "val_loss", "train_auc", "val_auc", "val_brier", "pred_min", "pred_max", "pred_sd", "learning_rate",
    "samples_per_s",
)  # fmt: skip
_small_of_epoch = itemgetter("step", "epoch", "seconds", "at")


def _ordinary(small: tuple[Any, ...], large: tuple[Any, ...] = ()) -> bool:
    """Raises TypeError for what is no number at all."""
    some = tuple(filter(None, small))
    if some and not 0 <= min(some) <= max(some) <= _ORDINARY:
        return False
    some = tuple(filter(None, large))
    return not some or -1e15 <= min(some) <= max(some) <= 1e15


def to_job(row: Mapping[str, Any]) -> Job:
    try:
        if not _ordinary(_small_of_job(row), _large_of_job(row)) or row["asked"] not in (None, *ASKED_OF_JOB):
            return _mended(Job, JOB, row)
        cause = None if row["cause"] is None else Cause(row["cause"])
        kept = {**row, "status": JobStatus(row["status"]), "cause": cause, "spec": _object(row["spec"])}
        del kept["spec_md5"]
        return _as_meant(_made(Job, kept))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return _as_meant(_mended(Job, JOB, row))


def _as_meant(job: Job) -> Job:
    """A job that an older fts called done, although it has no complete trial, has failed."""
    if job.status is not JobStatus.DONE or job.best_trial is not None:
        return job
    meant = status_of(job.status, None, job.trials_complete + job.trials_pruned + job.trials_failed)
    if meant is job.status:
        return job
    return replace(job, status=meant, cause=None, message="it ended without a complete trial")


def to_trial(row: Mapping[str, Any]) -> Trial:
    try:
        if not _ordinary(_small_of_trial(row), _large_of_trial(row)):
            return _mended(Trial, TRIAL, row)
        kept = dict(row)
        kept["status"] = TrialStatus.INTERRUPTED if is_put_back(row) else TrialStatus(row["status"])
        kept["cause"] = None if row["cause"] is None else Cause(row["cause"])
        kept["params"] = _params(row["params"])
        kept["effective"] = {} if row["effective"] == "{}" else _object(row["effective"])
        kept["recipe"] = None if row["recipe"] is None else _object(row["recipe"])
        kept["badges"] = () if row["badges"] == "[]" else _badges(row["badges"])
        kept["code_dirty"] = None if row["code_dirty"] is None else bool(row["code_dirty"])
        return Trial(**kept)
    except (ValueError, TypeError, AttributeError, RecursionError):
        mended: Trial = _mended(Trial, TRIAL, row)
        return replace(mended, status=TrialStatus.INTERRUPTED) if is_put_back(row) else mended


def is_put_back(row: Mapping[str, Any]) -> bool:
    """Whether a retry has put this failed trial back: it runs again under its own number, and counts as not yet run."""
    return row["status"] == "failed" and row["ended_at"] is None


_ALWAYS = ("train_loss", "val_loss", "pred_min", "pred_max", "pred_sd", "learning_rate", "samples_per_s", "seconds")


def to_epoch(row: Mapping[str, Any]) -> Epoch:
    """A number that is always there was nan when its column is NULL: SQLite stores nan so."""
    row = {**row, **{name: math.nan for name in _ALWAYS if row[name] is None}}
    try:
        if _ordinary(_small_of_epoch(row), _large_of_epoch(row)):
            return _made(Epoch, row)
    except TypeError:
        pass
    return _mended(Epoch, EPOCH, row)


def to_event(row: Mapping[str, Any]) -> Event:
    try:
        if not 0 <= row["at"] <= _ORDINARY:
            return _mended(Event, EVENT, row)
        inverse = None if row["inverse"] is None else _object(row["inverse"])
        return _made(Event, {**row, "data": _data(row["data"]), "inverse": inverse})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return _mended(Event, EVENT, row)


def to_worker(row: Mapping[str, Any]) -> Worker:
    return _mended(Worker, WORKER, row)  # a handful of rows


def to_sample(row: Mapping[str, Any]) -> Sample:
    return _mended(Sample, SAMPLE, row)


def to_margin(row: Mapping[str, Any]) -> Margin:
    """Raises ValueError, in words, for a flag that holds no comparison."""
    return margin_of({**to_object(row["value"]), "at": row["at"]})


def margin_of(content: Mapping[str, Any]) -> Margin:
    for name, kind in MARGIN.items():
        if name not in content:
            raise ValueError(f"value has no {name}")
        try:
            read(kind, content[name])
        except ValueError:
            raise ValueError(f"{name} is {shown(content[name])}") from None
    return Margin(**{name: content[name] for name in MARGIN})


MARGIN = {
    "job_id": ROW, "trial": COUNT, "rival": words(""), "rival_job": ROW, "rival_trial": COUNT, "n": COUNT,
    **dict.fromkeys(("auc", "auc_low", "auc_high", "loss", "loss_low", "loss_high"), number(-FLOAT32, FLOAT32, 0.0)),
    "at": TIME,
}  # fmt: skip


def to_opening(row: Mapping[str, Any], tested: Mapping[str, Any] | None) -> Opening:
    """Who opened a test set: as much of it as can be read, for an opened test set is never shown as sealed."""
    content = to_object(row["value"])
    scores = None if tested is None else to_object(tested["value"])
    tested_at = None if tested is None else read_time(tested["at"]) or 0.0
    job_id, trial = (_number(content.get(name)) for name in ("job_id", "trial"))
    at, experiment = read_time(row["at"]) or 0.0, row["name"].removeprefix("unsealed:")
    return Opening(experiment, job_id, trial, row["who"] or "", at, scores, tested_at)


def _number(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0


def to_object(text: Any) -> dict[str, Any]:
    """A JSON object; an empty one for what is none."""
    try:
        return _object(text)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def as_params(row: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a trial for a sampler. Raises UnreadableHistory: it would draw others than it should."""
    try:
        return _params(row["params"])
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise UnreadableHistory(f"trial {row['id']}: unreadable, params is {shown(row['params'])}") from None


def of_job(past: Any) -> dict[str, Any]:
    """What an event says a job's columns held before: those that can be read."""
    found: dict[str, Any] = {}
    for name, value in past.items() if isinstance(past, dict) else ():
        with contextlib.suppress(ValueError, KeyError):
            found[name] = read(JOB[name], value)
    return found


def read_time(value: Any) -> float | None:
    """Seconds since the epoch; None for what no calendar can show."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= LATEST else None


def finite_or_none(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) <= FLOAT32 else None


def _made(made: type[T], kept: dict[str, Any]) -> T:
    """Past the constructor of a frozen dataclass, which sets field by field and takes a third of a read."""
    value = object.__new__(made)
    value.__dict__.update(kept)
    return value


def _mended(made: type[Any], kinds: Mapping[str, Kind], row: Mapping[str, Any]) -> Any:
    """The value with every column that can be read, and a sentence about those that cannot."""
    found: dict[str, Any] = {}
    complaints = []
    for name, kind in kinds.items():
        try:
            found[name] = read(kind, row[name])
        except ValueError:
            found[name] = kind.neutral
            complaints.append(f"{name} is {shown(row[name])}")
    why = ", ".join(complaints)
    if why and "message" in found:
        found["message"] = f"unreadable: {why}" if made is not Event else f"{found['message']} (unreadable: {why})"
    if why and "badges" in found:
        found["badges"] = (*found["badges"], "unreadable")
    return made(**found, unreadable=why or None)


def read(kind: Kind, value: Any) -> Any:
    """The value as its kind reads it. Raises ValueError for anything else, whatever is wrong with it."""
    if value is None and kind.may_lack:
        return None
    try:
        return kind.read(value)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def shown(value: Any) -> str:
    """What a column holds, in few characters: 1e308, 'x', NULL."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return repr(value).replace("e+", "e")
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}... ({len(str(value))} characters)"


def unreadable_of(db: Any, table: str) -> Iterator[UnreadableRow]:
    """The rows of a table that hold what no fts writes. Looks at each row: for `fts doctor`."""
    kinds = TABLES[table]
    cursor = db.execute_sql(f"SELECT {', '.join(kinds)} FROM {table}")
    for values in cursor:
        row = dict(zip(kinds, values, strict=True))
        odd = [name for name, kind in kinds.items() if not _fits(kind, row[name], name)]
        odd += _odd_content(table, row)
        if odd:
            why = ", ".join(f"{name} is {shown(row[name])}" for name in odd)
            yield UnreadableRow(table, _called(table, row), why, _cure(table, row, odd[0]))


def _fits(kind: Kind, value: Any, name: str) -> bool:
    try:
        if value is not None or name not in _ALWAYS:  # nan is stored as NULL
            read(kind, value)
    except ValueError:
        return False
    return True


def _odd_content(table: str, row: Mapping[str, Any]) -> list[str]:
    """A flag's value is JSON of its own kind."""
    if table != "flag" or not isinstance(row["value"], str):
        return []
    try:
        if row["name"].startswith("margin:"):
            to_margin(row)
        elif row["name"].startswith(("unsealed:", "tested:")):
            _object(row["value"])
    except (ValueError, RecursionError):
        return ["value"]
    return []


_KEYS = {"flag": ("name",), "epoch": ("trial_id", "epoch"), "sample": ("worker_id", "at")}


def _called(table: str, row: Mapping[str, Any]) -> str:
    if table == "epoch":
        return f"epoch {row['epoch']} of trial {row['trial_id']}"
    if table == "sample":
        return f"sample of worker {row['worker_id']} at {shown(row['at'])}"
    return f"{table} {row['name' if table == 'flag' else 'id']}"


def _cure(table: str, row: Mapping[str, Any], column: str) -> str | None:
    """The SQL that loses nothing: a column that may be empty is emptied, a measurement goes; None: there is none."""
    keys = _KEYS.get(table, ("id",))
    where = " AND ".join(f"{key} = {_quoted(row[key])}" for key in keys)
    kind = TABLES[table][column]
    if table == "sample" or (table == "flag" and str(row["name"]).startswith("margin:")):  # made again at any time
        return f"DELETE FROM {table} WHERE {where}"
    if (table, column) == ("event", "data"):
        return f"UPDATE event SET data = '{{}}' WHERE {where}"
    return f"UPDATE {table} SET {column} = NULL WHERE {where}" if kind.may_lack or column in _ALWAYS else None


def _quoted(value: Any) -> str:
    return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''")[:80] + "'"


def unreadable_in(values: Mapping[str, Iterable[Any]]) -> tuple[UnreadableRow, ...]:
    """Those of the values read from each table that are marked."""
    return tuple(
        UnreadableRow(table, name_of(table, value), value.unreadable)
        for table, found in values.items()
        for value in found
        if value.unreadable is not None
    )


def name_of(table: str, value: Any) -> str:
    """How a row is called: job 1, trial 12, epoch 3 of trial 12."""
    if table == "epoch":
        return f"epoch {value.epoch} of trial {value.trial_id}"
    if table == "sample":
        return f"sample of worker {value.worker_id}"
    return f"{table} {value.id}"
