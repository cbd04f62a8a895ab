"""The running trial inside its process: sends what the function does as facts, and applies stop and prune requests."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import suppress
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.function import VALUE
from fts.jobs.api.nearest import nearest
from fts.jobs.api.objective import Stopped
from fts.jobs.trial.error_text import current_line, is_own
from fts.jobs.trial.process import Commands, Throttle, say
from fts.jobs.trial.signalled import signalled
from fts.raising import quoted
from fts.state.files import CannotWrite, atomic_write
from fts.state.values import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.api.spec import TrialSpec
    from fts.jobs.trial.checkpoint import Checkpoint


ASKS = "asks.json"  # file of a checkpoint: did the function ask the pruner at its last epoch? Written once known
LAST_STEP = 2**31
LONGEST_NAME = 100  # of a metric
MAX_METRICS = 1000  # of one epoch, because a fact is one line


class BadReport(ValueError):
    """An objective reported or returned something that is not a number, or not the study's metric."""


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

    def __init__(self, spec: TrialSpec, orders: Commands) -> None:
        self.spec, self.cell, self.orders = spec, spec.cell, orders
        self.number, self.seed, self.device, self.threads = spec.number, spec.seed, spec.device, spec.threads
        self.params: dict[str, Any] = dict(spec.params)
        self.axes: dict[str, str | int | float] = dict(spec.cell.axes)
        self.folder = Path(spec.folder).absolute()
        self.recorded = {str(draw["name"]): draw for draw in spec.draws}  # draws of this and of earlier attempts
        self.reports: list[Report] = []
        self.judged: dict[int, bool] = {}  # epoch at which the function asked the pruner -> was the trial pruned?
        self.pace = Throttle(spec.checkpoint_every_s)
        self.checkpoints: Checkpoint | None = None  # set by the first fts.checkpoint(trial)
        self.trial: Any = None  # the Optuna trial, if the function gets one
        self.loaded: Path | None = None  # the checkpoint it resumed from, until the next report or checkpoint
        self.where = spec.cell.path.name  # with the line of the function, once it is loaded
        self.stopped = False  # Stopped was raised; what the function returns after that is not a result
        self._next_draw = 1 + max((int(draw["k"]) for draw in spec.draws), default=-1)
        self._stop_saved = False  # a stop was requested, and its checkpoint is written
        self._open_checkpoint: Path | None = None  # the latest one, while it is unknown if its last epoch is judged
        self._said_repeated = False
        self._said: set[str] = set()
        self._reports_since_stop = 0
        self._last_report = time.monotonic()

    @property
    def resume_from(self) -> Path | None:
        folder = self.folder / "checkpoint"
        return folder if self.spec.resume and folder.is_dir() else None

    # -- facts that it sends

    def started(self, **facts: Any) -> None:
        self.orders.tell({"fact": "started", **facts})

    def drew(self, name: str, value: Any, distribution: dict[str, Any]) -> None:
        """Sends a drawn parameter, before the function gets its value."""
        self.stop_if_terminated()
        self.params[name] = value
        before = self.recorded.get(name)
        if before is None:
            self._tell_draw(name, value, distribution)
        elif before.get("distribution") != distribution:
            recorded = {"value": before["value"], "distribution": before.get("distribution")}
            draw = {"k": int(before["k"]), "name": name, "value": value, "distribution": distribution}
            self.orders.tell({"fact": "drifted", **draw, "recorded": recorded})
        if self.stop_asked and not self.reports:
            self.stop()

    def sampler_kept(self, attributes: dict[str, Any]) -> None:
        """Sends the state that the sampler keeps for later trials, before the value that was drawn with it."""
        self.orders.tell({"fact": "sampler", **attributes})

    def _tell_draw(self, name: str, value: Any, distribution: dict[str, Any]) -> None:
        draw = {"k": self._next_draw, "name": name, "value": value, "distribution": distribution}
        self._next_draw += 1
        self.recorded[name] = draw
        self.orders.tell({"fact": "draw", **draw})

    def report(self, step: int, value: float, metrics: dict[str, float]) -> None:
        """Sends one epoch. Raises Stopped after it if a stop was requested and no checkpoint can be expected."""
        if step > LAST_STEP:
            raise BadReport(f"the step is {step}, expected at most {LAST_STEP}")
        if self.orders.leaving:
            self.stop()  # a signal handler of the function may have ended this epoch early
        self.stop_if_terminated()
        self._record_asks(asks=False)
        self.loaded = None
        report = Report(step, bounded(value), metrics)
        self.reports.append(report)
        self.orders.tell(report.fact())
        now = time.monotonic()
        self.step(step, step, value, now - self._last_report)
        self._last_report = now
        if self.stop_asked:
            self._reports_since_stop += 1
            if self._stop_saved or self.checkpoints is None or self._reports_since_stop > 1:
                self.stop()

    def numbers(self, given: Mapping[Any, Any], *wanted: str) -> dict[str, float]:
        """Returns the metrics that can be recorded, and logs the others once. Raises BadReport if one is `wanted`."""
        return metrics_of(given, wanted, self._left_out)

    def _left_out(self, why: str) -> None:
        if (about := why.partition(" is ")[0]) not in self._said:
            self._said.add(about)
            say(f"{why}; it is not recorded")

    def repeated(self, step: int, value: float) -> None:
        """Logs once per trial that a second report of a step is ignored, as in Optuna."""
        if not self._said_repeated:
            self._said_repeated = True
            place = current_line(self.cell.path.parent.absolute()) or self.where
            say(f"step {step} was reported before: {value} is ignored, only the first value counts ({place})")

    def kept(self, name: str, facts: dict[str, Any]) -> None:
        """Sends a file of the trial's folder that must be kept, with its md5 and bytes."""
        self.orders.tell({"fact": "kept", "name": name, **facts})

    def step(self, step: int, epoch: int, loss: float | None, step_s: float) -> None:
        if self.pace.step_due():
            self.orders.tell({"fact": "step", "step": step, "epoch": epoch, "loss": loss, "step_s": step_s})

    def checkpoint(self, saved: dict[str, Any]) -> None:
        """Sends a checkpoint. Raises Stopped after it if a stop was requested."""
        self.loaded = None
        self.orders.tell({"fact": "checkpoint", **saved})
        if self.unjudged:
            self._open_checkpoint = Path(saved["path"])
        if self.stop_asked and self._open_checkpoint is None:
            self.stop()
        self._stop_saved = self.stop_asked  # stops at the next call, after the pruner has answered as without a stop

    # -- requests that it receives

    @property
    def stop_asked(self) -> bool:
        return self.orders.stop_asked()

    def stop_if_terminated(self) -> None:
        """Raises Stopped after a SIGTERM that also ended the function's child processes.

        The function may take the end of a child for a poor value. So nothing after the signal is recorded, and a
        signal that has just ended one of them is awaited.
        """
        self.orders.await_signal(signalled.until)
        if self.orders.terminated:
            self.stop()

    def stop(self) -> None:
        self.stopped = True
        raise Stopped(f"trial {self.number} was asked to stop")

    def judge(self) -> bool:
        """Is the trial pruned? Waits for the pruner, which uses only the recorded epochs, never the time."""
        if self.cell.pruner == "none" or not self.reports:
            pruned = False
        else:
            epoch = max(report.step for report in self.reports)
            if epoch not in self.judged:
                self._record_asks(asks=True)
                self.judged[epoch] = self._verdict(epoch)
            pruned = self.judged[epoch]
        if self._stop_saved and not pruned:
            self.stop()
        return pruned

    def _verdict(self, epoch: int) -> bool:
        self.orders.tell({"fact": "judge", "epoch": epoch})
        verdict = self.orders.verdict(self.number, epoch)
        if verdict is None:
            self.stop()  # the supervisor died; the next one will be asked again
        return bool(verdict)

    # -- has the pruner judged the last epoch of a checkpoint?

    @property
    def unjudged(self) -> bool:
        """May the function still ask the pruner about its last epoch?"""
        last = self.reports[-1].step if self.reports else None
        return self.cell.pruner != "none" and last is not None and last not in self.judged and self.may_ask

    @cached_property
    def may_ask(self) -> bool:
        """Does the user's code mention pruning, or callbacks, which may prune?"""
        return mentions_pruning(Path(self.cell.folder).absolute(), self.cell.path.absolute())

    def _record_asks(self, asks: bool) -> None:
        """Writes into the latest checkpoint whether the function asked the pruner at its last epoch."""
        if self._open_checkpoint is not None:
            with suppress(CannotWrite):  # then it stays unknown, and a resume uses the previous checkpoint
                atomic_write(self._open_checkpoint / ASKS, json.dumps(asks), durable=False)
            self._open_checkpoint = None

    def restore(self, reports: Sequence[Report], judged: Sequence[int], draws: Sequence[dict[str, Any]]) -> None:
        """Takes over draws and epochs of a checkpoint and sends them again: the supervisor may have died before it
        wrote them.
        """
        for draw in draws:
            if draw["name"] not in self.recorded:
                self._tell_draw(draw["name"], draw["value"], draw["distribution"])
                self.params[draw["name"]] = draw["value"]
        self.reports = list(reports)
        self.judged = dict.fromkeys(judged, False)
        for report in reports:
            self.orders.tell(report.fact())


