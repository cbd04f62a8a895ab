"""Folds in step are one trial: the mean of their results, left at any step and continued to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch

from fts.study.fold_trainer import PREDICTIONS, FoldTrainer
from fts.study.objective import resume
from fts.study.walk_trainer import ENDED, FoldsInTurn
from fts.training.results import EpochDone, StepDone
from fts.training.trainer import Trainer
from tests.training.tiny import make_config, make_data, make_model, numbers


def make_folds(folder: Path | None = None, patience: int = 10, **changes) -> FoldTrainer:  # type: ignore[no-untyped-def]  # of a config
    """Two folds: 120 windows to train on, then 180."""
    data = make_data()
    parts = [
        replace(data, train_ends=torch.arange(15, 135), val_ends=torch.arange(180, 240)),
        replace(data, train_ends=torch.arange(15, 195), val_ends=torch.arange(240, 300)),
    ]
    config = make_config(patience=99, **changes)
    trainers = [Trainer(make_model(), part, config) for part in parts]
    return FoldTrainer(trainers, replace(config, patience=patience), folder)


def test_an_epoch_is_one_epoch_of_every_fold_and_its_result_their_mean():
    folds = make_folds(max_epochs=2)
    events = list(folds.run())
    assert [type(event) for event in events] == ([StepDone] * (2 + 3) + [EpochDone]) * 2
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(1, 11))
    for epoch, result in enumerate(folds.history):
        each = [trainer.history[epoch] for trainer in folds.trainers]
        assert result.val_loss == fmean(one.val_loss for one in each)
        assert result.val_auc == fmean(one.val_auc for one in each if one.val_auc is not None)
        assert result.step == sum(one.step for one in each)
    assert folds.outcome().reason == "finished"


def test_a_fold_alone_learns_what_it_learns_among_others():
    folds, alone = make_folds(max_epochs=2), make_folds(max_epochs=2).trainers[1]
    list(folds.run())
    list(alone.run())
    assert numbers(folds.trainers[1].history) == numbers(alone.history)


def test_the_predictions_are_of_the_common_best_epoch(tmp_path: Path):
    folds = make_folds(tmp_path, max_epochs=4, learning_rate=3e-2)
    at_epoch = {}
    for event in folds.run():
        if isinstance(event, EpochDone):
            at_epoch[event.result.epoch] = [trainer.validation_logits() for trainer in folds.trainers]
    best = folds.outcome().best_epoch
    assert best is not None and folds.val_predictions is not None
    logits = np.concatenate(at_epoch[best])
    np.testing.assert_allclose(folds.val_predictions, 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_the_mean_decides_when_to_stop():
    folds = make_folds(patience=1, min_delta=10.0)
    list(folds.run())
    assert (folds.outcome().reason, folds.outcome().epochs) == ("early stopped", 2)


def test_a_fold_that_diverges_ends_the_trial():
    folds = make_folds(learning_rate=1e8, grad_clip=0.0)
    list(folds.run())
    assert folds.outcome().reason == "diverged"


@pytest.mark.parametrize("stop_at", range(1, 12))
def test_left_after_any_event_it_goes_on_to_the_bit(tmp_path: Path, stop_at: int):
    unbroken = make_folds(tmp_path / "a", max_epochs=2)
    list(unbroken.run())
    first = make_folds(tmp_path / "b", max_epochs=2)
    for taken, _ in enumerate(first.run(), start=1):
        if taken in (stop_at // 2, stop_at):  # two checkpoints, the second of what has moved
            first.save(tmp_path / "b" / "checkpoint")
        if taken == stop_at:
            break
    second = make_folds(tmp_path / "b", max_epochs=2)
    assert second.can_load(tmp_path / "b" / "checkpoint")
    second.load(tmp_path / "b" / "checkpoint")
    list(second.run())
    assert numbers(second.history) == numbers(unbroken.history)
    assert second.outcome() == unbroken.outcome()
    assert second.val_predictions is not None and unbroken.val_predictions is not None
    assert (second.val_predictions == unbroken.val_predictions).all()


def test_a_fold_without_a_checkpoint_begins_anew_and_ends_the_same(tmp_path: Path):
    unbroken = make_folds(tmp_path / "a", max_epochs=2)
    list(unbroken.run())
    first = make_folds(tmp_path / "b", max_epochs=2)
    for taken, _ in enumerate(first.run(), start=1):
        if taken == 4:
            first.trainers[0].save(tmp_path / "b" / "checkpoint" / "fold_0")  # killed before fold 1 was written
            break
    second = make_folds(tmp_path / "b", max_epochs=2)
    second.load(tmp_path / "b" / "checkpoint")
    list(second.run())
    assert numbers(second.history) == numbers(unbroken.history)


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_fold_whose_checkpoints_are_damaged_catches_up_and_nothing_differs(tmp_path: Path, damaged: int):
    """Its others are epochs ahead meanwhile: predictions of an earlier best epoch cannot be made of their weights."""
    usual = {"max_epochs": 5, "learning_rate": 3e-2, "effective_batch": 32}
    unbroken, first, second = (make_folds(tmp_path / name, **usual) for name in ("a", "b", "b"))
    list(unbroken.run())
    for event in first.run():
        if isinstance(event, EpochDone):
            first.save(tmp_path / "b" / "checkpoint")
            if event.result.epoch == 4:
                break
    for state in (tmp_path / "b" / "checkpoint" / f"fold_{damaged}").glob("checkpoint-*/state.json"):
        state.write_text("torn")
    resume(second, tmp_path / "b" / "checkpoint")
    list(second.run())
    assert numbers(second.history) == numbers(unbroken.history) and second.outcome() == unbroken.outcome()
    assert unbroken.outcome().best_epoch == 2
    assert second.val_predictions is not None and unbroken.val_predictions is not None
    assert (second.val_predictions == unbroken.val_predictions).all()


def test_damaged_predictions_of_the_best_epoch_cost_time_and_no_digit(tmp_path: Path):
    unbroken, first, second = (make_folds(tmp_path / name, max_epochs=2) for name in ("a", "b", "b"))
    list(unbroken.run())
    for taken, _ in enumerate(first.run(), start=1):
        if taken == 7:
            first.save(tmp_path / "b" / "checkpoint")
            break
    (tmp_path / "b" / PREDICTIONS).write_bytes(b"torn")
    resume(second, tmp_path / "b" / "checkpoint")
    list(second.run())
    assert second.outcome() == unbroken.outcome()
    assert second.val_predictions is not None and unbroken.val_predictions is not None
    assert (second.val_predictions == unbroken.val_predictions).all()


def test_nothing_to_load_is_said(tmp_path: Path):
    (tmp_path / "checkpoint" / "fold_0").mkdir(parents=True)  # a first write that was cut short
    assert not make_folds().can_load(tmp_path / "checkpoint")


# -- one after another


def make_turns(folder: Path | None = None, **changes) -> FoldsInTurn:  # type: ignore[no-untyped-def]  # of a config
    return FoldsInTurn(lambda fold: make_folds(patience=99, **changes).trainers[fold], 2, folder)


def test_folds_in_turn_learn_what_each_learns_alone_and_keep_their_last_epoch():
    turns, alone = make_turns(max_epochs=3), make_folds(max_epochs=3).trainers
    events = list(turns.run())
    assert [type(event) for event in events] == [StepDone] * 6 + [EpochDone] + [StepDone] * 9 + [EpochDone]
    assert [event.step for event in events if isinstance(event, StepDone)] == list(range(1, 16))
    for fold, trainer in enumerate(alone):
        list(trainer.run())
        assert turns.history[fold].val_loss == trainer.history[-1].val_loss
    p = np.concatenate([1 / (1 + np.exp(-trainer.validation_logits())) for trainer in alone])
    np.testing.assert_allclose(turns.val_predictions, p, rtol=1e-6)
    outcome = turns.outcome()
    assert (outcome.best_epoch, outcome.epochs) == (None, 2)
    assert outcome.best_value == fmean(trainer.history[-1].val_loss for trainer in alone)


@pytest.mark.parametrize("steps", [1, 5, 6, 7, 8, 14])
def test_folds_in_turn_that_were_left_anywhere_end_as_if_they_had_not(tmp_path: Path, steps: int):
    """Left behind a checkpoint, and once more without one: what ended stands, the fold in progress begins anew."""
    whole = make_turns(max_epochs=3)
    list(whole.run())
    checkpoint = tmp_path / "checkpoint"
    for saved in (True, False):
        turns = make_turns(tmp_path, max_epochs=3)
        if turns.can_load(checkpoint):
            turns.load(checkpoint)
        before = turns.step
        for event in turns.run():
            if event is not None and turns.step >= min(14, before + steps):
                break
        if saved:
            turns.save(checkpoint)
    last = make_turns(tmp_path, max_epochs=3)
    if last.can_load(checkpoint):
        last.load(checkpoint)
    list(last.run())
    assert np.array_equal(last.val_predictions, whole.val_predictions)
    assert numbers(last.history) == numbers(whole.history)


def test_a_damaged_file_of_ended_folds_costs_time_and_no_digit(tmp_path: Path):
    whole = make_turns(tmp_path, max_epochs=2)
    list(whole.run())
    (tmp_path / ENDED).write_bytes((tmp_path / ENDED).read_bytes()[:-40])
    again = make_turns(tmp_path, max_epochs=2)
    assert not again.can_load(tmp_path / "checkpoint")
    list(again.run())
    assert np.array_equal(again.val_predictions, whole.val_predictions)


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_trial_that_goes_on_after_it_diverged_says_the_same(tmp_path: Path, in_turn: bool):
    def diverging(fold: int = 0) -> Trainer:
        return Trainer(make_model(), make_data(), make_config(learning_rate=1e30, warmup_steps=0, grad_clip=0.0))

    def trial() -> FoldTrainer | FoldsInTurn:
        if in_turn:
            return FoldsInTurn(diverging, 2, tmp_path)
        return FoldTrainer([diverging(), diverging()], diverging().config, tmp_path)

    first, again = trial(), trial()
    for _ in first.run():
        if not first.ended:
            first.save(tmp_path / "checkpoint")  # the last time when a fold has diverged, and the trial does not know
    again.load(tmp_path / "checkpoint")
    assert not list(again.run())
    assert first.outcome() == again.outcome() and str(first.outcome().message).startswith("fold 1 of 2: loss is ")
