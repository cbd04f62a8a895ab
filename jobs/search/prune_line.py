"""What a running trial will need at its next comparison: its cell's own pruner, asked ahead of time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.state.values import EPOCH_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.search.sampler import PastTrial
    from fts.state.values import Epoch, Job, Trial


def line_ahead(
    job: Job, trial: Trial, trials: Sequence[Trial], curves: Mapping[int, Sequence[Epoch]]
) -> tuple[int, float] | None:
    """(step, value needed there) of a trial that runs, from the trials before it and their epochs by trial id.

    None: nothing ahead, nobody knows yet, or not all curves that decide it are at hand.
    """
    pruner = job.spec.get("pruner", "none")
    if pruner == "none" or trial.ended_at is not None or len(trials) > len(curves):
        return None
    before = [one for one in trials if one.number <= trial.number - job.parallel and one.epochs]
    if any(one.id not in curves for one in before):
        return None
    from fts.jobs.api.halving import BEFORE_FREEZING, PERCENTILE, Halving  # here, not above: most cells have no pruner
    from fts.jobs.search.pruner import line_ahead as ahead
    from fts.jobs.search.sampler import PastTrial

    rule = job.spec.get("halving")
    history = [PastTrial(one.number, {}, str(one.status), one.value, values(curves[one.id], trial)) for one in before]
    last = _last(job, history)
    if last is None:
        return None
    return ahead(
        str(pruner), history, trial.number, max(values(curves.get(trial.id, ()), trial), default=trial.epochs), last,
        direction=trial.direction,
        rule=Halving.from_json(rule) if rule else BEFORE_FREEZING,
        percentile=float(job.spec.get("percentile", PERCENTILE)),
    )  # fmt: skip


def _last(job: Job, history: Sequence[PastTrial]) -> int | None:
    """The last step of a trial; where nobody has said it, the last one that an earlier trial reported."""
    if job.steps is not None:
        return job.steps
    return max((step for past in history for step in past.epochs), default=None)


def values(curve: Sequence[Epoch], trial: Trial) -> dict[int, float]:
    """The metric that decides by step, where there is one."""
    return {one.epoch: value for one in curve if (value := value_of(one, trial.metric)) is not None}


def value_of(epoch: Epoch, metric: str) -> float | None:
    """A metric at one step: by its name, or the only value that was told, without one."""
    named = epoch.number(metric)
    if named is not None or metric in EPOCH_NUMBERS or epoch.metrics or epoch.value is None or math.isnan(epoch.value):
        return named
    return epoch.value
