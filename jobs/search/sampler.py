"""What to try next, as a function of what was tried: no study object lives longer than one call.

Everything a sampler knows is rebuilt from the recorded trials, and it is seeded by (study seed, trial number). So a
search that was killed and resumed proposes exactly what an undisturbed one would have, on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import BadSpec, seed_for
from fts.jobs.search.space import Space, distributions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna


SAMPLERS = ("tpe", "random", "gp")  # that are pure functions of the record


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

    def to_json(self) -> dict[str, Any]:
        """What the trial process of a function gets in its history: of the epochs the last, which samplers look at."""
        last = max(self.epochs, default=None)
        return vars(self) | {"epochs": {} if last is None else {last: self.epochs[last]}}

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


def suggest(
    space: Space,
    history: Sequence[PastTrial],
    seed: int,
    number: int,
    sampler: str = "tpe",
    maximize: bool = False,
    diverged: str = "ignored",
) -> dict[str, Any]:
    """All parameters of trial `number`, drawn in one step; equal arguments give equal parameters.

    `diverged` is what the sampler learns from trials that diverged (CellSpec.diverged).
    """
    drawn = _sampler(sampler, seed_for(seed, number, "suggest") % 2**32)
    study = rebuild_study(space, history, maximize, drawn, diverged)
    return dict(study.ask(distributions(space)).params)


def rebuild_study(
    space: Space,
    history: Sequence[PastTrial],
    maximize: bool,
    sampler: optuna.samplers.BaseSampler | None = None,
    diverged: str = "ignored",
) -> optuna.Study:
    """An in-memory Optuna study that holds the recorded trials, RUNNING ones included (they repel TPE)."""
    import optuna  # here, not above: 0.4 s

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if maximize else "minimize", sampler=sampler)
    if diverged == "worst":
        history = with_bad_region(history, maximize)
    study.add_trials([frozen(space, past) for past in sorted(history, key=lambda past: past.number)])
    return study


def with_bad_region(history: Sequence[PastTrial], maximize: bool) -> list[PastTrial]:
    """The trials, diverged ones as bad as the worst complete one (as pruned at once, while none is complete).

    Optuna learns nothing from a failed trial, so the samplers kept going back to where training diverges (DECISIONS).
    """
    values = [past.value for past in history if past.status == "complete" and past.value is not None]
    worst = (min if maximize else max)(values, default=None)
    status = "pruned" if worst is None else "complete"
    return [replace(past, status=status, value=worst, epochs={}) if past.diverged else past for past in history]


def frozen(space: Space, past: PastTrial) -> optuna.trial.FrozenTrial:
    """One recorded trial in Optuna's terms."""
    from optuna.trial import TrialState, create_trial

    state = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING,
        "interrupted": TrialState.RUNNING,
    }[past.status]
    known = {name: d for name, d in distributions(past.distributions or space).items() if name in past.params}
    return create_trial(
        state=state,
        value=past.value if state == TrialState.COMPLETE else None,
        params={name: past.params[name] for name in known},
        distributions=known,
        intermediate_values=past.epochs,
    )


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, multivariate=False)
