"""Estimates recipe, batch, bytes and seconds on this machine for every architecture that a cell may draw.

The bytes are calculated (fts.training.memory). The seconds come from the trials recorded here, if there are any, else
from a matrix product measured now; they are forecasts for this machine, not promises.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import CannotFit
from fts.jobs.settings import Places
from fts.jobs.status.forecast import worth_of_pruned
from fts.jobs.supervisor.admission import admit
from fts.state import queries
from fts.study.cell import TRAINS, CellSpec, evaluated_folds, settled
from fts.study.memory_plan import architectures
from fts.study.own import own_jobs
from fts.study.question import question_of
from fts.study.recipe import cell_shape
from fts.study.study import PatchTST
from fts.training.memory import Recipe, Shape, step_seconds

if TYPE_CHECKING:
    from fts.jobs.settings import Places
    from fts.state.db import Database

SHARE_OF_PEAK = 0.55  # of the matrix product's speed that training reaches, if nothing is recorded (DOMAIN section 4)
USUAL_EPOCHS = 17  # of a trial with patience 10, if nothing is recorded
GEMM_SIZE = 1024  # rows and columns of the measured matrices


@dataclass(frozen=True)
class Rate:
    """The speed of training on this machine, and its source."""

    flops: float  # floating point operations per second in training
    source: str  # "12 trials recorded here" | "a matrix product, 89 GFLOP/s, of which training gets 55 %"


@dataclass(frozen=True)
class Windows:
    """Numbers of training and validation windows of a cell."""

    train: int
    val: int


@dataclass(frozen=True)
class Allowed:
    """Bytes that a trial may use: its slot's share, and at most the memory of all slots together."""

    share: int
    most: int


@dataclass(frozen=True)
class ShapePlan:
    """One architecture of one cell. Without a recipe it does not fit; predicted_bytes is then what it would need."""

    architecture: str
    n_params: int
    recipe: str | None  # such as "batch=64x4, layers recomputed"
    micro_batch: int | None
    accumulation: int | None
    predicted_bytes: int  # of the recipe, or of the recipe that needs least memory
    beyond_share: bool  # needs more than its slot's share: waits until the other slots leave enough memory
    step_s: float | None
    epoch_s: float | None


@dataclass(frozen=True)
class Same:
    """A job of the same question."""

    job: int
    status: str
    trials: int  # trials wanted in total


@dataclass(frozen=True)
class CellPlan:
    """One cell: how its architectures would train, and which do not fit."""

    experiment: str
    budget: str
    horizon: int
    windows: Windows
    epochs: float  # expected number in a trial that is not pruned
    shapes: tuple[ShapePlan, ...]
    share: float = 1.0  # share of those epochs that a trial is expected to run under the cell's pruner
    same: tuple[Same, ...] = ()  # jobs of the same question

    @property
    def fitting(self) -> tuple[ShapePlan, ...]:
        return tuple(shape for shape in self.shapes if shape.recipe is not None)

    @property
    def too_large(self) -> tuple[ShapePlan, ...]:
        return tuple(shape for shape in self.shapes if shape.recipe is None)

    @property
    def usual_recipe(self) -> str | None:
        """Returns the most frequent recipe of its architectures."""
        counted = Counter(shape.recipe for shape in self.fitting)
        return counted.most_common(1)[0][0] if counted else None

    @property
    def trial_s(self) -> float | None:
        """Returns the seconds of a trial of the median architecture."""
        usual = median(shape.epoch_s or 0.0 for shape in self.fitting) if self.fitting else None
        return None if usual is None else self.epochs * self.share * usual


def plan_cell(places: Places, known: RecordedTrials, cell: CellSpec, allowed: Allowed, device: str) -> CellPlan:
    """Returns the plan of one cell. Raises what loading its data raises."""
    windows = known.windows(cell) or count_windows(str(places.data), cell)
    shapes = tuple(plan_shape(known, cell, name, allowed, device, windows) for name in architectures(cell))
    epochs = known.epochs(cell.budget) or float(min(cell.epochs, USUAL_EPOCHS))
    share = 1.0 if cell.pruner == "none" else worth_of_pruned(cell.trials) / cell.trials
    return CellPlan(cell.experiment, cell.budget, cell.horizon, windows, epochs, shapes, share, known.same(cell))


def plan_shape(
    known: RecordedTrials, cell: CellSpec, architecture: str, allowed: Allowed, device: str, windows: Windows
) -> ShapePlan:
    """Plans one architecture with the function by which the worker chooses the recipe."""
    shape = cell_shape(cell, architecture)
    try:
        admitted = admit(PatchTST(), cell, {"architecture": architecture}, None, allowed.share, allowed.most, device)
    except CannotFit as refused:
        return ShapePlan(architecture, shape.n_params, None, None, None, refused.needed, False, None, None)
    assert admitted.recipe is not None, "a cell that trains has a recipe"
    recipe = Recipe.from_json(admitted.recipe, cell.effective_batch)
    step_s, epoch_s = seconds(shape, recipe, windows, known.rate().flops, device)
    return ShapePlan(
        architecture,
        shape.n_params,
        recipe.words(),
        recipe.micro_batch,
        recipe.accumulation,
        admitted.need,
        admitted.need > allowed.share,
        step_s,
        epoch_s,
    )


