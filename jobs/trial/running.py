"""One running trial, seen from its process: what the function does becomes facts, what people ask reaches it."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.function import VALUE
from fts.jobs.api.objective import Stopped
from fts.jobs.trial.process import Orders, Pace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.api.spec import TrialSpec
    from fts.jobs.trial.checkpoint import Checkpoint


class BadReport(ValueError):
    """What an objective reported or returned is no number, or lacks the metric that decides."""


@dataclass(frozen=True)
class Report:
    """One epoch that the objective reported."""

    step: int
    value: float
    metrics: dict[str, float] = field(default_factory=dict)

    def fact(self) -> dict[str, Any]:
        return {"fact": "epoch", "epoch": self.step, "value": self.value, "metrics": self.metrics, "judged": False}


class RunningTrial:
    """The Trial of fts.jobs.api.objective for a function in a process of its own."""

    def __init__(self, spec: TrialSpec, orders: Orders) -> None:
        self.spec, self.cell, self.orders = spec, spec.cell, orders
        self.number, self.seed, self.device, self.threads = spec.number, spec.seed, spec.device, spec.threads
        self.params: dict[str, Any] = dict(spec.params)
        self.axes: dict[str, str | int | float] = dict(spec.cell.axes)
        self.folder = Path(spec.folder).absolute()
        self.recorded = {str(draw["name"]): draw for draw in spec.draws}  # by this process, and before it
        self.reports: list[Report] = []
        self.judged: dict[int, bool] = {}  # epoch -> was it pruned there; of the epochs that the function asked about
        self.pace = Pace(spec.checkpoint_every_s)
        self.checkpoints: Checkpoint | None = None  # once the function has asked for them
        self.left = False  # Stopped was raised: whatever the function makes of it is no result
        self._next_draw = 1 + max((int(draw["k"]) for draw in spec.draws), default=-1)
        self._leaves = False  # a stop was asked, and the checkpoint for it is written
        self._late = 0  # reports since a stop was asked
        self._last_report = time.monotonic()

    @property
    def resume_from(self) -> Path | None:
        folder = self.folder / "checkpoint"
        return folder if self.spec.resume and folder.is_dir() else None

    # -- what it tells

    def started(self, **facts: Any) -> None:
        self.orders.tell({"fact": "started", **facts})

    def drew(self, name: str, value: Any, distribution: dict[str, Any]) -> None:
        """A parameter has its value; told before anything is done with it."""
        self.params[name] = value
        before = self.recorded.get(name)
        if before is None:
            self._tell_draw(name, value, distribution)
        elif before.get("distribution") != distribution:
            recorded = {"value": before["value"], "distribution": before.get("distribution")}
            self.orders.tell({"fact": "drifted", "name": name, "recorded": recorded, "distribution": distribution})
        if self._leaves or (self.stop_asked and not self.reports):
            self.stop()

    def _tell_draw(self, name: str, value: Any, distribution: dict[str, Any]) -> None:
        draw = {"k": self._next_draw, "name": name, "value": value, "distribution": distribution}
        self._next_draw += 1
        self.recorded[name] = draw
        self.orders.tell({"fact": "draw", **draw})

    def report(self, step: int, value: float, metrics: dict[str, float]) -> None:
        """Tells one epoch. Raises Stopped after it, where a stop was asked and nothing can be saved."""
        report = Report(step, value, metrics)
        self.reports.append(report)
        self.orders.tell(report.fact())
        now = time.monotonic()
        self.step(step, step, value, now - self._last_report)
        self._last_report = now
        if self.stop_asked:
            self._late += 1
            if self._leaves or self.checkpoints is None or self._late > 1:
                self.stop()

    def step(self, step: int, epoch: int, loss: float | None, step_s: float) -> None:
        if self.pace.step_due():
            self.orders.tell({"fact": "step", "step": step, "epoch": epoch, "loss": loss, "step_s": step_s})

    def checkpoint(self, saved: dict[str, Any]) -> None:
        """Tells of a checkpoint. Raises Stopped after it, where a stop was asked."""
        self.orders.tell({"fact": "checkpoint", **saved})
        if not self.stop_asked:
            return
        if self._may_ask_now():
            self._leaves = True  # at its next call: whether it is pruned here is asked first, as without the stop
        else:
            self.stop()

    # -- what it is told

    @property
    def stop_asked(self) -> bool:
        return self.orders.stop_asked()

    def stop(self) -> None:
        self.left = True
        raise Stopped(f"trial {self.number} was asked to stop")

    def judge(self) -> bool:
        """Is the trial pruned? Waits for the verdict, which depends on the recorded epochs alone, never on time."""
        if self.cell.pruner == "none" or not self.reports:
            pruned = False
        else:
            epoch = max(report.step for report in self.reports)
            if epoch not in self.judged:
                self.judged[epoch] = self._verdict(epoch)
            pruned = self.judged[epoch]
        if self._leaves and not pruned:
            self.stop()
        return pruned

    def _verdict(self, epoch: int) -> bool:
        self.orders.tell({"fact": "judge", "epoch": epoch})
        verdict = self.orders.verdict(self.number, epoch)
        if verdict is None:
            self.stop()  # the supervisor died: the next one is asked again
        return bool(verdict)

    # -- whether the last epoch of a checkpoint was judged

    def restore(self, reports: Sequence[Report], judged: Sequence[int], draws: Sequence[dict[str, Any]]) -> None:
        """Draws and epochs of a checkpoint: told again, because the supervisor may have died before it wrote them."""
        for draw in draws:
            if draw["name"] not in self.recorded:
                self._tell_draw(draw["name"], draw["value"], draw["distribution"])
                self.params[draw["name"]] = draw["value"]
        self.reports = list(reports)
        self.judged = dict.fromkeys(judged, False)
        for report in reports:
            self.orders.tell(report.fact())

    def _may_ask_now(self) -> bool:
        return self.asks(self.reports, self.judged) is not False

    def asks(self, reports: Sequence[Report], judged: Mapping[int, bool] | Sequence[int]) -> bool | None:
        """Will the function ask whether it is pruned at its last epoch? By what it did before; None: nobody knows.

        False also where it has asked already, or there is no pruner.
        """
        steps = [report.step for report in reports]
        if self.cell.pruner == "none" or not steps or steps[-1] in judged:
            return False
        before = {step in judged for step in steps[:-1]}
        return before.pop() if len(before) == 1 else None


def running_of(trial: Any) -> RunningTrial | None:
    """Behind the trial that a function got; None: it runs under plain Optuna."""
    running = getattr(trial, "running", None)
    return running if hasattr(running, "drew") else None


def number_of(value: Any, what: str) -> float:
    """Raises BadReport for what is no number."""
    try:
        return float(value)
    except OverflowError:
        raise BadReport(f"{what} is a whole number of {value.bit_length()} bits, expected at most 1.8e308") from None
    except (TypeError, ValueError):
        raise BadReport(f"{what} is {value!r:.80} of type {type(value).__name__}, expected a number") from None


def deciding(metrics: Mapping[str, float], wanted: str) -> float:
    """The metric that the study optimises; its first one where the study names none. Raises BadReport."""
    if wanted in metrics:
        return metrics[wanted]
    if wanted == VALUE and metrics:
        return next(iter(metrics.values()))
    raise BadReport(f"the metrics are {', '.join(metrics)[:200] or 'none'}, expected {wanted} among them")


def is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def peak_bytes() -> int | None:
    """Largest resident size of this process so far; Linux."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
