"""One running trial, seen from its process: what the function does becomes facts, what people ask reaches it."""

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
from fts.jobs.trial.error_text import asked_from, is_own
from fts.jobs.trial.process import Commands, Throttle, say
from fts.state.files import CannotWrite, atomic_write
from fts.state.values import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.api.spec import TrialSpec
    from fts.jobs.trial.checkpoint import Checkpoint


ASKS = "asks.json"  # in a checkpoint: whether the function asked to be judged at its last epoch, once that is known


LAST_STEP = 2**31
LONGEST_NAME = 100  # of a metric
MAX_METRICS = 1000  # of one epoch: a fact is one line


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

    def __init__(self, spec: TrialSpec, orders: Commands) -> None:
        self.spec, self.cell, self.orders = spec, spec.cell, orders
        self.number, self.seed, self.device, self.threads = spec.number, spec.seed, spec.device, spec.threads
        self.params: dict[str, Any] = dict(spec.params)
        self.axes: dict[str, str | int | float] = dict(spec.cell.axes)
        self.folder = Path(spec.folder).absolute()
        self.recorded = {str(draw["name"]): draw for draw in spec.draws}  # by this process, and before it
        self.reports: list[Report] = []
        self.judged: dict[int, bool] = {}  # epoch -> was it pruned there; of the epochs that the function asked about
        self.pace = Throttle(spec.checkpoint_every_s)
        self.checkpoints: Checkpoint | None = None  # once the function has asked for them
        self.trial: Any = None  # Optuna's, where the function gets one
        self.loaded: Path | None = None  # the checkpoint it goes on from, until anything new is done
        self.where = spec.cell.path.name  # with the line of the function, once it is loaded
        self.left = False  # Stopped was raised: whatever the function makes of it is no result
        self._next_draw = 1 + max((int(draw["k"]) for draw in spec.draws), default=-1)
        self._leaves = False  # a stop was asked, and the checkpoint for it is written
        self._unsettled: Path | None = None  # a checkpoint of an epoch of which nobody knows yet whether it is judged
        self._said_repeated = False
        self._said: set[str] = set()
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
        self.leave_if_struck()
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
        """What its sampler keeps for later trials; told before the value that was drawn with it."""
        self.orders.tell({"fact": "sampler", **attributes})

    def _tell_draw(self, name: str, value: Any, distribution: dict[str, Any]) -> None:
        draw = {"k": self._next_draw, "name": name, "value": value, "distribution": distribution}
        self._next_draw += 1
        self.recorded[name] = draw
        self.orders.tell({"fact": "draw", **draw})

    def report(self, step: int, value: float, metrics: dict[str, float]) -> None:
        """Tells one epoch. Raises Stopped after it, where a stop was asked and nothing can be saved."""
        if step > LAST_STEP:
            raise BadReport(f"the step is {step}, expected at most {LAST_STEP}")
        if self.orders.cut:
            self.stop()  # a handler of the person's may have cut this epoch short
        self.leave_if_struck()
        self._settle(asks=False)
        self.loaded = None
        report = Report(step, bounded(value), metrics)
        self.reports.append(report)
        self.orders.tell(report.fact())
        now = time.monotonic()
        self.step(step, step, value, now - self._last_report)
        self._last_report = now
        if self.stop_asked:
            self._late += 1
            if self._leaves or self.checkpoints is None or self._late > 1:
                self.stop()

    def numbers(self, given: Mapping[Any, Any], *wanted: str) -> dict[str, float]:
        """Metrics as they are recorded; of one that cannot be, the log says so once. Raises BadReport."""
        return metrics_of(given, wanted, self._left_out)

    def _left_out(self, why: str) -> None:
        if (about := why.partition(" is ")[0]) not in self._said:
            self._said.add(about)
            say(f"{why}; it is not on record")

    def repeated(self, step: int, value: float) -> None:
        """Says, once in a trial, that a second report of a step is ignored, as Optuna has it."""
        if not self._said_repeated:
            self._said_repeated = True
            place = asked_from(self.cell.path.parent.absolute()) or self.where
            say(f"step {step} was reported before: {value} is ignored, as each further value of a step is ({place})")

    def kept(self, name: str, facts: dict[str, Any]) -> None:
        """A file of the trial's folder that stays when it has ended: its md5, its bytes."""
        self.orders.tell({"fact": "kept", "name": name, **facts})

    def step(self, step: int, epoch: int, loss: float | None, step_s: float) -> None:
        if self.pace.step_due():
            self.orders.tell({"fact": "step", "step": step, "epoch": epoch, "loss": loss, "step_s": step_s})

    def checkpoint(self, saved: dict[str, Any]) -> None:
        """Tells of a checkpoint. Raises Stopped after it, where a stop was asked."""
        self.loaded = None
        self.orders.tell({"fact": "checkpoint", **saved})
        if self.unjudged:
            self._unsettled = Path(saved["path"])
        if self.stop_asked and self._unsettled is None:
            self.stop()
        self._leaves = self.stop_asked  # at its next call: whether it is pruned here is asked first, as without a stop

    # -- what it is told

    @property
    def stop_asked(self) -> bool:
        return self.orders.stop_asked()

    def leave_if_struck(self) -> None:
        """Raises Stopped after a signal that has also ended what the function had started, such as a program.

        A function may take its end for a poor value. What is on record was there before, and the trial goes on from it.
        """
        if self.orders.struck:
            self.stop()

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
                self._settle(asks=True)
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

    @property
    def unjudged(self) -> bool:
        """May the function still ask whether it is pruned at its last epoch?"""
        last = self.reports[-1].step if self.reports else None
        return self.cell.pruner != "none" and last is not None and last not in self.judged and self.may_ask

    @cached_property
    def may_ask(self) -> bool:
        """Does any file of the person's speak of pruning, or of callbacks, which may prune?"""
        return speaks_of_pruning(Path(self.cell.folder).absolute(), self.cell.path.absolute())

    def _settle(self, asks: bool) -> None:
        """Writes beside the latest checkpoint whether the function asks to be judged at its last epoch."""
        if self._unsettled is not None:
            with suppress(CannotWrite):  # then nobody knows, and the checkpoint before it is used
                atomic_write(self._unsettled / ASKS, json.dumps(asks), durable=False)
            self._unsettled = None

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


