"""Optuna's TPE on arrays: the same draws, bit for bit, in a fraction of the time.

Each parameter is drawn alone, and for each one Optuna sorts all trials and reads them one by one. Here a study that
does not change during a draw has its trials as arrays. They are split once for all parameters of a trial, a parameter
is read at once, and equal candidates are evaluated once. A process that was forked with the arrays in memory touches no
trial, so no memory of trials is copied. Special values and other versions of Optuna use Optuna's own functions.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers._tpe import sampler as optunas
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import TrialState

from fts.jobs.search.columns import COMPLETE, NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from fts.jobs.search.columns import Columns

    Places = npt.NDArray[np.intp]

KNOWN_OPTUNA = "5.0."  # the releases that `TPESampler.sample_independent` below was copied from
SPLIT = ["study", "trials", "n_below"]  # expected parameters of Optuna's functions
READ = ["self", "trials", "search_space", "study"]
MOST_NUMBERS = 80_000  # of one array of candidates x trials: 640 kB
IN_PLAY = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


def tpe(seed: int) -> optuna.samplers.TPESampler:
    """Returns the sampler of one draw."""
    known = (
        optuna.__version__.startswith(KNOWN_OPTUNA)
        and parameters_of(optunas, "_split_trials") == SPLIT
        and parameters_of(optuna.samplers.TPESampler, "_get_internal_repr") == READ
    )
    sampler = (TPESampler if known else optuna.samplers.TPESampler)(seed=seed, n_startup_trials=10, multivariate=False)
    if hasattr(sampler, "_parzen_estimator_cls"):
        sampler._parzen_estimator_cls = Estimator
    return sampler


def parameters_of(owner: Any, name: str) -> list[str]:
    found = getattr(owner, name, None)
    return list(inspect.signature(found).parameters) if found is not None else []


class TPESampler(optuna.samplers.TPESampler):
    """Draws from the columns of a study, if it has them."""

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        columns: Columns | None = getattr(study, "columns", None)
        if columns is None:
            return super().sample_independent(study, trial, param_name, param_distribution)
        if columns.finished < self._n_startup_trials:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        space = {param_name: param_distribution}
        below, above = split(study, columns)
        good = self._build_parzen_estimator(study, space, below, handle_below=True)  # type: ignore[arg-type]  # a TrialSubset
        others = self._build_parzen_estimator(study, space, above, handle_below=False)  # type: ignore[arg-type]
        candidates = good.sample(self._rng.rng, self._n_ei_candidates)
        drawn = self._compare(candidates, self._compute_acquisition_func(candidates, good, others))
        return param_distribution.to_external_repr(drawn[param_name])

    def _get_internal_repr(
        self, trials: Sequence[FrozenTrial], search_space: dict[str, BaseDistribution], study: optuna.Study
    ) -> dict[str, Any]:
        if isinstance(trials, TrialSubset):
            ((name, distribution),) = search_space.items()
            if (values := trials.columns.values_of(name, distribution, trials.places)) is not None:
                return {name: values}
            trials = trials.trials(study)
        return super()._get_internal_repr(list(trials), search_space, study)


class TrialSubset:
    """A subset of a study's trials, as sorted places in its columns."""

    def __init__(self, columns: Columns, places: Places) -> None:
        self.columns, self.places = columns, places

    def trials(self, study: optuna.Study) -> list[FrozenTrial]:
        every = study._get_trials(deepcopy=False)
        return [every[place] for place in self.places]


def split(study: Any, columns: Columns) -> tuple[TrialSubset, TrialSubset]:
    """Splits the trials into the good ones and the others. Cached for all draws from the same columns."""
    if columns.split is None:
        several = len(study.directions) > 1
        gamma = optunas.default_gamma_multiobjective if several else optunas.default_gamma
        below = gamma(columns.finished)
        columns.split = best_of(study, columns, below) or split_by_optuna(study, below)
    good, others = columns.split
    return TrialSubset(columns, good), TrialSubset(columns, others)


def best_of(study: optuna.Study, columns: Columns, below: int) -> tuple[Places, Places] | None:
    """Returns the places of the best `below` trials and of the others.

    None: Optuna must split, because of several goals, constraints, or fewer than `below` complete trials.
    """
    complete = np.flatnonzero(columns.states == COMPLETE)
    if len(study.directions) != 1 or columns.is_constrained or len(complete) < below:
        return None
    values = columns.values[complete]
    minimize = study.direction == optuna.study.StudyDirection.MINIMIZE
    good = np.sort(complete[np.argsort(values if minimize else -values, kind="stable")[:below]])
    left = columns.states != NONE
    left[good] = False
    return good, np.flatnonzero(left)


def split_by_optuna(study: optuna.Study, below: int) -> tuple[Places, Places]:
    every = study._get_trials(deepcopy=False)
    place_of = {id(one): place for place, one in enumerate(every)}
    parts = optunas._split_trials(study, [one for one in every if one.state in IN_PLAY], below)
    good, others = (np.array([place_of[id(one)] for one in part], dtype=np.intp) for part in parts)
    return good, others


class Estimator(_ParzenEstimator):
    """Evaluates equal candidates once: a choice or a small integer has few different values.

    With thousands of trials it evaluates a few candidates at a time, because larger arrays are newly allocated each
    time.
    """

    def log_pdf(self, samples_dict: dict[str, Any]) -> Any:
        if len(samples_dict) != 1:
            return super().log_pdf(samples_dict)
        ((name, samples),) = samples_dict.items()
        different, place = np.unique(samples, return_inverse=True)
        few = max(1, MOST_NUMBERS // len(self._mixture_distribution.weights))
        parts = (different[begin : begin + few] for begin in range(0, len(different), few))
        return np.concatenate([super(Estimator, self).log_pdf({name: part}) for part in parts])[place]
