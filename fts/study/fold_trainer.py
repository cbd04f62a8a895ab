"""Trains one configuration on several walk-forward folds in lockstep, as if they were one trial.

An epoch of the trial is one epoch on every fold; its result is their mean. So early stopping, pruning and the best
epoch mean the same as with a single split, and the best epoch can be used for the final training. Between two runs
only the checkpoint of each fold and the predictions of the best epoch are kept; the rest is derived from them, so a
resumed trial equals an uninterrupted one bit for bit.
"""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from fts.state.files import refuse_links, replacing
from fts.training.checkpoint import CheckpointError, SavedCheckpoint
from fts.training.metrics import probabilities
from fts.training.progress import Progress
from fts.training.results import COLLAPSED, DIVERGED, STEP_LIMIT, EpochDone, EpochResult, Outcome, StepDone
from fts.training.trainer import COLLAPSED_SD, Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from fts.training.config import TrainConfig

PREDICTIONS = "fold_predictions.npz"  # predictions of all folds at the best epoch so far
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)  # what a damaged .npz raises


@dataclass(frozen=True)
class Resumed:
    """What loading the checkpoints found."""

    path: Path
    warnings: tuple[str, ...]


class FoldTrainer:
    """Has the interface of a Trainer, for several of them. Memory: weights and optimizer state of every fold.

    `trainers` must never stop by themselves before `config.max_epochs`: give them a larger patience.
    """

    def __init__(self, trainers: list[Trainer], config: TrainConfig, folder: Path | None) -> None:
        self.trainers, self.config, self.folder = trainers, config, folder
        self.progress = Progress()
        self.val_predictions: NDArray[np.float32] | None = None  # of the best epoch, all folds one after another
        self._saved: dict[int, int] = {}  # fold -> step of its latest checkpoint

    @property
    def model(self) -> nn.Module:
        return self.trainers[0].model

    @property
    def step(self) -> int:
        return sum(trainer.step for trainer in self.trainers)

    @property
    def history(self) -> tuple[EpochResult, ...]:
        return tuple(self.progress.history)

    @property
    def ended(self) -> bool:
        return self.progress.reason is not None

    def run(self) -> Iterator[StepDone | EpochDone]:
        """Yields the steps and epochs of the mean of all folds, until it has ended."""
        while self.progress.reason is None:
            epoch = self.progress.epoch
            for trainer in self.trainers:
                for event in _one_epoch(trainer, epoch):
                    yield StepDone(self.step, epoch, event.loss, event.seconds)
                if len(trainer.history) < epoch:  # its loss became NaN or infinite in the middle of the epoch
                    self.progress.reason = DIVERGED
                    return
            improved = self._record(epoch)
            if improved:
                self._keep_predictions(epoch)
            yield EpochDone(self.progress.history[-1], improved)

    def outcome(self) -> Outcome:
        progress = self.progress
        badges = []
        if progress.best_epoch is not None and progress.history[progress.best_epoch - 1].pred_sd < COLLAPSED_SD:
            badges.append(COLLAPSED)
        if progress.reason == DIVERGED:
            badges.append(DIVERGED)
        last = self._objective(progress.history[-1]) if progress.history else None
        reason = progress.reason or "running"
        n, badges_ = len(progress.history), tuple(badges)
        return Outcome(progress.best_value, progress.best_epoch, last, n, reason, badges_, self.trouble)

    @property
    def trouble(self) -> str | None:
        """Why it diverged: the message of the first fold that did."""
        diverged = (
            (k, trainer.progress.trouble)
            for k, trainer in enumerate(self.trainers, start=1)
            if trainer.progress.trouble
        )
        return next((f"fold {k} of {len(self.trainers)}: {trouble}" for k, trouble in diverged), None)

    def save(self, folder: Path) -> SavedCheckpoint:
        """Writes a checkpoint of each fold that has trained since its last one; folds may be at different steps."""
        start = time.perf_counter()
        refuse_links(folder, folder.parent)
        size, md5s = 0, dict[str, str]()
        for k, trainer in enumerate(self.trainers):
            if self._saved.get(k) == trainer.step:
                continue
            saved = trainer.save(folder / f"fold_{k}")
            self._saved[k] = trainer.step
            size += saved.bytes
            md5s |= {f"fold_{k}/{name}": md5 for name, md5 in saved.md5s.items()}
        seconds = time.perf_counter() - start
        return SavedCheckpoint(str(folder), size, md5s, self.step, self.progress.epoch, seconds)

    def can_load(self, folder: Path) -> bool:
        """Whether any fold has a checkpoint to try."""
        return any(trainer.can_load(folder / f"fold_{k}") for k, trainer in enumerate(self.trainers))

    def load(self, folder: Path) -> Resumed:
        """Loads each fold from its own checkpoint; one without a valid one stays at its beginning.

        So do all of them if the stored predictions are damaged, because no later weights can make them again. Raises
        CheckpointError for a valid checkpoint of another run.
        """
        try:
            self._stored_predictions()
        except DAMAGED as damage:
            return Resumed(folder, (f"{PREDICTIONS} is damaged ({damage}); all folds start again",))
        warnings: list[str] = []
        for k, trainer in enumerate(self.trainers):
            warnings += load_valid(trainer, folder / f"fold_{k}")
            if trainer.step:
                self._saved[k] = trainer.step
        epochs = min(len(trainer.history) for trainer in self.trainers)
        for epoch in range(1, epochs + 1):
            self._record(epoch)
        self._restore_predictions()
        return Resumed(folder, tuple(warnings))

    def _record(self, epoch: int) -> bool:
        results = [trainer.history[epoch - 1] for trainer in self.trainers]
        reasons = {trainer.progress.reason for trainer in self.trainers if len(trainer.history) == epoch}
        mean = mean_result(results)
        diverged = DIVERGED in reasons
        improved = self.progress.end_epoch(mean, None if diverged else self._objective(mean), self.config)
        if diverged:
            self.progress.reason = DIVERGED
        elif STEP_LIMIT in reasons:
            self.progress.reason = STEP_LIMIT
        return improved

    def _objective(self, result: EpochResult) -> float | None:
        return result.val_auc if self.config.objective == "val_auc" else result.val_loss

    def _keep_predictions(self, epoch: int) -> None:
        """Keeps the predictions of the common best epoch; each trainer keeps those of its own best epoch.

        If a fold lost its checkpoints and catches up, the others have weights of a later epoch: then only the stored
        predictions of this epoch can be right.
        """
        if any(len(trainer.history) > epoch for trainer in self.trainers):
            self.val_predictions = None
            return self._restore_predictions()
        self.val_predictions = np.concatenate([probabilities(t.validation_logits()) for t in self.trainers])
        if self.folder is not None:
            with replacing(self.folder / PREDICTIONS) as draft, draft.open("wb") as file:
                np.savez(file, epoch=epoch, p=self.val_predictions)
        return None

    def _restore_predictions(self) -> None:
        epoch, p = self._stored_predictions() or (None, None)
        if epoch is not None and epoch == self.progress.best_epoch:
            self.val_predictions = p

    def _stored_predictions(self) -> tuple[int, NDArray[np.float32]] | None:
        """Returns epoch and predictions of all folds; None if there are none yet. Raises DAMAGED."""
        path = None if self.folder is None else self.folder / PREDICTIONS
        if path is None or not path.exists():
            return None
        with np.load(path, allow_pickle=False) as stored:
            return int(stored["epoch"]), stored["p"]


