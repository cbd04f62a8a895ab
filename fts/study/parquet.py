"""Hands a study to other programs: real Optuna studies in a storage of theirs, and tables for pandas.

Copies, written from the database and never read back; writing again replaces them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.settings import Places
from fts.state import queries
from fts.state.files import replacing
from fts.state.values import Epoch, Job, Trial, TrialStatus
from fts.study.report_data import trial_row
from fts.study.winners import begun_cells

if TYPE_CHECKING:
    import optuna

SHOWN = (  # of a trial, as Optuna's user attributes
    "val_loss", "val_auc", "auc_low", "auc_high", "n_params", "n_train", "n_val", "n_pos", "prior_loss", "best_epoch",
    "last_value", "train_seconds", "cause", "label_md5", "data_md5", "effective_md5", "code_commit",
)  # fmt: skip
ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED)


class NoStorage(ValueError):
    """An address at which Optuna can keep no studies; the sentence says what is wrong with it."""


def to_optuna(db: Any, url: str, tell: Callable[[str], None] | None = None) -> list[str]:
    """One study per cell in the storage `url` (sqlite:///x.db), named by its experiment; returns their names.

    A study of that name is replaced. Trials that have not ended are left out: in a storage they would wait for ever.
    So are trials that Optuna cannot hold; `tell` names them. Raises NoStorage for a storage it cannot use.
    """
    import optuna  # here, not above: 0.4 s, and only this export needs it
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return _written(optuna, db, url, tell)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0][:200]
        raise NoStorage(
            f"Optuna cannot use {url!r}: {reason}; expected an address such as sqlite:///optuna.db"
        ) from error


def _written(optuna: Any, db: Any, url: str, tell: Callable[[str], None] | None) -> list[str]:
    storage = optuna.storages.RDBStorage(url)
    there = {summary.study_name for summary in optuna.get_all_study_summaries(storage, include_best_trial=False)}
    written = []
    for job in begun_cells(queries.jobs(db)):
        history = queries.history(db, job.id)
        maximize = job.spec.get("objective") == "val_auc"
        if job.experiment in there:
            optuna.delete_study(study_name=job.experiment, storage=storage)
        study = optuna.create_study(
            storage=storage, study_name=job.experiment, direction="maximize" if maximize else "minimize"
        )
        for name in ("budget", "horizon", "task", "tier"):
            study.set_user_attr(name, getattr(job, name))
        study.set_user_attr("job", job.id)
        for name in ("dataset", "data_md5"):
            study.set_user_attr(name, job.spec.get(name))
        for trial, epochs in history:
            try:
                if trial.status in ENDED:
                    study.add_trial(_frozen(job, trial, epochs))
            except (ValueError, TypeError, KeyError, AttributeError) as odd:
                if tell is not None:
                    tell(f"left out: t{trial.number} of {job.experiment}, which Optuna cannot store ({odd})")
        written.append(job.experiment)
    return written


def to_parquet(db: Any, places: Places, folder: Path) -> list[Path]:
    """trials.parquet (one row per trial, every kind), epochs.parquet and predictions.parquet (of the best trials)."""
    import pandas as pd

    from fts.analysis.trials_table import tidy_trials
    from fts.study.report_data import best_predictions

    with db.read():
        jobs = sorted(queries.jobs(db), key=lambda job: job.id)
        histories = [(job, queries.history(db, job.id)) for job in jobs]
    rows = [trial_row(job, trial) for job, history in histories for trial, _ in history]
    trials = tidy_trials(
        pd.DataFrame(rows)
        .drop(columns=["params", "effective", "recipe", "facts"], errors="ignore")
        .assign(**_params(rows))
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
    predictions = [  # with the job: cells of another seed or tier have the same name
        table.assign(trial=name, job=cell[0].id) for cell in cells for name, table in best_predictions(places, [cell])
    ]
    tables = {
        "trials": trials,
        "epochs": epochs,
        "predictions": pd.concat(predictions, ignore_index=True) if predictions else pd.DataFrame(),
    }
    return [_write(table, folder / f"{name}.parquet") for name, table in tables.items()]


def _params(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The suggested parameters as columns: parquet has no word for a dictionary of mixed content."""
    names = ("learning_rate", "weight_decay", "warmup_steps", "dropout", "model", "inputs")
    return {name: [row["params"].get(name) for row in rows] for name in names}


def _write(table: Any, path: Path) -> Path:
    for column in table.columns:
        if table[column].map(lambda value: isinstance(value, tuple)).any():
            table = table.assign(**{column: table[column].map(list)})
    with replacing(path) as draft:
        table.to_parquet(draft, index=False)
    return path


def _frozen(job: Job, trial: Trial, epochs: tuple[Epoch, ...]) -> optuna.trial.FrozenTrial:
    """One ended trial as Optuna keeps it, with what it did as user attributes."""
    from fts.jobs.search.sampler import PastTrial, frozen

    objective = {epoch.epoch: getattr(epoch, trial.objective) for epoch in epochs}
    curve = {epoch: value for epoch, value in objective.items() if value is not None and math.isfinite(value)}
    past = PastTrial(trial.number, trial.params, str(trial.status), trial.value, curve)
    made = frozen(job.spec["space"], past)
    made.user_attrs = {
        "trial": f"{job.experiment}:t{trial.number}",
        "badges": list(trial.badges),
        **{name: value for name in SHOWN if (value := getattr(trial, name)) is not None},
    }
    made.datetime_start = datetime.fromtimestamp(trial.started_at)
    made.datetime_complete = datetime.fromtimestamp(trial.ended_at or trial.started_at)
    return made
