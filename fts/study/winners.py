"""Creates the jobs that follow a cell's winner: other seeds (replicate), folds (walk), the final model (train).

Each freezes the winner's parameters in its own specification, so that it repeats that trial and no later one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from fts.jobs.records.code_version import code_version
from fts.jobs.status.formatting import without_best
from fts.state import queries
from fts.state.errors import WrongStatus
from fts.state.pareto_front import best_of
from fts.state.values import Job, Trial, TrialStatus
from fts.study.cell import WALKED, CellSpec
from fts.study.own import own_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.api.study import Study
    from fts.state.db import Database


@dataclass(frozen=True)
class Origin:
    """The trial that a replicate or train job repeats, stored as CellSpec.origin."""

    experiment: str  # of the cell
    job: int
    trial: int  # number
    best_epoch: int
    value: float
    val_loss: float | None
    val_auc: float | None
    auc_low: float | None
    auc_high: float | None
    effective_md5: str


def winner(db: Database, cell: Job, number: int | None = None) -> Trial:
    """Returns the best trial of a cell, or its complete trial `number`. Raises WrongStatus if there is none."""
    if cell.kind != "cell":
        raise WrongStatus(f"job {cell.id} is a {cell.kind}; only a cell has a winner")
    trials = queries.trials(db, cell.id)
    if number is None:
        found = best_of(cell, trials)
        if found is None:
            raise WrongStatus(f"{cell.experiment} has no winner: {without_best(cell)}")
        return found
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None or found.status is not TrialStatus.COMPLETE or found.best_epoch is None:
        what = f"is {found.status}" if found else "does not exist"
        raise WrongStatus(f"trial {number} of {cell.experiment} {what}; only a complete trial can be repeated")
    return found


def replicate_spec(cell: Job, trial: Trial, seeds: int) -> CellSpec:
    """Returns the winner's configuration with `seeds` other seeds of weights, order and dropout."""
    return _following("replicate", cell, trial, seeds)


def walk_specs(cell: Job, trial: Trial, folds: str, seeds: int) -> list[CellSpec]:
    """Returns the baselines of the folds, and the winner's configuration on the folds (4of6) with this many seeds."""
    from fts.study.baseline_jobs import baseline_of

    walk = _following("walk", cell, trial, seeds, cv=f"{WALKED}{folds}")
    return [baseline_of(walk), walk]


def follow_winner(db: Database, study: Study, cell: Job, who: str) -> None:
    """Enqueues what a cell wants after its search: its winner with other seeds, and on folds with baselines.

    Called again after a kill, it finds the existing jobs. If an extended search has a new winner, that winner gets its
    own jobs, and queued jobs of the earlier winner are withdrawn.
    """
    from fts.state import transitions  # here: only a worker needs it
    from fts.study.enqueue import enqueue_specs
    from fts.study.naming import with_unique_names

    spec, best = CellSpec.from_json(cell.spec), best_of(cell, queries.trials(db, cell.id))
    if best is None or (spec.winner_seeds < 2 and spec.winner_folds is None):
        return
    waits = [job for job in own_jobs(db, ["queued"]) if job.kind in ("replicate", "walk")]
    origins = {job.id: job.spec.get("origin") or {} for job in waits}
    others = [n for n, of in origins.items() if of.get("job") == cell.id and of.get("trial") != best.number]
    if others:
        transitions.withdraw(db, others, f"trial {best.number} is the winner now", who)
    line = walk_specs(cell, best, spec.winner_folds, spec.winner_seeds) if spec.winner_folds is not None else []
    if spec.winner_seeds > 1:
        line.append(replicate_spec(cell, best, spec.winner_seeds - 1))
    enqueue_specs(db, study, with_unique_names(db, line), who, by_a_person=False)


def train_spec(cell: Job, trial: Trial) -> CellSpec:
    """Returns the winner's configuration on training and validation windows together, for its best number of epochs."""
    return _following("train", cell, trial, 1)


def _following(kind: str, cell: Job, trial: Trial, trials: int, cv: str | None = None) -> CellSpec:
    commit, dirty = code_version()
    origin = Origin(
        experiment=cell.experiment, job=cell.id, trial=trial.number, best_epoch=trial.best_epoch or 1,
        value=trial.value or 0.0, val_loss=trial.val_loss, val_auc=trial.val_auc, auc_low=trial.auc_low,
        auc_high=trial.auc_high, effective_md5=trial.effective_md5,
    )  # fmt: skip
    spec = replace(
        CellSpec.from_json(cell.spec),
        experiment=f"{PREFIX[kind]}_{cell.experiment.removeprefix('phase6a_')}"[:80],
        kind=kind,
        trials=trials,
        pruner="none",
        halving=None,
        winner_seeds=1,
        winner_folds=None,
        warm_start=(dict(trial.params),),
        origin=asdict(origin),
        code_commit=commit,
        code_dirty=dirty,
        cv=cv or CellSpec.from_json(cell.spec).cv,
    )
    return CellSpec.from_json(spec.to_json())


def require_data(root: Path, spec: CellSpec) -> None:
    """Raises UnknownDataset or ManifestError if the cell's data set is missing: its jobs would fail."""
    from fts.data.manifest import Manifest, ManifestError  # here, not above: pandas

    manifest = Manifest(root)
    try:
        manifest.file(manifest.find(spec.data_md5, spec.tier))
    except ManifestError as error:
        raise type(error)(
            f"{spec.origin.get('experiment', spec.experiment)} cannot be trained again: in {root} {error}"
        ) from None


PREFIX = {
    "replicate": "replicate",
    "train": "train",
    "walk": "walk",
}  # train_2M_h1_threshold_1pct, as the scripts are called