def seconds(shape: Shape, recipe: Recipe, windows: Windows, flops: float, device: str) -> tuple[float, float]:
    """Returns seconds of one optimizer step, and of an epoch with validation (validation costs a third of training)."""
    step_s = step_seconds(shape, recipe, flops, device)
    return (
        step_s,
        step_s * windows.train / recipe.effective_batch + windows.val * shape.flops_per_window / 3 / flops,
    )


class RecordedTrials:
    """What the recorded trials say about this machine."""

    def __init__(self, db: Database | None, device: str, threads: int) -> None:
        self.device, self.threads = device, threads
        self._jobs = () if db is None else own_jobs(db)
        mine = {job.id for job in self._jobs}
        there = () if db is None else (trial for trial in queries.all_trials(db) if trial.job_id in mine)
        self._trials = [] if db is None else [(trial, queries.epochs(db, trial.id)) for trial in there]
        self._specs = {job.id: job.spec for job in self._jobs}
        self._rate: Rate | None = None

    def windows(self, cell: CellSpec) -> Windows | None:
        """Returns the window counts of an earlier trial on the same data, split and horizon.

        None for a cell with folds, because a trial records only the training windows of its last fold.
        """
        asked = (cell.data_md5, cell.horizon, cell.span, cell.split, None)
        for trial, _ in () if cell.cv is not None else self._trials:
            spec = self._specs.get(trial.job_id, {})
            span = spec.get("longest") or spec.get("context")
            known = (spec.get("data_md5"), spec.get("horizon"), span, spec.get("split"), spec.get("cv"))
            if known == asked and trial.n_train and trial.n_val:
                return Windows(trial.n_train, trial.n_val)
        return None

    def same(self, cell: CellSpec) -> tuple[Same, ...]:
        """Returns the jobs of the same question, in any status."""
        near = (
            job for job in self._jobs if (job.kind, job.budget, job.horizon) == (cell.kind, cell.budget, cell.horizon)
        )
        found = (job for job in near if question_of(job.spec) == cell.question)
        return tuple(Same(job.id, str(job.status), job.trials_wanted) for job in found)

    def epochs(self, budget: str) -> float | None:
        """Returns the median number of epochs in finished trials of that budget."""
        counts = [
            trial.epochs
            for trial, _ in self._trials
            for spec in [self._specs[trial.job_id]]
            if str(trial.status) == "complete"
            and trial.epochs
            and (spec.get("budget"), spec.get("kind")) in ((budget, "cell"), (budget, "replicate"))
        ]
        return float(median(counts)) if counts else None

    def rate(self) -> Rate:
        """Returns the rate of trials with the same device and threads, else measures it now (a third of a second)."""
        if self._rate is None:
            self._rate = self._recorded() or measured(self.threads)
        return self._rate

    def _recorded(self) -> Rate | None:
        found = []
        for trial, epochs in self._trials:
            spec = self._specs.get(trial.job_id, {})
            if trial.device != self.device or trial.threads != self.threads or not epochs:
                continue
            if spec.get("kind") not in TRAINS or spec.get("budget") == "tiny":
                continue
            shape = cell_shape(settled(CellSpec.from_json(spec), trial.params), trial.architecture)
            found.append(median(epoch.samples_per_s for epoch in epochs) * shape.flops_per_window)
        return Rate(median(found), f"{len(found)} trials recorded here") if found else None


@lru_cache(maxsize=8)
def measured(threads: int) -> Rate:
    """Measures a matrix product with this many threads, best of 8; once per process, so that two calls agree."""
    import numpy as np  # here, not above: only a forecast needs them
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        a = np.random.default_rng(0).random((GEMM_SIZE, GEMM_SIZE), dtype=np.float32)
        took = min(_timed(lambda: a @ a) for _ in range(8))
    peak = 2 * GEMM_SIZE**3 / took
    source = (
        f"a matrix product just measured ({peak / 1e9:.0f} GFLOP/s; training reaches about {SHARE_OF_PEAK:.0%} of it)"
    )
    return Rate(SHARE_OF_PEAK * peak, source)


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@lru_cache(maxsize=64)
def _count(
    root: str, md5: str, task: str, horizon: int, context: int, split: tuple[Any, ...], least: int, cv: str | None
) -> tuple[Windows, ...]:
    from fts.study.cell_data import load  # here, not above: pandas
    from fts.study.walk_forward_objective import last_folds

    data = load(root, md5, task, horizon, context, dict(split), min_positives=least)
    if cv is None:
        return (Windows(data.n_train, data.n_val),)
    try:
        folds = last_folds(data, *evaluated_folds(cv))
    except ValueError as too_few:
        raise BadSpec(str(too_few)) from None
    return tuple(Windows(len(fold.train_ends), len(fold.val_ends)) for fold in folds)


def windows_of_models(root: str, cell: CellSpec) -> tuple[Windows, ...]:
    """Counts in the data set itself the windows of each model of a trial: one model, or one for each fold."""
    split = tuple(sorted(cell.split.items()))
    return _count(root, cell.data_md5, cell.task, cell.horizon, cell.span, split, cell.min_positives, cell.cv)


def count_windows(root: str, cell: CellSpec) -> Windows:
    """Returns the windows of an epoch of a trial, over all of its models."""
    models = windows_of_models(root, cell)
    return Windows(sum(one.train for one in models), sum(one.val for one in models))
