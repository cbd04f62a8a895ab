"""The commands after a search: other seeds for the winner, the final model, predictions, and opening the test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import AS_JSON, Whole, here
from fts.jobs.cli.change import common, run_action, writing
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, emit_table, say
from fts.jobs.cli.paths import PathType
from fts.jobs.cli.selection import one_cell
from fts.jobs.cli.show import reading
from fts.jobs.status import formatting
from fts.state import queries
from fts.study.cli.data import reading_options
from fts.study.own import refuse_another

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.data.layouts import ReadOptions
    from fts.state.db import Database
    from fts.state.values import Job
    from fts.study.cell import CellSpec

AGAIN = click.option("--again", is_flag=True, help="run it again, although there is a job for exactly this")


@click.command()
@click.argument("cell")
@click.option("--from-trial", type=int, metavar="N", help="number of the trial to use  [default: the best trial]")
@AGAIN
@AS_JSON
def train(cell: str, from_trial: int | None, again: bool, as_json: bool) -> None:
    """Enqueue the final training of CELL's winner, on training and validation windows together.

    The model is written to outputs/models; the test set stays sealed until `fts unseal CELL`.
    """
    from fts.study.winners import train_spec, winner  # here, not above: --help needs none of it

    follow("train", cell, again, as_json, lambda db, job: [train_spec(job, winner(db, job, from_trial))])


@click.command()
@click.argument("cell")
@click.option("--seeds", default=5, show_default=True, type=Whole(1, 1000), help="number of seeds")
@click.option(
    "--folds",
    metavar="KofN",
    help="walk-forward folds: train again for each of the last K of N folds of days, such as 4of6, after their "
    "baselines  [default: on the split of the search]",
)
@click.option("--from-trial", type=int, metavar="N", help="number of the trial to use  [default: the best trial]")
@AGAIN
@AS_JSON
def replicate(cell: str, seeds: int, folds: str | None, from_trial: int | None, again: bool, as_json: bool) -> None:
    """Enqueue CELL's winning configuration again with other seeds, to see how much of its score is luck.

    More --seeds extend an existing job.
    """
    from fts.study.winners import replicate_spec, walk_specs, winner  # here, not above: --help needs none of it

    def specs_of(db: Database, job: Job) -> list[CellSpec]:
        trial = winner(db, job, from_trial)
        return walk_specs(job, trial, folds, seeds) if folds is not None else [replicate_spec(job, trial, seeds)]

    follow("replicate", cell, again, as_json, specs_of)
    if not as_json and folds is None:
        show_spread(cell)


def show_spread(cell: str) -> None:
    """Prints how much the winner's other seeds differ, once some have run."""
    from fts.study.seeds import spread_of  # here, not above: see train

    with reading() as db:
        job = refuse_another(one_cell(queries.jobs(db), cell), "replicate")
        found = spread_of(db, job)
    if found is None:
        return
    rows: tuple[tuple[str, float | None, float | None, float | None, float | None], ...] = (
        ("value", found.mean, found.sd, found.low, found.high),
        ("AUC", found.auc_mean, found.auc_sd, found.auc_low, found.auc_high),
    )
    emit_table(
        ("of", "mean", "sd", "lowest", "highest"), [(name, *map(formatting.score, numbers)) for name, *numbers in rows]
    )
    say(
        f"{formatting.count(found.n, 'seed')}; the winner itself has {formatting.score(found.winner)}; it was "
        "selected for this value, so it is probably better than the mean"
    )


def follow(
    command: str, cell: str, again: bool, as_json: bool, specs_of: Callable[[Database, Job], list[CellSpec]]
) -> None:
    """Enqueues the job that follows a cell (the last of the specs) together with the specs that must run before it.

    Existing jobs of the same question are not repeated, unless `again`.
    """
    from fts.study.matrix import enqueue_cells, write
    from fts.study.winners import require_data

    with writing() as db:
        specs = specs_of(db, refuse_another(one_cell(queries.jobs(db), cell), command))
        spec = specs[-1]
        found = write(db, specs, again=again, dry_run=True)
        if any(there.created or there.extended_from is not None for there in found):
            require_data(here().data, spec)
        line = enqueue_cells(db, here(), specs, check=False, again=again)[-1]
    if as_json:
        content = {"job": line.job_id, "experiment": spec.experiment, "created": line.created, "told": line.told}
        content |= {"state": "new" if line.created else line.status, "extended_from": line.extended_from}
        return emit_json("enqueued", [content])
    repeated = f"trial {spec.origin['trial']} of {spec.origin['experiment']}"
    return emit(f"job {line.job_id} ({spec.experiment}) repeats {repeated}. {line.told}")


@click.command()
@click.argument("cell")
@common
def unseal(cell: str, **flags: Any) -> None:
    """Open the test set of CELL for its best trial; this cannot be undone, and every table shows it from then on."""
    from fts.study.winners import require_data, train_spec, winner  # here, not above: see train

    with reading() as db:
        job = refuse_another(one_cell(queries.jobs(db), cell), "unseal")
        spec = train_spec(job, winner(db, job))
        if queries.opening(db, job.experiment) is None:  # the test set must not be opened when it cannot be evaluated
            require_data(here().data, spec)
    run_action("unseal", (cell,), flags)


@click.command()
@click.argument("model", type=PathType(path_type=Path))
@click.argument("file", type=PathType(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--vix",
    type=PathType(exists=True, dir_okay=False, path_type=Path),
    help="file with VIX closes, for tier c  [default: none]",
)
@reading_options
@AS_JSON
def predict(
    model: Path,
    file: Path,
    vix: Path | None,
    read_as: ReadOptions,
    as_json: bool,
) -> None:
    """Print probabilities of a final MODEL (a folder, or its name in outputs/models) for the bars in FILE, as CSV."""
    folder = model if model.is_dir() else here().outputs / "models" / model
    if not folder.is_dir():
        models = here().outputs / "models"
        known = ", ".join(sorted(path.name for path in models.iterdir())) if models.is_dir() else "none yet"
        raise NothingThere(f"there is no model {str(model)!r} (there is: {known}); `fts train CELL` makes one")
    from fts.study.model_folder import load_model  # here, not above: torch
    from fts.study.predict import predict_file

    predicted = predict_file(load_model(folder), file, vix, read_as)
    for warning in predicted.warnings:
        say(warning)
    days = [(f"{day:%Y-%m-%d}", float(p)) for day, p in predicted.table.itertuples(index=False)]
    if as_json:
        return emit_json("predictions", [{"date": day, "p": p} for day, p in days])
    say(f"{formatting.count(len(days), 'day')}, probability that the label is 1")
    return emit("\n".join(["date,p", *(f"{day},{p:.6f}" for day, p in days)]))
