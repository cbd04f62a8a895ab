"""Shows the progress of a study in a script: one line that is rewritten on a terminal, else a new line per change."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from fts.state.values import Job

FEW = 3  # least number of trials for an estimate of the time left


class ProgressLine:
    """Writes to stderr, because stdout belongs to the script."""

    def __init__(self, name: str, shown: bool = True) -> None:
        self.name, self.shown = name, shown
        self._line = ""  # the unfinished line on the terminal
        self._last = ""
        self._state: object = None  # the state for which why() has printed the reason
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
        """Returns `, about 3 min left`, from the pace since this process began to watch."""
        if self._began is None:
            self._began = (time.monotonic(), ended)
        since, before = self._began
        if ended - before < FEW or ended >= wanted:
            return ""
        return f", {formatting.about((time.monotonic() - since) / (ended - before) * (wanted - ended))} left"

    def _put(self, line: str) -> None:
        text = clean(line)
        if not sys.stderr.isatty():
            print(text, file=sys.stderr, flush=True)
            return
        text = formatting.cut(text, columns_of(sys.stderr) - 1)  # \r returns to the last row of a line that wraps
        blanks = " " * (formatting.width(self._line) - formatting.width(text))  # over the rest of the former line
        print(f"\r{text}{blanks}", end="", file=sys.stderr, flush=True)
        self._line = text

    def why(self, state: object, reason: str) -> None:
        """Prints why nothing runs, once per state."""
        if state != self._state:
            self._state = state
            self.say(reason)

    def say(self, text: str) -> None:
        self.end()
        if self.shown:
            print(clean(text), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Ends the line that is being rewritten."""
        if self._line:
            print(file=sys.stderr, flush=True)
            self._line = ""


def columns_of(stream: TextIO) -> int:
    """Returns the width of the stream's terminal; 80 if it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