def mentions_pruning(folder: Path, *files: Path) -> bool:
    """Does any of these files, or of the modules imported from the folder, mention pruning or callbacks?

    A file that is gone since it was imported counts as one that does.
    """
    loaded = [
        Path(str(module.__file__))
        for name, module in list(sys.modules.items())
        if name.split(".")[0] != "fts" and getattr(module, "__file__", None)
    ]
    own = {file for file in loaded if file.suffix == ".py" and is_own(file, folder)} | set(files)
    try:
        return any(word in file.read_text(errors="replace").lower() for file in own for word in ("prun", "callback"))
    except OSError:
        return True


def running_of(trial: Any) -> RunningTrial | None:
    """Returns the RunningTrial of the trial that a function got; None under plain Optuna. Raises TypeError if it is
    not a trial.
    """
    running = getattr(trial, "running", None)
    if hasattr(running, "drew"):
        return running
    if not hasattr(trial, "suggest_float"):
        raise TypeError(f"the first argument is {quoted(trial)}, expected the trial that the function got")
    return None


def number_of(value: Any, what: str) -> float:
    """Returns the number that is recorded for a value. Raises BadReport if it is not a number."""
    try:
        return bounded(float(value))
    except OverflowError:
        size = f"a whole number of {value.bit_length()} bits" if isinstance(value, int) else "too large"
        raise BadReport(f"{what} is {size}, expected at most 1.8e308") from None
    except Exception:  # noqa: BLE001  # RuntimeError of a tensor of many values; anything of the user's own classes
        raise BadReport(f"{what} is {quoted(value)} of type {type(value).__name__}, expected a number") from None


