"""The position of a run: epoch and step, sums of the epoch in progress, early stopping, and finished epochs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fts.training.results import EARLY_STOPPED, FINISHED, STEP_LIMIT, EpochResult

if TYPE_CHECKING:
    from fts.training.config import TrainConfig


@dataclass
class Progress:
    """The changing state of a run, without tensors."""

    epoch: int = 1  # in progress, from 1
    step: int = 0  # steps taken in the whole run
    step_in_epoch: int = 0
    loss_sum: float = 0.0  # over the windows of the current epoch so far
    train_seconds: float = 0.0  # of the current epoch so far
    best_value: float | None = None  # of the objective, not negated (an AUC stays an AUC)
    best_epoch: int | None = None
    waiting_since: float | None = None  # value that must improve by min_delta to reset patience
    waited: int = 0  # epochs since then
    reason: str | None = None  # why the run has ended
    trouble: str | None = None  # why it diverged, as a sentence
    history: list[EpochResult] = field(default_factory=list)

    def end_epoch(self, result: EpochResult, value: float | None, config: TrainConfig) -> bool:
        """Records an epoch, decides whether the run ends, and returns whether this epoch is the best so far.

        The best epoch counts any improvement; patience restarts only after a gain of min_delta, so that tiny gains do
        not prolong a trial. value is None for an epoch that diverged.
        """
        self.history.append(result)
        improved = value is not None and _better(value, self.best_value, 0.0, config)
        if improved:
            self.best_value, self.best_epoch = value, result.epoch
        if value is not None and _better(value, self.waiting_since, config.min_delta, config):
            self.waiting_since, self.waited = value, 0
        else:
            self.waited += 1
        self.reason = self._ended(config)
        self.epoch += 1
        self.step_in_epoch, self.loss_sum, self.train_seconds = 0, 0.0, 0.0
        return improved

    def _ended(self, config: TrainConfig) -> str | None:
        if self.waited >= config.patience:
            return EARLY_STOPPED
        if self.epoch >= config.max_epochs:
            return FINISHED
        return STEP_LIMIT if self.step == config.max_steps else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        return cls(**{**values, "history": [EpochResult(**result) for result in values["history"]]})


def _better(value: float, than: float | None, by: float, config: TrainConfig) -> bool:
    """Whether value improves on `than` by more than `by`: losses fall, AUCs rise."""
    if than is None:
        return True
    sign = -1 if config.objective == "val_auc" else 1
    return sign * value < sign * than - by