def load_valid(trainer: Trainer, folder: Path) -> tuple[str, ...]:
    """Loads the newest valid checkpoint and returns warnings; without one the trainer stays at its beginning.

    Raises CheckpointError for a valid checkpoint of another run.
    """
    if not trainer.can_load(folder):
        return ()
    try:
        return trainer.load(folder).warnings
    except CheckpointError as damaged:
        if trainer.can_load(folder):  # damaged ones have been moved aside, so this one is valid
            raise
        return (str(damaged),)


def mean_result(results: list[EpochResult]) -> EpochResult:
    """Returns the result of an epoch as the mean over its folds, which have validation parts of equal length."""
    aucs = [result.val_auc for result in results]
    train_aucs = [result.train_auc for result in results]
    return EpochResult(
        epoch=results[0].epoch,
        step=sum(result.step for result in results),
        train_loss=fmean(result.train_loss for result in results),
        val_loss=fmean(result.val_loss for result in results),
        train_auc=_mean_or_none(train_aucs),
        val_auc=_mean_or_none(aucs),
        val_brier=fmean(result.val_brier for result in results),
        pred_min=min(result.pred_min for result in results),
        pred_max=max(result.pred_max for result in results),
        pred_sd=fmean(result.pred_sd for result in results),
        learning_rate=results[-1].learning_rate,
        samples_per_s=fmean(result.samples_per_s for result in results),
        seconds=sum(result.seconds for result in results),
    )


def _mean_or_none(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _one_epoch(trainer: Trainer, epoch: int) -> Iterator[StepDone]:
    """Yields the steps that are missing until `epoch` has ended; none if the fold has already finished it."""
    if len(trainer.history) >= epoch:
        return
    for event in trainer.run():
        if isinstance(event, EpochDone):
            return
        yield event
