"""Screen 6: the matrix over the first two axes with its best values, and what they rest on.

One question at a time, that of the selected cell: values of another study, or of another task, are no neighbours of
these. A study without axes has one value, one with a single axis a column.

Of the study of daily bars also how values grow with size; it is judged on validation only: the test set stays sealed
until a person opens it for one cell (`fts final`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.containers import Horizontal

from fts.jobs.status import declared, formatting, naming, trial_facts
from fts.state.values import Direction, Job, JobStatus, Margin, Opening
from fts.tui.data.once import Once
from fts.tui.data.trial_store import by_number
from fts.tui.data.view import RESULTS, View
from fts.tui.render.text import Line, Span, labelled, line, rule, walled, with_role, wrapped
from fts.tui.screens.base import MonitorScreen
from fts.tui.widgets import event_list, front_chart, learning_curve, queue_table, slices, trial_table
from fts.tui.widgets.pane import Pane
from fts.tui.widgets.trial_facts import facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAME, MOST_NAME = 6, 24  # columns of a row's name
COLUMN, INTERVAL = 16, 24  # columns of a cell; where its difference to the baseline stands below with its interval
CHANCE = "a random number"  # as large a share as it may have
SEALED = "validation only: the test set is sealed until `fts final` opens it for a cell"
SEALED_BRIEF = "validation only: the test set is sealed"
OPENED = 3  # openings named; more are counted
SHADES = "░▒▓█"
SIGNS = "░▒▓█ from the worst to the best value · ★ best of its horizon · number of trials ended · ► cursor"
SIGNS_BRIEF = "░ worst … █ best value · ★ best of its horizon"
SIGNS_ANY = "░▒▓█ from the worst to the best value · ★ best of the study · number of trials ended · ► cursor"
SIGNS_ANY_BRIEF = "░ worst … █ best value · ★ best of the study"


def results(view: View, width: int, height: int) -> list[Line]:
    """The matrix with what its signs mean; in fewer lines the rows around the selected cell."""
    named = question_of(view)
    where = " on validation" if of_bars(view) else ""
    hint = "w writes them" if width >= 70 else ""
    whole = f"{f'results of {named}' if named else 'results so far'} · {_shown(view)}{where} · n trials"
    parts = (whole, whole.removesuffix(" · n trials"), f"{_shown(view)}{where}", _shown(view))
    room = width - formatting.width(hint) - 7
    title = next((text for text in parts if formatting.width(text) <= room), parts[-1])
    above = rule(title, hint, width, view.focus == "results")
    table, rest = matrix(view, width), _below_matrix(view, width)
    if len(table) + len(rest) + 1 > height:
        table = matrix(view, width, height - 1 - len(rest))
    return [above, *table, *rest]


def _below_matrix(view: View, width: int) -> list[Line]:
    """What its values are compared with, its signs, the questions it leaves out, the seal."""
    bars = of_bars(view)
    full, brief = (SIGNS, SIGNS_BRIEF) if bars else (SIGNS_ANY, SIGNS_ANY_BRIEF)
    signs = line((full if width >= formatting.width(full) else brief, "dim"))
    compared = [legend(view, width)] if view.snapshot.margins else []
    return [*compared, signs, *other_questions(view, width), *([(), *seal_lines(view, width)] if bars else [])]


def rows_of(view: View, width: int) -> int:
    """Lines that all of it takes, and a blank one below."""
    return len(matrix(view, width)) + len(_below_matrix(view, width)) + 2


class ResultsScreen(MonitorScreen):
    """The matrix above, what its values come to below, and the selected cell beside that where it is wide."""

    DEFAULT_CSS = """
    ResultsScreen {
        #matrix { height: auto; max-height: 100%; }
        #cell { width: 40%; }
        &.-w40, &.-w70 { #cell { display: none; } }
    }
    """

    def panes(self) -> Iterable[Pane]:
        yield Pane("results", results, rows=rows_of, id="matrix")
        with Horizontal():
            yield Pane("best", below)
            yield Pane("cell", walled(cell), id="cell")


def below(view: View, width: int, height: int) -> list[Line]:
    """What stands below the matrix: how values grow with size, the front, or the best trials; then slices."""
    goals = has_front(view)
    if of_bars(view):
        title, draw = "value against size", scaling
    elif goals:
        title, draw = f"front of {view.name}: no other trial is better in every goal", on_front
    else:
        title, draw = "best trials", winners
    picture = front_chart.front(view, width, max(min((height - 1) * 3 // 5, 22), 0)) if goals else []
    rows = draw(view, width, height - 1 - len(picture))
    lines = [rule(title, "", width, view.focus == "best"), *picture, *rows][:height]
    room = height - len(lines) - 1
    drawn = slices.slices(view, width, min(room, 16)) if room >= slices.LEAST_HIGH else []
    return [*lines, (), *drawn] if drawn else lines


def _shown(view: View) -> str:
    """`best loss ↓`, `best loss ↓, the first of 2 goals`, `val_acc of the trial with the best loss ↓`."""
    goals, metric = has_front(view), metric_shown(view)
    if metric:
        return f"{_word(view, metric)} of the trial with the best {_objective(view)}"
    return f"best {_objective(view)}" + (f", the first of {len(goals)} goals" if goals else "")


def metric_shown(view: View) -> str:
    """The metric that `m` has chosen instead of the one that decides; empty: none."""
    names = learning_curve.metrics_of_results(view) if view.metric else []
    return view.metric if view.metric in names[1:] else ""


def _word(view: View, metric: str) -> str:
    """The metric with the arrow of its goal, where it has one."""
    if view.job is None:
        return metric
    goal = view.job.goals.get(metric) or _goal(view, metric)
    return declared.of_job(view.snapshot, view.job).word(metric, goal)


def _goal(view: View, metric: str) -> Direction | None:
    known = declared.of_job(view.snapshot, view.job).metric(metric) if view.job is not None else None
    return Direction(known.goal) if known is not None and known.goal in tuple(Direction) else None


def _values(view: View, jobs: Iterable[Job]) -> dict[int, float]:
    """Job id -> what the matrix shows of it: its best value, or the chosen metric of its best trial."""
    metric = metric_shown(view)
    if not metric:
        return {job.id: job.best_value for job in jobs if job.best_value is not None}
    best = {(t.job_id, t.number): t for t in view.snapshot.trials}
    trials = {job.id: best.get((job.id, job.best_trial or 0)) for job in jobs if job.best_trial is not None}
    told = {id_: trial_facts.metrics_of(trial).get(metric) for id_, trial in trials.items() if trial is not None}
    return {id_: float(value) for id_, value in told.items() if isinstance(value, int | float)}


def has_front(view: View) -> dict[str, Direction]:
    """The goals of the selected cell where there are several, else none."""
    job = view.job
    return dict(job.goals) if job is not None and job.kind == "cell" and len(job.goals) > 1 else {}


def matrix(view: View, width: int, room: int | None = None) -> list[Line]:
    """A row for each value of the first axis, a column for each of the second: best value, shade, trials, state.

    Below each the baseline's distance, where there is one. In fewer lines (`room`) the rows around the selected cell.
    """
    grid = grid_of(view)
    best = queue_table.best_ids(view)
    name = max(min(max((formatting.width(row) for row in grid.rows), default=0) + 1, MOST_NAME), NAME)
    roomy = width >= name + INTERVAL * len(grid.columns)
    column = INTERVAL if roomy and view.snapshot.margins else COLUMN
    columns, left_out = in_sight(view, grid, max((width - name) // column, 1))
    head: list[Span] = [(formatting.fit("", name), "")]
    metric = metric_shown(view)
    plain = not view.job or len(declared.of_job(view.snapshot, view.job).axes) < 2  # the column is called by its metric
    head += [
        (formatting.fit(f"  {_word(view, metric) if metric and plain else each}", column), "dim") for each in columns
    ]
    lines: list[Line] = [tuple(head)]
    values = _values(view, grid.cells.values())
    body: dict[str, list[Line]] = {}
    for row in grid.rows:
        spans: list[Span] = [(formatting.fit(row, name), "")]
        below: list[Span] = [(formatting.fit("", name), "")]
        for each in columns:
            job = grid.cells.get((row, each))
            spans += _matrix_cell(view, job, values, best, column)
            below.append(_difference(view.snapshot.margin(job.id) if job else None, column))
        body[row] = [tuple(spans), *([tuple(below)] if any(text.strip() for text, _ in below) else [])]
    if room is not None and grid.rows:
        tall = max(len(each) for each in body.values())
        kept = rows_in_sight(view, grid, max((room - 2 - bool(left_out)) // tall, 1))
        first, last = (formatting.cut(row, name - 1) for row in (kept[0], kept[-1]))
        told = f"rows {first} to {last}, {len(kept)} of {len(grid.rows)}; [ and ] go to the others"
        lines += [one for row in kept for one in body[row]]
        lines.append(line((formatting.cut(told, width), "dim")))
    else:
        lines += [one for each in body.values() for one in each]
    if left_out:
        lines.append(line((formatting.cut(f"not in sight: {', '.join(left_out)}; [ and ] go there", width), "dim")))
    return lines


def in_sight(view: View, grid: Grid, room: int) -> tuple[list[str], list[str]]:
    """The columns that fit, that of the selected cell among them; and the others."""
    at = next((key[1] for key, job in grid.cells.items() if job.id == view.job_id), None)
    place = grid.columns.index(at) if at in grid.columns else 0
    first = min(max(place - room + 1, 0), max(len(grid.columns) - room, 0))
    shown = list(grid.columns[first : first + room])
    return shown, [each for each in grid.columns if each not in shown]


def rows_in_sight(view: View, grid: Grid, room: int) -> list[str]:
    """The rows that fit, that of the selected cell among them."""
    at = next((key[0] for key, job in grid.cells.items() if job.id == view.job_id), None)
    place = grid.rows.index(at) if at in grid.rows else 0
    first = min(max(place - room // 2, 0), max(len(grid.rows) - room, 0))
    return list(grid.rows[first : first + room])


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
    cells = [job for job in _asked(view) if job.kind in ("", "cell")]
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


def of_bars(view: View) -> bool:
    """Whether the values are of the study of daily bars: one of several tasks, with baselines and a sealed test set."""
    asked = _asked(view)
    return bool(asked and asked[0].task)


def _asked(view: View) -> list[Job]:
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


def _questions(view: View) -> list[str]:
    """Every question by what tells it from the others, the shown one first; none where there is one."""
    return _every((view.snapshot.jobs, view.snapshot.studies), view.job_id, lambda: _questions_of(view))


_every: Once[list[str]] = Once()


def _questions_of(view: View) -> list[str]:
    shown = [_question(view, job) for job in _asked(view)[:1]]
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
    return next(iter(_questions(view)), "")


def other_questions(view: View, width: int) -> list[Line]:
    """Which questions are not in this matrix."""
    others = _questions(view)[1:]
    return (
        [line((formatting.cut(f"not in this table: {', '.join(others)}; [ and ] go there", width), "dim"))]
        if others
        else []
    )


def _weight(job: Job) -> tuple[bool, bool, int, int]:
    return job.status is not JobStatus.CANCELLED, job.best_value is not None, formatting.trials_ended(job), job.id


def _difference(margin: Margin | None, column: int) -> Span:
    """`+.012 [-.004, +.028]` of AUC; where that does not fit the ? of the queue for an interval that holds 0."""
    if margin is None:
        return formatting.fit("", column), ""
    open_ = margin.auc_low <= 0 <= margin.auc_high
    text = f"  {learning_curve.signed(margin.auc)}"
    between = f" [{learning_curve.signed(margin.auc_low)}, {learning_curve.signed(margin.auc_high)}]"
    text += between if column >= INTERVAL else "?" if open_ else ""
    return formatting.fit(text, column), "dim" if open_ else "done" if margin.auc > 0 else "failed"


def legend(view: View, width: int) -> Line:
    """What stands below each value."""
    asked = {job.id for job in _asked(view)}
    rivals = {margin.rival for margin in view.snapshot.margins if margin.job_id in asked}
    rival = f" ({next(iter(rivals))})" if len(rivals) == 1 else ""
    full = f"below: its best trial's AUC minus the best baseline's{rival}, 95 % interval, paired by day"
    brief = "below: AUC minus the best baseline's, 95 % interval" if width >= 78 else "below: AUC minus the baseline's"
    return line((full if formatting.width(full) <= width else brief, "dim"))


def seal_lines(view: View, width: int) -> list[Line]:
    """That the test set is sealed, or for which cell it was opened, when, by whom, for which trial, what it said."""
    opened = view.details.openings
    if not opened:
        return [line((SEALED if width >= len(SEALED) else SEALED_BRIEF, "dim"))]
    names = naming.names_of(view.snapshot.jobs)
    told = [
        f"test set of {names.get(o.job_id, o.experiment)} opened {formatting.when(o.at, view.now)} by {o.who} "
        f"for t{o.trial}{_tested(o)}"
        for o in opened[-OPENED:]
    ]
    more = f" and {len(opened) - OPENED} more" if len(opened) > OPENED else ""
    told[-1] += f"{more}; sealed for every other cell"
    return [line((formatting.cut(text, width), "look")) for text in told]


def _tested(opened: Opening) -> str:
    """`: test AUC .671`, once its one evaluation is done."""
    scores = opened.scores or {}
    known = [scores[name] for name in ("auc", "auc_low", "auc_high") if isinstance(scores.get(name), int | float)]
    if not known:
        return ", not evaluated yet"
    between = f" [{', '.join(formatting.short_score(value, 3) for value in known[1:])}]" if len(known) == 3 else ""
    return f": test AUC {formatting.short_score(known[0], 3)}{between}"


def _matrix_cell(view: View, job: Job | None, values: Mapping[int, float], best: set[int], column: int) -> Line:
    if job is None:
        return ((formatting.fit("  —", column), "dim"),)
    role = "best" if job.id in best else ""
    lost = bool(view.glance.lost(job))
    sign = formatting.LOST if lost else formatting.glyph_of(job.status)
    if job.status is JobStatus.DONE:
        sign = "★" if job.id in best else " "
    value, metric = values.get(job.id), metric_shown(view)
    text = declared.short(value, 5)
    goal = (job.goals.get(metric) or _goal(view, metric)) if metric else job.direction
    shade = _shade(value, list(values.values()), goal) if value is not None and goal is not None else " "
    count = f"{formatting.trials_ended(job):3d}" if value is not None else "   "
    cell: Line = (
        (formatting.fit(f"  {text}", 8), role),
        (shade, "running"),
        (f" {count}", "dim"),
        (formatting.fit(sign, column - 13), "best" if sign == "★" else "lost" if lost else str(job.status)),
    )
    if job.id != view.job_id or view.screen != RESULTS:
        return cell
    return with_role(((" ►", "key"), (formatting.fit(text, 6), role), *cell[1:]), "cursor")


def _shade(value: float, values: Sequence[float], direction: Direction) -> str:
    low, high = min(values), max(values)
    part = (value - low) / (high - low) if high > low else 0.5
    part = part if direction is Direction.MAXIMIZE else 1 - part
    return SHADES[min(int(part * 4), 3)]


def scaling(view: View, width: int, height: int) -> list[Line]:
    """Best value by size for each horizon, and an honest word about the slope."""
    if height < 3:
        return []
    grid = grid_of(view)
    found: dict[str, dict[str, float]] = {}
    for (size, horizon), job in grid.cells.items():
        if job.best_value is not None:
            found.setdefault(horizon, {})[size] = job.best_value
    if not found:
        return [line((formatting.cut(no_result(view), width), "dim"))]
    lines: list[Line] = []
    for horizon in (each for each in grid.columns if each in found):
        by_size = found[horizon]
        row = "   ".join(f"{size} {formatting.short_score(by_size[size])}" for size in grid.rows if size in by_size)
        known = [by_size[size] for size in grid.rows if size in by_size]
        if len(known) >= 3:
            trend = f"{formatting.short_score(known[0])} → {formatting.short_score(known[-1])} over {len(known)} sizes"
        else:
            trend = f"({'two more sizes are' if len(known) == 1 else 'a third size is'} needed for a slope)"
            if formatting.width(f"scaling {horizon}:  {formatting.spark(known)}  {row}  {trend}") > width:
                trend = "(needs 3 sizes)"
        lines.append(
            (
                ((f"scaling {horizon}:  "), "dim"),
                (formatting.spark(known), "running"),
                (f"  {row}  ", ""),
                (trend, "dim"),
            )
        )
    return [*lines, (), *_rest_on(view)][:height]


def winners(view: View, width: int, height: int) -> list[Line]:
    """The best trial of each cell with what it drew: does the best configuration depend on the axes?"""
    grid = grid_of(view)
    jobs = [grid.cells[row, column] for row in grid.rows for column in grid.columns if (row, column) in grid.cells]
    wanted = {(job.id, job.best_trial) for job in jobs}
    trials = {trial.job_id: trial for trial in view.snapshot.trials if (trial.job_id, trial.number) in wanted}
    if not trials:
        return [line((formatting.cut(no_result(view), width), "dim"))]
    names = naming.names_of(view.snapshot.jobs)
    first = min(max(formatting.width(names[job.id]) for job in jobs), 24) + 1
    drawn = Counter(name for trial in trials.values() for name in trial.params)
    ranks = {each.name: n for n, each in enumerate(trial_table.importance_of(view))}
    params = sorted(drawn, key=lambda name: (ranks.get(name, len(ranks)), -drawn[name], name))
    widths = {name: min(max(formatting.width(name), 8), 14) for name in params}
    used, kept = first + 14, []
    for name in params:
        if used + widths[name] + 1 > width:
            break
        kept.append(name)
        used += widths[name] + 1
    head = formatting.fit("", first) + formatting.fit_right("trial", 6) + formatting.fit_right("best", 8)
    lines: list[Line] = [line((head + "".join(" " + formatting.fit_right(name, widths[name]) for name in kept), "dim"))]
    for job in jobs:
        trial = trials.get(job.id)
        if trial is None:
            lines.append(line((formatting.fit(names[job.id], first), ""), ("     —", "dim")))
            continue
        values = (formatting.number(trial.params.get(name, trial_table.ABSENT)) for name in kept)
        text = "".join(
            " " + formatting.fit_right(value, widths[name]) for name, value in zip(kept, values, strict=True)
        )
        mark = "focus" if job.id == view.job_id else ""
        lines.append(
            line(
                (formatting.fit(names[job.id], first), mark),
                (formatting.fit_right(f"t{trial.number}", 6), ""),
                (formatting.fit_right(declared.short(job.best_value), 8), "best"),
                (text, ""),
            )
        )
    more = len(params) - len(kept)
    if more:
        lines.append(line((f"{formatting.count(more, 'more parameter')}: Enter shows the trials of a cell", "dim")))
    return event_list.cut_lines(lines, height)


def on_front(view: View, width: int, height: int) -> list[Line]:
    """The trials of the selected cell's front: a column for each goal, then what they drew."""
    job, goals = view.job, has_front(view)
    shown = [] if job is None else [trial for n in job.front if (trial := by_number(view.trials, n)) is not None]
    if job is None or not shown:
        return [line((formatting.cut(no_result(view), width), "dim"))]
    study = declared.of_job(view.snapshot, job)
    columns = {study.word(name, goal): name for name, goal in goals.items()}
    widths = {word: min(max(formatting.width(word), 7), 16) for word in columns}
    ranks = {each.name: n for n, each in enumerate(trial_table.importance_of(view))}
    drawn = dict.fromkeys(name for trial in shown for name in trial.params)
    params = sorted(drawn, key=lambda name: (ranks.get(name, len(ranks)), name))
    sizes = {name: min(max(formatting.width(name), 8), 14) for name in params}
    used, kept = 6 + sum(widths.values()) + 2 * len(widths), []
    for name in params:
        if used + sizes[name] + 1 > width:
            break
        kept.append(name)
        used += sizes[name] + 1
    head = formatting.fit_right("trial", 6) + "".join("  " + formatting.fit_right(w, widths[w]) for w in columns)
    lines = [line((head + "".join(" " + formatting.fit_right(name, sizes[name]) for name in kept), "dim"))]
    for trial in shown:
        metrics = {trial.metric: trial.value, **trial_facts.metrics_of(trial)}
        values = "".join(
            "  " + formatting.fit_right(declared.short(metrics.get(name)), widths[word])
            for word, name in columns.items()
        )
        text = "".join(
            " " + formatting.fit_right(formatting.number(trial.params.get(name, trial_table.ABSENT)), sizes[name])
            for name in kept
        )
        lines.append(line((formatting.fit_right(f"t{trial.number}", 6), ""), (values, "best"), (text, "")))
    more = len(params) - len(kept)
    if more:
        lines.append(line((f"{formatting.count(more, 'more parameter')}: Enter shows the trials of a cell", "dim")))
    return event_list.cut_lines(lines, height)


def no_result(view: View) -> str:
    """Why there is no value to show: none has come yet, or the selected cell has ended without one."""
    if view.job is not None and view.job.kind == "cell" and view.job.status in formatting.ENDED:
        return f"{view.name}: {formatting.without_best(view.job)}"
    return "no result yet: the first value appears when a trial has ended"


def _rest_on(view: View) -> list[Line]:
    """What the values rest on: validation windows, positives, seeds, baselines."""
    asked = {job.id for job in _asked(view)}
    trials = [t for t in view.snapshot.trials if t.n_val and t.job_id in asked]
    lines: list[Line] = []
    if trials:
        n_val = sorted({t.n_val for t in trials if t.n_val})
        n_pos = sorted({t.n_pos for t in trials if t.n_pos})
        text = f"validation windows {_span(n_val)}, positives {_span(n_pos)}; {_replicates(view)}"
        lines.append(line((text, "dim")))
    if said := _selected(view):
        lines.append(line((said, "dim")))
    for job in _asked(view):
        if job.kind == "baseline" and job.best_value is not None:
            kind = declared.metric_word(view.snapshot, job)
            text = f"best baseline h{job.horizon}: {kind} {formatting.short_score(job.best_value)} (t{job.best_trial})"
            lines.append(line((text, "dim")))
    return lines


def _selected(view: View) -> str:
    """`20M/h3 t12: AUC .184 above chance · train/val AUC gap +.041`, of the selected cell's best trial."""
    job = view.job
    trial = None if job is None else by_number(view.trials, job.best_trial)
    if job is not None and job.kind == "cell" and job.best_trial is None and formatting.trials_ended(job):
        return f"{view.name}: {formatting.without_best(job)}"
    if job is None or trial is None:
        return ""
    parts = []
    if trial.val_auc is not None:
        parts.append(f"AUC {learning_curve.signed(trial.val_auc - 0.5)} against chance")
    if (gap := learning_curve.gap_words(view, trial)) is not None:
        parts.append(gap)
    return f"{view.name} t{trial.number}: {' · '.join(parts)}" if parts else ""


def _replicates(view: View) -> str:
    """How many seeds a best value has been trained with: only a replicate job repeats a trial with other seeds."""
    jobs = [job for job in _asked(view) if job.kind == "replicate"]
    repeats = sum(job.trials_complete for job in jobs)
    if not repeats:
        return "one seed each"
    return f"{formatting.count(repeats, 'replicate')} with other seeds, the rest one seed each"


def cell(view: View, width: int, height: int) -> list[Line]:
    """Facts of the selected cell's best trial."""
    job = view.job
    if job is None:
        return [rule("no cell selected", "", width)]
    best = f"best {_objective(view)}" if has_front(view) else "best trial"
    lines: list[Line] = [rule(f"{view.name} · {best}", "2", width, view.focus == "cell")]
    trial = by_number(view.trials, job.best_trial)
    if trial is None:
        text = formatting.without_best(job) if formatting.trials_ended(job) else "no trial has ended yet"
        return [*lines, *(line((part, "dim")) for part in wrapped(text, width))][:height]
    gap = learning_curve.gap_words(view, trial)
    known = [] if gap is None else [labelled("gap", gap.removeprefix("train/val ").replace("gap ", "train/val "))]
    told = [*lines, *facts(view, trial, width), *known, *against_baseline(view, job), *_importance(view, width)]
    return event_list.cut_lines(told, height)


def _importance(view: View, width: int) -> list[Line]:
    """What the spread of the cell's trials goes with, one parameter per line."""
    found = trial_table.importance_of(view)
    if not found:
        return [(), line((trial_table.why_no_importance(view), "dim"))]
    lines: list[Line] = [(), rule(f"importance · {formatting.count(found[0].n, 'trial')}", "", width)]
    chance = trial_table.chance_level(view)
    shown = [(each.name, each.share) for each in found[:8]]
    first = next((n for n, (_, share) in enumerate(shown) if share <= chance), len(shown))
    shown.insert(first, (CHANCE, chance))
    for n, (name, share) in enumerate(shown):
        text = f"{share:.2f} {formatting.bar(share, 20).rstrip(formatting.TROUGH)}"
        lines.append(labelled(formatting.cut(name, 15), text, "dim" if n >= first else "", width=16))
    said = "share of the trials' order that goes with each parameter alone; what is below chance may be chance"
    return [*lines, *(line((row, "dim")) for row in wrapped(said, width - 1))]


def against_baseline(view: View, job: Job) -> list[Line]:
    """The difference to the best baseline of the same question, with its paired interval."""
    margin = view.snapshot.margin(job.id)
    if margin is None:
        return (
            [labelled("baseline", "none has run for this task yet", "dim")] if job.kind == "cell" and job.task else []
        )
    sure = "" if margin.auc_low > 0 or margin.auc_high < 0 else "  (may be chance)"
    interval = f"{margin.auc_low:+.3f} … {margin.auc_high:+.3f}"
    return [
        labelled("baseline", margin.rival),
        labelled("", f"AUC {margin.auc:+.3f}  95 % {interval}{sure}"),
        labelled("", f"loss {margin.loss:+.4f}  on {margin.n} windows"),
    ]


def _span(values: Sequence[int]) -> str:
    if not values:
        return "unknown"
    return str(values[0]) if values[0] == values[-1] else f"{values[0]}-{values[-1]}"


def _objective(view: View) -> str:
    for job in _asked(view):
        return declared.metric_word(view.snapshot, job)
    return "value"
