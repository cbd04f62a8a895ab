"""The trial that a function gets: an `optuna.Trial` on an in-memory study that sends its draws and reports as facts."""

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
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.distributions import BaseDistribution

    from fts.jobs.trial.running import RunningTrial


STOP = "study.stop() does nothing here: `fts stop` and `fts cancel` end a search"
OF_THE_STUDY = ("set_user_attr", "set_metric_names", "enqueue_trial", "add_trial", "add_trials")
CHOICES = 80  # characters of the choices in a message
NO_EFFECT = "study.{}() does not reach later trials: each has its own process"


class RecordedValue(ValueError):
    """The current code cannot use a value that is recorded or given."""


def offered(data: dict[str, Any]) -> str:
    """Returns the values of a distribution in words: `0.0..1.0`, `int 1..9, step 2`, or the choices."""
    if "low" not in data:
        return cut(", ".join(map(repr, data["choices"])), CHOICES)
    kind = "int " if data["kind"] == "int" else ""
    step = f", step {data['step']}" if data.get("step", 1 if kind else None) != (1 if kind else None) else ""
    return f"{kind}{data['low']}..{data['high']}{step}"


class OptunaTrial(optuna.Trial):
    """Behaves as a trial of plain Optuna: parameters, reports, pruning, attributes."""

    def __init__(self, study: optuna.Study, trial_id: int, running: RunningTrial) -> None:
        self.running = running
        self._known = system_attributes(study)
        self._kept: dict[str, Any] = {}  # the sampler's attributes that were sent last
        super().__init__(study, trial_id)

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        """Called by every suggest_... method."""
        if name in self._cached_frozen_trial.params:
            return super()._suggest(name, distribution)
        data = data_of(name, distribution)
        given = name in self.running.spec.params and name not in self.running.recorded
        if given and "low" in data:
            self._check_given(name, distribution, data)
        try:
            value = super()._suggest(name, distribution)
            if not keeps_value(value, data["kind"]):
                raise ValueError("the function would get another value than the recorded one")
        except ValueError as error:
            if name not in self._fixed_params:
                raise
            if given:
                raise self._not_offered(name, data) from error
            raise RecordedValue(
                f"{name} is {quoted(self._fixed_params[name])} in this trial's record, and "
                f"{self.running.cell.path.name} "
                f"suggests {offered(data)} now; restore the code or enqueue the study again"
            ) from error
        recorded = value
        if isinstance(distribution, CategoricalDistribution):  # return the object itself, as in the first attempt
            index = int(distribution.to_internal_repr(value))
            value, recorded = distribution.choices[index], data["choices"][index]
        kept = kept_by(self.study, self._trial_id, self._known)
        if kept != self._kept:
            self._kept = kept
            self.running.sampler_kept(kept)
        self.running.drew(name, recorded, data)
        return value

    def _check_given(self, name: str, distribution: BaseDistribution, data: dict[str, Any]) -> None:
        """Raises RecordedValue if the study gives a number that the function does not suggest."""
        value, low, high = self.running.spec.params[name], data["low"], data["high"]
        is_number = isinstance(value, int | float)
        inside = min(max(value, low), high) if is_number else low  # a grid point may be outside by a rounding error
        if not (is_number and math.isclose(inside, value, rel_tol=1e-9) and distribution._contains(inside)):
            raise self._not_offered(name, data)

    def _not_offered(self, name: str, data: dict[str, Any]) -> RecordedValue:
        """Returns the error for a given value that the function does not suggest."""
        declared = name in (self.running.cell.space or {})
        how, cure = ("as the study declares it", "equal") if declared else ("in the warm start", "agree")
        value, file = self.running.spec.params[name], self.running.cell.path.name
        return RecordedValue(
            f"{name} is {quoted(value)} {how}, and {file} suggests {offered(data)}; make the two {cure}"
        )

    @property
    def params(self) -> dict[str, Any]:
        """The parameters drawn so far; with a declared space all of them."""
        drawn = super().params
        return drawn if self.running.cell.space is None else self.running.spec.params | drawn

    def report(self, value: float, step: int, metrics: dict[str, float] | None = None) -> None:
        known = len(self._cached_frozen_trial.intermediate_values)
        with suppress(TypeError, ValueError):  # Optuna raises its own error for it
            step = int(step)  # also of numpy and torch, which cannot be keys
        if step not in self._cached_frozen_trial.intermediate_values:
            self._keep_report(value, step)
        if len(self._cached_frozen_trial.intermediate_values) > known:
            self.running.report(int(step), float(value), self.running.numbers(metrics or {}))
        else:
            self.running.repeated(int(step), float(value))

    def _keep_report(self, value: float, step: int) -> None:
        """Stores a report in Optuna's trial. Optuna refuses this with several goals, so a study of one goal is used."""
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
        """Takes over the epochs of an earlier attempt, and makes the trial draw the same parameters again."""
        self._fixed_params = params | self._fixed_params
        for step, value in values.items():
            self._keep_report(value, step)

    def keep(self, attributes: dict[str, Any], constraints: dict[str, float]) -> None:
        """Takes over the attributes and constraints of a checkpoint."""
        for name, value in attributes.items():
            self.set_user_attr(name, value)
        for name, value in constraints.items():
            if name not in self.constraints:  # the first value counts
                self.set_constraint(name, value)


def keeps_value(value: Any, kind: str) -> bool:
    """Does Optuna return exactly this value? It would truncate a fraction, and accept a text as a number."""
    return kind == "choice" or (isinstance(value, int | float) and (kind == "float" or value == int(value)))


class StudyOfTrial(optuna.Study):
    """Logs a warning for the methods that do not reach later trials."""

    def stop(self) -> None:
        say(STOP)

    def begin(self, given: dict[str, Any]) -> int:
        """Begins a trial with these values and returns its id. `enqueue_trial` and `ask` do the same, but search all
        earlier trials.
        """
        begun = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, system_attrs={"fixed_params": given})
        return self._storage.create_new_trial(self._study_id, template_trial=begun)


def without_effect(name: str) -> Callable[..., Any]:
    """Returns the method of optuna.Study with a warning that it does not reach later trials."""

    def method(study: optuna.Study, *args: Any, **kwargs: Any) -> Any:
        say(NO_EFFECT.format(name))
        return getattr(optuna.Study, name)(study, *args, **kwargs)

    return method


for _name in OF_THE_STUDY:
    setattr(StudyOfTrial, _name, without_effect(_name))


def make_trial(running: RunningTrial, study: optuna.Study) -> OptunaTrial:
    """Returns the trial on its study, both as they were when the trial began."""
    given = running.spec.params | {name: draw["value"] for name, draw in running.recorded.items()}
    own = StudyOfTrial(study.study_name, study._storage, study.sampler, study.pruner)
    return OptunaTrial(own, own.begin(given), running)
