"""Draws parameters from the recorded trials alone, without a study object that outlives a call.

A sampler is rebuilt from the recorded trials and seeded by (study seed, trial number). So a search that was killed and
resumed draws exactly the same values as an undisturbed one, on any machine.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.goals import goals_of
from fts.jobs.api.spec import seed_for
from fts.jobs.search.recorded_study import Rebuilt, fill
from fts.jobs.search.space import Space, distributions
from fts.state.values import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

    from fts.jobs.search.past_trial import PastTrial


SAMPLERS = ("tpe", "random", "gp", "nsgaii", "cmaes")  # pure functions of the recorded trials
NO_HISTORY = ("random", "grid")  # samplers that ignore earlier trials
ATTRIBUTES_OF_RUNNERS = ("fixed_params", "constraints")  # system attributes that are not the sampler's


@dataclass(frozen=True)
class Drawn:
    """The parameters that were drawn for one trial."""

    params: dict[str, Any]
    kept: dict[str, Any] = field(default_factory=dict)  # state of its sampler for later trials (PastTrial.kept)


def suggest(
    space: Space,
    history: Sequence[PastTrial],
    seed: int,
    number: int,
    sampler: str = "tpe",
    direction: Direction = Direction.MINIMIZE,
    diverged: str = "ignored",
    rebuilt: Rebuilt | None = None,
) -> dict[str, Any]:
    """Draws all parameters of trial `number` at once. Equal arguments give equal parameters.

    `diverged`: how the sampler counts diverged trials, ignored or worst (fts.jobs.api.study.Cell).
    """
    drawn = _sampler(sampler, seed_for(seed, number, "suggest") % 2**32)
    study = rebuild_study(space, () if sampler in NO_HISTORY else history, direction, drawn, diverged, rebuilt)
    return dict(study.ask(distributions(space)).params)


def rebuild_study(
    space: Space,
    history: Sequence[PastTrial],
    direction: Direction,
    sampler: optuna.samplers.BaseSampler | None = None,
    diverged: str = "ignored",
    rebuilt: Rebuilt | None = None,
) -> optuna.Study:
    """Returns an in-memory Optuna study of the recorded trials, including RUNNING ones, from which TPE keeps away."""
    import optuna  # here: 0.4 s

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction.value, sampler=sampler)
    if diverged == "worst":
        history = with_bad_region(history, direction)
    in_order = sorted(history, key=lambda past: past.number)
    rebuilt = rebuilt or Rebuilt()
    fill(study, rebuilt.trials(in_order, (space, None), lambda past: frozen(space, known(past))), rebuilt)
    return study


def known(past: PastTrial | None) -> PastTrial:
    assert past is not None, "rebuild_study passes no empty places"
    return past


def study_before(
    cell: Any,
    history: Sequence[PastTrial],
    number: int,
    sampler: optuna.samplers.BaseSampler,
    rebuilt: Rebuilt | None = None,
) -> optuna.Study:
    """Returns an in-memory study as it was when trial `number` began. Earlier trials have their own numbers in it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    goals = goals_of(cell)
    study = optuna.create_study(
        directions=[optuna.study.StudyDirection[goal.upper()] for goal in goals.values()],
        sampler=sampler,
        study_name=getattr(cell, "study", None),
    )
    if cell.diverged == "worst":
        history = with_bad_region(history, Direction(cell.direction), goals)
    past = {one.number: one for one in history if one.number < number and one.kept}
    rebuilt = rebuilt or Rebuilt()
    fill(study, frozen_before(history, number, goals, rebuilt, cell.space or {}), rebuilt)
    if cell.sampler == "tpe":
        rebuilt.columns(number)  # builds the cache that forked processes inherit
    for _, one in sorted(past.items()):
        for name, value in one.kept.get("study", {}).items():
            study._storage.set_study_system_attr(study._study_id, name, value)
    return study


