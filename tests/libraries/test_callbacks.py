"""What every callback does, seen through scikit-learn's, which needs no other library; under plain Optuna."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score

import fts
from fts.jobs.trial.callbacks.epochs import Epochs
from fts.jobs.trial.running import BadReport

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + np.random.default_rng(1).normal(size=60)


def asked(**study: Any) -> optuna.Trial:
    return optuna.create_study(**study).ask()


def test_the_mean_over_the_folds_is_that_of_cross_val_score() -> None:
    trial = asked()
    scores = cross_val_score(Ridge(), X, Y, cv=4, scoring="r2")
    assert fts.callbacks.sklearn(trial, Ridge(), X, Y, cv=4, scoring="r2") == pytest.approx(scores.mean(), abs=1e-12)
    told = trial.study.trials[0].intermediate_values
    assert list(told.values()) == pytest.approx([scores[: n + 1].mean() for n in range(4)])


def test_folds_that_are_done_are_not_done_again_and_a_shuffle_is_the_same(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fts.jobs.trial.checkpoint.CHECKPOINT_SHARE", 1e9)  # one after each fold

    class Broken(Ridge):
        fits = 0

        def fit(self, *given: Any) -> Any:
            Broken.fits += 1
            if Broken.fits == 3:
                raise KeyboardInterrupt
            return super().fit(*given)

    def run(study: str, model: Any) -> float:
        np.random.seed(7)
        trial = asked(study_name=study)
        return float(fts.callbacks.sklearn(trial, model, X, Y, cv=KFold(5, shuffle=True)))

    whole = run("whole", Ridge())
    with pytest.raises(KeyboardInterrupt):
        run("cut", Broken())
    assert run("cut", Broken()) == whole
    assert Broken.fits == 3 + 3, "two folds were done, the third was cut"


def test_a_trial_is_pruned_between_two_folds() -> None:
    class Never(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return len(trial.intermediate_values) == 2

    trial = asked(pruner=Never())
    with pytest.raises(optuna.TrialPruned, match="at epoch 1"):
        fts.callbacks.sklearn(trial, Ridge(), X, Y)


def test_a_metric_that_is_not_there_is_named_with_those_that_are() -> None:
    epochs = Epochs(asked(), "val_loss")
    with pytest.raises(BadReport, match=r"no epoch has reported val_loss; was anything evaluated\?"):
        _ = epochs.value
    with pytest.raises(BadReport, match="the metrics are loss, accuracy, expected val_loss among them"):
        epochs.report(0, {"loss": 1.0, "accuracy": np.float32(0.5), "name": "x"})


def test_an_unknown_library_is_answered_with_the_known_ones() -> None:
    known = "expected one of huggingface, keras, lightgbm, lightning, sklearn, xgboost"
    with pytest.raises(AttributeError, match=re.escape(f"fts.callbacks has no 'mxnet', {known}")):
        _ = fts.callbacks.mxnet


def test_transformers_may_save_by_itself_and_each_evaluation_is_reported_and_judged(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(TrainerCallback=object))

    class Pruner(optuna.pruners.BasePruner):
        asked = 0

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            Pruner.asked += 1
            return False

    trial = asked(pruner=Pruner())
    callback = fts.callbacks.huggingface(trial, "eval_loss")
    args, state = SimpleNamespace(output_dir=tmp_path), SimpleNamespace(global_step=5)
    callback.on_train_begin(args, state, None)
    for loss in (0.9, 0.8, 0.7):
        control = SimpleNamespace(should_save=True)  # save_strategy="epoch"
        callback.on_evaluate(args, state, control, metrics={"eval_loss": loss})
        assert control.should_save
        (tmp_path / "checkpoint-5").mkdir(exist_ok=True)
        (tmp_path / "checkpoint-5" / "weights").write_text("w")
        callback.on_save(args, state, control)
        callback.on_save(args, state, control)  # one after some steps, without an evaluation
    assert trial.study.trials[0].intermediate_values == {0: 0.9, 1: 0.8, 2: 0.7} and Pruner.asked == 3
