"""The same function gives the same parameters, values and epochs under plain Optuna and in trial processes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

import fts
from benchmarks.exactness import restarted
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.space import data_of
from tests.trial.harness import cell_of, run_one

BRANCHES = """
import random
import fts

def objective(trial):
    x = trial.suggest_float("x", -5.0, 5.0)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    loss = x * x
    if kind == "a":
        layers = trial.suggest_int("layers", 1, 4)
        loss += sum(trial.suggest_float(f"width{n}", 1e-4, 1.0, log=True) for n in range(layers))
    else:
        loss += trial.suggest_float("step", 0.0, 1.0, step=0.25)
    noise = random.Random(fts.seed(trial, "noise"))
    for epoch in range(5):
        loss *= 0.9 + 0.01 * noise.random()
        fts.report(trial, epoch, loss=loss, twice=2 * loss)
    return loss
"""


def plain(folder: Path, sampler: str, trials: int) -> list[FrozenTrial]:
    function = runpy.run_path(str(folder / "train.py"))["objective"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=fts.PureSampler(sampler, seed=7))
    study.optimize(function, n_trials=trials)
    return study.trials


def past_of(one: FrozenTrial) -> PastTrial:
    distributions = {name: data_of(name, distribution) for name, distribution in one.distributions.items()}
    return PastTrial(one.number, one.params, "complete", one.value, one.intermediate_values, False, distributions)


@pytest.mark.parametrize(
    ("sampler", "numbers"),
    [("random", (1,)), ("tpe", (3, 14, 15)), pytest.param("gp", (11,), marks=pytest.mark.slow)],
)
def test_parameters_values_and_epochs_equal_plain_optuna(
    tmp_path: Path, sampler: str, numbers: tuple[int, ...]
) -> None:
    cell = cell_of(tmp_path, BRANCHES, sampler=sampler, seed=7, metric="loss")
    known = plain(tmp_path, sampler, max(numbers) + 1)
    for number in numbers:  # TPE draws the first ten at random
        mine, theirs = run_one(cell, number, tuple(map(past_of, known[:number]))), known[number]
        assert (mine.params, mine.curve) == (theirs.params, theirs.intermediate_values)
        assert mine.end["value"] == theirs.value
    assert len({tuple(one.params) for one in known}) > 1 or len(known) < 3, "the branches differ"


def resumed(sampler: str, after: int, trials: int) -> tuple[list[Any], list[Any]]:
    def toy(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", -5, 5), trial.suggest_int("y", 1, 9)
        assert type(x) is float and type(y) is int, "numpy's numbers promote arrays in another way"
        return x * x + y

    whole = optuna.create_study(sampler=fts.PureSampler(sampler, seed=3))
    whole.optimize(toy, n_trials=trials)
    other = optuna.create_study(sampler=fts.PureSampler(sampler, seed=3))
    other.add_trials(whole.trials[:after])
    other.optimize(toy, n_trials=trials - after)
    return [one.params for one in whole.trials], [one.params for one in other.trials]


@pytest.mark.parametrize(
    ("sampler", "after", "trials"),
    [
        ("random", 5, 10),
        ("tpe", 17, 30),
        ("nsgaii", 53, 56),
        ("cmaes", 17, 40),
        pytest.param("gp", 11, 12, marks=pytest.mark.slow),
    ],
)
def test_a_search_that_begins_anew_in_the_middle_draws_what_the_whole_one_drew(
    sampler: str, after: int, trials: int
) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    whole, other = resumed(sampler, after, trials)
    assert other == whole


def test_optunas_own_sampler_draws_something_else_after_a_restart() -> None:
    row = restarted("tpe", trials=20, cut=13)
    assert (row.ours, row.reference) == (20, 13)


def test_a_draw_depends_neither_on_the_order_of_calls_nor_on_other_branches() -> None:
    study = optuna.create_study(sampler=fts.PureSampler("tpe", seed=1))
    first = study.ask()
    x, y = first.suggest_float("x", 0, 1), first.suggest_float("y", 0, 1)
    other = optuna.create_study(sampler=fts.PureSampler("tpe", seed=1)).ask()
    other.suggest_categorical("kind", ["a", "b"])
    assert (other.suggest_float("y", 0, 1), other.suggest_float("x", 0, 1)) == (y, x)


def test_an_unknown_pruner_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match="is 'hyperband', expected one of none, median, percentile, halving"):
        fts.PurePruner("hyperband")


def test_an_unknown_sampler_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match="the sampler is 'grid', expected one of tpe, random, gp, nsgaii, cmaes"):
        fts.PureSampler("grid")
    with pytest.raises(ValueError, match="qmc stores its position in the study"):
        fts.PureSampler("qmc")
