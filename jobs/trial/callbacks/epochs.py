"""The epochs of any library: each is reported, then saved, then the pruner is asked."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fts.jobs.trial.checkpoint import checkpoint
from fts.jobs.trial.public import report_numbers
from fts.jobs.trial.running import BadReport, running_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class Epochs:
    """The state that the callbacks of all libraries share."""

    def __init__(self, trial: Any, monitor: str) -> None:
        self.trial, self.monitor = trial, monitor
        self.checkpoint = checkpoint(trial)
        self.state: dict[str, Any] | None = self.checkpoint.load()
        self.done: int = self.state["epoch"] + 1 if self.state else 0  # the next epoch
        self.metrics: dict[str, float] = self.state["metrics"] if self.state else {}  # the last report

    @property
    def value(self) -> float:
        """The last reported value of `monitor`. Raises BadReport if there is none."""
        if self.monitor not in self.metrics:
            raise BadReport(f"no epoch has reported {self.monitor}; was anything evaluated?")
        return self.metrics[self.monitor]

    def report(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Reports all metrics that are numbers, `monitor` first. Raises BadReport if `monitor` is missing."""
        numbers = {name: value for name, one in metrics.items() if (value := number(one)) is not None}
        if self.monitor not in numbers:
            raise BadReport(f"the metrics are {', '.join(numbers)[:300] or 'none'}, expected {self.monitor} among them")
        running = running_of(self.trial)
        wanted = running.cell.metric if running is not None else self.monitor
        named = {} if wanted in numbers else {wanted: numbers[self.monitor]}
        self.metrics = numbers
        report_numbers(self.trial, epoch, {self.monitor: numbers[self.monitor]} | numbers | named)

    def save(
        self, epoch: int, state: Callable[[], dict[str, Any]], files: Callable[[], Sequence[Path]] | None = None
    ) -> None:
        """Writes a checkpoint if one is due. `state` and `files` are called only then."""
        if self.checkpoint.due:
            self.checkpoint.save(
                {"epoch": epoch, "metrics": self.metrics, **state()}, files() if files is not None else ()
            )

    def prune(self, epoch: int) -> None:
        if self.trial.should_prune():
            raise importlib.import_module("optuna").TrialPruned(f"at epoch {epoch}")


def number(value: Any) -> float | None:
    """Returns a number, or the one element of a tensor or array; None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
