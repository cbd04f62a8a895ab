"""What a running trial will need at its next comparison: its cell's own pruner, asked ahead of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.state.values import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.values import Epoch, Job, Trial


def line_ahead(
    job: Job, trial: Trial, trials: Sequence[Trial], curves: Mapping[int, Sequence[Epoch]]
) -> tuple[int, float] | None:
    """(epoch, objective needed there) of a trial that runs, from the trials before it and their epochs by trial id.

    None: nothing ahead, nobody knows yet, or not all curves that decide it are at hand.
    """
    pruner, epochs = job.spec.get("pruner", "none"), job.spec.get("epochs", job.spec.get("steps"))
    if pruner == "none" or trial.ended_at is not None or not isinstance(epochs, int) or len(trials) > len(curves):
        return None
    before = [one for one in trials if one.number < trial.number and one.epochs]
    if any(one.id not in curves for one in before):
        return None
    from fts.jobs.api.halving import BEFORE_FREEZING, Halving  # here, not above: most cells have no pruner
    from fts.jobs.search.pruner import line_ahead as ahead
    from fts.jobs.search.sampler import PastTrial

    rule = job.spec.get("halving")
    history = [PastTrial(one.number, {}, str(one.status), one.value, values(curves[one.id], job)) for one in before]
    return ahead(
        str(pruner), history, trial.number, trial.epochs, epochs,
        maximize=job.direction is Direction.MAXIMIZE,
        rule=Halving.from_json(rule) if rule else BEFORE_FREEZING,
    )  # fmt: skip


def values(curve: Sequence[Epoch], job: Job) -> dict[int, float]:
    """The cell's metric by epoch, where there is one."""
    found = {one.epoch: one.number(job.metric) if one.value is None else one.value for one in curve}
    return {epoch: value for epoch, value in found.items() if value is not None}
