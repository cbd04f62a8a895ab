"""Arranges comparable results: the jobs whose values can be compared with the selected one, over the first two axes.

Jobs are comparable if they ask the same question: same study, same further axes, same data, same metric. The grid of a
study without axes has one value, that of a study with one axis one column.
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

MOST_COLUMNS, LEAST_ROWS = 4, 2  # of small charts beside each other; of a small chart below its heading


@dataclass(frozen=True)
class ResultGrid:
    """Comparable jobs by their values on the first two axes, written as in the cell names."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], Job]


def grid_of(view: View) -> ResultGrid:
    """Returns the grid of the selected job. Of several jobs in one place it holds the most relevant (`_weight`)."""
    return _grid((view.snapshot.jobs, view.snapshot.studies), view.job_id, lambda: _grid_of(view))


_grid: Once[ResultGrid] = Once()


def _grid_of(view: View) -> ResultGrid:
    cells = [job for job in comparable_jobs(view) if job.kind in ("", "cell")]
    if not cells:
        return ResultGrid((), (), {})
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
    return ResultGrid(tuple(sorted(rows, key=rows.__getitem__)), tuple(sorted(columns, key=columns.__getitem__)), found)


def columns_in_sight(view: View, grid: ResultGrid, room: int) -> tuple[list[str], list[str]]:
    """Returns the columns that fit, including the one of the selected cell, and the other columns."""
    at = next((key[1] for key, job in grid.cells.items() if job.id == view.job_id), None)
    place = grid.columns.index(at) if at in grid.columns else 0
    first = min(max(place - room + 1, 0), max(len(grid.columns) - room, 0))
    shown = list(grid.columns[first : first + room])
    return shown, [each for each in grid.columns if each not in shown]


def rows_in_sight(view: View, height: int) -> list[str]:
    """Returns the rows of the grid for which there is room, among them that of the selected cell."""
    grid, room = grid_of(view), max((height - 1) // (LEAST_ROWS + 1), 1)
    at = next((key[0] for key, job in grid.cells.items() if job.id == view.job_id), None)
    place = grid.rows.index(at) if at in grid.rows else 0
    first = min(max(place - room // 2, 0), max(len(grid.rows) - room, 0))
    return list(grid.rows[first : first + room])


def jobs_in_sight(view: View, height: int) -> tuple[int, ...]:
    """Returns the ids of the jobs of which a small chart is shown on a screen of that height."""
    grid = grid_of(view)
    columns, _ = columns_in_sight(view, grid, MOST_COLUMNS)
    places = ((row, column) for row in rows_in_sight(view, height) for column in columns)
    return tuple(grid.cells[place].id for place in places if place in grid.cells)


def _named(study: declared.Declared, job: Job, n: int) -> str:
    """Returns a job's value on axis `n` as its cell name writes it: h3 of `20M/h3`.

    For a study without that axis: its name (rows) or its metric (columns).
    """
    if n >= len(study.axes):
        return study.name if n == 0 else study.word(job.metric, job.direction)
    value = job.labels.get(study.axes[n].name)
    value = "—" if value is None else str(value)
    parts = [part.split(" ")[0] for part in naming.cell_name(job).split("/")]
    return parts[n] if n < len(parts) and parts[n].endswith(value) else value


def _weight(job: Job) -> tuple[bool, bool, int, int]:
    """Orders jobs of one place: not cancelled first, then with a value, then by ended trials, then the newest."""
    return job.status is not JobStatus.CANCELLED, job.best_value is not None, formatting.trials_ended(job), job.id


def of_bars(view: View) -> bool:
    """Returns whether the values are of the study of daily bars, which has baselines and a sealed test set."""
    jobs = comparable_jobs(view)
    return bool(jobs and jobs[0].task)


def comparable_jobs(view: View) -> list[Job]:
    """Returns the jobs that are comparable with the selected one; with the first cell if none is selected."""
    return _comparable((view.snapshot.jobs, view.snapshot.studies), view.job_id, lambda: _find_comparable(view))


_comparable: Once[list[Job]] = Once()


def _find_comparable(view: View) -> list[Job]:
    cells = [job for job in view.snapshot.jobs if job.kind == "cell"]
    first = view.job or next(iter(cells), None)
    if first is None:
        return []
    question = _question(view, first)
    return [job for job in view.snapshot.jobs if job.study == first.study and _question(view, job) == question]


def _question(view: View, job: Job) -> tuple[str, ...]:
    """Returns what two jobs must share to be comparable: study, third and further axes (threshold, tier), ticker,
    cross-validation, metric."""
    axes = declared.of_job(view.snapshot, job).axes[2:]
    labels = (str(job.labels.get(axis.name, "")).removeprefix("threshold_") for axis in axes)
    metric = "" if job.task else f"{job.metric} {job.direction}"
    return job.study, *labels, naming.ticker_of(job), str(job.spec.get("cv") or ""), metric


def questions(view: View) -> list[str]:
    """Names every question by the parts in which it differs, the shown one first; empty if there is only one."""
    return _every((view.snapshot.jobs, view.snapshot.studies), view.job_id, lambda: _questions_of(view))


_every: Once[list[str]] = Once()


def _questions_of(view: View) -> list[str]:
    shown = [_question(view, job) for job in comparable_jobs(view)[:1]]
    asked = list(dict.fromkeys([*shown, *(_question(view, job) for job in view.snapshot.jobs if job.kind == "cell")]))
    if len(asked) < 2:
        return []
    studies = {parts[0] for parts in asked}
    names = []
    for study, *parts in asked:
        own = [each[1:] for each in asked if each[0] == study]
        differs = [len(set(values)) > 1 for values in zip(*own, strict=True)]
        named = [part for part, does in zip(parts, differs, strict=True) if does and part]
        names.append(" ".join([study] * (len(studies) > 1) + named))
    return [name or "one split" for name in names]


def question_of(view: View) -> str:
    """Names the question of the selected cell if there are several: `2pct a25`; else an empty string."""
    return next(iter(questions(view)), "")


def has_front(view: View) -> dict[str, Direction]:
    """Returns the goals of the selected cell if it has several, else an empty dict."""
    job = view.job
    return dict(job.goals) if job is not None and job.kind == "cell" and len(job.goals) > 1 else {}


def objective(view: View) -> str:
    for job in comparable_jobs(view):
        return declared.metric_word(view.snapshot, job)
    return "value"


def no_result(view: View) -> str:
    """Says why there is no value to show: no trial has ended yet, or the selected cell ended without a value."""
    if view.job is not None and view.job.kind == "cell" and view.job.status in formatting.ENDED:
        return f"{view.name}: {formatting.without_best(view.job)}"
    return "no result yet: the first value appears when a trial has ended"
