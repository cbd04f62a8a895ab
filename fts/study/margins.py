"""Computes by how much a cell's best trial beats the best baseline: paired on the same days, with a 95 % interval.

The worker computes it after each new best trial and at the end of a cell or baseline job, and stores it in the
database, so that `fts status`, the monitor and the exports only read it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from fts.jobs.api.spec import trial_folder
from fts.state import queries, transitions
from fts.state.pareto_front import best_of
from fts.state.values import Job, JobStatus, Margin, Trial, TrialStatus
from fts.study.cell import CellSpec
from fts.study.own import own_jobs
from fts.study.seeds import lucks_of, same_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fts.jobs.settings import Places
    from fts.scores.intervals import Interval
    from fts.state.db import Database

    Floats = NDArray[np.float64]

log = logging.getLogger("fts.worker")

QUESTION = ("task", "horizon", "tier", "data_md5", "split", "cv")  # equal fields and span: equal days and labels


COMPARED_KINDS = ("cell", "walk")  # kinds of jobs that are compared with baselines


def refresh(db: Database, places: Places, job: Job, who: str) -> list[Margin]:
    """Updates the margins that depend on `job`: its own, or after a baseline those of every cell of its question."""
    jobs = own_jobs(db)
    if job.kind == "walk":  # its seeds also estimate the luck of the other walks
        cells = [other for other in jobs if other.kind == "walk" and same_folds(other) == same_folds(job)]
    elif job.kind in COMPARED_KINDS:
        cells = [job]
    elif job.kind == "baseline":
        cells = [other for other in jobs if other.kind in COMPARED_KINDS and question(other) == question(job)]
    else:
        cells = []
    known = {margin.job_id: margin for margin in queries.margins(db)}
    found = []
    for cell in cells:
        margin = margin_of(db, places, cell, jobs, known.get(cell.id))
        if margin is not None:
            transitions.record_margin(db, margin, who)
            found.append(margin)
    return found


def margin_of(
    db: Database, places: Places, cell: Job, jobs: Iterable[Job], known: Margin | None = None
) -> Margin | None:
    """Returns the current margin. None if nothing can be compared yet, or nothing has changed since `known`."""
    best = best_of(cell, queries.trials(db, cell.id))
    rivals = [
        (job, trial)
        for job in jobs
        if job.kind == "baseline" and job.status is not JobStatus.CANCELLED and question(job) == question(cell)
        for trial in queries.trials(db, job.id)
        if trial.status is TrialStatus.COMPLETE and trial.val_auc is not None
    ]
    if best is None or not rivals:
        return None
    rival_job, rival = max(rivals, key=lambda pair: (pair[1].val_auc or 0.0, pair[0].id, -pair[1].number))
    if cell.kind == "walk":  # a mean over seeds: each seed counts, not only the best
        found = _walked(db, places, cell, best, rival_job, rival)
        return None if found is None or (known and replace(found, at=known.at) == known) else found
    if known and (known.trial, known.rival_job, known.rival_trial) == (best.number, rival_job.id, rival.number):
        return None
    return _compared(places, cell, best, rival_job, rival)


def question(job: Job) -> tuple[str, ...]:
    """What must be equal for two jobs to be evaluated on the same days."""
    span = job.spec.get("longest") or job.spec.get("context")
    return (*(repr(job.spec.get(name)) for name in QUESTION), repr(span))


def predictions_path(places: Places, job: Job, trial: Trial) -> Path:
    """Path of a trial's validation predictions (a reused trial has none; the best one is never a reused one)."""
    return trial_folder(places.outputs, job.experiment, job.id, trial.number) / "predictions.parquet"


def _compared(places: Places, cell: Job, best: Trial, rival_job: Job, rival: Trial) -> Margin | None:
    from fts.scores.intervals import compare  # here, not above: arch, a second

    def gains(y: Floats, p_SN: list[Floats], q: Floats) -> list[Interval]:
        return [compare(y, p_SN[0], q, cell.horizon, metric).interval for metric in METRICS]

    return _margin(places, cell, [best], best, (rival_job, rival), gains)


def _walked(db: Database, places: Places, cell: Job, best: Trial, rival_job: Job, rival: Trial) -> Margin | None:
    """Returns the margin of the mean over all trainings, which differ in their seeds."""
    from fts.scores.folds import paired  # here, not above: arch, a second

    folds, lucks = CellSpec.from_json(cell.spec).folds, lucks_of(db, cell)

    def gains(y: Floats, p_SN: list[Floats], q: Floats) -> list[Interval]:
        return [paired(m, y, p_SN, [q], folds, cell.horizon, lucks[m], (len(p_SN), 0)) for m in METRICS]

    trained = [trial for trial in queries.trials(db, cell.id) if trial.status is TrialStatus.COMPLETE]
    return _margin(places, cell, trained, best, (rival_job, rival), gains)


METRICS = ("auc", "log_loss")


def _margin(
    places: Places,
    cell: Job,
    trained: Iterable[Trial],
    best: Trial,
    beside: tuple[Job, Trial],
    gains: Callable[[Floats, list[Floats], Floats], list[Interval]],
) -> Margin | None:
    """Returns None if predictions are missing, or not of the same days."""
    from fts.analysis.study_data import BadPredictionsFile, read_predictions  # here, not above: pandas

    rival_job, rival = beside
    try:
        theirs = read_predictions(predictions_path(places, rival_job, rival))
        tables = [read_predictions(predictions_path(places, cell, trial)) for trial in trained]
        shared = [mine.merge(theirs, on="date", suffixes=("", "_rival")) for mine in tables]
        for mine, both in zip(tables, shared, strict=True):
            if len(both) < len(mine) or (both["y"] != both["y_rival"]).any():
                raise BadPredictionsFile(f"job {rival_job.id} and job {cell.id} were not evaluated on the same windows")
        y, q = (shared[0][column].to_numpy(float) for column in ("y", "p_rival"))
        auc, loss = gains(y, [both["p"].to_numpy(float) for both in shared], q)
    except (OSError, ValueError) as error:  # our errors and pyarrow's for a damaged file are ValueErrors
        log.warning("%s is not compared with its baseline: %s", cell.experiment, error)
        return None
    return Margin(
        job_id=cell.id, trial=best.number, rival=rival.architecture, rival_job=rival_job.id, rival_trial=rival.number,
        n=len(shared[0]), auc=auc.value, auc_low=auc.low, auc_high=auc.high,
        loss=loss.value, loss_low=loss.low, loss_high=loss.high, at=0.0,
    )  # fmt: skip
