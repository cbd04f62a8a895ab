"""An Optuna sampler without state: a search that was killed and resumed draws the same values as an undisturbed one.

value = f(study seed, trial number, the history when the trial began, draws so far, name, distribution). Each draw uses
a new sampler of Optuna, seeded by (study seed, trial number, name). So neither the order of calls nor other branches of
a define-by-run space change a value.
"""

from __future__ import annotations

import copy
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState

from fts.frozen import dataclass
from fts.jobs.api.spec import seed_for
from fts.jobs.search import fast_tpe
from fts.jobs.search.columns import Columns, TrialTable
from fts.jobs.search.needs import check_packages
from fts.jobs.search.recorded_study import FILLED
from fts.jobs.search.sampler import SAMPLERS, system_attributes
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

    from fts.jobs.search.recorded_study import Rebuilt

TOGETHER = "drawn together"  # purpose of the seed of a relative draw; not a possible parameter name
RELATIVE = ("gp", "nsgaii", "cmaes")  # samplers that draw several parameters together
IN_THE_STUDY = "qmc"  # this sampler stores its position in the sequence in the study


class PureSampler(BaseSampler):
    """The samplers of a worker as an Optuna sampler: `PureSampler("tpe", seed=0)`. Also for plain Optuna.

    `again` counts how often a draw was refused; another number draws other values. Raises ValueError for an unknown
    name, NeedsPackage if a package of the sampler is not installed.
    """

    def __init__(self, name: str = "tpe", seed: int = 0, again: int = 0) -> None:
        if name == IN_THE_STUDY:
            raise ValueError(
                "the sampler qmc stores its position in the study, so a killed search could not continue where it "
                f"was; expected one of {', '.join(SAMPLERS)}"
            )
        if name not in SAMPLERS:
            raise ValueError(f"the sampler is {quoted(name)}, expected one of {', '.join(SAMPLERS)}")
        check_packages(name)
        self.name, self.seed, self.again = name, seed, again
        self._began: dict[tuple[int, int], optuna.Study] = {}  # (storage, trial) -> the study when that trial began
        self._lock = threading.Lock()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if self.name == "random":
            return  # it does not use the history, and copying it would take longer than the draws
        with self._lock:
            self._began[_key(study, trial)] = _AsItBegan(study, trial.number)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self.name not in RELATIVE:
            return {}
        return self._fresh(trial.number, TOGETHER).infer_relative_search_space(self._past(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space and self.name != "nsgaii":  # nsgaii counts its generations here
            return {}
        drawn = self._fresh(trial.number, TOGETHER).sample_relative(self._past(study, trial), trial, search_space)
        return {name: _plain(search_space[name], value) for name, value in drawn.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        sampler = self._fresh(trial.number, f"draw {param_name}")
        drawn = sampler.sample_independent(self._past(study, trial), trial, param_name, param_distribution)
        return _plain(param_distribution, drawn)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        with self._lock:
            self._began.pop(_key(study, trial), None)

    def _past(self, study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
        return self._began.get(_key(study, trial), study)

    def _fresh(self, number: int, purpose: str) -> BaseSampler:
        counted = f"{purpose} again {self.again}" if self.again else purpose
        seed = seed_for(self.seed, number, counted) % 2**32
        if self.name == "nsgaii":
            return NSGAIISampler(seed=seed)
        if self.name == "cmaes":
            return _CmaEsSampler(seed=seed, warn_independent_sampling=False)
        if self.name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.name == "gp":
            return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        return fast_tpe.tpe(seed)

    def __getstate__(self) -> dict[str, Any]:
        # joblib and storages pickle samplers; a lock cannot be pickled
        return {"name": self.name, "seed": self.seed, "again": self.again}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class NSGAIISampler(optuna.samplers.NSGAIISampler):
    """NSGA-II with parents always in the order of their numbers, also in the call that selects them."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        known, prefix = system_attributes(study), self._get_parent_cache_key_prefix()
        for generation in range(1, self.get_trial_generation(study, trial) + 1):
            if f"{prefix}{generation}" not in known:
                self.get_parent_population(study, generation)
        return super().sample_relative(study, trial, search_space)


@dataclass(frozen=True)
class _Fitted:
    """A CMA-ES optimizer and its generations. Cached, because replaying thousands of trials takes half a second."""

    space: dict[str, BaseDistribution] | None
    direction: Any
    full: list[list[FrozenTrial]]  # the complete generations
    optimizer: Any


_LATEST: list[_Fitted] = []  # at most one


def _alike(one: Sequence[FrozenTrial], other: Sequence[FrozenTrial]) -> bool:
    return len(one) == len(other) and all(
        a is b or (a.params == b.params and a.value == b.value) for a, b in zip(one, other, strict=True)
    )


class _CmaEsSampler(optuna.samplers.CmaEsSampler):
    """CMA-ES that replays every generation. Optuna's own stores its optimizer as a pickle in the study."""

    _space: dict[str, BaseDistribution] | None = None
    _direction: Any = None

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._space, self._direction = search_space, None if study._is_multi_objective() else study.direction
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        """Returns the optimizer after all complete generations; None if there is none, as in Optuna."""
        assert self._space is not None, "sample_relative sets it"
        generations: dict[int, list[FrozenTrial]] = {}
        for one in completed_trials:
            if (generation := one.system_attrs.get(self._attr_key_generation)) is not None:
                generations.setdefault(generation, []).append(one)
        last = max(generations, default=0)
        if last == 0:
            return None
        full = [generations.get(generation, []) for generation in range(last)]
        optimizer, begun = self._from(_LATEST[-1], full) if _LATEST else (None, 0)
        if optimizer is None:
            rng, self._cma_rng = self._cma_rng, LazyRandomState(0)  # it is reseeded before it is used
            optimizer = self._init_optimizer(self._transform(), self._direction)
            self._cma_rng = rng
        transform = self._transform()
        sign = -1.0 if self._direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
        for generation_trials in full[begun:]:
            solutions = generation_trials[: optimizer.population_size]
            if len(solutions) == optimizer.population_size:
                optimizer.tell([(transform.transform(one.params), sign * float(one.value or 0.0)) for one in solutions])
                optimizer = copy.copy(optimizer)  # rounds exactly as Optuna's pickle does
        _LATEST[:] = [_Fitted(self._space, self._direction, full, copy.deepcopy(optimizer))]
        return optimizer

    def _transform(self) -> _SearchSpaceTransform:
        assert self._space is not None, "sample_relative sets it"
        return _SearchSpaceTransform(self._space, transform_step=True, transform_0_1=True)

    def _from(self, latest: _Fitted, full: list[list[FrozenTrial]]) -> tuple[Any, int]:
        """Returns the cached optimizer and how many generations of `full` it has; (None, 0) if it has others."""
        same_search = latest.space == self._space and latest.direction == self._direction
        if not same_search or len(latest.full) > len(full):
            return None, 0
        if any(not _alike(one, other) for one, other in zip(latest.full, full, strict=False)):
            return None, 0
        return copy.deepcopy(latest.optimizer), len(latest.full)


class _AsItBegan(optuna.Study):
    """The study with the trials it had when a trial began, even if other threads or processes add trials meanwhile."""

    def __init__(self, study: optuna.Study, number: int) -> None:
        sampler = copy.copy(study.sampler)  # a copy avoids a reference cycle: the sampler refers to this study
        super().__init__(study.study_name, study._storage, sampler, study.pruner)
        self._in_states: dict[Any, list[FrozenTrial]] = {}  # cache of _get_trials, which every draw calls
        self._filled: tuple[Rebuilt, int] | None = getattr(study._storage, FILLED, None)
        if self._filled is None or self._filled[1] != number or number + 1 != len(self._stored):
            self._filled = None
            self._trials = [one for one in study._get_trials(deepcopy=False) if one.number != number]

    @property
    def _stored(self) -> list[FrozenTrial]:
        """The trials of an in-memory storage, ordered by number."""
        return self._storage._studies[self._study_id].trials  # type: ignore[attr-defined, no-any-return]

    @cached_property
    def _trials(self) -> list[FrozenTrial]:
        """The trials, read on first use: in a forked process every trial that is touched gets copied."""
        assert self._filled is not None, "otherwise __init__ has set _trials"
        return self._stored[: self._filled[1]]

    @cached_property
    def columns(self) -> Columns | None:
        """The trials as arrays, for fast_tpe; None if they are not ordered by number."""
        if self._filled is not None:
            return self._filled[0].columns(self._filled[1])
        numbers = [one.number for one in self._trials]
        return Columns(TrialTable(self._trials), len(numbers)) if numbers == sorted(numbers) else None

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        wanted = None if states is None else tuple(state for state in optuna.trial.TrialState if state in states)
        if wanted not in self._in_states:
            self._in_states[wanted] = [one for one in self._trials if wanted is None or one.state in wanted]
        return list(self._in_states[wanted])


def _key(study: optuna.Study, trial: FrozenTrial) -> tuple[int, int]:
    return (id(study._storage), trial._trial_id)


def _plain(distribution: BaseDistribution, value: Any) -> Any:
    """Converts numpy's number to Python's, as after a round trip through JSON: numpy's promote arrays differently."""
    return distribution.to_external_repr(distribution.to_internal_repr(value))
