"""Converts rows of the database to frozen values; a row that cannot be read becomes a value marked as unreadable.

A column that holds what no fts writes (a time in the year 10^300, JSON of another kind, an unknown status) gets its
fallback, and the value's `unreadable` says so. Apart from the history of a search, reading never raises for it.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import fields, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from fts.state.columns import (
    ALWAYS_MEASURED,
    ASKED_OF_JOB,
    ATTEMPT,
    DRAW,
    EPOCH,
    EVENT,
    JOB,
    LATEST,
    LATEST_START,
    MARGIN,
    SAMPLE,
    STUDY,
    TRIAL,
    WORKER,
    ColumnKind,
    read,
    read_badges,
    read_data,
    read_facts,
    read_labels,
    read_metrics,
    read_object,
    read_params,
    shown,
)
from fts.state.errors import UnreadableHistory
from fts.state.values import (
    HUGE,
    Attempt,
    Cause,
    Direction,
    Draw,
    Epoch,
    Event,
    Job,
    JobStatus,
    Margin,
    Node,
    NodeState,
    Opening,
    Sample,
    StudyRecord,
    Trial,
    TrialStatus,
    UnreadableRow,
    Worker,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

# One check of all numbers of a row: nearly every row passes it, and only the others are read column by column.
_LARGEST_SMALL = 2**31 - 1  # times until 2038, counts and pids
_small_of_job = itemgetter(
    "trials_wanted", "trials_complete", "trials_pruned", "trials_failed", "attempt", "idle_attempts",
    "token", "lease_until", "best_trial", "created_at", "started_at", "ended_at", "acknowledged_at",
)  # fmt: skip
_large_of_job = itemgetter("rank", "best_value")
_small_of_trial = itemgetter(
    "number", "best_epoch", "epochs", "threads", "micro_batch", "accumulation", "started_at", "ended_at",
    "train_seconds", "pid",
)  # fmt: skip
_large_of_trial = itemgetter(
    "n_params", "value", "last_value", "val_loss", "val_auc", "auc_low", "auc_high", "n_train", "n_val", "n_pos",
    "prior_loss", "base_rate", "predicted_bytes", "peak_bytes",
)  # fmt: skip
_large_of_epoch = itemgetter(
    "train_loss", "val_loss", "train_auc", "val_auc", "val_brier", "pred_min", "pred_max", "pred_sd", "learning_rate",
    "samples_per_s", "value",
)  # fmt: skip
_small_of_epoch = itemgetter("step", "epoch", "seconds", "at")
_small_of_attempt = itemgetter("trial_id", "n", "token", "pid", "began_at", "ended_at")


def _in_range(small: tuple[Any, ...], large: tuple[Any, ...] = ()) -> bool:
    """Whether all numbers are in the usual range. Raises TypeError for a value that is not a number."""
    some = tuple(filter(None, small))
    if some and not 0 <= min(some) <= max(some) <= _LARGEST_SMALL:
        return False
    some = tuple(filter(None, large))
    return not some or -1e15 <= min(some) <= max(some) <= 1e15


def to_job(row: Mapping[str, Any]) -> Job:
    try:
        if not _in_range(_small_of_job(row), _large_of_job(row)) or row["asked"] not in (None, *ASKED_OF_JOB):
            return _read_by_column(Job, JOB, row)
        cause = None if row["cause"] is None else Cause(row["cause"])
        kept = {**row, "status": JobStatus(row["status"]), "cause": cause, "spec": read_object(row["spec"])}
        kept["labels"], kept["direction"] = read_labels(row["labels"]), Direction(row["direction"])
        for name in _NOT_OF_JOB:
            kept.pop(name, None)
        return _with_true_status(_construct(Job, kept))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return _with_true_status(_read_by_column(Job, JOB, row))


# Columns that are not in `Job`: hashes, and the labels that were columns in schema 1.
_NOT_OF_JOB = ("spec_md5", "question_md5", "budget", "horizon", "task", "tier")


def _with_true_status(job: Job) -> Job:
    """Turns `done` into `failed` for a job without a complete trial, which an older fts called done."""
    if job.status is not JobStatus.DONE or job.best_trial is not None:
        return job
    meant = status_of(job.status, None, job.trials_complete + job.trials_pruned + job.trials_failed)
    if meant is job.status:
        return job
    lack = "a complete trial that can be the best" if job.trials_complete else "a complete trial"
    return replace(job, status=meant, cause=None, message=f"it ended without {lack}")


def to_trial(row: Mapping[str, Any]) -> Trial:
    found = _trial(row)
    return replace(found, status=TrialStatus.INTERRUPTED) if is_retried(row) else found


def _trial(row: Mapping[str, Any]) -> Trial:
    try:
        if not _in_range(_small_of_trial(row), _large_of_trial(row)) or abs(row["pid_started"] or 0.0) > LATEST_START:
            return _read_by_column(Trial, TRIAL, row)
        kept = dict(row)
        kept["status"] = TrialStatus(row["status"])
        kept["cause"] = None if row["cause"] is None else Cause(row["cause"])
        kept["params"] = read_params(row["params"])
        kept["effective"] = {} if row["effective"] == "{}" else read_object(row["effective"])
        kept["recipe"] = None if row["recipe"] is None else read_object(row["recipe"])
        kept["badges"] = () if row["badges"] == "[]" else read_badges(row["badges"])
        kept["code_dirty"] = None if row["code_dirty"] is None else bool(row["code_dirty"])
        kept["direction"] = Direction(row["direction"])
        kept["facts"] = {} if row["facts"] == "{}" else read_facts(row["facts"])
        return Trial(**kept)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return _read_by_column(Trial, TRIAL, row)


def is_retried(row: Mapping[str, Any]) -> bool:
    """Whether a retry has reset this failed trial: it runs again under its number, and counts as not yet run."""
    return row["status"] == "failed" and row["ended_at"] is None


def to_epoch(row: Mapping[str, Any]) -> Epoch:
    """Converts an epoch. NULL in a column that is always measured means nan: SQLite stores nan as NULL."""
    kept = {**row, **{name: math.nan for name in ALWAYS_MEASURED if row[name] is None}}
    try:
        if _in_range(_small_of_epoch(row), _large_of_epoch(row)):
            kept["metrics"] = {} if row["metrics"] == "{}" else read_metrics(row["metrics"])
            return _construct(Epoch, kept)
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    return _read_by_column(Epoch, EPOCH, kept)


def to_event(row: Mapping[str, Any]) -> Event:
    try:
        if not 0 <= row["at"] <= _LARGEST_SMALL:
            return _read_by_column(Event, EVENT, row)
        inverse = None if row["inverse"] is None else read_object(row["inverse"])
        return _construct(Event, {**row, "data": read_data(row["data"]), "inverse": inverse})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return _read_by_column(Event, EVENT, row)


def to_worker(row: Mapping[str, Any]) -> Worker:
    return _read_by_column(Worker, WORKER, row)  # few rows, so speed does not matter


def to_study(row: Mapping[str, Any]) -> StudyRecord:
    return StudyRecord(**_readable(STUDY, row))


def to_draw(row: Mapping[str, Any]) -> Draw:
    """Converts a draw. Raises UnreadableHistory: a trial must not continue with another value than it drew."""
    try:
        return Draw(**{name: read(kind, row[name]) for name, kind in DRAW.items()})
    except ValueError:
        name = f"draw {row['k']} of trial {row['trial_id']}"
        raise UnreadableHistory(f"{name}: unreadable; `fts doctor` says what to do") from None


def to_distribution(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the distribution of a draw. Raises UnreadableHistory: a sampler would learn from wrong data."""
    try:
        found: dict[str, Any] = read(DRAW["distribution"], row["distribution"])
        return found
    except ValueError:
        name = f"draw {row['k']} of trial {row['trial_id']}"
        raise UnreadableHistory(f"{name}: unreadable; `fts doctor` says what to do") from None


