"""Shows a person in a script how far its study is: one line that is rewritten on a terminal, else a line per change."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job

FEW = 3  # trials, before a pace is believed


class ProgressLine:
    """All of it goes to stderr: stdout belongs to the script."""

    def __init__(self, name: str, shown: bool = True) -> None:
        self.name, self.shown = name, shown
        self._line = ""  # what stands on the terminal, unfinished
        self._last = ""
        self._stands: object = None
        self._began: tuple[float, int] | None = None

    def show(self, jobs: Sequence[Job], n_trials: int) -> None:
        ended = sum(min(job.trials_ended, n_trials) for job in jobs)
        line = f"{self.name}: {ended} of {formatting.count(n_trials * len(jobs), 'trial')}"
        if len(jobs) == 1 and (best := jobs[0]).best_value is not None:
            one = f"best {formatting.number(best.best_value)} (t{best.best_trial})"
            line += f", {one if len(best.goals) == 1 else formatting.best_or_front(best)}"
        if line == self._last or not self.shown:
            return
        self._last = line
        self._put(line + self._left(ended, n_trials * len(jobs)))

    def _left(self, ended: int, wanted: int) -> str:
        """`, about 3 min left`, by the pace since this process looks."""
        if self._began is None:
            self._began = (time.monotonic(), ended)
        since, before = self._began
        if ended - before < FEW or ended >= wanted:
            return ""
        return f", about {formatting.spell((time.monotonic() - since) / (ended - before) * (wanted - ended))} left"

    def _put(self, line: str) -> None:
        if not sys.stderr.isatty():
            print(clean(line), file=sys.stderr, flush=True)
            return
        print(f"\r{clean(line):<{len(self._line)}}", end="", file=sys.stderr, flush=True)
        self._line = line

    def why(self, stands: object, reason: str) -> None:
        """Why nothing runs; once for each way in which it stands."""
        if stands != self._stands:
            self._stands = stands
            self.say(reason)

    def say(self, text: str) -> None:
        self.end()
        if self.shown:
            print(clean(text), file=sys.stderr, flush=True)

    def end(self) -> None:
        """The line that is being rewritten stays as it is."""
        if self._line:
            print(file=sys.stderr, flush=True)
            self._line = ""
