"""The training loop does what it says: gradients, schedule, early stopping, divergence, events."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fts.training.optimizers import SteppedAfterBackward
from fts.training.progress import Progress
from fts.training.results import EpochDone, EpochResult, StepDone
from fts.training.schedule import learning_rate
from fts.training.trainer import Trainer
from fts.training.windows import DataError, TrainingData
from tests.training.tiny import finish, make_config, make_data, make_model, make_trainer, numbers

ROOT = Path(__file__).resolve().parents[2]


def gradients_of(micro_batch: int, **changes) -> list[torch.Tensor]:
    trainer = make_trainer(dropout=0.0, effective_batch=64, micro_batch=micro_batch, **changes)
    order = trainer._order(1)
    trainer._accumulate(order[:61], 1, trainer._train_logits[:61])  # 61: no micro-batch size divides it
    return [p.grad for p in trainer.model.parameters()]


@pytest.mark.parametrize("changes", [{}, {"loss": "focal"}, {"loss": "softauc"}, {"pos_weight": 3.0}], ids=str)
@pytest.mark.parametrize("micro_batch", [1, 24, 60])
def test_accumulated_gradients_equal_those_of_the_whole_batch(micro_batch, changes):
    for part, whole in zip(gradients_of(micro_batch, **changes), gradients_of(64, **changes), strict=True):
        assert (part - whole).abs().max() <= 1e-6


def test_events_are_steps_and_after_each_epoch_its_result():
    trainer = make_trainer(max_epochs=2)
    kinds = [type(event) for event in trainer.run()]
    assert kinds == [StepDone] * 4 + [EpochDone] + [StepDone] * 4 + [EpochDone]
    assert list(trainer.run()) == []
    assert trainer.outcome().reason == "finished"


def test_the_step_really_uses_the_schedule():
    trainer = make_trainer(max_epochs=2)
    used = [trainer.stepper.optimizer.param_groups[0]["lr"] for event in trainer.run() if isinstance(event, StepDone)]
    assert used == [learning_rate(step, 3e-3, 4, 8) for step in range(1, 9)]
    assert trainer.history[1].learning_rate == used[-1]


def test_weight_decay_shrinks_matrices_and_leaves_vectors():
    before = make_trainer(weight_decay=0.0)
    after = make_trainer(weight_decay=0.5)
    finish(before), finish(after)
    groups = after.stepper.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert all(p.dim() > 1 for p in groups[0]["params"]) and all(p.dim() == 1 for p in groups[1]["params"])
    weight = dict(before.model.named_parameters())["embed.weight"].norm()
    assert dict(after.model.named_parameters())["embed.weight"].norm() < weight


def test_every_training_window_is_read_once_an_epoch_in_another_order():
    trainer = make_trainer()
    first, second = trainer._order(1), trainer._order(2)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, trainer.data.train_ends)
    assert torch.equal(second.sort().values, trainer.data.train_ends)


def test_the_gradient_is_clipped_to_its_common_norm():
    model = make_model()
    stepper = SteppedAfterBackward(model, make_config(grad_clip=0.5))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    seen: list[float] = []

    def step() -> None:
        seen.append(math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters())))

    stepper.optimizer.step = step
    stepper.step()
    assert seen == pytest.approx([0.5], rel=1e-4)


def test_our_adamw_is_torchs_to_the_last_bit():
    ours, theirs = make_model(), make_model()
    config = make_config(weight_decay=1e-2, grad_clip=0.0)
    stepper = SteppedAfterBackward(ours, config)
    groups = [
        {"params": [p for p in theirs.parameters() if p.dim() > 1]},
        {"params": [p for p in theirs.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    for seed in range(5):
        stepper.set_rate(1e-3 * (seed + 1))
        for group in reference.param_groups:
            group["lr"] = 1e-3 * (seed + 1)
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.manual_seed(seed)
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        stepper.step()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
        mine, known = stepper.optimizer.state[one], reference.state[other]
        assert list(mine) == list(known)
        assert all(torch.equal(mine[name], known[name]) for name in known)


def test_training_does_not_bring_in_the_compiler():
    """A second of a new process's start, and 80 MB."""
    program = """
import sys
from fts.study.build import build_trial
from tests.training.tiny import finish, make_trainer
finish(make_trainer(max_epochs=1))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_an_epoch_result_is_what_its_predictions_say():
    trainer = make_trainer()
    results = finish(trainer)
    y = trainer.data.y_T[trainer.data.val_ends].numpy()
    best = results[trainer.outcome().best_epoch - 1]
    assert trainer.val_predictions.dtype == np.float32 and len(trainer.val_predictions) == len(y)
    assert best.val_auc == pytest.approx(roc_auc_score(y, trainer.val_predictions))
    assert (best.pred_min, best.pred_max) == (trainer.val_predictions.min(), trainer.val_predictions.max())
    assert best.train_auc is not None and best.samples_per_s > 0 and best.seconds > 0


def test_three_epochs_of_the_tiny_model_give_the_stored_losses():
    losses = [(result.train_loss, result.val_loss) for result in finish(make_trainer(max_epochs=3, threads=1))]
    assert np.array(losses) == pytest.approx(np.array(STORED), abs=2e-4)  # rounding differs between processors


STORED = [(0.686657, 0.676458), (0.685875, 0.671862), (0.672587, 0.671508)]  # train, validation


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    first, again, other = (make_trainer(seed=seed) for seed in (5, 5, 6))
    finish(first), finish(again), finish(other)
    assert numbers(first.history) == numbers(again.history) != numbers(other.history)


def test_it_learns_what_there_is_to_learn():
    trainer = make_trainer(dropout=0.1, max_epochs=30, patience=30)
    finish(trainer)
    assert trainer.outcome().best_value < trainer.prior_loss
    assert max(result.val_auc for result in trainer.history) > 0.6


def epoch(number: int, loss: float, auc: float = 0.5) -> EpochResult:
    return EpochResult(number, number, 0.7, loss, None, auc, 0.25, 0.4, 0.6, 0.1, 1e-3, 1.0, 1.0)


def ended_at(losses: list[float], **changes) -> Progress:
    config = make_config(**({"max_epochs": len(losses), "min_delta": 0.01} | changes))
    progress = Progress()
    for number, loss in enumerate(losses, 1):
        progress.end_epoch(epoch(number, loss), loss, config)
        if progress.reason:
            break
    return progress


def test_patience_counts_epochs_without_a_gain_of_min_delta():
    progress = ended_at([0.7, 0.6, 0.595, 0.594, 0.5], patience=2)
    assert (progress.reason, len(progress.history)) == ("early stopped", 4)


def test_the_best_epoch_is_the_best_to_the_last_digit():
    progress = ended_at([0.7, 0.6, 0.595, 0.599], patience=2)
    assert (progress.best_epoch, progress.best_value) == (3, 0.595)


def test_gains_that_add_up_to_min_delta_restart_patience():
    progress = ended_at([0.7, 0.694, 0.688, 0.682, 0.676, 0.67], patience=2)
    assert (progress.reason, len(progress.history)) == ("finished", 6)


def test_a_higher_auc_is_better():
    progress = ended_at([0.5, 0.6, 0.55, 0.52], objective="val_auc", patience=2)
    assert (progress.best_epoch, progress.best_value, progress.reason) == (2, 0.6, "early stopped")


def test_the_objective_is_the_best_epochs_value_not_the_last_ones():
    trainer = make_trainer(learning_rate=0.1, max_epochs=6, objective="val_auc", patience=6)
    aucs = [result.val_auc for result in finish(trainer)]
    outcome = trainer.outcome()
    assert outcome.best_value == max(aucs) == aucs[outcome.best_epoch - 1]
    assert outcome.last_value == aucs[-1] and outcome.epochs == 6


def test_a_step_limit_ends_the_run_in_mid_epoch_with_a_result():
    trainer = make_trainer(max_steps=2, max_epochs=5)
    (result,) = finish(trainer)
    assert (result.step, trainer.outcome().reason) == (2, "step limit")
    assert trainer.total_steps == 20  # the schedule is that of the whole run: a short run is its beginning


def test_a_loss_that_is_no_number_ends_the_run_as_diverged():
    trainer = make_trainer()
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(math.nan)
    (event,) = trainer.run()
    assert isinstance(event, StepDone)
    assert (trainer.outcome().reason, trainer.outcome().badges) == ("diverged", ("diverged",))
    assert trainer.outcome().best_value is None


def test_ten_times_the_prior_loss_is_diverged():
    trainer = make_trainer(prior_loss=0.05)  # so that 0.6 is more than ten times of it
    finish(trainer)
    outcome = trainer.outcome()
    assert (outcome.reason, outcome.epochs, outcome.best_epoch) == ("diverged", 1, None)


def test_predictions_without_spread_wear_the_badge_collapsed():
    trainer = make_trainer(learning_rate=1e-9)
    with torch.no_grad():
        trainer.model.head.weight.zero_()
    finish(trainer)
    assert trainer.outcome().badges == ("collapsed",)
    alive = make_trainer()
    finish(alive)
    assert alive.outcome().badges == ()


def test_an_auc_of_one_class_is_refused_before_the_first_step():
    data = make_data()
    y_T = data.y_T.clone()
    y_T[data.val_ends] = 0
    one_class = TrainingData(data.features_TF, y_T, data.train_ends, data.val_ends, data.context)
    with pytest.raises(DataError, match="all the same"):
        Trainer(make_model(), one_class, make_config(objective="val_auc"))
    finish(Trainer(make_model(), one_class, make_config()))


LEAN = {"optimizer": "adafactor", "fused_backward": True, "checkpoint_layers": True, "micro_batch": 64}


def test_the_lean_recipe_holds_no_gradient_and_learns():
    trainer = make_trainer(dropout=0.1, max_epochs=20, patience=20, **(LEAN | {"learning_rate": 0.05}))
    held = [p.grad for event in trainer.run() for p in trainer.model.parameters() if p.grad is not None]
    assert held == []
    assert trainer.history[-1].train_loss < trainer.history[0].train_loss


def test_stepping_inside_backward_equals_stepping_after_it():
    results = [finish(make_trainer(micro_batch=64, grad_clip=0.0, fused_backward=fused)) for fused in (False, True)]
    assert numbers(results[0]) == numbers(results[1])


def test_recomputed_layers_change_no_number():
    results = [finish(make_trainer(checkpoint_layers=again)) for again in (False, True)]
    assert numbers(results[0]) == numbers(results[1])


def test_bf16_trains_to_about_the_same_losses():
    full, half = (finish(make_trainer(precision=precision)) for precision in ("fp32", "bf16"))
    assert half[-1].val_loss == pytest.approx(full[-1].val_loss, abs=0.02)
    assert all(p.dtype == torch.float32 for p in make_trainer(precision="bf16").model.parameters())  # master weights