def to_attempt(row: Mapping[str, Any]) -> Attempt:
    try:
        if _in_range(_small_of_attempt(row)) and _are_texts(row["host"], row["how"]):
            return _construct(Attempt, dict(row))
    except TypeError:
        pass
    return Attempt(**_readable(ATTEMPT, row))


def _are_texts(*values: Any) -> bool:
    return all(value is None or isinstance(value, str) for value in values)


def _readable(kinds: Mapping[str, ColumnKind], row: Mapping[str, Any]) -> dict[str, Any]:
    """Reads each column, or takes its fallback."""
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        found[name] = kind.fallback
        with contextlib.suppress(ValueError):
            found[name] = read(kind, row[name])
    return found


def to_sample(row: Mapping[str, Any]) -> Sample:
    return _read_by_column(Sample, SAMPLE, row)


def to_margin(row: Mapping[str, Any]) -> Margin:
    """Converts a flag to a margin over a baseline. Raises ValueError with the wrong field."""
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


NODE = "node:"  # prefix of a flag that holds the state of a node


def to_node(row: Mapping[str, Any]) -> Node:
    """Converts a flag to a node. Raises ValueError with the wrong field."""
    content = to_object(row["value"])
    known = {field.name: content[field.name] for field in fields(Node) if field.name in content}
    for name in ("gpus", "trials"):
        if not isinstance(known.get(name, []), list):
            raise ValueError(f"{name} is {shown(known[name])}")
        known[name] = tuple(str(one) for one in known.get(name, ()))
    for name, kind in (("vitals", dict), ("losses", int), ("failures", int), ("slots", int)):
        if name in known and not isinstance(known[name], kind):
            raise ValueError(f"{name} is {shown(known[name])}")
    known["past"] = tuple(map(tuple, known["past"])) if is_node_history(known.get("past")) else ()
    try:
        known["state"] = NodeState(known.get("state", ""))
    except ValueError:
        raise ValueError(f"state is {shown(content.get('state'))}") from None
    return Node(**known | {"id": row["name"].removeprefix(NODE), "at": read_time(row["at"]) or 0.0})