def speaks_of_pruning(folder: Path, *files: Path) -> bool:
    """Does any of these files, or of the modules that were imported from the folder?"""
    loaded = [
        Path(str(module.__file__))
        for name, module in list(sys.modules.items())
        if name.split(".")[0] != "fts" and getattr(module, "__file__", None)
    ]
    own = {file for file in loaded if file.suffix == ".py" and is_own(file, folder)} | set(files)
    return any(word in file.read_text(errors="replace").lower() for file in own for word in ("prun", "callback"))


def running_of(trial: Any) -> RunningTrial | None:
    """Behind the trial that a function got; None: it runs under plain Optuna. Raises TypeError for what is no trial."""
    running = getattr(trial, "running", None)
    if hasattr(running, "drew"):
        return running
    if not hasattr(trial, "suggest_float"):
        raise TypeError(f"the first argument is {trial!r:.80}, expected the trial that the function got")
    return None


def number_of(value: Any, what: str) -> float:
    """As it is recorded. Raises BadReport for what is no number."""
    try:
        return bounded(float(value))
    except OverflowError:
        size = f"a whole number of {value.bit_length()} bits" if isinstance(value, int) else "too large"
        raise BadReport(f"{what} is {size}, expected at most 1.8e308") from None
    except Exception:  # noqa: BLE001  # a tensor of many values: RuntimeError; a class of the person's: whatever it raises
        raise BadReport(f"{what} is {shown(value)} of type {type(value).__name__}, expected a number") from None


def wrong_name(name: str) -> str | None:
    """Why no metric can be recorded under it; None: one can."""
    if 0 < len(name) <= LONGEST_NAME and name.isprintable():
        return None
    return f"a metric is called {name!r:.80}, expected 1 to {LONGEST_NAME} printable characters"


def shown(value: Any) -> str:
    """At most 80 characters of it; also of what holds itself, or cannot be shown."""
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001  # of a class of the person's
        return "something"


def python_values(given: Any) -> Any:
    """Numbers and short arrays of numpy, torch and their like as Python's own, inside of lists and dicts, too."""
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
    """Metrics as they are recorded. Raises BadReport for what is no number, and for more than a record holds.

    `left_out` hears of those that cannot be recorded, which then cost the others nothing; but not of the `wanted` ones,
    nor of the first where these name the value alone: without it nothing is decided.
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


def deciding(metrics: Mapping[str, float], wanted: str) -> float:
    """The metric that the study optimises; its first one where the study names none. Raises BadReport."""
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
    """Largest resident size of this process so far; Linux."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