def add_trial(study: optuna.Study, cell: Any, past: PastTrial, rebuilt: Rebuilt) -> None:
    """Adds the next trial to a study that `study_before` made with this `rebuilt`. Not for a diverged trial."""
    rebuilt.add(study, past, frozen(cell.space or {}, past, goals_of(cell)))


def frozen_before(
    history: Sequence[PastTrial], number: int, goals: Mapping[str, str], rebuilt: Rebuilt, space: Space | None = None
) -> list[optuna.trial.FrozenTrial]:
    """Returns the trials before this number as Optuna's, each at the place of its number."""
    import optuna

    def freeze(one: PastTrial | None) -> optuna.trial.FrozenTrial:
        if one is None:
            return optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)  # samplers ignore failed trials
        return frozen(space or {}, one, goals)

    places: list[PastTrial | None] = [None] * number
    for one in history:
        if one.number < number:
            places[one.number] = one
    return rebuilt.trials(places, (space or {}, dict(goals)), freeze)


def kept_by(study: optuna.Study, trial_id: int, before: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the state that a sampler stored for later trials. `before`: the study's attributes before the draw."""
    own, shared = study._storage.get_trial_system_attrs(trial_id), system_attributes(study)
    found = {
        "trial": {n: v for n, v in own.items() if n.partition(":")[0] not in ATTRIBUTES_OF_RUNNERS},
        "study": {n: v for n, v in shared.items() if n not in before},
    }
    return {where: attributes for where, attributes in found.items() if attributes}


def system_attributes(study: optuna.Study) -> dict[str, Any]:
    return dict(study._storage.get_study_system_attrs(study._study_id))


def with_bad_region(
    history: Sequence[PastTrial], direction: Direction, goals: Mapping[str, str] | None = None
) -> list[PastTrial]:
    """Returns the trials with diverged ones set to the worst complete value (to pruned, if no trial is complete).

    Optuna learns nothing from a failed trial, so samplers kept returning to where training diverges (DECISIONS).
    """
    complete = [past for past in history if past.status == "complete" and past.value is not None]
    worst = direction.worst(past.value for past in complete)
    status = "pruned" if worst is None else "complete"
    several = goals if goals is not None and len(goals) > 1 else {}
    all_worst = {
        name: found
        for name, goal in several.items()
        if (found := Direction(goal).worst(past.metrics.get(name) for past in complete)) is not None
    }
    return [
        replace(past, status=status, value=worst, epochs={}, metrics=all_worst) if past.diverged else past
        for past in history
    ]


def frozen(space: Space, past: PastTrial, goals: Mapping[str, str] | None = None) -> optuna.trial.FrozenTrial:
    """Converts one recorded trial to Optuna's. With several goals it is FAIL unless it has the value of each."""
    from optuna.trial import TrialState, create_trial

    state = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING,
        "interrupted": TrialState.RUNNING,
    }[past.status]
    known = {name: d for name, d in distributions(past.distributions or space).items() if name in past.params}
    result: dict[str, Any] = {"intermediate_values": past.epochs}
    if goals is not None and len(goals) > 1:
        result = {}  # with several goals, Optuna's samplers cannot compare reports
        if state == TrialState.COMPLETE and goals.keys() <= past.metrics.keys():
            result["values"] = [past.metrics[name] for name in goals]
        elif state == TrialState.COMPLETE:
            state = TrialState.FAIL
    elif state == TrialState.COMPLETE:
        result["value"] = past.value
    elif state == TrialState.PRUNED and past.epochs:
        result["value"] = past.epochs[max(past.epochs)]  # as in Optuna
    attributes = past.kept.get("trial", {}) | {f"constraints:{n}": value for n, value in past.constraints.items()}
    return create_trial(
        state=state,
        params={name: past.params[name] for name in known},
        distributions=known,
        system_attrs=attributes,
        user_attrs=dict(past.attributes),
        **result,
    )


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, multivariate=False)
