"""Draws a trial's parameters from a declared space, in the order of its conditions, and again if they are forbidden.

A trial process draws the same values when the function itself asks for them: it uses the same sampler, seeded by
(study seed, trial, name), on the same study.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna

from fts.jobs.api.conditions import drawing_order, forbidden_by, is_drawn
from fts.jobs.api.goals import goals_of
from fts.jobs.api.spec import BadSpec
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pure_sampler import PureSampler
from fts.jobs.search.sampler import (
    Drawn,
    frozen,
    kept_by,
    study_before,
    system_attributes,
    with_bad_region,
)
from fts.jobs.search.space import distribution_of
from fts.state.values import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution

    from fts.jobs.search.recorded_study import Rebuilt

TRIES = 100  # draws until a combination is allowed
LEARNING = 50  # of these, draws by the sampler, which gets each refused one as the worst trial; the rest are random
MOST_TOLD = 100  # latest refused draws of earlier trials that the sampler gets
MOST_REFUSED = 3  # refused draws that a trial records for later ones
LEARNERS = ("tpe", "gp")  # samplers that prefer unknown regions; others leave a forbidden region by themselves
REFUSED = "refused"  # key in Drawn.kept: the parameters that were forbidden


def draw(
    cell: Any,
    history: Sequence[PastTrial],
    number: int,
    rebuilt: Rebuilt | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Drawn:
    """Draws the parameters of trial `number`, except the `fixed` ones. Depends only on the cell and its history.

    Raises BadSpec if TRIES draws in a row were forbidden.
    """
    study = study_before(cell, history, number, PureSampler(cell.sampler, cell.seed), rebuilt)
    before = system_attributes(study)
    trial_id = study.ask()._trial_id
    earlier = [params for past in history if past.kept for params in past.kept.get(REFUSED, ())]
    _add_refused(study, cell, history, earlier[-MOST_TOLD:])
    rule: str | None = None
    refused: list[dict[str, Any]] = []
    for again in range(TRIES):
        name = cell.sampler if again < LEARNING else "random"
        study.sampler = PureSampler(name, cell.seed, again)
        params = _Draft(study, trial_id).draw(cell, fixed or {})
        rule = forbidden_by(getattr(cell, "forbid", {}), getattr(cell, "axes", {}) | params)
        if rule is None:
            kept = kept_by(study, trial_id, before)
            learned = refused[:MOST_REFUSED] if cell.sampler in LEARNERS else []
            return Drawn(params, kept | {REFUSED: learned} if learned else kept)
        refused.append(params)
        if again < LEARNING:
            _add_refused(study, cell, history, [params])
    raise BadSpec(
        f"forbid.{rule} refused {TRIES} draws of trial {number} in a row; forbid less of the space, or narrow its "
        f"ranges: {cell.forbid[rule]}"
    )


def _add_refused(
    study: optuna.Study, cell: Any, history: Sequence[PastTrial], refused: Sequence[dict[str, Any]]
) -> None:
    """Adds forbidden parameters to the study as trials with the worst value.

    Otherwise the sampler knows nothing of that region, and TPE would draw only forbidden parameters.
    """
    if not refused or cell.sampler not in LEARNERS:
        return
    goals = goals_of(cell)
    last = max((past.number for past in history), default=-1)
    bad = [PastTrial(last + 1 + n, params, "failed", None, diverged=True) for n, params in enumerate(refused)]
    worst = with_bad_region([*history, *bad], Direction(cell.direction), goals)[len(history) :]
    study.add_trials([frozen(cell.space, one, goals) for one in worst])


class _Draft(optuna.Trial):
    """A trial that draws without storing the parameters, because they may be forbidden."""

    def draw(self, cell: Any, fixed: Mapping[str, Any]) -> dict[str, Any]:
        space, axes = cell.space, dict(getattr(cell, "axes", {}))
        self._fixed_params = dict(fixed)
        params: dict[str, Any] = {}
        for name in drawing_order(space):
            if is_drawn(space[name], axes | params):
                params[name] = self._suggest(name, distribution_of(name, space[name]))
        return params

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if distribution.single():
            value = optuna.distributions._get_single_value(distribution)
        elif name in self._fixed_params:
            value = self._fixed_params[name]
        elif self._is_relative_param(name, distribution):
            value = self.relative_params[name]
        else:
            value = self.study.sampler.sample_independent(self.study, self._get_latest_trial(), name, distribution)
        distribution.to_internal_repr(value)  # raises for a value outside the distribution
        self._cached_frozen_trial.distributions[name] = distribution
        self._cached_frozen_trial.params[name] = value
        return value