def is_node_history(past: Any) -> bool:
    """Whether `past` is rows of four numbers, all but the first possibly None; another fts may store something else."""
    return isinstance(past, list) and all(
        isinstance(row, list)
        and len(row) == 4
        and row[0] is not None
        and all(one is None or (isinstance(one, int | float) and not isinstance(one, bool)) for one in row)
        for row in past
    )


def to_opening(row: Mapping[str, Any], tested: Mapping[str, Any] | None) -> Opening:
    """Converts the flag of an opened test set. Keeps what can be read: an opened test set must never show as sealed."""
    content = to_object(row["value"])
    scores = None if tested is None else to_object(tested["value"])
    tested_at = None if tested is None else read_time(tested["at"]) or 0.0
    job_id, trial = (_number(content.get(name)) for name in ("job_id", "trial"))
    at, experiment = read_time(row["at"]) or 0.0, row["name"].removeprefix("unsealed:")
    return Opening(experiment, job_id, trial, row["who"] or "", at, scores, tested_at)


def _number(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0


def to_object(text: Any) -> dict[str, Any]:
    """Parses a JSON object; returns {} for anything else."""
    try:
        return read_object(text)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def as_params(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of a trial for a sampler. Raises UnreadableHistory: it would draw wrong parameters."""
    try:
        return read_params(row["params"])
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise UnreadableHistory(f"trial {row['id']}: unreadable, params is {shown(row['params'])}") from None


def as_badges(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the badges of a trial; () if they cannot be read."""
    try:
        return read_badges(row["badges"])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ()


def old_columns(past: Any) -> dict[str, Any]:
    """Returns the readable values that a job's columns had before an event, from the event's data."""
    found: dict[str, Any] = {}
    for name, value in past.items() if isinstance(past, dict) else ():
        with contextlib.suppress(ValueError, KeyError):
            found[name] = read(JOB[name], value)
    return found


def read_time(value: Any) -> float | None:
    """Returns seconds since 1970; None for a time that no calendar can show."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= LATEST else None


def finite_or_none(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) <= HUGE else None


def _construct(made: type[T], kept: dict[str, Any]) -> T:
    """Makes a frozen dataclass without its constructor, which sets field by field and takes a third of a read."""
    value = object.__new__(made)
    value.__dict__.update(kept)
    return value


def _read_by_column(made: Callable[..., T], kinds: Mapping[str, ColumnKind], row: Mapping[str, Any]) -> T:
    """Reads column by column; an unreadable column gets its fallback, and the value lists it in `unreadable`."""
    found: dict[str, Any] = {}
    complaints = []
    for name, kind in kinds.items():
        try:
            found[name] = read(kind, row[name])
        except ValueError:
            found[name] = kind.fallback
            complaints.append(f"{name} is {shown(row[name])}")
    why = ", ".join(complaints)
    if why and "message" in found:
        found["message"] = f"unreadable: {why}" if made is not Event else f"{found['message']} (unreadable: {why})"
    if why and "badges" in found:
        found["badges"] = (*found["badges"], "unreadable")
    return made(**found, unreadable=why or None)


def unreadable_in(values: Mapping[str, Iterable[Any]]) -> tuple[UnreadableRow, ...]:
    """Returns the unreadable ones of the values read from each table."""
    return tuple(
        UnreadableRow(table, name_of(table, value), value.unreadable)
        for table, found in values.items()
        for value in found
        if value.unreadable is not None
    )


def name_of(table: str, value: Any) -> str:
    """Names a row: job 1, trial 12, epoch 3 of trial 12."""
    if table == "epoch":
        return f"epoch {value.epoch} of trial {value.trial_id}"
    if table == "sample":
        return f"sample of worker {value.worker_id}"
    return f"{table} {value.id}"
