"""What to try next, as a function of what was tried: no study object lives longer than one call.

Everything a sampler knows is rebuilt from the recorded trials, and it is seeded by (study seed, trial number). So a
search that was killed and resumed proposes exactly what an undisturbed one would have, on any machine.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.goals import goals_of
from fts.jobs.api.spec import BadSpec, seed_for
from fts.jobs.search.recorded_study import Rebuilt, fill
from fts.jobs.search.space import Space, distributions
from fts.state.values import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna


SAMPLERS = ("tpe", "random", "gp", "nsgaii", "cmaes")  # that are pure functions of the record
NO_HISTORY = ("random", "grid")  # they learn nothing from earlier trials
ATTRIBUTES_OF_RUNNERS = ("fixed_params", "constraints")  # system attributes that no sampler keeps


@dataclass(frozen=True)
class PastTrial:
    """One recorded trial, as samplers and pruners see it."""

    number: int
    params: dict[str, Any]
    status: str  # running | interrupted | complete | pruned | failed
    value: float | None
    epochs: dict[int, float] = field(default_factory=dict)  # epoch -> objective
    diverged: bool = False  # it failed because its loss was no number, or far too large
    distributions: Space = field(default_factory=dict)  # of what it drew itself; empty: the space of its cell
    metrics: dict[str, float] = field(default_factory=dict)  # its result, where a search has several goals
    constraints: dict[str, float] = field(default_factory=dict)  # name -> violation, at most 0 where it is met
    kept: dict[str, Any] = field(default_factory=dict)  # what its sampler kept: {"trial": ..., "study": ...}
    attributes: dict[str, Any] = field(default_factory=dict)  # of trial.set_user_attr, which a later trial may read

    def to_json(self) -> dict[str, Any]:
        """What the trial process of a function gets in its history: of the epochs the last, which samplers look at."""
        last = max(self.epochs, default=None)
        told = {name: value for name, value in vars(self).items() if value or name not in SELDOM}
        return told | {"epochs": {} if last is None else {last: self.epochs[last]}}

    @classmethod
    def from_json(cls, data: Any) -> PastTrial:
        """Raises BadSpec with what is missing or unknown."""
        if not isinstance(data, dict) or not isinstance(data.get("epochs", {}), dict):
            raise BadSpec(f"a trial of the history is {data!r:.80}, expected a JSON object")
        try:
            past = cls(**data)
            epochs = {int(epoch): value for epoch, value in past.epochs.items() if value is not None}
            return replace(past, epochs=epochs)
        except (TypeError, ValueError) as error:
            raise BadSpec(f"a trial of the history has wrong fields: {error}") from None


SELDOM = ("metrics", "constraints", "kept", "attributes")  # fields that most trials have nothing in


@dataclass(frozen=True)
class Drawn:
    """What one trial drew from the space of its cell."""

    params: dict[str, Any]
    kept: dict[str, Any] = field(default_factory=dict)  # by its sampler, for later trials (PastTrial.kept)


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
    """All parameters of trial `number`, drawn in one step; equal arguments give equal parameters.

    `diverged` is what the sampler learns from trials that diverged (CellSpec.diverged).
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
    """An in-memory Optuna study that holds the recorded trials, RUNNING ones included (they repel TPE)."""
    import optuna  # here, not above: 0.4 s

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction.value, sampler=sampler)
    if diverged == "worst":
        history = with_bad_region(history, direction)
    in_order = sorted(history, key=lambda past: past.number)
    rebuilt = rebuilt or Rebuilt()
    fill(study, rebuilt.trials(in_order, (space, None), lambda past: frozen(space, known(past))), rebuilt)
    return study


def known(past: PastTrial | None) -> PastTrial:
    assert past is not None, "no place of such a study is empty"
    return past


def study_before(
    cell: Any,
    history: Sequence[PastTrial],
    number: int,
    sampler: optuna.samplers.BaseSampler,
    rebuilt: Rebuilt | None = None,
) -> optuna.Study:
    """An in-memory study as it was when trial `number` of the cell began: earlier trials stand at their own numbers."""
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
        rebuilt.columns(number)  # kept from now on: a forked process has them
    for _, one in sorted(past.items()):
        for name, value in one.kept.get("study", {}).items():
            study._storage.set_study_system_attr(study._study_id, name, value)
    return study


def add_trial(study: optuna.Study, cell: Any, past: PastTrial, rebuilt: Rebuilt) -> None:
    """The next trial of a study that `study_before` made with this `rebuilt`; of no use to one that diverged."""
    rebuilt.add(study, past, frozen(cell.space or {}, past, goals_of(cell)))


def frozen_before(
    history: Sequence[PastTrial], number: int, goals: Mapping[str, str], rebuilt: Rebuilt, space: Space | None = None
) -> list[optuna.trial.FrozenTrial]:
    """The trials before this number in Optuna's terms, each at its own place."""
    import optuna

    def freeze(one: PastTrial | None) -> optuna.trial.FrozenTrial:
        if one is None:
            return optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)  # samplers leave failed ones out
        return frozen(space or {}, one, goals)

    places: list[PastTrial | None] = [None] * number
    for one in history:
        if one.number < number:
            places[one.number] = one
    return rebuilt.trials(places, (space or {}, dict(goals)), freeze)


def kept_by(study: optuna.Study, trial_id: int, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the sampler has kept for later trials while it drew this one; `before` are the study's attributes then."""
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
    """The trials, diverged ones as bad as the worst complete one (as pruned at once, while none is complete).

    Optuna learns nothing from a failed trial, so the samplers kept going back to where training diverges (DECISIONS).
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
    """One recorded trial in Optuna's terms; of several goals it needs every value."""
    from optuna.trial import TrialState, create_trial

    state = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING,
        "interrupted": TrialState.RUNNING,
    }[past.status]
    known = {name: d for name, d in distributions(past.distributions or space).items() if name in past.params}
    told: dict[str, Any] = {"intermediate_values": past.epochs}
    if goals is not None and len(goals) > 1:
        told = {}  # Optuna's samplers cannot compare reports there
        if state == TrialState.COMPLETE and goals.keys() <= past.metrics.keys():
            told["values"] = [past.metrics[name] for name in goals]
        elif state == TrialState.COMPLETE:
            state = TrialState.FAIL
    elif state == TrialState.COMPLETE:
        told["value"] = past.value
    elif state == TrialState.PRUNED and past.epochs:
        told["value"] = past.epochs[max(past.epochs)]  # as Optuna has it
    attributes = past.kept.get("trial", {}) | {f"constraints:{n}": value for n, value in past.constraints.items()}
    return create_trial(
        state=state,
        params={name: past.params[name] for name in known},
        distributions=known,
        system_attrs=attributes,
        user_attrs=dict(past.attributes),
        **told,
    )


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, multivariate=False)
