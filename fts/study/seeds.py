"""Measures how much of a cell's score depends on the seed: the winner's configuration, trained with other seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.state import queries
from fts.state.pareto_front import best_of
from fts.state.values import Job, Trial, TrialStatus
from fts.study.own import own_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.scores.folds import Luck
    from fts.state.db import Database


@dataclass(frozen=True)
class Spread:
    """Values over n trainings of the winner's configuration with different seeds. Of the objective, and AUC."""

    n: int
    mean: float
    sd: float | None  # None with one seed
    low: float
    high: float
    auc_mean: float | None
    auc_sd: float | None
    auc_low: float | None
    auc_high: float | None
    winner: float  # value of the selected trial: usually better than the mean, because it was selected


def spread_of(db: Database, cell: Job) -> Spread | None:
    """Returns the spread over all replicates of the cell's current best trial, each seed once; None without replicates.

    A job of five seeds begins with the seeds of an earlier job of three, so those are counted once.
    """
    best = best_of(cell, queries.trials(db, cell.id))
    if best is None:
        return None
    again = [
        trial
        for job in sorted(own_jobs(db), key=lambda job: -job.id)  # the first job of a seed counts, as in the report
        if job.kind == "replicate" and (job.spec.get("origin") or {}).get("job") == cell.id
        for trial in queries.trials(db, job.id)
        if trial.status is TrialStatus.COMPLETE and trial.effective_md5 == best.effective_md5
    ]
    return spread(list({trial.seed: trial for trial in again}.values()), best.value or 0.0)


def lucks_of(db: Database, walk: Job) -> dict[str, Luck | None]:
    """Returns how far trainings of a walked winner differ by their seed alone, in AUC and log loss.

    Pooled over the walks of the same days at all horizons and sizes, because three seeds of one walk are too few.
    """
    from fts.scores.folds import luck_of  # here, not above: numpy, which spread_of does not need

    like = [job for job in own_jobs(db) if job.kind == "walk" and same_folds(job) == same_folds(walk)]
    trained = [[t for t in queries.trials(db, job.id) if t.status is TrialStatus.COMPLETE] for job in like]
    scores = {
        "auc": [[t.val_auc for t in ts] for ts in trained],
        "log_loss": [[t.val_loss for t in ts] for ts in trained],
    }
    return {name: luck_of([v for v in values if v is not None] for values in each) for name, each in scores.items()}


def same_folds(walk: Job) -> tuple[str, ...]:
    """What walks must have in common so that their seed variation is pooled."""
    return (walk.task, walk.tier, *(repr(walk.spec.get(name)) for name in ("data_md5", "split", "cv")))


def spread(trials: Sequence[Trial], winner_value: float) -> Spread | None:
    values = [trial.value for trial in trials if trial.value is not None]
    aucs = [trial.val_auc for trial in trials if trial.val_auc is not None]
    if not values:
        return None
    return Spread(
        n=len(values), mean=_mean(values), sd=_sd(values), low=min(values), high=max(values),
        auc_mean=_mean(aucs) if aucs else None, auc_sd=_sd(aucs), auc_low=min(aucs, default=None),
        auc_high=max(aucs, default=None), winner=winner_value,
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _sd(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
