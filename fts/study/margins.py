"""Says by how much a cell's best trial beats the best baseline: paired on the same days, with its 95 % interval.

The worker asks after each new best and at the end of a cell or baseline job; the answer is kept in the database, so
that `fts status`, the monitor and the exports can show it without computing anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fts.jobs.records.exports import best_of
from fts.state import queries, transitions
from fts.state.values import Job, JobStatus, Margin, Trial, TrialStatus
from fts.study.cell import trial_folder
from fts.study.own import own_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

QUESTION = ("task", "horizon", "tier", "data_md5", "split", "cv")  # equal, and the span: the same days and labels


def refresh(db: Database, places: Places, job: Job, who: str) -> list[Margin]:
    """Brings up to date what depends on `job`: its own margin, or after a baseline those of every cell it is for."""
    jobs = own_jobs(db)
    if job.kind == "cell":
        cells = [job]
    elif job.kind == "baseline":
        cells = [other for other in jobs if other.kind == "cell" and question(other) == question(job)]
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
    """The margin as it is now; None when there is nothing to compare yet, or nothing new since `known`."""
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
    if known and (known.trial, known.rival_job, known.rival_trial) == (best.number, rival_job.id, rival.number):
        return None
    return _compared(places, cell, best, rival_job, rival)


def question(job: Job) -> tuple[str, ...]:
    """What must be equal for two jobs to be judged on the same days."""
    span = job.spec.get("longest") or job.spec.get("context")
    return (*(repr(job.spec.get(name)) for name in QUESTION), repr(span))


def predictions_path(places: Places, job: Job, trial: Trial) -> Path:
    """Where a trial's validation predictions lie (a reused trial has none; the best one is never a reused one)."""
    return trial_folder(places.outputs, job.experiment, job.id, trial.number) / "predictions.parquet"


def _compared(places: Places, cell: Job, best: Trial, rival_job: Job, rival: Trial) -> Margin | None:
    from fts.analysis.study_data import BadPredictions, read_predictions
    from fts.scores.intervals import compare  # here, not above: pandas and arch, a second

    try:
        mine = read_predictions(predictions_path(places, cell, best))
        theirs = read_predictions(predictions_path(places, rival_job, rival))
        shared = mine.merge(theirs, on="date", suffixes=("", "_rival"))
        if len(shared) < len(mine) or (shared["y"] != shared["y_rival"]).any():
            raise BadPredictions(f"job {rival_job.id} and job {cell.id} were not evaluated on the same windows")
        y, p, q = (shared[column].to_numpy(float) for column in ("y", "p", "p_rival"))
        auc, loss = (compare(y, p, q, cell.horizon, metric).interval for metric in ("auc", "log_loss"))
    except (OSError, ValueError) as error:  # both of ours are ValueErrors, as is pyarrow's for a damaged file
        log.warning("%s is not compared with its baseline: %s", cell.experiment, error)
        return None
    return Margin(
        job_id=cell.id, trial=best.number, rival=rival.architecture, rival_job=rival_job.id, rival_trial=rival.number,
        n=len(shared), auc=auc.value, auc_low=auc.low, auc_high=auc.high,
        loss=loss.value, loss_low=loss.low, loss_high=loss.high, at=0.0,
    )  # fmt: skip
