"""The tasks that a cell may predict, by name; computing labels is in fts.data.labels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fts.raising import quoted

_NAME = re.compile(r"threshold_(\d{1,2}(?:\.\d{1,3})?)pct(_close)?")


class UnknownTask(ValueError):
    """The name is not of the form threshold_1pct or threshold_1pct_close."""


@dataclass(frozen=True)
class Task:
    """The question whether the price rises by at least `percent` within the horizon."""

    name: str  # threshold_1pct
    percent: float
    on: str  # high: any high within the horizon counts; close: only closes count

    @property
    def definition(self) -> str:
        """The versioned name: v1 is the earlier scripts' rule on closes, v2 their corrected rule on highs."""
        return f"threshold_{self.percent:g}pct.{'high.v2' if self.on == 'high' else 'close.v1'}"

    @property
    def sentence(self) -> str:
        column = self.on.capitalize()
        return f"y[t] = 1 iff max({column}[t+1..t+H]) >= {1 + self.percent / 100:g} * Close[t]"


def task(name: str) -> Task:
    """Parses `threshold_1pct`, `threshold_1pct_close`, `threshold_0.5pct` ... Raises UnknownTask."""
    match = _NAME.fullmatch(name)
    percent = float(match[1]) if match else 0.0
    if not match or percent <= 0 or name != f"threshold_{percent:g}pct{match[2] or ''}":
        raise UnknownTask(
            f"no task {quoted(name, 60)}; a task is called threshold_1pct (on highs) or threshold_1pct_close, with any "
            "percentage from 0.001 to 99"
        )
    return Task(name, percent, "close" if match[2] else "high")


def is_task(name: str) -> bool:
    """Whether `task` accepts this name."""
    try:
        task(name)
    except UnknownTask:
        return False
    return True


# the tasks of the study; `task` accepts any percentage
TASKS: dict[str, Task] = {
    name: task(name) for name in ("threshold_1pct", "threshold_1pct_close", "threshold_2pct", "threshold_0.5pct")
}
