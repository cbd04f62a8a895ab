"""Draws the parameters of a trial from a declared space: branches in order, forbidden combinations again.

As a trial process draws them where the function itself asks: the same sampler, seeded by (study seed, trial, name), on
the same study, gives the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna

from fts.jobs.api.conditions import drawing_order, forbidden_by, is_drawn
from fts.jobs.api.spec import BadSpec
from fts.jobs.search.pure_sampler import PureSampler
from fts.jobs.search.sampler import Drawn, kept_by, study_before, system_attributes
from fts.jobs.search.space import distribution_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution

    from fts.jobs.search.sampler import PastTrial

TRIES = 100  # at a combination that nothing forbids


def draw(cell: Any, history: Sequence[PastTrial], number: int) -> Drawn:
    """The parameters of trial `number`, a function of the cell and its history.

    Raises BadSpec where a hundred draws in a row were forbidden.
    """
    study = study_before(cell, history, number, PureSampler(cell.sampler, cell.seed))
    before = system_attributes(study)
    trial_id = study.ask()._trial_id
    rule = None
    for again in range(TRIES):
        study.sampler = PureSampler(cell.sampler, cell.seed, again)
        params = _Draft(study, trial_id).draw(cell)
        rule = forbidden_by(getattr(cell, "forbid", {}), getattr(cell, "axes", {}) | params)
        if rule is None:
            return Drawn(params, kept_by(study, trial_id, before))
    raise BadSpec(
        f"forbid.{rule} refused {TRIES} draws of trial {number} in a row; forbid less of the space, or narrow its "
        f"ranges: {cell.forbid[rule]}"
    )


class _Draft(optuna.Trial):
    """A trial that draws without writing it down: what is forbidden has never been."""

    def draw(self, cell: Any) -> dict[str, Any]:
        space, axes = cell.space, dict(getattr(cell, "axes", {}))
        params: dict[str, Any] = {}
        for name in drawing_order(space):
            if is_drawn(space[name], axes | params):
                params[name] = self._suggest(name, distribution_of(name, space[name]))
        return params

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if distribution.single():
            value = optuna.distributions._get_single_value(distribution)
        elif self._is_relative_param(name, distribution):
            value = self.relative_params[name]
        else:
            value = self.study.sampler.sample_independent(self.study, self._get_latest_trial(), name, distribution)
        distribution.to_internal_repr(value)  # refuses what is no value of it
        self._cached_frozen_trial.distributions[name] = distribution
        self._cached_frozen_trial.params[name] = value
        return value
