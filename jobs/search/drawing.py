"""Draws the parameters of a trial from a declared space: branches in order, forbidden combinations again.

As a trial process draws them where the function itself asks: the same sampler, seeded by (study seed, trial, name), on
the same study, gives the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna

from fts.jobs.api.conditions import drawing_order, forbidden_by, is_drawn
from fts.jobs.api.goals import goals_of
from fts.jobs.api.spec import BadSpec
from fts.jobs.search.pure_sampler import PureSampler
from fts.jobs.search.sampler import (
    Drawn,
    PastTrial,
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

TRIES = 100  # at a combination that nothing forbids
LEARNING = 50  # of them by the sampler, which is told each refusal as the worst trial there is; then at random
MOST_TOLD = 100  # refusals of earlier trials that the sampler is told: the latest
MOST_REFUSED = 3  # that a trial keeps on record for later ones
LEARNERS = ("tpe", "gp")  # samplers that go where they have seen least; others wander out of a forbidden region
REFUSED = "refused"  # beside what its sampler kept: parameters that a rule forbade


def draw(
    cell: Any,
    history: Sequence[PastTrial],
    number: int,
    rebuilt: Rebuilt | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Drawn:
    """The parameters of trial `number`, a function of the cell and its history; some may be `fixed`.

    Raises BadSpec where a hundred draws in a row were forbidden.
    """
    study = study_before(cell, history, number, PureSampler(cell.sampler, cell.seed), rebuilt)
    before = system_attributes(study)
    trial_id = study.ask()._trial_id
    earlier = [params for past in history if past.kept for params in past.kept.get(REFUSED, ())]
    _tell(study, cell, history, earlier[-MOST_TOLD:])
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
            _tell(study, cell, history, [params])
    raise BadSpec(
        f"forbid.{rule} refused {TRIES} draws of trial {number} in a row; forbid less of the space, or narrow its "
        f"ranges: {cell.forbid[rule]}"
    )


def _tell(study: optuna.Study, cell: Any, history: Sequence[PastTrial], refused: Sequence[dict[str, Any]]) -> None:
    """Puts forbidden parameters into the study, as bad as the worst trial: a sampler never sees that region else.

    TPE would draw nothing but what is forbidden there.
    """
    if not refused or cell.sampler not in LEARNERS:
        return
    goals = goals_of(cell)
    last = max((past.number for past in history), default=-1)
    bad = [PastTrial(last + 1 + n, params, "failed", None, diverged=True) for n, params in enumerate(refused)]
    told = with_bad_region([*history, *bad], Direction(cell.direction), goals)[len(history) :]
    study.add_trials([frozen(cell.space, one, goals) for one in told])


class _Draft(optuna.Trial):
    """A trial that draws without writing it down: what is forbidden has never been."""

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
        distribution.to_internal_repr(value)  # refuses what is no value of it
        self._cached_frozen_trial.distributions[name] = distribution
        self._cached_frozen_trial.params[name] = value
        return value
