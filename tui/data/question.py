"""What a result answers: the jobs that ask the same as the selected one, and their cells over the first two axes.

One question at a time: values of another study, or of another task, are no neighbours of these. A study without axes
has one value, one with a single axis a column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.status import declared, formatting, naming
from fts.jobs.status.memoize import Once
from fts.state.values import JobStatus

if TYPE_CHECKING:
    from fts.state.values import Direction, Job
    from fts.tui.data.view import View


@dataclass(frozen=True)
class Grid:
    """The cells of one question by the first two axes of their study, named as their cells are."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], Job]


def grid_of(view: View) -> Grid:
    """The job that stands for each place: of several the one that was not cancelled, then the furthest."""
    return _grid((view.snapshot.jobs, view.snapshot.studies), view.job_id, lambda: _grid_of(view))


_grid: Once[Grid] = Once()


def _grid_of(view: View) -> Grid:
    cells = [job for job in alike(view) if job.kind in ("", "cell")]
    if not cells:
        return Grid((), (), {})
    study = declared.of_job(view.snapshot, cells[0])
    found: dict[tuple[str, str], Job] = {}
    rows: dict[str, int] = {}
    columns: dict[str, int] = {}
    for job in cells:
        row, column = _named(study, job, 0), _named(study, job, 1)
        held = found.get((row, column))
        if held is None or _weight(job) > _weight(held):
            found[row, column] = job
        place = (*study.place(job), 0, 0)
        rows[row], columns[column] = place[0], place[1]
    return Grid(tuple(sorted(rows, key=rows.__getitem__)), tuple(sorted(columns, key=columns.__getitem__)), found)


def _named(study: declared.Declared, job: Job, n: int) -> str:
    """Where a job stands on axis `n`, as its cell's name has it: h3 in `20M/h3`. Without that axis the study, or what
    the values are."""
    if n >= len(study.axes):
        return study.name if n == 0 else study.word(job.metric, job.direction)
    value = job.labels.get(study.axes[n].name)
    value = "—" if value is None else str(value)
    parts = [part.split(" ")[0] for part in naming.cell_name(job).split("/")]
    return parts[n] if n < len(parts) and parts[n].endswith(value) else value


def _weight(job: Job) -> tuple[bool, bool, int, int]:
    return job.status is not JobStatus.CANCELLED, job.best_value is not None, formatting.trials_ended(job), job.id


def of_bars(view: View) -> bool:
    """Whether the values are of the study of daily bars: one of several tasks, with baselines and a sealed test set."""
    asked = alike(view)
    return bool(asked and asked[0].task)


def alike(view: View) -> list[Job]:
    """The jobs that ask what the selected one asks; without one, what the first cell asks."""
    return _alike((view.snapshot.jobs, view.snapshot.studies), view.job_id, lambda: _asked_of(view))


_alike: Once[list[Job]] = Once()


def _asked_of(view: View) -> list[Job]:
    cells = [job for job in view.snapshot.jobs if job.kind == "cell"]
    first = view.job or next(iter(cells), None)
    if first is None:
        return []
    question = _question(view, first)
    return [job for job in view.snapshot.jobs if job.study == first.study and _question(view, job) == question]


def _question(view: View, job: Job) -> tuple[str, ...]:
    """What two values must have in common to stand in one matrix: study, the third axis and all behind it (`1pct`,
    tier), whose prices, how it is judged."""
    axes = declared.of_job(view.snapshot, job).axes[2:]
    labels = (str(job.labels.get(axis.name, "")).removeprefix("threshold_") for axis in axes)
    metric = "" if job.task else f"{job.metric} {job.direction}"
    return job.study, *labels, naming.ticker_of(job), str(job.spec.get("cv") or ""), metric


def questions(view: View) -> list[str]:
    """Every question by what tells it from the others, the shown one first; none where there is one."""
    return _every((view.snapshot.jobs, view.snapshot.studies), view.job_id, lambda: _questions_of(view))


_every: Once[list[str]] = Once()


def _questions_of(view: View) -> list[str]:
    shown = [_question(view, job) for job in alike(view)[:1]]
    asked = list(dict.fromkeys([*shown, *(_question(view, job) for job in view.snapshot.jobs if job.kind == "cell")]))
    if len(asked) < 2:
        return []
    studies = {parts[0] for parts in asked}
    names = []
    for study, *parts in asked:
        own = [each[1:] for each in asked if each[0] == study]
        differ = [len(set(alike)) > 1 for alike in zip(*own, strict=True)]
        told = [part for part, says in zip(parts, differ, strict=True) if says and part]
        names.append(" ".join([study] * (len(studies) > 1) + told))
    return [name or "one split" for name in names]


def question_of(view: View) -> str:
    """What the selected cell asks, where the study asks several questions: `2pct a25`; else nothing."""
    return next(iter(questions(view)), "")


def has_front(view: View) -> dict[str, Direction]:
    """The goals of the selected cell where there are several, else none."""
    job = view.job
    return dict(job.goals) if job is not None and job.kind == "cell" and len(job.goals) > 1 else {}


def objective(view: View) -> str:
    for job in alike(view):
        return declared.metric_word(view.snapshot, job)
    return "value"


def no_result(view: View) -> str:
    """Why there is no value to show: none has come yet, or the selected cell has ended without one."""
    if view.job is not None and view.job.kind == "cell" and view.job.status in formatting.ENDED:
        return f"{view.name}: {formatting.without_best(view.job)}"
    return "no result yet: the first value appears when a trial has ended"
