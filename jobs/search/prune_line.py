"""Computes the value that a running trial needs at its next comparison, by its cell's pruner."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.search.past_trial import PastTrial
    from fts.state.values import Epoch, Job, Trial


def line_ahead(
    job: Job, trial: Trial, trials: Sequence[Trial], curves: Mapping[int, Sequence[Epoch]]
) -> tuple[int, float] | None:
    """Returns (step, value needed there) of a running trial. `curves` has the epochs of all trials by trial id.

    None: there is no comparison ahead, its value is unknown yet, or a needed curve is missing.
    """
    pruner = job.spec.get("pruner", "none")
    if pruner == "none" or trial.ended_at is not None or len(trials) > len(curves):
        return None
    before = [one for one in trials if one.number <= trial.number - job.parallel and one.epochs]
    if any(one.id not in curves for one in before):
        return None
    from fts.jobs.api.halving import BEFORE_FREEZING, PERCENTILE, Halving  # here: most cells have no pruner
    from fts.jobs.search.past_trial import PastTrial
    from fts.jobs.search.pruner import line_ahead as ahead

    rule = job.spec.get("halving")
    history = [PastTrial(one.number, {}, str(one.status), one.value, values(curves[one.id], job)) for one in before]
    last = _last(job, history)
    if last is None:
        return None
    return ahead(
        str(pruner), history, trial.number, max(values(curves.get(trial.id, ()), job), default=trial.epochs), last,
        direction=job.goals[job.deciding_metric],
        rule=Halving.from_json(rule) if rule else BEFORE_FREEZING,
        percentile=float(job.spec.get("percentile", PERCENTILE)),
    )  # fmt: skip


def _last(job: Job, history: Sequence[PastTrial]) -> int | None:
    """Returns the last step of a trial; if it is not declared, the last one that an earlier trial reported."""
    if job.steps is not None:
        return job.steps
    return max((step for past in history for step in past.epochs), default=None)


def values(curve: Sequence[Epoch], job: Job) -> dict[int, float]:
    """Returns the metric that the pruner reads by step, without steps that do not have it."""
    name = job.deciding_metric
    return {one.epoch: value for one in curve if (value := value_of(one, name, name)) is not None}


def value_of(epoch: Epoch, metric: str, deciding: str) -> float | None:
    """Returns a metric at one step; None: not reported. A number without a name is the `deciding` metric."""
    named = epoch.number(metric)
    if named is not None or metric != deciding or epoch.value is None or math.isnan(epoch.value):
        return named
    return epoch.value
