"""An Optuna sampler that keeps nothing between two draws: a search that is killed anywhere goes on as if undisturbed.

value = f(study seed, trial number, the history when the trial began, draws so far, name, distribution). Each draw is
made by a fresh sampler of Optuna, seeded by (study seed, trial number, name): neither the order of calls nor other
branches of a define-by-run space move it.
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
from fts.jobs.search.columns import Columns, Table
from fts.jobs.search.needs import check_packages
from fts.jobs.search.recorded_study import FILLED
from fts.jobs.search.sampler import SAMPLERS, system_attributes

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

    from fts.jobs.search.recorded_study import Rebuilt

TOGETHER = "drawn together"  # the purpose of a relative draw's seed; no parameter is called so
RELATIVE = ("gp", "nsgaii", "cmaes")  # samplers that draw parameters together
IN_THE_STUDY = "qmc"  # keeps where it is in its sequence in the study


class PureSampler(BaseSampler):
    """`PureSampler("tpe", seed=0)`: an ordinary sampler, for plain Optuna too.

    `again`: how often what it drew was refused, so that it draws something else. Raises ValueError for another name,
    NeedsPackage where the sampler's package is not installed.
    """

    def __init__(self, name: str = "tpe", seed: int = 0, again: int = 0) -> None:
        if name == IN_THE_STUDY:
            raise ValueError(
                "the sampler qmc keeps its place in the sequence in the study, so a killed search would not go on "
                f"where it was; expected one of {', '.join(SAMPLERS)}"
            )
        if name not in SAMPLERS:
            raise ValueError(f"the sampler is {name!r:.80}, expected one of {', '.join(SAMPLERS)}")
        check_packages(name)
        self.name, self.seed, self.again = name, seed, again
        self._began: dict[tuple[int, int], optuna.Study] = {}  # (storage, trial) -> the study when that trial began
        self._lock = threading.Lock()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if self.name == "random":
            return  # it has no memory, and copying one would cost more than the draws
        with self._lock:
            self._began[_key(study, trial)] = _AsItBegan(study, trial.number)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self.name not in RELATIVE:
            return {}
        return self._fresh(trial.number, TOGETHER).infer_relative_search_space(self._past(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space and self.name != "nsgaii":  # which counts its generations there
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
            return _Retold(seed=seed, warn_independent_sampling=False)
        if self.name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.name == "gp":
            return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        return fast_tpe.tpe(seed)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seed": self.seed,
            "again": self.again,
        }  # joblib and storages pickle samplers; a lock cannot be

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class NSGAIISampler(optuna.samplers.NSGAIISampler):
    """NSGA-II whose parents stand in the order of their numbers, also where they were just found."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        known, prefix = system_attributes(study), self._get_parent_cache_key_prefix()
        for generation in range(1, self.get_trial_generation(study, trial) + 1):
            if f"{prefix}{generation}" not in known:
                self.get_parent_population(study, generation)
        return super().sample_relative(study, trial, search_space)


@dataclass(frozen=True)
class _Told:
    """An optimizer and what it was told; kept, because telling thousands of trials again takes half a second."""

    space: dict[str, BaseDistribution] | None
    direction: Any
    full: list[list[FrozenTrial]]  # the generations
    optimizer: Any


_LATEST: list[_Told] = []  # at most one


def _alike(one: Sequence[FrozenTrial], other: Sequence[FrozenTrial]) -> bool:
    return len(one) == len(other) and all(
        a is b or (a.params == b.params and a.value == b.value) for a, b in zip(one, other, strict=True)
    )


class _Retold(optuna.samplers.CmaEsSampler):
    """CMA-ES whose optimizer is told every generation again: Optuna's own keeps it as a pickle in the record."""

    _space: dict[str, BaseDistribution] | None = None
    _direction: Any = None

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._space, self._direction = search_space, None if study._is_multi_objective() else study.direction
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        """None while no generation is complete, as Optuna's."""
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
            rng, self._cma_rng = self._cma_rng, LazyRandomState(0)  # it is seeded anew before it is asked
            optimizer = self._init_optimizer(self._transform(), self._direction)
            self._cma_rng = rng
        transform = self._transform()
        sign = -1.0 if self._direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
        for told in full[begun:]:
            solutions = told[: optimizer.population_size]
            if len(solutions) == optimizer.population_size:
                optimizer.tell([(transform.transform(one.params), sign * float(one.value or 0.0)) for one in solutions])
                optimizer = copy.copy(optimizer)  # rounds as Optuna's pickle does, to the last bit
        _LATEST[:] = [_Told(self._space, self._direction, full, copy.deepcopy(optimizer))]
        return optimizer

    def _transform(self) -> _SearchSpaceTransform:
        assert self._space is not None, "sample_relative sets it"
        return _SearchSpaceTransform(self._space, transform_step=True, transform_0_1=True)

    def _from(self, latest: _Told, full: list[list[FrozenTrial]]) -> tuple[Any, int]:
        """The optimizer of the draw before, where it was told nothing but what stands at the beginning of `full`."""
        same_search = latest.space == self._space and latest.direction == self._direction
        if not same_search or len(latest.full) > len(full):
            return None, 0
        if any(not _alike(one, other) for one, other in zip(latest.full, full, strict=False)):
            return None, 0
        return copy.deepcopy(latest.optimizer), len(latest.full)


class _AsItBegan(optuna.Study):
    """The study with the trials it had at one moment, whatever other threads and processes add meanwhile."""

    def __init__(self, study: optuna.Study, number: int) -> None:
        sampler = copy.copy(study.sampler)  # its own keeps this: no garbage that waits for the collector
        super().__init__(study.study_name, study._storage, sampler, study.pruner)
        self._in_states: dict[Any, list[FrozenTrial]] = {}  # each draw asks again
        self._filled: tuple[Rebuilt, int] | None = getattr(study._storage, FILLED, None)
        if self._filled is None or self._filled[1] != number or number + 1 != len(self._stored):
            self._filled = None
            self._trials = [one for one in study._get_trials(deepcopy=False) if one.number != number]

    @property
    def _stored(self) -> list[FrozenTrial]:
        """Of an in-memory storage, by their numbers."""
        return self._storage._studies[self._study_id].trials  # type: ignore[attr-defined, no-any-return]

    @cached_property
    def _trials(self) -> list[FrozenTrial]:
        """Not before they are asked for: in a forked process each one that is touched has to be copied."""
        assert self._filled is not None, "else they have been read"
        return self._stored[: self._filled[1]]

    @cached_property
    def columns(self) -> Columns | None:
        """For fast_tpe."""
        if self._filled is not None:
            return self._filled[0].columns(self._filled[1])
        numbers = [one.number for one in self._trials]
        return Columns(Table(self._trials), len(numbers)) if numbers == sorted(numbers) else None

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
    """A number of Python's own, as it will be after a way through JSON: numpy's promote arrays in another way."""
    return distribution.to_external_repr(distribution.to_internal_repr(value))
