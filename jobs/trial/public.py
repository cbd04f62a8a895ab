"""What a person's function may call beside Optuna: `fts.report`, `fts.seed`, `fts.cell`; under plain Optuna, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.api.function import VALUE, shrinks
from fts.jobs.api.goals import pruning_of
from fts.jobs.api.spec import seed_for
from fts.jobs.trial.running import BadReport, deciding, metrics_of, running_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def report(trial: Any, step: int, **metrics: Any) -> None:
    """One epoch with all its metrics; the one that decides (the study's, else the first) goes to Optuna's report."""
    report_numbers(trial, step, metrics)


def report_numbers(trial: Any, step: int, metrics: Mapping[str, Any]) -> None:
    """The same, for metrics that no keyword can name."""
    if not metrics:
        raise BadReport(f"the report of step {step} has no metric; write fts.report(trial, step, val_loss=0.5)")
    running = running_of(trial)
    if running is None:
        trial.report(deciding(metrics_of(metrics), VALUE), step)
    else:
        wanted = pruning_of(running.cell)[0]
        numbers = running.numbers(metrics, wanted)
        trial.report(deciding(numbers, wanted), step, numbers)


def seed(trial: Any, purpose: str) -> int:
    """A 63-bit seed from (study seed, trial number, purpose): the same after every resume and on every machine."""
    running = running_of(trial)
    study_seed = getattr(trial.study.sampler, "seed", 0) if running is None else running.cell.seed
    return seed_for(study_seed if isinstance(study_seed, int) else 0, trial.number, purpose)


def cell(trial: Any) -> dict[str, str | int | float]:
    """Where the trial's cell stands in the matrix: axis -> value; empty under plain Optuna."""
    running = running_of(trial)
    return {} if running is None else dict(running.axes)


def shrink(trial: Any) -> int:
    """How often the trial has run out of memory and was asked to take less (`--on-oom shrink`): 0 at first.

    Divide the micro-batch by 2 ** fts.shrink(trial). 0 under plain Optuna.
    """
    running = running_of(trial)
    return 0 if running is None else shrinks(running.spec.recipe)
