"""Writes the study as tables for pandas: trials, epochs and predictions. Writing again replaces them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fts.state import queries
from fts.state.files import replacing
from fts.study.own import own_jobs
from fts.study.report_data import trial_row

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database


def to_parquet(db: Database, places: Places, folder: Path) -> list[Path]:
    """Writes trials.parquet (one row per trial of any kind), epochs.parquet and predictions.parquet (best trials)."""
    import pandas as pd

    from fts.analysis.trials_table import tidy_trials
    from fts.study.report_data import predictions_of

    with db.read():
        jobs = sorted(own_jobs(db), key=lambda job: job.id)
        histories = [(job, queries.history(db, job.id)) for job in jobs]
    rows = [trial_row(job, trial) for job, history in histories for trial, _ in history]
    trials = tidy_trials(
        pd.DataFrame(rows)
        .drop(columns=["params", "effective", "recipe", "facts"], errors="ignore")
        .assign(**_params(rows), **_facts(rows))
    )
    epochs = pd.DataFrame(
        [
            {"job": job.id, "experiment": job.experiment, "number": trial.number, **asdict(epoch)}
            for job, history in histories
            for trial, curve in history
            for epoch in curve
        ]
    ).drop(columns=["metrics"], errors="ignore")
    cells = [(job, [trial for trial, _ in history]) for job, history in histories if job.kind == "cell"]
    predictions = [  # with the job, because cells of another seed or tier have the same name
        table.assign(trial=name, job=cell[0].id)
        for cell in cells
        for name, table in predictions_of(places, [cell], best_only=True)
    ]
    tables = {
        "trials": trials,
        "epochs": epochs,
        "predictions": pd.concat(predictions, ignore_index=True) if predictions else pd.DataFrame(),
    }
    return [_write(table, folder / f"{name}.parquet") for name, table in tables.items()]


def _facts(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Returns the trials' facts without columns of their own, each as a column."""
    names = dict.fromkeys(name for row in rows for name in row["facts"])
    return {f"facts.{name}": [row["facts"].get(name) for row in rows] for name in names}


def _params(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Returns the parameters as columns: parquet cannot store a dictionary of mixed content."""
    names = ("learning_rate", "weight_decay", "warmup_steps", "dropout", "model", "inputs")
    return {name: [row["params"].get(name) for row in rows] for name in names}


def _write(table: Any, path: Path) -> Path:
    for column in table.columns:
        if table[column].map(lambda value: isinstance(value, tuple)).any():
            table = table.assign(**{column: table[column].map(list)})
    with replacing(path) as draft:
        table.to_parquet(draft, index=False)
    return path
