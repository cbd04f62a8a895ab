"""An objective that was written for plain Optuna runs in a trial process, and ends there with the same numbers."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

import fts
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.pure_pruner import PurePruner
from fts.jobs.search.space import data_of
from tests.trial.harness import Record, attempt, cell_of, run_one, spec_of

OBJECTIVE = """
import optuna

def single(trial):
    "Branches, a loop of draws, the trial's and the study's own words, attributes, reports, pruning."
    loss = trial.suggest_float("x", -5, 5) ** 2
    if trial.suggest_categorical("kind", ["forest", "svr"]) == "svr":
        loss += trial.suggest_float("C", 1e-3, 1e3, log=True) / 1e3
    else:
        for n in range(trial.suggest_int("layers", 1, 3)):
            loss += trial.suggest_float(f"width{n}", 0.0, 1.0, step=0.25)
    assert trial.params.keys() == trial.distributions.keys()
    trial.set_user_attr("number", trial.number)
    ended = trial.study.get_trials(states=[optuna.trial.TrialState.COMPLETE], deepcopy=False)
    trial.set_user_attr("known", len(ended))
    trial.set_user_attr("best before", trial.study.best_value if ended else None)
    kept = [one.user_attrs.get("number", 0) + sum(one.user_attrs.get("pair", ())) for one in trial.study.trials[:-1]]
    trial.set_user_attr("of earlier ones", sum(kept))
    trial.set_user_attr("values", sum(one.value is not None for one in trial.study.trials))
    trial.set_user_attr("pair", [loss, 1])
    trial.set_user_attr("way", trial.study.direction.name)
    for step in range(6):
        loss *= 0.9
        trial.report(loss, step)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return loss

def several(trial):
    "Two goals and constraints."
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_int("y", 0, 9)
    if trial.suggest_categorical("kind", ["a", "b"]) == "a":
        y += trial.suggest_float("z", 0.0, 1.0)
    trial.set_constraint("x", x - 3)
    trial.set_user_attr("best", sorted(one.number for one in trial.study.best_trials))
    return x * x + y, abs(x - 2) * (y + 1)

def stops(trial):
    trial.set_user_attr("constraint", (trial.suggest_float("x", 1, 2), -1.0))
    trial.study.stop()
    return 1.0

def reports(trial):
    "Pruned by one of two goals, which Optuna itself refuses."
    loss = trial.suggest_float("x", 4, 5)
    for step in range(6):
        trial.report(loss, step)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return loss, 1.0
