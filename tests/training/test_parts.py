"""Losses, schedule, metrics, configuration and windows against slow references."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from fts.training.config import TrainConfig
from fts.training.losses import loss_sum
from fts.training.metrics import auc, brier, cross_entropy, prior_loss, probabilities, score
from fts.training.schedule import learning_rate
from fts.training.windows import DataError, TrainingData
from tests.training.tiny import finish, make_data, make_trainer


def slow_loss(z: float, y: float, gamma: float, pos_weight: float) -> float:
    p = 1 / (1 + math.exp(-z))
    if y == 1:
        return -pos_weight * (1 - p) ** gamma * math.log(p)
    return -(p**gamma) * math.log(1 - p)


@pytest.mark.parametrize(("loss", "gamma"), [("bce", 0.0), ("focal", 2.0), ("focal", 0.5)])
@pytest.mark.parametrize("pos_weight", [None, 2.5])
def test_losses_equal_the_formula(loss, gamma, pos_weight):
    z, y = torch.linspace(-6, 6, 25), torch.arange(25) % 2.0
    config = TrainConfig(loss=loss, focal_gamma=gamma, pos_weight=pos_weight)
    slow = sum(slow_loss(a, b, gamma, pos_weight or 1.0) for a, b in zip(z.tolist(), y.tolist(), strict=True))
    assert float(loss_sum(z, y, config)) == pytest.approx(slow, rel=1e-5)


def test_soft_auc_equals_the_formula_over_all_pairs_and_a_batch_of_one_kind_has_none():
    z, y = torch.linspace(-3, 3, 11).sin() * 2, torch.arange(11) % 3 == 0
    pairs = [1 / (1 + math.exp(a - b)) for a, up in zip(z.tolist(), y, strict=True) if up
             for b, rose in zip(z.tolist(), y, strict=True) if not rose]  # fmt: skip
    config = TrainConfig(loss="softauc")
    assert float(loss_sum(z, y.float(), config)) / 11 == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)
    sharp = float(loss_sum(1e6 * z, y.float(), config)) / 11
    assert 1 - sharp == pytest.approx(roc_auc_score(y.numpy(), z.numpy()), abs=1e-3)
    free = z.clone().requires_grad_()
    loss_sum(free, torch.zeros(11), config).backward()
    assert not free.grad.any()


def test_soft_auc_learns_an_order():
    trainer = make_trainer(loss="softauc", objective="val_auc", max_epochs=3)
    finish(trainer)
    first, *_, last = trainer.history
    assert last.train_loss < first.train_loss and trainer.outcome().reason == "finished"


@pytest.mark.parametrize("loss", ["bce", "focal", "softauc"])
def test_extreme_logits_give_finite_losses_and_gradients(loss):
    z = torch.tensor([-1e4, 1e4, -1e4, 1e4], requires_grad=True)
    value = loss_sum(z, torch.tensor([0.0, 1.0, 1.0, 0.0]), TrainConfig(loss=loss))
    value.backward()
    assert value.isfinite() and z.grad.isfinite().all()


def test_the_rate_climbs_to_its_peak_and_falls_like_a_cosine():
    peak, warmup, total = 2e-3, 10, 50
    rates = [learning_rate(step, peak, warmup, total) for step in range(1, total + 1)]
    slow = [
        peak * s / warmup if s <= warmup else peak / 2 * (1 + math.cos(math.pi * (s - 10) / 41)) for s in range(1, 51)
    ]
    assert rates == pytest.approx(slow, rel=1e-12)
    assert max(rates) == rates[9] == peak and rates[-1] > 0


def test_a_warm_up_longer_than_the_run_only_climbs():
    rates = [learning_rate(step, 1.0, 100, 20) for step in range(1, 21)]
    assert rates == [step / 100 for step in range(1, 21)]
    assert learning_rate(1, 1.0, 0, 20) == pytest.approx(1, abs=0.01)  # none: starts at the top


def test_metrics_equal_those_of_sklearn():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=300).astype(np.float32), (rng.random(300) < 0.3).astype(np.float32)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    found = score(z, y)
    assert found.loss == pytest.approx(log_loss(y, p), rel=1e-9)
    assert found.auc == roc_auc_score(y, z)
    assert found.brier == pytest.approx(brier_score_loss(y, p), rel=1e-6)
    assert (found.low, found.high, found.spread) == pytest.approx((p.min(), p.max(), p.std()), rel=1e-5)


def test_auc_and_brier_score_are_those_of_sklearn_to_the_last_bit():
    """Old studies have them on record, and the best trial may hang on the last bit."""
    rng = np.random.default_rng(1)
    for case in range(400):
        n = int(rng.integers(2, 2000 if case % 10 == 0 else 60))
        z = rng.normal(size=n) * 10 ** rng.uniform(-6, 3)
        z = [z, np.round(z, 1), rng.integers(-2, 3, size=n), np.zeros(n)][case % 4].astype(np.float32)  # ties, too
        y = (rng.random(n) < rng.uniform(0.02, 0.98)).astype(np.float32)
        p = probabilities(z)
        assert brier(p, y) == brier_score_loss(y, p.astype(np.float64), pos_label=1)
        assert auc(z, y) == (roc_auc_score(y, z) if 0 < y.sum() < n else None)


def test_one_class_has_no_auc_and_a_broken_model_has_no_scores():
    ones = np.ones(5, np.float32)
    assert auc(np.arange(5, dtype=np.float32), ones) is None
    broken, rises = np.array([0, np.nan], np.float32), np.array([0, 1], np.float32)
    assert math.isnan(score(broken, rises).loss)
    assert math.isnan(probabilities(broken)[1]) and math.isnan(cross_entropy(broken, rises))  # and no warning


def test_probabilities_do_not_overflow():
    assert probabilities(np.array([-1000, 0, 1000], np.float32)).tolist() == [0, 0.5, 1]


def test_the_prior_loss_is_that_of_saying_the_base_rate():
    y_train, y_val = np.array([0, 0, 0, 1], np.float32), np.array([1, 0], np.float32)
    assert prior_loss(y_train, y_val) == pytest.approx(log_loss(y_val, [0.25, 0.25]))
    assert math.isfinite(prior_loss(np.zeros(10, np.float32), y_val))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"micro_batch": 512}, "larger than effective_batch"),
        ({"fused_backward": True, "micro_batch": 64}, "cannot accumulate"),
        ({"loss": "mse"}, "bce, focal, softauc"),
        ({"objective": "train_loss"}, "val_loss, val_auc"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": math.nan}, "finite"),
        ({"patience": 0}, "at least 1"),
        ({"max_steps": 0}, "at least 1"),
        ({"weight_decay": -1.0}, "at least 0"),
        ({"pos_weight": "many"}, "finite number"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_words(changes, reason):
    with pytest.raises(ValueError, match=reason):
        TrainConfig(**changes)


def test_a_configuration_survives_json_and_says_its_batch():
    config = TrainConfig(micro_batch=60, pos_weight=1.5, max_steps=7)
    assert TrainConfig.from_json(config.to_json()) == config
    assert config.batch_line() == "batch=60x5"


def test_a_window_is_the_days_up_to_its_end_and_no_other():
    data = make_data()
    x_BCT, y_B = data.batch(torch.tensor([15, 100]))
    assert torch.equal(x_BCT[0].T, data.features_TF[0:16]) and torch.equal(x_BCT[1].T, data.features_TF[85:101])
    assert torch.equal(y_B, data.y_T[[15, 100]])
    assert data.windows.data_ptr() == data.features_TF.data_ptr()  # a view: no second copy


def test_tomorrow_changes_no_window_of_today():
    data = make_data()
    later = data.features_TF.clone()
    later[101:] += 1000
    changed = TrainingData(later, data.y_T, data.train_ends, data.val_ends, 16)
    assert torch.equal(data.batch(torch.tensor([100]))[0], changed.batch(torch.tensor([100]))[0])


@pytest.mark.parametrize(
    ("ends", "spoil", "reason"),
    [
        (torch.arange(14, 20), None, "must end between rows 15 and 379, got 14"),
        (torch.arange(370, 381), None, "got 370 to 380"),
        (torch.arange(0), None, "one or more int64 positions"),
        (torch.arange(20, 40), "feature", "row 22"),
        (torch.arange(20, 40), "label", "labels must be 0 or 1"),
    ],
)
def test_windows_that_cannot_be_are_refused_in_words(ends, spoil, reason):
    good = make_data()
    features_TF, y_T = good.features_TF.clone(), good.y_T.clone()
    if spoil == "feature":
        features_TF[22, 1] = math.nan
    if spoil == "label":
        y_T[25] = math.nan
    with pytest.raises(DataError, match=reason):
        TrainingData(features_TF, y_T, ends, good.val_ends, 16)
