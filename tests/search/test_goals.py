"""Branches, forbidden combinations, several goals, constraints and grids of a declared space, drawn from the record."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

import fts
from fts.jobs.api.function import FunctionCell
from fts.jobs.api.goals import INFEASIBLE, goals_of, violations
from fts.jobs.api.grid import most_trials, points
from fts.jobs.api.spec import BadSpec, seed_for
from fts.jobs.search.drawing import draw
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.proposal import drawn_for
from fts.jobs.supervisor.trial_end import goal_outcome
from fts.jobs.supervisor.trial_record import TrialRecord
from fts.state.pareto_front import nondominated
from fts.state.values import Cause

SPACE: dict[str, dict[str, Any]] = {
    "momentum": {"kind": "float", "low": 0.0, "high": 0.99, "when": "opt == 'sgd'"},  # before what it waits for
    "lr": {"kind": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "opt": {"kind": "choice", "choices": ["adam", "sgd"]},
    "layers": {"kind": "int", "low": 1, "high": 4},
    "nesterov": {"kind": "choice", "choices": [True, False], "when": "momentum > 0.5 and size == 'L'"},
}
FINITE = {
    "lr": {"kind": "choice", "choices": [0.1, 0.2]},
    "opt": {"kind": "choice", "choices": ["adam", "sgd"]},
    "momentum": {"kind": "float", "low": 0.0, "high": 0.9, "step": 0.45, "when": "opt == 'sgd'"},
}
GOALS = {"loss": "minimize", "size": "maximize"}


def cell_of(**fields: Any) -> FunctionCell:
    usual: dict[str, Any] = {"trials": 5, "space": SPACE, "axes": {"size": "L"}, "metric": "loss", "seed": 7}
    made = FunctionCell("s", "s_a", "train.py:f", "/x", "0" * 32, **usual | {"diverged": "ignored"} | fields)
    return FunctionCell.from_json(json.loads(json.dumps(made.to_json(), sort_keys=True)))


def loss(params: dict[str, Any]) -> float:
    return float(abs(params["lr"] - 0.01) + params["layers"] + params.get("momentum", 1.0))


def objective(trial: optuna.Trial) -> Any:
    """The same space, define-by-run, and in another order."""
    opt = trial.suggest_categorical("opt", ["adam", "sgd"])
    momentum = trial.suggest_float("momentum", 0.0, 0.99) if opt == "sgd" else 0.0
    if momentum > 0.5:
        trial.suggest_categorical("nesterov", [True, False])
    trial.suggest_int("layers", 1, 4)
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    several = len(trial.study.directions) > 1
    return (loss(trial.params), float(trial.params["layers"])) if several else loss(trial.params)


def search(cell: FunctionCell, trials: int, history: tuple[PastTrial, ...] = ()) -> tuple[PastTrial, ...]:
    for number in range(len(history), trials):
        drawn = drawn_for(cell, history, number)
        told = {"loss": loss(drawn.params), "size": float(drawn.params["layers"])} if cell.goals else {}
        history += (
            PastTrial(number, drawn.params, "complete", loss(drawn.params), {}, metrics=told, kept=drawn.kept),
        )  # fmt: skip
    return history


@pytest.mark.parametrize(
    ("sampler", "goals", "trials"),
    [
        ("tpe", {}, 16), ("random", {}, 8), ("tpe", GOALS, 14), ("nsgaii", GOALS, 8),
        pytest.param("nsgaii", GOALS, 110, marks=pytest.mark.slow), pytest.param("gp", {}, 12, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_declared_space_draws_what_the_function_itself_would_draw_under_plain_optuna(
    sampler: str, goals: dict[str, str], trials: int
) -> None:
    found = search(cell_of(sampler=sampler, goals=goals), trials)
    study = optuna.create_study(directions=[*goals.values()] or ["minimize"], sampler=fts.PureSampler(sampler, 7))
    study.optimize(objective, n_trials=trials)
    assert [past.params for past in found] == [one.params for one in study.trials]
    assert len({tuple(sorted(past.params)) for past in found}) > 1, "the branches differ"


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 14), ("nsgaii", 6)])
def test_a_search_with_forbidden_combinations_goes_on_from_its_record(sampler: str, trials: int) -> None:
    cell = cell_of(sampler=sampler, forbid={"deep": "layers >= 3", "slow": "lr < 1e-4 and opt == 'sgd'"})
    whole = search(cell, trials)
    assert all(past.params["layers"] < 3 for past in whole)
    cut = tuple(PastTrial.from_json(json.loads(json.dumps(past.to_json()))) for past in whole[: trials // 2])
    assert [past.params for past in search(cell, trials, cut)] == [past.params for past in whole]
    allowed = [past.params for past in search(cell_of(sampler=sampler), 1)]
    assert allowed == [whole[0].params] or allowed[0]["layers"] >= 3, "a rule that forbids nothing moves nothing"


def test_a_rule_that_nothing_passes_ends_the_search_with_its_name() -> None:
    with pytest.raises(BadSpec, match=r"forbid\.all refused 100 draws of trial 0 in a row; forbid less"):
        draw(cell_of(sampler="random", forbid={"all": "layers >= 0"}), (), 0)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"space": {"a": FINITE["lr"] | {"when": "b == 1"}, "b": FINITE["lr"] | {"when": "a == 1"}}}, "a, b wait for"),
        ({"space": {"a": FINITE["lr"] | {"when": "c == 1"}}}, "the condition of a names c, expected parameters and"),
        ({"forbid": {"x": "depth > 3"}}, "forbid.x names depth"),
        ({"space": None, "forbid": {"x": "lr > 3"}}, "the cell declares no space"),
        ({"sampler": "grid"}, "the grid is infinite: lr is any number"),
        ({"sampler": "grid", "space": None}, "the sampler grid needs a declared space"),
        ({"goals": {"acc": "maximize", "size": "minimize"}}, "the metric is loss"),
        ({"goals": {"loss": "minimize", "size": "smallest"}}, "the goal of size is 'smallest'"),
        ({"goals": GOALS, "sampler": "cmaes"}, "the sampler cmaes supports one goal, the study has 2: loss, size"),
        ({"goals": GOALS, "prune_by": "acc"}, "prune_by is 'acc'; expected one of the goals: loss, size"),
        ({"constraints": {"n": "< 3"}}, "the constraint of n is '< 3', expected <= NUMBER or >= NUMBER"),
    ],
)
def test_what_does_not_go_together_is_refused_when_it_is_put_in_line(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadSpec) as refused:
        cell_of(**fields)
    assert sentence in str(refused.value)


def test_a_grid_has_each_point_of_each_branch_once_and_then_ends() -> None:
    cell = cell_of(sampler="grid", space=FINITE, forbid={"x": "lr == 0.2 and momentum == 0.9"}, trials=50)
    listed = list(points(cell))
    assert len(listed) == 2 * (1 + 3) - 1 == most_trials(cell)
    assert len({json.dumps(point, sort_keys=True) for point in listed}) == len(listed)
    assert [drawn_for(cell, (), number).params for number in range(len(listed))] == listed
    with pytest.raises(BadSpec, match="all of them have been tried"):
        drawn_for(cell, (), len(listed))


def test_a_warm_start_stands_before_the_grid() -> None:
    cell = cell_of(sampler="grid", space=FINITE, warm_start=({"lr": 0.15, "opt": "adam"},))
    assert drawn_for(cell, (), 1).params == next(points(cell))
    assert most_trials(cell) == 1 + 8


def test_an_older_specification_draws_all_parameters_in_one_go_as_before() -> None:
    plain = {name: d for name, d in SPACE.items() if "when" not in d}
    old = {name: value for name, value in cell_of(space=plain).to_json().items() if name != "streams"}
    new, before = cell_of(space=plain), FunctionCell.from_json(old)
    assert before.streams == "trial" and drawn_for(new, (), 0).params != drawn_for(before, (), 0).params


# -- what a result means


@pytest.mark.parametrize(
    ("told", "cause", "words"),
    [
        ({"value": 1.0, "metrics": {"loss": 1.0}}, "code error", "the trial reported loss and no size"),
        ({"value": 1.0, "metrics": {"loss": 1.0, "size": None}}, "diverged", "size is nan, infinite or beyond 1e+100"),
        (
            {"value": 1.0, "metrics": {"loss": 1.0, "size": None}, "message": "f returned size = 1e+300"},
            "diverged",
            "= 1e+300",
        ),
        ({"value": 1.0, "metrics": {"loss": 1.0, "size": 2.0}}, "code error", "the constraint n <= 5 needs n"),
    ],
)
def test_a_result_without_a_goal_or_a_constraint_is_none(told: dict[str, Any], cause: str, words: str) -> None:
    found = goal_outcome(cell_of(goals=GOALS, constraints={"n": "<= 5"}), told, complete=True)
    assert (found.cause, words in str(found.message)) == (cause, True)


def test_a_violated_constraint_is_a_badge_and_its_size_a_fact() -> None:
    cell = cell_of(constraints={"n": "<= 5", "acc": ">= 0.5"})
    found = goal_outcome(cell, {"value": 1.0, "metrics": {"acc": 0.75}, "user_attrs": {"n": 7}}, complete=True)
    assert (found.badges, found.facts) == ((INFEASIBLE,), {"constraints": {"n": 2.0, "acc": -0.25}})
    assert goal_outcome(cell, {"user_attrs": {"n": 7}}, complete=False).facts == {}, "half of them would be none"
    own = goal_outcome(cell_of(), {"value": 1.0, "constraints": {"0": 0.5}}, complete=True)
    assert own.badges == (INFEASIBLE,), "what the function itself told Optuna counts, too"
    assert violations({"n": "<= 2e6"}, {"n": 2e6}) == {"n": 0.0}


@pytest.mark.parametrize("number", [None, 10**400, -(10**400)], ids=["none", "huge", "negative"])
def test_a_constraint_without_a_finite_number_fails_the_trial_and_not_its_supervisor(number: Any) -> None:
    """A process in another language may send such a number, or an attribute may be one."""
    own = {"value": 1.0, "constraints": {"c": number}}
    declared = {"value": 1.0, "user_attrs": {"n": number}}
    for cell, told in ((cell_of(), own), (cell_of(constraints={"n": "<= 5"}), declared)):
        found = goal_outcome(cell, told, complete=True)
        assert found.cause is Cause.CODE_ERROR and "is no finite number" in (found.message or ""), found
        assert goal_outcome(cell, told, complete=False).facts == {}, "with some of them it could look feasible"


# -- the front


def beaten(one: tuple[float, ...], points: list[tuple[float, ...]]) -> bool:
    return any(other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in points)


@pytest.mark.parametrize("goals", [2, 3])
def test_the_front_is_what_a_slow_loop_over_all_pairs_leaves(goals: int) -> None:
    chance = random.Random(goals)
    for n in range(60):
        listed = [tuple(float(chance.randrange(6)) for _ in range(goals)) for _ in range(n)]
        found = nondominated(dict(enumerate(listed)))
        assert sorted(found) == [k for k, one in enumerate(listed) if not beaten(one, listed)]
        assert [listed[k] for k in found] == sorted(listed[k] for k in found)


def test_the_first_of_a_front_is_no_trial_that_another_beats_where_the_first_goal_is_equal() -> None:
    assert nondominated({0: (1.0, 5.0), 1: (1.0, 4.0), 2: (2.0, 3.0), 3: (1.0, 4.0)}) == [1, 3, 2]


def test_goals_keep_their_order_and_the_first_decides() -> None:
    goals = {"loss": "minimize", "a": "maximize", "Z": "minimize"}
    for order in itertools.permutations(["a", "Z"]):
        cell = cell_of(goals={"loss": "minimize"} | {name: goals[name] for name in order})
        assert list(goals_of(cell)) == ["loss", *order]
    assert list(goals_of(replace(cell, goals={}, goal_names=()))) == ["loss"]


# -- samplers with packages of their own


def test_cmaes_draws_to_the_last_bit_what_optunas_own_draws_from_its_pickles() -> None:
    pytest.importorskip("cmaes")

    class Stock(fts.PureSampler):  # type: ignore[misc]  # loaded when it is used
        def _fresh(self, number: int, purpose: str) -> Any:
            seed = seed_for(self.seed, number, purpose) % 2**32
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)

    drawn = []
    for make in (Stock, fts.PureSampler):
        study = optuna.create_study(sampler=make("cmaes", 3))
        study.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2 + trial.suggest_int("y", 1, 9), n_trials=60)
        drawn.append([one.params for one in study.trials])
    assert drawn[0] == drawn[1]


def test_a_sampler_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fts.jobs.search.needs.PACKAGES", {"cmaes": ("no_such_package",)})
    with pytest.raises(BadSpec, match=r"the sampler cmaes needs no_such_package, which .* type .*pip install no_such"):
        fts.PureSampler("cmaes")


PRUNED = optuna.trial.TrialState.PRUNED


def test_a_step_without_the_metric_that_prunes_is_compared_with_nothing() -> None:
    """Else the loss of one step stands beside the size of another, as happened to commands that report in turns."""
    cell = cell_of(goals=GOALS, prune_by="size", pruner="median")
    record = SimpleNamespace(cell=cell)
    for metrics, value in (({"loss": 0.1, "size": 7.0}, 7.0), ({"loss": 0.1}, None), ({}, 0.1)):
        fact = {"fact": "epoch", "epoch": 0, "value": 0.1, "metrics": metrics}
        assert TrialRecord.with_deciding(record, fact)["value"] == value, metrics  # type: ignore[arg-type]
