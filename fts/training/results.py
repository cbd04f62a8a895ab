"""The events that a trainer yields, and its outcome: frozen values for a database row or a line of JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FINISHED = "finished"
EARLY_STOPPED = "early stopped"
STEP_LIMIT = "step limit"
DIVERGED = "diverged"
COLLAPSED = "collapsed"


@dataclass(frozen=True)
class StepDone:
    """One optimizer step has been taken."""

    step: int  # from 1, over the whole run
    epoch: int  # from 1
    loss: float  # mean over the step's windows, of the loss trained on
    seconds: float


@dataclass(frozen=True)
class EpochResult:
    """Results of one pass over the training windows and the following validation."""

    epoch: int  # from 1
    step: int
    train_loss: float  # of the training loss, with dropout, while the weights changed
    val_loss: float  # always plain cross-entropy, so that it compares with the class prior's for any training loss
    train_auc: float | None  # None: only one class
    val_auc: float | None
    val_brier: float
    pred_min: float  # of the probabilities on validation
    pred_max: float
    pred_sd: float
    learning_rate: float  # of the epoch's last step
    samples_per_s: float  # trained windows per second of training, without validation
    seconds: float  # of the whole epoch

    def line(self, max_epochs: int) -> str:
        """Returns the epoch as one line of a log."""
        auc = "   -" if self.val_auc is None else f"{self.val_auc:.3f}"
        return (
            f"epoch {self.epoch}/{max_epochs} step {self.step} train {self.train_loss:.4f} val {self.val_loss:.4f} "
            f"auc {auc} brier {self.val_brier:.4f} p {self.pred_min:.3f}..{self.pred_max:.3f} sd {self.pred_sd:.4f} "
            f"lr {self.learning_rate:.2e} {self.samples_per_s:.0f} samples/s {self.seconds:.1f} s"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class EpochDone:
    """An epoch has ended; `improved`: its objective is the best so far, so call save_best now."""

    result: EpochResult
    improved: bool


@dataclass(frozen=True)
class Outcome:
    """How a run ended. The objectives of its best and its last epoch differ."""

    best_value: float | None  # None: no epoch had a finite value
    best_epoch: int | None
    last_value: float | None
    epochs: int
    reason: str  # finished | early stopped | step limit | diverged
    badges: tuple[str, ...]  # collapsed: the best epoch predicts nearly the same for all windows; diverged
    message: str | None = None  # why it diverged: value, place, learning rate

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
