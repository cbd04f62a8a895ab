"""Exports a study as Parquet tables for pandas: trials, epochs and draws. Writing again replaces them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.records import columns
from fts.jobs.records.results import spent
from fts.state import queries
from fts.state.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database

    Rows = list[dict[str, Any]]


class NoTablePackages(RuntimeError):
    """The packages that write tables are not installed."""


def to_parquet(db: Database, places: Places, folder: Path) -> list[Path]:
    """Writes the tables of all studies; returns the paths. One study goes into `folder`, several into folders with
    their names. Raises NoTablePackages.
    """
    names = list(dict.fromkeys(job.study for job in queries.jobs(db)))
    jobs = {job.study: job for job in queries.jobs(db)}
    written: list[Path] = []
    for name in sorted(names):
        place = folder if len(names) == 1 else folder / name
        own = columns.study_of(jobs[name]).tables(db, places, place)
        written += own if own is not None else write(tables(db, name), place)
    return written


def tables(db: Database, study: str) -> dict[str, Rows]:
    """Returns the tables trials (one row per trial), epochs (one per report) and draws (one per drawn value)."""
    with db.read():
        declared = columns.declared(study, queries.studies(db).get(study))
        jobs = sorted((job for job in queries.jobs(db) if job.study == study), key=lambda job: job.id)
        trials: Rows = []
        epochs: Rows = []
        draws: Rows = []
        for job in jobs:
            history = queries.history(db, job.id)
            seconds = spent([trial for trial, _ in history], queries.attempts_by_trial(db, job.id))
            drawn = queries.drawn(db, job.id)
            for trial, curve in history:
                trials.append(columns.record(job, trial, declared, seconds.get(trial.id), columns.FRAME))
                name = {"job": job.id, "experiment": job.experiment, "cell": job.cell, "trial": trial.number}
                for epoch in curve:
                    metrics = {f"metrics.{one}": value for one, value in epoch.metrics.items()}
                    epochs.append(name | {"step": epoch.epoch, "value": epoch.value, **metrics, "at": epoch.at})
                for draw in drawn.get(trial.id, ()):
                    value = {"value": json.dumps(draw.value), "distribution": json.dumps(draw.distribution)}
                    draws.append(name | {"k": draw.k, "name": draw.name, **value})
    return {"trials": trials, "epochs": epochs, "draws": draws}


def write(rows_of: dict[str, Rows], folder: Path) -> list[Path]:
    """Writes each table as a Parquet file with one type per column; returns the paths. Raises NoTablePackages."""
    try:
        import pyarrow as pa  # here, not above: most commands write no tables
        from pyarrow import parquet
    except ModuleNotFoundError as missing:
        raise NoTablePackages(
            f"--parquet needs {missing.name}, which is not installed: `{installing('pandas', 'pyarrow')}` installs it"
        ) from missing
    written = []
    for name, rows in rows_of.items():
        head, lines = columns.aligned([dict.fromkeys(KINDS[name]), *rows])
        values = [[line[n] for line in lines[1:]] for n in range(len(head))]
        made = {column: _array(pa, KINDS[name].get(column), values[n]) for n, column in enumerate(head)}
        path = folder / f"{name}.parquet"
        with replacing(path) as draft:
            parquet.write_table(pa.table(made), draft)
        written.append(path)
    return written


_NAMED = {"job": "int64", "experiment": "string", "cell": "string", "trial": "int64"}
KINDS: dict[str, dict[str, str]] = {  # table -> type of each column that it always has, even without values
    "trials": {
        "job": "int64", "study": "string", "experiment": "string", "cell": "string", "trial": "int64",
        "status": "string", "metric": "string", "direction": "string", "value": "float64", "best_step": "int64",
        "last_value": "float64", "steps": "int64", "seconds": "float64", "cause": "string", "message": "string",
        "badges": "string", "seed": "int64", "host": "string", "device": "string", "threads": "int64",
        "peak_bytes": "int64", "code_commit": "string", "torch_version": "string", "reused_from": "int64",
        "log_path": "string", "started_at": "float64", "ended_at": "float64",
    },
    "epochs": _NAMED | {"step": "int64", "value": "float64", "at": "float64"},
    "draws": _NAMED | {"k": "int64", "name": "string", "value": "string", "distribution": "string"},
}  # fmt: skip


def _array(pa: Any, kind: str | None, values: Sequence[Any]) -> Any:
    """Returns a column of the given type, else of its values' common type.

    Text: mixed numbers and text, and whole numbers that are too large for a column of numbers to hold every digit.
    """
    if kind is not None:
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a row that was edited by hand
            return pa.array(values, getattr(pa, kind)())
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, bool) for value in there):
        return pa.array(values, pa.bool_())
    if there and all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        if all(isinstance(value, int) and abs(value) < 2**63 for value in there):
            return pa.array(values, pa.int64())
        if not any(isinstance(value, int) and loses_digits(value) for value in there):
            return pa.array([v if v is None else float(v) for v in values])
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def loses_digits(whole: int) -> bool:
    """Is it a whole number that a column of floats would round?"""
    try:
        return int(float(whole)) != whole
    except OverflowError:
        return True
