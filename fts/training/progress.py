"""Where a run stands: position, sums of the epoch in progress, early stopping, and the epochs behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fts.training.results import EARLY_STOPPED, FINISHED, STEP_LIMIT, EpochResult

if TYPE_CHECKING:
    from fts.training.config import TrainConfig


@dataclass
class Progress:
    """Everything that changes while a run goes on, but tensors."""

    epoch: int = 1  # in progress
    step: int = 0  # taken, over the whole run
    step_in_epoch: int = 0
    loss_sum: float = 0.0  # over the windows of the epoch so far
    train_seconds: float = 0.0  # of the epoch so far
    best_value: float | None = None  # of the objective, as it is (an AUC stays an AUC)
    best_epoch: int | None = None
    waiting_since: float | None = None  # the value that patience wants beaten by min_delta
    waited: int = 0  # epochs since then
    reason: str | None = None  # why the run has ended
    history: list[EpochResult] = field(default_factory=list)

    def end_epoch(self, result: EpochResult, value: float | None, config: TrainConfig) -> bool:
        """Records an epoch, decides whether the run goes on, and returns whether this epoch is the best so far.

        The best epoch is the best to the last digit; patience starts anew only when min_delta is gained, so that
        creeping gains do not keep a trial alive. value is None for an epoch that diverged.
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
    """Losses fall, AUCs rise: the one place that knows."""
    if than is None:
        return True
    sign = -1 if config.objective == "val_auc" else 1
    return sign * value < sign * than - by
