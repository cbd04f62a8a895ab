"""Trains one configuration again for each walk-forward fold, one after the other, as if they were one trial.

The trial reports its folds: fold k is epoch k. Each fold trains for the number of epochs that the search had found, so
no fold decides when to stop. Only one model is in memory. Ended folds are in one file, the current fold in its own
checkpoint: a resumed trial equals an uninterrupted one bit for bit.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from fts.state.files import refuse_links, replacing
from fts.study.fold_trainer import DAMAGED, Resumed, load_valid
from fts.training.metrics import probabilities
from fts.training.results import COLLAPSED, DIVERGED, FINISHED, EpochDone, EpochResult, Outcome, StepDone
from fts.training.trainer import COLLAPSED_SD, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from fts.training.checkpoint import SavedCheckpoint
    from fts.training.config import TrainConfig

ENDED = "ended_folds.npz"  # predictions and scores of the folds that have ended


class FoldsInTurn:
    """Has the interface of a Trainer, for several that train one after another. `make(k)` returns that of fold k."""

    def __init__(self, make: Callable[[int], Trainer], folds: int, folder: Path | None) -> None:
        self.make, self.folds, self.folder = make, folds, folder
        self._history: list[EpochResult] = []
        self._p: list[NDArray[np.float32]] = []
        self._reason: str | None = None
        self.trouble: str | None = None  # why it diverged, as a sentence
        self.trainer = make(0)

    @property
    def config(self) -> TrainConfig:
        return self.trainer.config

    @property
    def model(self) -> nn.Module:
        return self.trainer.model

    @property
    def step(self) -> int:
        before = self._history[-1].step if self._history else 0
        return before + (0 if self.ended else self.trainer.step)

    @property
    def history(self) -> tuple[EpochResult, ...]:
        return tuple(self._history)

    @property
    def ended(self) -> bool:
        return self._reason is not None

    @property
    def val_predictions(self) -> NDArray[np.float32] | None:
        """Predictions of all folds, in time order; None while one is missing."""
        return np.concatenate(self._p) if len(self._p) == self.folds else None

    def run(self) -> Iterator[StepDone | EpochDone]:
        while self._reason is None:
            fold = len(self._history) + 1
            for event in self.trainer.run():
                if isinstance(event, StepDone):
                    yield StepDone(self.step, fold, event.loss, event.seconds)
            if self.trainer.outcome().reason == DIVERGED:
                self._reason = DIVERGED
                self.trouble = f"fold {fold} of {self.folds}: {self.trainer.progress.trouble}"
                return
            self._end_fold()
            yield EpochDone(self._history[-1], False)

    def outcome(self) -> Outcome:
        """Returns the mean over the folds as value; without a best epoch, because none was chosen."""
        collapsed = any(result.pred_sd < COLLAPSED_SD for result in self._history)
        badges = [COLLAPSED] * collapsed + [DIVERGED] * (self._reason == DIVERGED)
        values = [self._objective(result) for result in self._history]
        known = [value for value in values if value is not None]
        value = fmean(known) if len(known) == self.folds else None
        reason = self._reason or "running"
        return Outcome(value, None, value, len(values), reason, tuple(badges), self.trouble)

    def save(self, folder: Path) -> SavedCheckpoint:
        refuse_links(folder, folder.parent)
        saved = self.trainer.save(self._checkpoint(folder))
        return replace(saved, path=str(folder), step=self.step, epoch=len(self._history) + 1)

    def can_load(self, folder: Path) -> bool:
        return self._read(folder.parent) is not None or self.trainer.can_load(self._checkpoint(folder))

    def load(self, folder: Path) -> Resumed:
        """Loads the ended folds, and the current fold from its checkpoint, else from its beginning.

        Raises CheckpointError for a valid checkpoint of another run.
        """
        if (ended := self._read(folder.parent)) is not None:
            self._history, self._p = ended
            self._start_next_fold()
        return Resumed(folder, () if self.ended else load_valid(self.trainer, self._checkpoint(folder)))

    def _checkpoint(self, folder: Path) -> Path:
        return folder / f"fold_{len(self._history)}"

    def _end_fold(self) -> None:
        trainer, start = self.trainer, time.perf_counter()
        self._p.append(probabilities(trainer.validation_logits()))
        last, seconds = trainer.history[-1], sum(result.seconds for result in trainer.history)
        seconds += time.perf_counter() - start
        fold = len(self._history) + 1
        self._history.append(replace(last, epoch=fold, step=self.step, seconds=seconds))
        self._write()
        self._start_next_fold()

    def _start_next_fold(self) -> None:
        """Frees the last fold's memory and starts the next fold, or finishes."""
        if len(self._history) == self.folds:
            self._reason = FINISHED
        else:
            del self.trainer
            self.trainer = self.make(len(self._history))

    def _objective(self, result: EpochResult) -> float | None:
        return result.val_auc if self.config.objective == "val_auc" else result.val_loss

    def _write(self) -> None:
        if self.folder is None:
            return
        results = json.dumps([result.to_json() for result in self._history])
        with replacing(self.folder / ENDED) as draft, draft.open("wb") as file:
            np.savez(file, results=np.array(results), p=np.concatenate(self._p), days=[len(p) for p in self._p])

    @staticmethod
    def _read(folder: Path) -> tuple[list[EpochResult], list[NDArray[np.float32]]] | None:
        """Reads the ended folds. None if no fold has ended, or for a damaged file: the trial then starts again."""
        try:
            with np.load(folder / ENDED, allow_pickle=False) as stored:
                told: list[dict[str, Any]] = json.loads(str(stored["results"]))
                p = np.split(stored["p"], np.cumsum(stored["days"])[:-1])
                return [EpochResult(**one) for one in told], p
        except DAMAGED:
            return None
