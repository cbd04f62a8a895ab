"""What a running trial will need at its next comparison: its cell's own pruner, asked ahead of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fts.state.values import Epoch, Job, Trial


def line_ahead(
    job: Job, trial: Trial, trials: Sequence[Trial], curves: Mapping[int, Sequence[Epoch]]
) -> tuple[int, float] | None:
    """(epoch, objective needed there) of a trial that runs, from the trials before it and their epochs by trial id.

    None: nothing ahead, nobody knows yet, or not all curves that decide it are at hand.
    """
    pruner, epochs = job.spec.get("pruner", "none"), job.spec.get("epochs")
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
        maximize=job.spec.get("objective") == "val_auc",
        rule=Halving.from_json(rule) if rule else BEFORE_FREEZING,
    )  # fmt: skip


def values(curve: Sequence[Epoch], job: Job) -> dict[int, float]:
    """The cell's objective by epoch, where there is one."""
    auc = job.spec.get("objective") == "val_auc"
    found = {one.epoch: one.val_auc if auc else one.val_loss for one in curve}
    return {epoch: value for epoch, value in found.items() if value is not None}
