"""The matrix of best values over the first two axes of a study, and the lines below it: signs, test set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import declared, formatting, naming, trial_facts
from fts.state.values import Direction, JobStatus
from fts.tui.data.result_grid import (
    columns_in_sight,
    comparable_jobs,
    grid_of,
    has_front,
    objective,
    of_bars,
    questions,
)
from fts.tui.data.view import RESULTS, View
from fts.tui.render.text import Line, Span, line, with_role
from fts.tui.widgets import learning_curve, queue_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fts.state.values import Job, Margin, Opening
    from fts.tui.data.view import View

NAME, MOST_NAME = 6, 24  # columns of a row's name, at least and at most
COLUMN, INTERVAL = 16, 24  # columns of a cell; of a cell with the difference to the baseline and its interval below
SEALED = "validation only: the test set is sealed until `fts final` opens it for a cell"
SEALED_BRIEF = "validation only: the test set is sealed"
OPENED = 3  # openings named; more are counted
SHADES = "░▒▓█"
SIGNS = "░▒▓█ from the worst to the best value · trials ended, ★ best of its horizon, state · ► in front: cursor"
SIGNS_BRIEF = "░ worst … █ best value · ★ best of its horizon"
SIGNS_ANY = "░▒▓█ from the worst to the best value · trials ended, ★ best of the study, state · ► in front: cursor"
SIGNS_ANY_BRIEF = "░ worst … █ best value · ★ best of the study"


def matrix(view: View, width: int) -> list[Line]:
    """Paints a row for each value of the first axis, a column for each of the second: best value, shade, trials, state.

    Below each value its difference to the baseline, if there is one.
    """
    grid = grid_of(view)
    best = queue_table.best_ids(view)
    name = max(min(max((formatting.width(row) for row in grid.rows), default=0) + 1, MOST_NAME), NAME)
    roomy = width >= name + INTERVAL * len(grid.columns)
    column = INTERVAL if roomy and view.snapshot.margins else COLUMN
    columns, left_out = columns_in_sight(view, grid, max((width - name) // column, 1))
    head: list[Span] = [(formatting.fit("", name), "")]
    metric = metric_shown(view)
    plain = not view.job or len(declared.of_job(view.snapshot, view.job).axes) < 2  # then the heading is the metric
    head += [
        (formatting.fit(f"  {_word(view, metric) if metric and plain else each}", column), "dim") for each in columns
    ]
    lines: list[Line] = [tuple(head)]
    values = _values(view, grid.cells.values())
    for row in grid.rows:
        spans: list[Span] = [(formatting.fit(row, name), "")]
        below: list[Span] = [(formatting.fit("", name), "")]
        for each in columns:
            job = grid.cells.get((row, each))
            spans += _matrix_cell(view, job, values, best, column)
            below.append(_difference(view.snapshot.margin(job.id) if job else None, column))
        lines += [tuple(spans), *([tuple(below)] if any(text.strip() for text, _ in below) else [])]
    if left_out:
        lines.append(line((formatting.cut(f"not in sight: {', '.join(left_out)}; [ and ] go there", width), "dim")))
    return lines


def _matrix_cell(view: View, job: Job | None, values: Mapping[int, float], best: set[int], column: int) -> Line:
    if job is None:
        return ((formatting.fit("  —", column), "dim"),)
    role = "best" if job.id in best else ""
    lost = bool(view.glance.lost(job))
    state = formatting.LOST if lost else formatting.glyph_of(job.status)
    state = " " if job.status is JobStatus.DONE else state
    sign = f"★{state}" if job.id in best else state
    value, metric = values.get(job.id), metric_shown(view)
    wide = 8 if any(0.0 < abs(one) < declared.SMALLER for one in values.values()) else 6
    text = declared.short(value, 5, wide)
    goal = (job.goals.get(metric) or _goal(view, metric)) if metric else job.direction
    shade = _shade(value, list(values.values()), goal) if value is not None and goal is not None else " "
    count = f"{formatting.trials_ended(job):3d}" if value is not None else "   "
    room = column - 4 - wide - len(count)
    cell: Line = (
        (formatting.fit(f"  {text}", 2 + wide), role),
        (shade, "running"),
        (f" {count}", "dim"),
        (formatting.fit(sign[: max(room, 1)], max(room, 1)), role or ("lost" if lost else str(job.status))),
    )
    if job.id != view.job_id or view.screen != RESULTS:
        return cell
    return with_role(((" ►", "key"), (formatting.fit(text, wide), role), *cell[1:]), "cursor")


def _shade(value: float, values: Sequence[float], direction: Direction) -> str:
    low, high = min(values), max(values)
    part = (value - low) / (high - low) if high > low else 0.5
    part = part if direction is Direction.MAXIMIZE else 1 - part
    return SHADES[min(int(part * 4), 3)]


def _difference(margin: Margin | None, column: int) -> Span:
    """Formats a difference of AUC: `+.012 [-.004, +.028]`; if that does not fit `+.012?`, ? if the interval has 0."""
    if margin is None:
        return formatting.fit("", column), ""
    open_ = margin.auc_low <= 0 <= margin.auc_high
    text = f"  {learning_curve.signed(margin.auc)}"
    between = f" [{learning_curve.signed(margin.auc_low)}, {learning_curve.signed(margin.auc_high)}]"
    text += between if column >= INTERVAL else "?" if open_ else ""
    return formatting.fit(text, column), "dim" if open_ else "done" if margin.auc > 0 else "failed"


def below_matrix(view: View, width: int) -> list[Line]:
    """Paints the lines below the matrix: baseline, signs, results that are not in it, the test set."""
    bars = of_bars(view)
    full, brief = (SIGNS, SIGNS_BRIEF) if bars else (SIGNS_ANY, SIGNS_ANY_BRIEF)
    signs = line((full if width >= formatting.width(full) else brief, "dim"))
    compared = [legend(view, width)] if view.snapshot.margins else []
    return [*compared, signs, *other_questions(view, width), *([(), *seal_lines(view, width)] if bars else [])]


def legend(view: View, width: int) -> Line:
    """Explains the difference below each value."""
    comparable = {job.id for job in comparable_jobs(view)}
    rivals = {margin.rival for margin in view.snapshot.margins if margin.job_id in comparable}
    rival = f" ({next(iter(rivals))})" if len(rivals) == 1 else ""
    full = f"below: its best trial's AUC minus the best baseline's{rival}, 95 % interval, paired by day"
    brief = "below: AUC minus the best baseline's, 95 % interval" if width >= 78 else "below: AUC minus the baseline's"
    return line((full if formatting.width(full) <= width else brief, "dim"))


def other_questions(view: View, width: int) -> list[Line]:
    """Names the questions whose results are not in this matrix."""
    others = questions(view)[1:]
    return (
        [line((formatting.cut(f"not in this table: {', '.join(others)}; [ and ] go there", width), "dim"))]
        if others
        else []
    )


def seal_lines(view: View, width: int) -> list[Line]:
    """Says that the test set is sealed, or for which cells it was opened: when, by whom, which trial, the result."""
    opened = view.details.openings
    if not opened:
        return [line((SEALED if width >= len(SEALED) else SEALED_BRIEF, "dim"))]
    names = naming.names_of(view.snapshot.jobs)
    openings = [
        f"test set of {names.get(o.job_id, o.experiment)} opened {formatting.when(o.at, view.now)} by {o.who} "
        f"for t{o.trial}{_tested(o)}"
        for o in opened[-OPENED:]
    ]
    more = f" and {len(opened) - OPENED} more" if len(opened) > OPENED else ""
    openings[-1] += f"{more}; sealed for every other cell"
    return [line((formatting.cut(text, width), "look")) for text in openings]


def _tested(opened: Opening) -> str:
    """Returns the result of an opened test set, `: test AUC .671`, once it was evaluated."""
    scores = opened.scores or {}
    known = [scores[name] for name in ("auc", "auc_low", "auc_high") if isinstance(scores.get(name), int | float)]
    if not known:
        return ", not evaluated yet"
    between = f" [{', '.join(formatting.short_score(value, 3) for value in known[1:])}]" if len(known) == 3 else ""
    return f": test AUC {formatting.short_score(known[0], 3)}{between}"


def shown(view: View) -> str:
    """Says what the matrix shows: `best loss ↓`, `best loss ↓, the first of 2 goals`,
    `val_acc of the trial with the best loss ↓`."""
    goals, metric = has_front(view), metric_shown(view)
    if metric:
        return f"{_word(view, metric)} of the trial with the best {objective(view)}"
    return f"best {objective(view)}" + (f", the first of {len(goals)} goals" if goals else "")


def metric_shown(view: View) -> str:
    """Returns the metric that `m` has chosen instead of the objective; empty: none."""
    names = learning_curve.metrics_of_results(view) if view.metric else []
    return view.metric if view.metric in names[1:] else ""


def _word(view: View, metric: str) -> str:
    """Returns the name of a metric with the arrow of its goal, if it has one."""
    if view.job is None:
        return metric
    goal = view.job.goals.get(metric) or _goal(view, metric)
    return declared.of_job(view.snapshot, view.job).word(metric, goal)


def _goal(view: View, metric: str) -> Direction | None:
    known = declared.of_job(view.snapshot, view.job).metric(metric) if view.job is not None else None
    return Direction(known.goal) if known is not None and known.goal in tuple(Direction) else None


def _values(view: View, jobs: Iterable[Job]) -> dict[int, float]:
    """Returns by job id the value that the matrix shows: the best value, or the chosen metric of the best trial."""
    metric = metric_shown(view)
    if not metric:
        return {job.id: job.best_value for job in jobs if job.best_value is not None}
    best = {(t.job_id, t.number): t for t in view.snapshot.trials}
    trials = {job.id: best.get((job.id, job.best_trial or 0)) for job in jobs if job.best_trial is not None}
    values = {id_: trial_facts.metrics_of(trial).get(metric) for id_, trial in trials.items() if trial is not None}
    return {id_: float(value) for id_, value in values.items() if isinstance(value, int | float)}
