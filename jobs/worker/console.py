"""Prints a worker's progress: live lines on a terminal, plain lines into a pipe or file."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from fts.jobs.status import formatting
from fts.jobs.status.naming import cell_name
from fts.jobs.status.sanitize import clean
from fts.jobs.supervisor.progress_events import (
    EpochReported,
    JobDone,
    JobExtended,
    JobLeft,
    JobStarted,
    Note,
    ProgressEvent,
    TrialEnded,
    TrialStarted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.state.values import Job

WIDTH = 16
BARS = " ▏▎▍▌▋▊▉█"
LONGEST = 100  # columns of a live line


@contextlib.contextmanager
def _full_disks_pass() -> Iterator[None]:
    """A log on a full disk loses lines; the worker waits for room, as it does when its own files have none."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


@dataclass
class JobLine:
    """The state of one running job that its live line shows."""

    name: str
    trials: int
    number: int = 0
    epoch: int = 0
    epochs: int = 0  # the maximum; 0: it is not declared
    value: float | None = None
    best: float | None = None
    started: float = field(default_factory=time.monotonic)
    ended: int = 0  # trials that ended since `started`
    deciding: str = "val_loss"  # the metric of an epoch's value


class Console:
    """Prints the supervisors' events. Thread-safe.

    A terminal has one live line per running job at the bottom; elsewhere each event is one line.
    """

    def __init__(self, out: TextIO | None = None, live: bool | None = None) -> None:
        self.out = out or sys.stderr
        self.live = self.out.isatty() if live is None else live
        self._lock = threading.Lock()
        self._jobs: dict[int, JobLine] = {}
        self._drawn = 0
        self._names: dict[str, int] = {}  # cell name -> the first job with that name

    def tell(self, event: ProgressEvent) -> None:
        with self._lock, _full_disks_pass():
            line = self._line(event)
            self._erase()
            if line:
                shown = "\n".join(clean(part) for part in line.split("\n"))  # error messages may contain anything
                # one write, also when unbuffered: other processes write lines into the same log
                print(f"{time.strftime('%H:%M:%S')}  {shown}\n", end="", file=self.out)
            self._draw()
            self.out.flush()

    def close(self) -> None:
        with self._lock, _full_disks_pass():
            self._erase()
            self._jobs.clear()

    # -- words

    def _line(self, event: ProgressEvent) -> str | None:
        if isinstance(event, Note):
            return event.text if event.job is None else f"{self._name(event.job)} {event.text}"
        job, name = event.job, self._name(event.job)
        line = JobLine(name, job.trials_wanted, best=job.best_value, deciding=job.deciding_metric)
        shown = self._jobs.setdefault(job.id, line)
        match event:
            case JobStarted():
                return f"{name}: {formatting.count(job.trials_wanted, 'trial')}, attempt {event.attempt}"
            case JobExtended():
                shown.trials = job.trials_wanted
                return f"{name}: extended to {formatting.count(job.trials_wanted, 'trial')}"
            case TrialStarted():
                return self._trial(shown, event.trial, job.steps or 0)
            case EpochReported():
                return self._epoch(shown, event.trial, event.epoch)
            case TrialEnded():
                return self._trial_ended(shown, event.trial)
            case JobDone() | JobLeft():
                self._jobs.pop(job.id, None)
                return f"{name}: {event.how if isinstance(event, JobLeft) else 'done'}"

    def _name(self, job: Job) -> str:
        """Returns the cell's name as in `fts status`; with #JOB if an earlier job has the same name."""
        name = cell_name(job)
        return name if self._names.setdefault(name, job.id) == job.id else f"{name}#{job.id}"

    def _trial(self, shown: JobLine, trial: Any, epochs: int) -> str:
        shown.number, shown.epoch, shown.epochs, shown.value = trial.number, trial.epochs, epochs, None
        verb = "continues" if trial.epochs else "starts"
        what = f": {trial.architecture}" if trial.architecture else ""
        return f"{shown.name} t{trial.number} of {shown.trials} {verb}{what}"

    def _epoch(self, shown: JobLine, trial: Any, epoch: dict[str, Any]) -> str | None:
        shown.number = trial.number  # several trials of a job may run
        value = epoch["value"] if "value" in epoch else epoch[shown.deciding]
        shown.epoch, shown.value = epoch["epoch"], value
        if self.live:
            return None  # the live line shows it
        if "metrics" in epoch:
            metrics = {shown.deciding: value} | epoch["metrics"]
        else:
            metrics = {"val_loss": epoch.get("val_loss"), "auc": epoch.get("val_auc")}
        numbers = [f"{name} {formatting.score(number)}" for name, number in metrics.items() if number is not None]
        pace = f" {epoch['samples_per_s']:.0f} samples/s" if epoch.get("samples_per_s") is not None else ""
        return f"{shown.name} t{shown.number} epoch {epoch['epoch']} {' '.join(numbers)}{pace}"

    def _trial_ended(self, shown: JobLine, trial: Any) -> str:
        shown.ended += 1
        if trial.value is not None and str(trial.status) == "complete":
            known = [shown.best] if shown.best is not None else []
            shown.best = trial.direction.best([*known, trial.value])
        epoch = f", best epoch {trial.best_epoch}" if trial.best_epoch is not None else ""  # baselines have none
        value = f"{trial.objective} {formatting.score(trial.value)}{epoch}" if trial.value is not None else ""
        return f"{shown.name} t{trial.number} {trial.status}: {value or trial.message or ''} ({trial.cause})"

    # -- the live lines

    def _draw(self) -> None:
        if not self.live:
            return
        room = min(self.columns - 1, LONGEST)  # a line that wraps would be erased only in part
        for shown in self._jobs.values():
            print(formatting.cut(live_line(shown), room), file=self.out)
        self._drawn = len(self._jobs)

    @property
    def columns(self) -> int:
        """Width of the terminal."""
        try:
            return os.get_terminal_size(self.out.fileno()).columns or LONGEST
        except OSError:
            return LONGEST

    def _erase(self) -> None:
        if self._drawn:
            self.out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0


class ConsoleLog(logging.Handler):
    """Prints log lines through a console, whose live lines would otherwise overwrite them."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.console.tell(Note(self.format(record)))
        except Exception:  # noqa: BLE001  # as logging's own handlers: an error of the log ends no work
            self.handleError(record)


def live_line(shown: JobLine) -> str:
    done = min(1.0, (shown.number + (shown.epoch / shown.epochs if shown.epochs else 0)) / max(1, shown.trials))
    value = f" now {formatting.score(shown.value)}" if shown.value is not None else ""
    best = f" best {formatting.score(shown.best)}" if shown.best is not None else ""
    place = f"t{shown.number}/{shown.trials} ep {shown.epoch}" + (f"/{shown.epochs}" if shown.epochs else "")
    return f"  {bar(done)} {shown.name} {place}{value}{best}{eta(shown)}"


def bar(share: float) -> str:
    eighths = round(max(0.0, min(1.0, share)) * WIDTH * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (BARS[part] if part else "")).ljust(WIDTH, "·")


def eta(shown: JobLine) -> str:
    """Returns the estimated time left, from the trials that ended in this worker; "" before the first one."""
    if not shown.ended:
        return ""
    left = (time.monotonic() - shown.started) / shown.ended * max(0, shown.trials - shown.number - 1)
    return f" eta {left / 60:.0f} min" if left > 90 else f" eta {left:.0f} s"
