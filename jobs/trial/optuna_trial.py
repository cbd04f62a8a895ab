"""The trial that a function gets: a real `optuna.Trial` on an in-memory study, which tells what is done with it."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution

from fts.jobs.search.sampler import kept_by, system_attributes
from fts.jobs.search.space import data_of
from fts.jobs.status.formatting import cut
from fts.jobs.trial.process import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.distributions import BaseDistribution

    from fts.jobs.trial.running import RunningTrial


STOP = "study.stop() does nothing here: `fts stop` and `fts cancel` end a search"
OF_THE_STUDY = ("set_user_attr", "set_metric_names", "enqueue_trial", "add_trial", "add_trials")
CHOICES = 80  # characters of them in a sentence
NO_EFFECT = "study.{}() does not reach later trials: each has a process of its own"


class RecordedValue(ValueError):
    """A value that was drawn or given before cannot be used by the code of today."""


def offered(data: dict[str, Any]) -> str:
    """The values of a distribution in words: `0.0..1.0`, `int 1..9, step 2`, or the choices."""
    if "low" not in data:
        return cut(", ".join(map(repr, data["choices"])), CHOICES)
    kind = "int " if data["kind"] == "int" else ""
    step = f", step {data['step']}" if data.get("step", 1 if kind else None) != (1 if kind else None) else ""
    return f"{kind}{data['low']}..{data['high']}{step}"


class OptunaTrial(optuna.Trial):
    """Whatever runs with plain Optuna runs with it: parameters, reports, pruning, attributes."""

    def __init__(self, study: optuna.Study, trial_id: int, running: RunningTrial) -> None:
        self.running = running
        self._known = system_attributes(study)
        self._kept: dict[str, Any] = {}  # by the sampler, as told already
        super().__init__(study, trial_id)

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        """Every suggest_... comes through here."""
        if name in self._cached_frozen_trial.params:
            return super()._suggest(name, distribution)
        data = data_of(name, distribution)
        given = name in self.running.spec.params and name not in self.running.recorded
        if given and "low" in data:
            self._check_given(name, distribution, data)
        try:
            value = super()._suggest(name, distribution)
            if not is_kept(value, data["kind"]):
                raise ValueError("the function would get another value than the recorded one")
        except ValueError as error:
            if name not in self._fixed_params:
                raise
            if given:
                raise self._not_offered(name, data) from error
            raise RecordedValue(
                f"{name} is {self._fixed_params[name]!r:.80} in this trial's record, and {self.running.cell.path.name} "
                f"suggests {offered(data)} now; restore the code or enqueue the study anew"
            ) from error
        told = value
        if isinstance(distribution, CategoricalDistribution):  # equal, and the same object as in the first attempt
            index = int(distribution.to_internal_repr(value))
            value, told = distribution.choices[index], data["choices"][index]
        kept = kept_by(self.study, self._trial_id, self._known)
        if kept != self._kept:
            self._kept = kept
            self.running.sampler_kept(kept)
        self.running.drew(name, told, data)
        return value

    def _check_given(self, name: str, distribution: BaseDistribution, data: dict[str, Any]) -> None:
        """Raises RecordedValue where the study gives a number that the function does not offer."""
        value, low, high = self.running.spec.params[name], data["low"], data["high"]
        is_number = isinstance(value, int | float)
        inside = min(max(value, low), high) if is_number else low  # a point of a grid may lie a rounding error outside
        if not (is_number and math.isclose(inside, value, rel_tol=1e-9) and distribution._contains(inside)):
            raise self._not_offered(name, data)

    def _not_offered(self, name: str, data: dict[str, Any]) -> RecordedValue:
        """The study gives a value that the function does not suggest."""
        declared = name in (self.running.cell.space or {})
        how, cure = ("as the study declares it", "equal") if declared else ("in the warm start", "agree")
        value, file = self.running.spec.params[name], self.running.cell.path.name
        return RecordedValue(f"{name} is {value!r:.80} {how}, and {file} suggests {offered(data)}; make the two {cure}")

    @property
    def params(self) -> dict[str, Any]:
        """Drawn so far; of a declared space all of them from the beginning."""
        drawn = super().params
        return drawn if self.running.cell.space is None else self.running.spec.params | drawn

    def report(self, value: float, step: int, metrics: dict[str, float] | None = None) -> None:
        known = len(self._cached_frozen_trial.intermediate_values)
        with suppress(TypeError, ValueError):  # Optuna has a word for it
            step = int(step)  # of numpy and torch, too: an array is no key
        if step not in self._cached_frozen_trial.intermediate_values:
            self._keep_report(value, step)
        if len(self._cached_frozen_trial.intermediate_values) > known:
            self.running.report(int(step), float(value), self.running.numbers(metrics or {}))
        else:
            self.running.repeated(int(step), float(value))

    def _keep_report(self, value: float, step: int) -> None:
        """Optuna's own; with several goals, which it refuses, on a study of one: the goal that decides pruning."""
        if len(self.study.directions) == 1:
            return super().report(value, step)
        study, self.study = self.study, optuna.create_study()
        try:
            super().report(value, step)
        finally:
            self.study = study

    def should_prune(self) -> bool:
        return self.running.judge()

    def restore(self, values: dict[int, float], params: dict[str, Any]) -> None:
        """Epochs of an earlier attempt, as if they had been reported now; what it drew, it draws again."""
        self._fixed_params = params | self._fixed_params
        for step, value in values.items():
            self._keep_report(value, step)

    def keep(self, attributes: dict[str, Any], constraints: dict[str, float]) -> None:
        """What an earlier attempt had kept by its checkpoint."""
        for name, value in attributes.items():
            self.set_user_attr(name, value)
        for name, value in constraints.items():
            if name not in self.constraints:  # the first value counts
                self.set_constraint(name, value)


def is_kept(value: Any, kind: str) -> bool:
    """Does Optuna hand out just this value? It would cut a fraction, and let a text pass for a number."""
    return kind == "choice" or (isinstance(value, int | float) and (kind == "float" or value == int(value)))


class StudyOfTrial(optuna.Study):
    """Says what of it does not reach later trials."""

    def stop(self) -> None:
        say(STOP)

    def begin(self, given: dict[str, Any]) -> int:
        """The id of a new trial with these values, as `enqueue_trial` and `ask` begin one; they look at each trial."""
        begun = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, system_attrs={"fixed_params": given})
        return self._storage.create_new_trial(self._study_id, template_trial=begun)


def told_in_vain(name: str) -> Callable[..., Any]:
    def method(study: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        say(NO_EFFECT.format(name))
        return getattr(optuna.Study, name)(study, *args, **kwargs)

    return method


for _name in OF_THE_STUDY:
    setattr(StudyOfTrial, _name, told_in_vain(_name))


def make_trial(running: RunningTrial, study: optuna.Study) -> OptunaTrial:
    """The trial on its study, as both were when it began."""
    given = running.spec.params | {name: draw["value"] for name, draw in running.recorded.items()}
    own = StudyOfTrial(study.study_name, study._storage, study.sampler, study.pruner)
    return OptunaTrial(own, own.begin(given), running)
