"""`Better than a volatility forecast?`: asked first, with the page's own correction, and answered as planted."""

import dataclasses

import numpy as np
import pytest

from fts.analysis.answers import answers
from fts.analysis.beyond_volatility import strongest_learner
from fts.analysis.findings import findings
from fts.analysis.summarise import summarise
from fts.analysis.volatility import EWMA, HAR
from tests.analysis.tables import study, with_other_seeds

CELLS = (("2M", 1),)


def forecast_of(data, name, noise, seed=3):
    """A volatility forecast in the place of the logistic regression: its probabilities, and as much noise."""
    row = next(row for row in data.baselines if row.result.name == "logistic regression")
    y = next(iter(data.predictions.values()))["y"].to_numpy(float)
    p = row.result.predictions.astype(float)
    told = np.log(p / (1 - p)) + noise * np.random.default_rng(seed).standard_normal(len(p))
    from fts.analysis.baselines import score_predictions

    result = score_predictions(name, "bars", y, 1 / (1 + np.exp(-told)), row.horizon)
    return dataclasses.replace(row, result=result, y=y)


def with_forecasts(data, *named):
    made = [forecast_of(data, name, noise) for name, noise in named]
    labelled = tuple(dataclasses.replace(row, y=made[0].y) for row in data.baselines)
    return dataclasses.replace(data, baselines=(*labelled, *made))


def first_answer(data):
    groups = summarise(data)
    found = findings(data, groups)
    return answers(groups, found)[0], {(f.kind, f.rule): f.sentence for f in found}


def surer(data, lift):
    """The best trial's predictions, with `lift` more to say of each label."""
    (name, frame), *_ = data.predictions.items()
    told = np.log(frame["p"] / (1 - frame["p"])) + lift * (frame["y"] - 0.5)
    return dataclasses.replace(data, predictions={name: frame.assign(p=1 / (1 + np.exp(-told)))})


def test_without_a_forecast_nothing_is_said_but_how_to_get_one():
    answer, said = first_answer(study(CELLS, n=6))
    assert answer.question == "Is any transformer better than a volatility forecast?"
    assert answer.answer == "cannot say" and "`fts enqueue --matrix`" in answer.sentence
    assert not {rule for _, rule in said} & {"volatility", "below volatility", "beyond volatility"}


def test_a_trial_that_knows_more_than_the_best_of_two_forecasts_is_a_yes():
    data = with_other_seeds(with_forecasts(surer(study(CELLS, n=6), 2.0), (HAR, 0.3), (EWMA, 1.5)))
    answer, said = first_answer(data)
    assert answer.answer == "yes" and "1 of 1 cell clearly better than the best volatility forecast" in answer.sentence
    sentence = said["can", "beyond volatility"]
    assert "compared with HAR volatility" in sentence and "for all 6 trials at once" in sentence
    assert "superior predictive ability of any trial by log loss: p < 0.001" in sentence
    beyond = summarise(data)[0].cells[0].beyond
    assert beyond.forecast.result.name == HAR and beyond.looks == 6 and beyond.verdict == "above"
    assert beyond.auc_at_once.low < beyond.auc_gain.interval.low


def test_a_trial_that_only_knows_the_volatility_is_none():
    answer, said = first_answer(with_forecasts(study(CELLS, n=6), (HAR, 0.0)))
    assert answer.answer in ("not shown", "not so far")
    assert ("can", "beyond volatility") not in said


def test_a_forecast_of_other_days_is_no_rival():
    data = with_forecasts(study(CELLS, n=6), (HAR, 0.3))
    moved = [dataclasses.replace(row, dates=row.dates + np.timedelta64(9, "D")) for row in data.baselines]
    assert summarise(dataclasses.replace(data, baselines=tuple(moved)))[0].cells[0].beyond is None


def test_the_strongest_other_baseline_is_put_beside_the_forecasts_too():
    data = with_forecasts(study(CELLS, n=6), (HAR, 2.5))
    row, found = strongest_learner(data.baselines)
    assert row.result.name == "logistic regression" and found.forecast.result.name == HAR
    assert found.auc_gain.interval.value == pytest.approx(row.result.auc - found.forecast.result.auc, abs=1e-6)
    assert strongest_learner([row for row in data.baselines if row.result.name == HAR]) is None
