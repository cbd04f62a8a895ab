"""Functions that an objective may call: `fts.report`, `fts.seed`, `fts.cell`, `fts.shrink`. Also under plain Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.api.function import VALUE, shrinks
from fts.jobs.api.goals import pruning_of
from fts.jobs.api.spec import seed_for
from fts.jobs.trial.running import BadReport, main_value, metrics_of, running_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def report(trial: Any, step: int, **metrics: Any) -> None:
    """Reports the metrics of one epoch. The study's metric, else the first one, is the value of `trial.report`."""
    report_numbers(trial, step, metrics)


def report_numbers(trial: Any, step: int, metrics: Mapping[str, Any]) -> None:
    """As report, for metrics with names that are not valid keywords."""
    if not metrics:
        raise BadReport(f"the report of step {step} has no metric; write fts.report(trial, step, val_loss=0.5)")
    running = running_of(trial)
    if running is None:
        trial.report(main_value(metrics_of(metrics), VALUE), step)
    else:
        wanted = pruning_of(running.cell)[0]
        numbers = running.numbers(metrics, wanted)
        trial.report(main_value(numbers, wanted), step, numbers)


def seed(trial: Any, purpose: str) -> int:
    """Returns a 63-bit seed for a purpose, such as "split". It is the same after every resume and on every machine."""
    running = running_of(trial)
    study_seed = getattr(trial.study.sampler, "seed", 0) if running is None else running.cell.seed
    return seed_for(study_seed if isinstance(study_seed, int) else 0, trial.number, purpose)


def cell(trial: Any) -> dict[str, str | int | float]:
    """Returns the cell's value on each axis of the matrix, by axis name. Empty under plain Optuna."""
    running = running_of(trial)
    return {} if running is None else dict(running.axes)


def shrink(trial: Any) -> int:
    """Returns how often the trial ran out of memory and should use less (`--on-oom shrink`). 0 under plain Optuna.

    Divide the micro-batch by 2 ** fts.shrink(trial).
    """
    running = running_of(trial)
    return 0 if running is None else shrinks(running.spec.recipe)