def wrong_name(name: str) -> str | None:
    """Returns why this cannot be the name of a metric, or None."""
    if 0 < len(name) <= LONGEST_NAME and name.isprintable():
        return None
    return f"a metric is called {quoted(name)}, expected 1 to {LONGEST_NAME} printable characters"


def python_values(given: Any) -> Any:
    """Converts numbers and short arrays of numpy, torch and others to Python's, also inside lists and dicts."""
    if isinstance(given, dict):
        return {python_values(name): python_values(value) for name, value in given.items()}
    if isinstance(given, list | tuple):
        return [python_values(value) for value in given]
    shape = getattr(given, "shape", None)
    if isinstance(shape, tuple) and hasattr(given, "tolist") and math.prod(shape) <= MAX_METRICS:
        return given.tolist()
    return given


def metrics_of(
    given: Mapping[Any, Any], wanted: Sequence[str] = (), left_out: Callable[[str], object] | None = None
) -> dict[str, float]:
    """Returns the metrics as they are recorded. Raises BadReport for a value that is not a number, or too many metrics.

    With `left_out`, a metric that cannot be recorded is passed to it and skipped instead. This excludes the `wanted`
    metrics, and the first one if only `value` is wanted, because it is then the trial's value.
    """
    if len(given) > MAX_METRICS:
        raise BadReport(f"{len(given)} metrics were given, expected at most {MAX_METRICS}: keep arrays in a file")
    needed = {*wanted, *(list(map(str, given))[:1] if VALUE in wanted and VALUE not in given else ())}
    found: dict[str, float] = {}
    for key, value in given.items():
        name = str(key)
        try:
            if (wrong := wrong_name(name)) is not None:
                raise BadReport(wrong)
            found[name] = number_of(value, f"the metric {name}")
        except BadReport as odd:
            if left_out is None or name in needed:
                raise
            left_out(str(odd))
    return found


def main_value(metrics: Mapping[str, float], wanted: str) -> float:
    """Returns the value of the study's metric, or of the first metric if the study names none. Raises BadReport."""
    if wanted in metrics:
        return metrics[wanted]
    if wanted == VALUE and metrics:
        return next(iter(metrics.values()))
    near = nearest(wanted, metrics)
    meant = f"; did you mean {near}?" if near is not None else ""
    raise BadReport(f"the metrics are {', '.join(metrics)[:200] or 'none'}, expected {wanted} among them{meant}")


def is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def peak_bytes() -> int | None:
    """Returns the largest resident size of this process so far; None except on Linux."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
