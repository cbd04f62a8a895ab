"""Writes any study as tables for pandas: trials, epochs and draws. Copies; writing again replaces them."""

from __future__ import annotations

import json
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


class NoPandas(RuntimeError):
    """The packages that write tables are not installed."""


def to_parquet(db: Database, places: Places, folder: Path) -> list[Path]:
    """The tables of every study: into the folder where there is one study, else into a folder of each study's name.

    Raises NoPandas.
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
    """trials (one row per trial), epochs (one per report) and draws (one per value drawn), as rows of plain values."""
    with db.read():
        declared = columns.declared(study, queries.studies(db).get(study))
        jobs = sorted((job for job in queries.jobs(db) if job.study == study), key=lambda job: job.id)
        trials: Rows = []
        epochs: Rows = []
        draws: Rows = []
        for job in jobs:
            history = queries.history(db, job.id)
            seconds = spent([trial for trial, _ in history], queries.worked_on(db, job.id))
            drawn = queries.drawn(db, job.id)
            for trial, curve in history:
                trials.append(columns.record(job, trial, declared, seconds.get(trial.id), columns.FRAME))
                name = {"job": job.id, "experiment": job.experiment, "cell": job.cell, "trial": trial.number}
                for epoch in curve:
                    told = {f"metrics.{one}": value for one, value in epoch.metrics.items()}
                    epochs.append(name | {"step": epoch.epoch, "value": epoch.value, **told, "at": epoch.at})
                for draw in drawn.get(trial.id, ()):
                    value = {"value": json.dumps(draw.value), "distribution": json.dumps(draw.distribution)}
                    draws.append(name | {"k": draw.k, "name": draw.name, **value})
    return {"trials": trials, "epochs": epochs, "draws": draws}


def write(rows_of: dict[str, Rows], folder: Path) -> list[Path]:
    """Each table as a file of parquet. Raises NoPandas."""
    try:
        import pandas as pd  # here, not above: most commands write no tables
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as missing:
        raise NoPandas(
            f"--parquet needs {missing.name}, which is not installed: `{installing('pandas', 'pyarrow')}` installs it"
        ) from missing
    written = []
    for name, rows in rows_of.items():
        head, lines = columns.aligned(rows)
        table = pd.DataFrame({column: _of_one_kind([line[n] for line in lines]) for n, column in enumerate(head)})
        path = folder / f"{name}.parquet"
        with replacing(path) as draft:
            table.to_parquet(draft, index=False)
        written.append(path)
    return written


def _of_one_kind(values: Sequence[Any]) -> list[Any]:
    """A column of parquet holds one kind of value: numbers and words in one become words, what has parts JSON."""
    there = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in there) or all(isinstance(value, str) for value in there):
        return list(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return list(values) if all(abs(value) < 2**63 for value in there) else [v and float(v) for v in values]
    return [None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]
