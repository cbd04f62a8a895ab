"""The quick TPE draws what Optuna's own draws, to the last bit, whatever the trials before it were."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from fts.jobs.api.spec import seed_for
from fts.jobs.search import fast_tpe
from fts.jobs.search.columns import Columns, TrialTable
from fts.jobs.search.pure_sampler import PureSampler

SPACE: dict[str, Any] = {
    "x": FloatDistribution(-1.0, 1.0),
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "share": FloatDistribution(0.0, 1.0, step=0.05),
    "layers": IntDistribution(1, 8),
    "width": IntDistribution(1, 1024, log=True),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "mixed": CategoricalDistribution([1, True, 0.5, None, "1"]),  # the first two are equal
}


def made(number: int, dice: random.Random, state: TrialState, goals: int, constrained: bool) -> FrozenTrial:
    """One trial; its values are often equal, a third of the trials did not draw `lr`."""
    params = {
        "x": dice.choice([dice.uniform(-1, 1), 0.0, -0.0]),
        "lr": 10 ** dice.uniform(-5, -1),
        "share": round(0.05 * dice.randrange(21), 2),
        "layers": dice.randint(1, 8),
        "width": dice.randint(1, 1024),
        "kind": dice.choice("abc"),
        "mixed": dice.choice([1, True, 0.5, None, "1"]),
    }
    if number % 3 == 2:
        del params["lr"]
    told: dict[str, Any] = {}
    if state is TrialState.COMPLETE:
        told["values"] = [dice.choice([dice.random(), 0.0, -0.0, 0.5]) for _ in range(goals)]
    elif state is TrialState.PRUNED and goals == 1:
        told["intermediate_values"] = {dice.randint(1, 9): dice.random()}
    trial = optuna.trial.create_trial(
        state=state,
        params=params,
        distributions={name: SPACE[name] for name in params},
        system_attrs={"constraints:memory": dice.uniform(-1, 1)} if constrained else {},
        **told,
    )
    trial.number = number
    return trial


HISTORIES: dict[str, dict[str, Any]] = {
    "complete": {"n": 300},
    "few": {"n": 12},
    "pruned": {"n": 300, "states": (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED)},
    "hardly any complete": {"n": 300, "states": (*[TrialState.PRUNED] * 30, TrialState.COMPLETE)},
    "side by side": {"n": 60, "states": (TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL)},
    "constraints": {"n": 60, "constrained": True},
    "two goals": {"n": 60, "goals": 2},
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize(("goal", "most"), [("minimize", fast_tpe.MOST_NUMBERS), ("maximize", 2_000)])
def test_every_parameter_is_drawn_as_by_optuna(
    monkeypatch: pytest.MonkeyPatch, history: str, goal: str, most: int
) -> None:
    monkeypatch.setattr(fast_tpe, "MOST_NUMBERS", most)  # 2,000: a few candidates at a time
    trials = told(**HISTORIES[history])
    goals = len(trials[0].values or [0.0])
    study = optuna.create_study(directions=[goal] * goals, sampler=PureSampler("tpe", 7))
    plain = optuna.create_study(directions=[goal] * goals)
    study.add_trials(trials)
    plain.add_trials(trials)
    trial = study.ask()
    for name, distribution in SPACE.items():
        seed = seed_for(7, trial.number, f"draw {name}") % 2**32
        stock = optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, multivariate=False)
        wanted = stock.sample_independent(plain, study.trials[-1], name, distribution)
        assert repr(trial._suggest(name, distribution)) == repr(distribution.to_external_repr(
            distribution.to_internal_repr(wanted)
        ))  # fmt: skip


def told(
    n: int, states: Sequence[TrialState] = (TrialState.COMPLETE,), goals: int = 1, constrained: bool = False
) -> list[FrozenTrial]:
    dice = random.Random(n)
    return [made(number, dice, states[number % len(states)], goals, constrained) for number in range(n)]


def test_optunas_functions_are_where_they_are_looked_for() -> None:
    sampler = fast_tpe.tpe(1)
    assert isinstance(sampler, fast_tpe.TPESampler)
    assert sampler._parzen_estimator_cls is fast_tpe.Estimator


@pytest.mark.parametrize(
    ("told", "distribution"),
    [
        (["0.5"], SPACE["x"]),
        ([float("nan")], SPACE["x"]),
        ([0.0], SPACE["lr"]),
        ([10**400], SPACE["width"]),
        (["d"], SPACE["kind"]),
        ([["a"]], SPACE["kind"]),
    ],
)
def test_what_is_no_plain_value_is_left_to_optuna(told: list[Any], distribution: Any) -> None:
    trials = [made(number, random.Random(number), TrialState.COMPLETE, 1, False) for number in range(len(told))]
    for trial, value in zip(trials, told, strict=True):
        trial.params, trial.distributions = {"it": value}, {"it": distribution}
    columns = Columns(TrialTable(trials), len(trials))
    assert columns.values_of("it", distribution, np.arange(len(trials))) is None


def test_equal_candidates_are_judged_alike() -> None:
    observed = {"layers": np.array([1.0, 2.0, 2.0, 5.0, 8.0])}
    space, parameters = {"layers": SPACE["layers"]}, optuna.samplers.TPESampler(seed=0)._parzen_estimator_parameters
    samples = {"layers": np.array([2.0, 5.0, 2.0, 1.0, 5.0])}
    ours, stock = (cls(observed, space, parameters) for cls in (fast_tpe.Estimator, fast_tpe.Estimator.__base__))
    assert list(ours.log_pdf(samples)) == list(stock.log_pdf(samples))
