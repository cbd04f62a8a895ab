"""Ranks the searched parameters by how much of the objective they explain, beside a parameter that is pure chance.

Optuna's fANOVA (variance explained over the whole space) and PED-ANOVA (what tells the good trials from the rest), on a
study rebuilt in memory from the table of trials. Forty trials make some importance out of anything, so random numbers
are ranked along, as many as parameters were searched: what does not beat all of them has not been shown to matter.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fts.analysis.horizon import PARAMETERS, Parameter
from fts.analysis.trials_table import placed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import optuna
    import pandas as pd

FEWEST_TRIALS = 20
REPEATS = 4  # of the dealt random parameters; their largest importance is the bar
CHANCE = "chance"
SEARCHED = (*PARAMETERS, Parameter("warmup_steps", "warm-up", log=True), Parameter("n_heads", "heads", log=True))


class TooFewTrials(ValueError):
    """So few trials that a ranking of parameters would be noise."""


@dataclass(frozen=True)
class RankedParameter:
    name: str
    label: str
    fanova: float  # share of the explained variance, mean over REPEATS
    ped_anova: float
    beats_chance: bool  # fANOVA above the largest importance that any of as many random parameters reached


def importances(trials: pd.DataFrame, seed: int = 0) -> list[RankedParameter]:
    """The rank of each searched parameter in one cell, largest fANOVA first. trials: rows of one experiment.

    Of the objective; in a search with pruned trials, whose objective nobody knows, of the place in the search.
    Raises TooFewTrials below FEWEST_TRIALS comparable trials, ValueError for rows of several experiments.
    """
    if trials["experiment"].nunique() > 1:
        raise ValueError("importance is of one cell: pass the trials of one experiment")
    fit = placed(trials)
    if (fit["status"] == "pruned").any():
        fit = fit.assign(value=np.arange(1.0, len(fit) + 1), objective="place")
    if len(fit) < FEWEST_TRIALS:
        raise TooFewTrials(f"{len(fit)} comparable trials; a ranking of parameters needs at least {FEWEST_TRIALS}")
    varying = [
        p for p in SEARCHED if fit[p.name].notna().all() and fit[p.name].nunique() > 1 and (fit[p.name] > 0).all()
    ]
    fanova: dict[str, list[float]] = {}
    ped: dict[str, list[float]] = {}
    with _quietly():
        for repeat in range(REPEATS):
            study = rebuilt_study(fit, varying, seed + repeat)
            for found, store in zip(_both(study, seed + repeat), (fanova, ped), strict=True):
                for name, share in found.items():
                    store.setdefault(name, []).append(share)
    by_chance = [name for name in fanova if name.startswith(CHANCE)]
    bar = max(max(fanova[name]) for name in by_chance)
    rows = [
        RankedParameter(p.name, p.label, _mean(fanova[p.name]), _mean(ped[p.name]), _mean(fanova[p.name]) > bar)
        for p in varying
    ]
    by_fanova, by_ped = (_mean([share for name in by_chance for share in found[name]]) for found in (fanova, ped))
    chance = RankedParameter(CHANCE, "a random number", by_fanova, by_ped, beats_chance=False)
    return sorted([*rows, chance], key=lambda row: -row.fanova)


def rebuilt_study(fit: pd.DataFrame, parameters: list[Parameter], seed: int) -> optuna.Study:
    """An in-memory Optuna study of these trials with as many parameters more, drawn at random: CHANCE and a number."""
    import optuna  # here, not above: 0.4 s that only this analysis needs

    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        p.name: optuna.distributions.FloatDistribution(fit[p.name].min(), fit[p.name].max(), log=p.log)
        for p in parameters
    }
    random = [f"{CHANCE} {k}" for k in range(len(parameters))]
    distributions |= {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in random}
    drawn = np.random.default_rng(seed).random((len(fit), len(random)))
    upwards = (fit["objective"] == "val_auc").all()
    study = optuna.create_study(direction="maximize" if upwards else "minimize")
    columns = fit[[p.name for p in parameters]].astype(float)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={**{str(k): v for k, v in row.items()}, **dict(zip(random, map(float, dealt), strict=True))},
                distributions=distributions,
                value=float(value),
            )
            for row, dealt, value in zip(columns.to_dict("records"), drawn, fit["value"], strict=True)
        ]
    )
    return study


def _both(study: optuna.Study, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    from optuna import importance  # see rebuilt_study
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        evaluators = (
            importance.FanovaImportanceEvaluator(n_trees=32, seed=seed),
            importance.PedAnovaImportanceEvaluator(),
        )
        first, second = (importance.get_param_importances(study, evaluator=evaluator) for evaluator in evaluators)
    return dict(first), dict(second)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without a log line for each of the passing studies."""
    import optuna  # see rebuilt_study

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _mean(shares: list[float]) -> float:
    return float(np.mean(shares))
