"""Optuna's TPE without what it does again and again: the same draws, bit for bit, in a third of the time.

Each parameter is drawn alone, and Optuna sorts all trials, and reads them one by one, for each of them. Here the trials
are split once for all parameters of a trial (they depend on nothing but the study, which stands still while it draws),
the 25 best are found without sorting the rest, the values are read in one go, and equal candidates are judged once. An
Optuna whose own functions look different is left as it is.
"""

from __future__ import annotations

import heapq
import inspect
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe import sampler as optunas
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Split = tuple[list["FrozenTrial"], list["FrozenTrial"]]
KEPT = "splits"  # attribute of a study that stands still: what was split before
IN_ORDER = "in_order"  # attribute of a study: are its trials known to stand in the order of their numbers?
SPLIT = ["study", "trials", "n_below"]  # parameters of Optuna's functions, as they are known here
READ = ["self", "trials", "search_space", "study"]


def tpe(seed: int) -> optuna.samplers.TPESampler:
    """The sampler of one draw."""
    install()
    known = parameters_of(optuna.samplers.TPESampler, "_get_internal_repr") == READ
    sampler = (TPESampler if known else optuna.samplers.TPESampler)(seed=seed, n_startup_trials=10, multivariate=False)
    if hasattr(sampler, "_parzen_estimator_cls"):
        sampler._parzen_estimator_cls = Estimator
    return sampler


def parameters_of(owner: Any, name: str) -> list[str]:
    found = getattr(owner, name, None)
    return list(inspect.signature(found).parameters) if found is not None else []


class TPESampler(optuna.samplers.TPESampler):
    """Reads one parameter of all trials at once."""

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: optuna.Study
    ) -> dict[str, Any]:
        if len(search_space) == 1:
            ((name, distribution),) = search_space.items()
            values = values_of([params[name] for one in trials if name in (params := one.params)], distribution)
            if values is not None:
                return {name: values}
        return super()._get_internal_repr(trials, search_space, study)


def values_of(told: Sequence[Any], distribution: BaseDistribution) -> Any | None:
    """What `to_internal_repr` gives for each; None where it is not plain, and Optuna has to say."""
    if not told:
        return None
    if isinstance(distribution, CategoricalDistribution):
        places: dict[Any, int] = {}
        try:
            for place, choice in enumerate(distribution.choices):
                places.setdefault(choice, place)  # the first of two that are equal, as `index` finds it
            return np.asarray([places[one] for one in told])
        except (KeyError, TypeError):
            return None
    if not isinstance(distribution, FloatDistribution | IntDistribution) or not set(map(type, told)) <= {float, int}:
        return None
    try:
        values = np.asarray(told, dtype=float)
    except OverflowError:
        return None
    return None if np.isnan(values).any() or (distribution.log and (values <= 0.0).any()) else values


class Estimator(_ParzenEstimator):
    """Judges equal candidates once: of a choice or a small integer there are few different ones."""

    def log_pdf(self, samples_dict: dict[str, Any]) -> Any:
        if len(samples_dict) != 1:
            return super().log_pdf(samples_dict)
        ((name, samples),) = samples_dict.items()
        different, place = np.unique(samples, return_inverse=True)
        if len(different) == len(samples):
            return super().log_pdf(samples_dict)
        return super().log_pdf({name: different})[place]


def install() -> None:
    """For studies with a dict `splits`; every other study, and an Optuna without that function, stays as it is."""
    if parameters_of(optunas, "_split_trials") != SPLIT or hasattr(optunas._split_trials, KEPT):
        return
    setattr(optunas, "_split_trials", _kept(optunas._split_trials))  # noqa: B010  # it is Optuna's own


def _kept(split: Callable[[Any, list[FrozenTrial], int], Split]) -> Callable[[Any, list[FrozenTrial], int], Split]:
    def once(study: Any, trials: list[FrozenTrial], n_below: int) -> Split:
        kept = getattr(study, KEPT, None)
        if kept is None:
            return split(study, trials, n_below)
        key = (len(trials), n_below)
        if key not in kept:
            kept[key] = best_of(study, trials, n_below) or split(study, trials, n_below)
        below, above = kept[key]
        return list(below), list(above)

    setattr(once, KEPT, True)
    return once


def best_of(study: optuna.Study, trials: Sequence[FrozenTrial], n_below: int) -> Split | None:
    """The best complete trials and the others, each by number; None where it is not so simple.

    That is where there are several goals, trials with constraints, or fewer complete trials than good ones wanted.
    """
    kept: set[str] = set().union(*(one.system_attrs for one in trials if one.system_attrs))
    if len(study.directions) != 1 or any("constraints" in name for name in kept):
        return None
    complete = [one for one in trials if one.state is TrialState.COMPLETE]
    if len(complete) < n_below or not {one.state for one in trials} <= SIMPLE:
        return None
    minimize = study.direction == optuna.study.StudyDirection.MINIMIZE
    of = heapq.nsmallest if minimize else heapq.nlargest  # as a stable sort would give them
    below = of(n_below, complete, key=attrgetter("value"))
    best, number = set(map(id, below)), attrgetter("number")
    above = [one for one in trials if id(one) not in best]
    in_order = getattr(study, IN_ORDER, False)
    return sorted(below, key=number), above if in_order else sorted(above, key=number)


SIMPLE = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING}