"""
GOALS = {"a": "minimize", "b": "minimize"}


def plain(folder: Path, name: str, sampler: str, trials: int) -> list[FrozenTrial]:
    function = runpy.run_path(str(folder / "train.py"))[name]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = ["minimize"] * (2 if name == "several" else 1)
    study = optuna.create_study(
        directions=directions, sampler=fts.PureSampler(sampler, seed=7), pruner=PurePruner("median")
    )
    study.optimize(function, n_trials=trials)
    return study.trials


def past_of(one: FrozenTrial) -> PastTrial:
    complete = one.state is optuna.trial.TrialState.COMPLETE
    attributes = {name: value for name, value in one.system_attrs.items() if not name.startswith("constraints")}
    return PastTrial(
        one.number, one.params, one.state.name.lower(), one.values[0] if complete else None, one.intermediate_values,
        distributions={name: data_of(name, found) for name, found in one.distributions.items()},
        attributes=one.user_attrs,
        metrics=dict(zip(GOALS, one.values or (), strict=False)), constraints=dict(one.constraints),
        kept={"trial": attributes},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sampler", "numbers"),
    [
        ("single", "tpe", (0, 12, 17)),
        ("single", "nsgaii", (5, 60)),
        ("several", "tpe", (12, 13)),
        ("several", "nsgaii", (55, 104)),
    ],
)
def test_parameters_values_epochs_pruning_and_attributes_equal_plain_optuna(
    tmp_path: Path, name: str, sampler: str, numbers: tuple[int, ...]
) -> None:
    goals = {"goals": GOALS, "metric": "a"} if name == "several" else {}
    cell = cell_of(tmp_path, OBJECTIVE, name, sampler=sampler, seed=7, pruner="median", **goals)
    known = plain(tmp_path, name, sampler, max(numbers) + 1)
    pruned = [one.number for one in known if one.state is optuna.trial.TrialState.PRUNED]
    for number in [*numbers, *pruned[:1]]:
        mine, theirs = run_one(cell, number, tuple(map(past_of, known[:number]))), known[number]
        assert (mine.params, mine.curve) == (theirs.params, theirs.intermediate_values)
        assert mine.end["fact"] == ("pruned" if number in pruned else "result")
        if number not in pruned:
            assert mine.end["value"] == theirs.values[0]
        assert mine.end["user_attrs"] == theirs.user_attrs
        if goals:
            assert list(mine.end["metrics"].values()) == theirs.values
            assert mine.end["constraints"] == theirs.constraints
    assert pruned or goals


def test_what_a_sampler_keeps_is_told_before_the_value_that_it_drew(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, OBJECTIVE, "several", sampler="nsgaii", goals=GOALS, metric="a")
    told = [fact for fact in run_one(cell).told if fact["fact"] in ("sampler", "draw")]
    assert [fact["fact"] for fact in told] == ["sampler", "draw", "draw", "draw", *(["draw"] * (len(told) - 4))]
    assert told[0]["trial"] == {"NSGAIISampler:generation": 0}


def test_a_trial_of_a_later_generation_that_is_killed_at_a_draw_ends_with_the_same_draws(tmp_path: Path) -> None:
    cell = cell_of(tmp_path, OBJECTIVE, "several", sampler="nsgaii", seed=7, goals=GOALS, metric="a")
    history = tuple(map(past_of, plain(tmp_path, "several", "nsgaii", 54)))
    whole, record = run_one(cell, 54, history), Record(54)
    for n in (1, 2, 9):
        seen: list[Any] = []

        def third(_child: Any, fact: Any, seen: list[Any] = seen, n: int = n) -> bool:
            seen.extend([fact] if fact["fact"] == "draw" else [])
            return len(seen) == n

        attempt(spec_of(cell, record, history), record, history, third)
    assert record.outcome == whole.outcome


def test_the_constraints_of_optunas_examples_and_a_call_of_stop(tmp_path: Path) -> None:
    end = run_one(cell_of(tmp_path, OBJECTIVE, "stops")).end
    assert (end["fact"], end["constraints"]["1"], 1 <= end["constraints"]["0"] <= 2) == ("result", -1.0, True)


def test_one_of_two_goals_decides_pruning(tmp_path: Path) -> None:
    good = tuple(
        PastTrial(n, {"x": 4.5}, "complete", 1.0, dict.fromkeys(range(6), 1.0), metrics={"a": 1.0, "b": 1.0})
        for n in range(6)
    )
    fields: dict[str, Any] = {"goals": GOALS, "metric": "a", "pruner": "median"}
    assert run_one(cell_of(tmp_path, OBJECTIVE, "reports", **fields), 6, good).end["fact"] == "pruned"


@pytest.mark.parametrize(
    ("returned", "goals", "sentence"),
    [
        (
            "1.0, 2.0",
            {},
            "f returned 2 values, expected one number (train.py line 1); for several goals declare each goal",
        ),
        ("1.0", GOALS, "f returned 1 value, expected 2, one for each goal: a, b"),
        ("1.0, 2.0, 3.0", GOALS, "f returned 3 values, expected 2, one for each goal: a, b"),
        ("1.0, 'x'", GOALS, "b, which f returned, is 'x' of type str, expected a number"),
        ("{'b': 2.0}", GOALS, "the metrics are b, expected a among them"),
    ],
)
def test_a_number_of_values_that_is_not_that_of_the_goals(
    tmp_path: Path, returned: str, goals: dict[str, str], sentence: str
) -> None:
    cell = cell_of(tmp_path, f"def f(trial):\n    return {returned}\n", "f", goals=goals, metric="a")
    end = run_one(cell).end
    assert (end["fact"], sentence in end["message"]) == ("failed", True), end["message"]


def test_attributes_of_before_a_kill_are_those_of_an_undisturbed_trial(tmp_path: Path) -> None:
    body = """
    import fts

    def objective(trial):
        trial.set_user_attr("best", 9.0)
        checkpoint = fts.checkpoint(trial)
        for step in range(checkpoint.load() or 0, 4):
            if step == 1:
                trial.set_user_attr("best", 0.5)
            trial.set_user_attr(f"at {step}", [step, None])
            trial.report(1.0, step)
            checkpoint.save(step + 1)
        return 1.0
    """
    cell, record = cell_of(tmp_path, body), Record(1)
    whole = run_one(cell, 0)
    attempt(spec_of(cell, record, ()), record, (), lambda _, fact: fact["fact"] == "checkpoint" and fact["epoch"] == 2)
    assert not record.end, "it was killed"
    attempt(spec_of(cell, record, ()), record)
    assert record.end["user_attrs"] == whole.end["user_attrs"]
    assert record.end["user_attrs"]["best"] == 0.5 and len(record.end["user_attrs"]) == 5
