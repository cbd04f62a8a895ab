"""Reads what a study declares about itself, from the database: axes, metrics, facts, its word for a step.

So a monitor on another machine can show a study without its code. Undeclared axes are taken from the labels of the
jobs, with values in the order in which the jobs were enqueued.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.study import Axis, Fact, Metric
from fts.jobs.status import formatting
from fts.jobs.status.memoize import Once
from fts.state.values import LITTLE, Direction, Job, Snapshot, StudyRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ARROWS = {Direction.MINIMIZE: "↓", Direction.MAXIMIZE: "↑"}
SHORT = {"epoch": "ep"}  # short words for a step, next to its number


@dataclass(frozen=True)
class Declared:
    """The declaration of one study."""

    name: str
    axes: tuple[Axis, ...] = ()  # with every value that occurs, in the order of tables
    metrics: tuple[Metric, ...] = ()
    step: str = "epoch"
    facts: tuple[Fact, ...] = ()

    def fact(self, name: str) -> Fact:
        """Returns the declared fact, or a default one."""
        return next((fact for fact in self.facts if fact.name == name), Fact(name))

    def metric(self, name: str) -> Metric | None:
        return next((metric for metric in self.metrics if metric.name == name), None)

    def word(self, metric: str, direction: Direction | None) -> str:
        """Returns the study's label for a metric, `AUC`, else its name with the better direction: `value ↓`."""
        found = self.metric(metric)
        if found is not None and found.label:
            return found.label
        return metric if direction is None else f"{metric} {ARROWS[direction]}"

    def place(self, job: Job) -> tuple[int, ...]:
        """Returns the index of the job's value on each axis, as a sort key."""
        return tuple(_index(axis, job) for axis in self.axes)

    @property
    def short_step(self) -> str:
        """Returns `ep` for epoch, else the study's own word."""
        return SHORT.get(self.step, self.step)


def _index(axis: Axis, job: Job) -> int:
    value = job.labels.get(axis.name)
    return axis.values.index(value) if value in axis.values else len(axis.values)


def declared(snapshot: Snapshot, study: str) -> Declared:
    """Returns a study's declaration, completed from its jobs."""
    return _all(snapshot).get(study) or Declared(study)


def of_job(snapshot: Snapshot, job: Job) -> Declared:
    """Returns the declaration of a job's study."""
    return declared(snapshot, job.study)


def studies_of(snapshot: Snapshot) -> tuple[str, ...]:
    """Returns the names of the studies that have jobs, the oldest first."""
    return tuple(_all(snapshot))


def metric_word(snapshot: Snapshot, job: Job) -> str:
    """Returns the label of a job's metric: `AUC`, `loss ↓`, `accuracy ↑`."""
    return of_job(snapshot, job).word(job.metric, job.direction)


def step_word(snapshot: Snapshot, job: Job | None) -> str:
    """Returns the study's short word for a step, such as `ep`."""
    return SHORT["epoch"] if job is None else of_job(snapshot, job).short_step


def steps_of(job: Job | None) -> int | None:
    """Returns the largest number of steps of a trial; None if unknown."""
    return None if job is None else job.steps


SMALL = 9  # width of `-3.215e-5`


def shown(value: float | None, columns: int = 6, small: int = SMALL) -> str:
    """Formats a metric's value in `columns` columns: 0.6841, 12.345; values below 0.1 in `small`: 0.03215, 3.215e-5."""
    if value is None or not math.isfinite(value):
        return formatting.score(value)
    if 0.0 < abs(value) < SMALLER:
        texts = [formatting.score(value, digits) for digits in (4, 3, 2, 1)]
        return next((text for text in texts if len(text) <= small), texts[-1])
    for digits in (4, 3, 2, 1, 0):
        text = f"{value:.{digits}f}"
        if len(text) <= columns:
            return text
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


SMALLER = 0.1  # below this, four decimals show less than four significant digits


def best_of(job: Job, columns: int = 6) -> str:
    """Formats the best value of a job; with several goals the size of its front: `front 7`, or `7` if too long."""
    if len(job.goals) == 1:
        return shown(job.best_value, small=columns)
    if not job.front:
        return shown(None)
    word = f"front {len(job.front)}"
    return word if len(word) <= columns else str(len(job.front))


def short(value: float | None, columns: int = 6, small: int = SMALL) -> str:
    """Formats like `shown`, without the zero before the point."""
    less_than_one = value is not None and 0 <= value < 1
    has_point = value is not None and LITTLE <= value < 1  # smaller values have an exponent
    text = shown(value, columns + less_than_one, small + has_point)
    return text[1:] if text.startswith("0.") else text


def brief(value: float | None) -> str:
    """Formats a value briefly: .684, 1.045, 99.73."""
    return short(value, 4 if value is not None and 0 <= value < 1 else 5, 7)


# ---------------------------------------------------------------- from the database


def _all(snapshot: Snapshot) -> Mapping[str, Declared]:
    """Returns all declarations by study name; computed once per snapshot, because a screen asks in every line."""
    return _known((snapshot.jobs, snapshot.studies), None, lambda: _read_all(snapshot))


_known: Once[dict[str, Declared]] = Once(most=2)


def _read_all(snapshot: Snapshot) -> dict[str, Declared]:
    own: dict[str, list[Job]] = {}
    for job in sorted(snapshot.jobs, key=lambda job: job.id):
        own.setdefault(job.study, []).append(job)
    return {name: read(name, snapshot.studies.get(name), jobs) for name, jobs in own.items()}


def read(name: str, record: StudyRecord | None, jobs: Sequence[Job]) -> Declared:
    """Builds the declaration from the stored record and the jobs; skips entries that fts never writes."""
    found = record.declaration if record is not None else {}
    axes = [
        Axis(_text(each["name"]), _text(each.get("label")), tuple(_list(each.get("values"))))
        for each in _list(found.get("axes"))
        if isinstance(each, dict) and each.get("name")
    ]
    known = {axis.name for axis in axes}
    more = dict.fromkeys(label for job in jobs for label in job.labels if label not in known)
    metrics = [
        Metric(
            _text(each["name"]),
            _text(each.get("label")),
            _text(each.get("goal")) or None,
            _text(each.get("format")) or Metric.format,
        )
        for each in _list(found.get("metrics"))
        if isinstance(each, dict) and each.get("name")
    ]
    return Declared(
        name,
        tuple(_with_values(axis, jobs) for axis in (*axes, *map(Axis, more))),
        tuple(metrics),
        _text(found.get("step")) or "epoch",
        tuple(
            Fact(
                _text(each["name"]),
                _text(each.get("label")),
                _text(each.get("unit")),
                _text(each.get("format")),
                tuple(map(_text, _list(each.get("shown")))) if "shown" in each else Fact.shown,
            )
            for each in _list(found.get("facts"))
            if isinstance(each, dict) and each.get("name")
        ),
    )


def _with_values(axis: Axis, jobs: Iterable[Job]) -> Axis:
    """Adds values that occur in jobs to those declared: numbers sorted, then texts in job order."""
    seen = dict.fromkeys(job.labels[axis.name] for job in jobs if axis.name in job.labels)
    more = [value for value in seen if value not in axis.values]
    numbers = sorted(value for value in more if isinstance(value, int | float))
    texts = [value for value in more if not isinstance(value, int | float)]
    return Axis(axis.name, axis.label, (*axis.values, *numbers, *texts))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
