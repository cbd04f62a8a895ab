"""The pruners of `fts worker` for plain Optuna, with the same decisions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optuna.pruners import BasePruner

from fts.jobs.api.halving import HALVING, PERCENTILE, Halving
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pruner import should_prune
from fts.raising import quoted
from fts.state.values import Direction

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

PRUNERS = ("none", "median", "percentile", "halving")


class PurePruner(BasePruner):
    """The pruners of a worker as an Optuna pruner.

    `PurePruner("median")`, `PurePruner("percentile", percentile=25)` or `PurePruner("halving", "2,3,0.5,2")`. Raises
    ValueError for an unknown name.
    """

    def __init__(self, name: str = "median", halving: str | None = None, percentile: float = PERCENTILE) -> None:
        if name not in PRUNERS:
            raise ValueError(f"the pruner is {quoted(name)}, expected one of {', '.join(PRUNERS)}")
        if not 0 <= percentile <= 100:
            raise ValueError(f"the percentile is {percentile:g}, expected 0 to 100")
        self.name, self.percentile = name, percentile
        self.rule = HALVING if halving is None else Halving.parse(halving)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        direction = Direction(study.direction.name.lower())
        known = study.get_trials(deepcopy=False)
        past = [
            PastTrial(one.number, {}, one.state.name.lower(), None, finite(one))
            for one in known
            if one.number < trial.number
        ]
        why = should_prune(self.name, past, trial.number, finite(trial), direction, self.rule, self.percentile)
        return why is not None


def finite(trial: FrozenTrial) -> dict[int, float]:
    return {step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)}
