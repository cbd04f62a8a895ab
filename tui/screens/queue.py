"""Screen 1, home: the queue, and as much of curve, hardware, events, results and log as the terminal has room for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fts.jobs.status import declared, formatting, naming
from fts.state.values import JobStatus
from fts.tui.render.text import Line, Placed, fill, line, rule, wrapped
from fts.tui.screens.results import matrix, of_bars, question_of, scaling, seal_lines, winners
from fts.tui.widgets import event_list, learning_curve, queue_table, trial_table
from fts.tui.widgets import meters as meter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.tui.data.view import View

GRID_ROWS = 12
LEAST_PLOT = 3  # rows of a curve with its title
LAST_ROWS = 5  # last words: title, three lines, where to read on


def panes(view: View, width: int, height: int) -> list[Placed]:
    """The panes of a body of `width` x `height` (without glance and key bar); of a finished study its summary above."""
    told = summary(view, width, height)
    below = _arranged(width, height)(view, width, height - len(told))
    if not told:
        return below
    above = Placed("", 0, 0, width, len(told), lambda w, h: told)
    return [above, *(replace(pane, y=pane.y + len(told)) for pane in below)]


def _arranged(width: int, height: int) -> Callable[[View, int, int], list[Placed]]:
    """The arrangement for a size."""
    if width < 70 or height < 16:
        return _pocket
    if width < 100 or height < 26:
        return _small
    return _medium if width < 160 or height < 44 else _wide


def summary(view: View, width: int, height: int) -> list[Line]:
    """What a study found, once nothing is left to run; nothing before."""
    jobs = view.snapshot.jobs
    states = Counter(job.status for job in jobs)
    if not states[JobStatus.DONE] or any(job.status not in formatting.ENDED for job in jobs):
        return []
    ended = max((job.ended_at for job in jobs if job.ended_at is not None), default=view.now)
    trials = sum(formatting.trials_ended(job) for job in jobs)
    parts = [f"{states[status]} {status}" for status in formatting.ENDED if states[status]]
    told = f"finished {formatting.when(ended, view.now)}: {', '.join(parts)} · {formatting.count(trials, 'trial')}"
    best = [line((formatting.cut(_winners(view), width), "best"))] if queue_table.best_ids(view) else []
    where = "6 shows the results, w writes them"
    first = fill([(told, "strong")], [(where, "dim")] if formatting.width(told + where) < width else [], width)
    return [first, *best] if width >= 70 and height >= 16 else [first]


def _winners(view: View) -> str:
    """`best AUC: 20M/h1 .6549 · 20M/h3 .6841`: the best cell of each question and horizon."""
    best, names = queue_table.best_ids(view), naming.names_of(view.snapshot.jobs)
    won = sorted((job for job in view.snapshot.jobs if job.id in best), key=lambda job: (job.task, job.horizon))
    kinds = {declared.metric_word(view.snapshot, job) for job in won}
    kind = "best" if len(kinds) > 1 else f"best {next(iter(kinds))}"
    if len({job.study for job in won}) > 1:
        names = {job.id: " ".join(dict.fromkeys([job.study, names[job.id]])) for job in won}
    return f"{kind}: " + " · ".join(f"{names[job.id]} {declared.short(job.best_value)}" for job in won)


def _grid_height(view: View, height: int) -> int:
    """Heading and up to 12 rows; more only where the terminal is tall."""
    rows = queue_table.height_of(view) or GRID_ROWS + 1  # an empty queue says what can be put into it
    return 1 + min(rows, max(GRID_ROWS + 1, height // 3))


def _pocket(view: View, width: int, height: int) -> list[Placed]:
    """The queue; below it the last words of a lost cell, where rows are free."""
    rows = queue_table.height_of(view) or GRID_ROWS + 1
    if view.last is None or height - rows < LAST_ROWS:
        return [Placed("queue", 0, 0, width, height, partial(queue_table.paint, view))]
    return [
        Placed("queue", 0, 0, width, rows, partial(queue_table.paint, view)),
        *_last_lines(view, 0, rows, width, height - rows),
    ]


def _small(view: View, width: int, height: int) -> list[Placed]:
    grid = _grid_height(view, height)
    log = 6 if height >= 36 else 0
    events = 2 if height < 30 else 5
    plot = height - grid - events - log
    if 0 < plot < LEAST_PLOT:  # a title and a row of dots tell nothing
        grid, plot = grid + plot, 0
    at = grid + plot  # of the events
    side = 26
    found = [Placed("queue", 0, 0, width, grid, partial(queue_table.paint, view))]
    if view.last is not None and not log:  # beside the curve where there is room for both, else in its place
        said = LAST_ROWS if plot >= LAST_ROWS + 5 else plot
        plot -= said
        found += _last_lines(view, 0, grid + plot, width, said)
    if plot:
        found += [
            Placed(
                "curve",
                0,
                grid,
                width,
                1,
                _title(view, "curve", learning_curve.title(view), learning_curve.summary(view)),
            ),
            Placed("", 0, grid + 1, width - side - 1, plot - 1, partial(_bare_chart, view)),
            Placed("hardware", width - side, grid + 1, side, plot - 1, partial(_words, view)),
        ]
    found += [
        Placed("events", 0, at, width, 1, _title(view, "events", "events", "7 all")),
    ]
    if events == 2:
        found.append(Placed("", 0, at + 1, width, 1, lambda w, h: [event_list.event_line(view, w)]))
    else:
        found.append(Placed("", 0, at + 1, width, events - 1, partial(event_list.events, view)))
    if log:
        found += _log(view, 0, at + events, width, log)
    return found


def _medium(view: View, width: int, height: int) -> list[Placed]:
    grid = _grid_height(view, height)
    log = max(height - grid - 1 - 14, 4)
    middle = height - grid - 1 - log
    side = min(47, width // 2 - 12)
    left = width - side - 1
    top = grid + 1
    meters = 6
    return [
        Placed("queue", 0, 0, width, grid, partial(queue_table.paint, view)),
        Placed("curve", 0, top, left, 1, _title(view, "curve", learning_curve.title(view), "+/-")),
        Placed("", 0, top + 1, left, middle - 2, partial(learning_curve.chart, view)),
        Placed("", 0, top + middle - 1, left, 1, lambda w, h: [line((learning_curve.verdict_line(view, w), "dim"))]),
        Placed("", left, top, 1, middle, _wall),
        Placed(
            "hardware",
            left + 1,
            top,
            side,
            1,
            _title(view, "hardware", f"hardware · guard {meter.guard_word(view)}", "4"),
        ),
        Placed("", left + 1, top + 1, side, meters - 1, partial(_meters, view, 5)),
        Placed("events", left + 1, top + meters + 1, side, 1, _title(view, "events", "events", "7 all")),
        Placed("", left + 1, top + meters + 2, side, middle - meters - 2, partial(event_list.events, view)),
        *_log(view, 0, top + middle, width, log),
    ]


def _wide(view: View, width: int, height: int) -> list[Placed]:
    left = max(width * 118 // 200, 100)
    side = width - left - 1
    grid = max(_grid_height(view, height), 13)
    log = max(height - grid - 1 - 17 - 11, 6)
    middle = 17
    hardware = height - grid - 1 - middle - log
    top, low, bottom = grid + 1, grid + 1 + middle, grid + 1 + middle + hardware
    job = view.job
    question = question_of(view)
    found = f"results of {question} · best (n trials)" if question else "results so far · best (n trials)"
    count = f"trials {view.name} ({formatting.trials_ended(job)} of {job.trials_wanted})" if job else "trials"
    return [
        Placed("queue", 0, 0, left, grid, partial(queue_table.paint, view)),
        Placed("", left, 0, 1, bottom - 1, _wall),
        Placed("results", left + 1, 0, side, 1, _title(view, "results", found, "6")),
        Placed("", left + 1, 1, side, grid - 1, partial(_results, view)),
        Placed(
            "curve", 0, top, left, 1, _title(view, "curve", learning_curve.title(view), "+/- zoom  y log  s overlay")
        ),
        Placed("", 0, top + 1, left, middle - 3, partial(learning_curve.chart, view)),
        Placed("", 0, top + middle - 2, left, 1, lambda w, h: [line((learning_curve.verdict_line(view, w), "dim"))]),
        Placed("trials", left + 1, top, side, 1, _title(view, "trials", count, "2")),
        Placed("", left + 1, top + 1, side, middle - 2, partial(_trials, view)),
        Placed(
            "hardware",
            0,
            low,
            left,
            1,
            _title(view, "hardware", f"hardware, 24 h · guard {meter.guard_word(view)}", "4"),
        ),
        Placed("", 0, low + 1, left, hardware - 2, partial(_history, view)),
        Placed("events", left + 1, low, side, 1, _title(view, "events", "events", "7 all")),
        Placed("", left + 1, low + 1, side, hardware - 2, partial(event_list.events, view)),
        *_log(view, 0, bottom - 1, width, log + 1),
    ]


def _last_lines(view: View, x: int, y: int, width: int, height: int) -> list[Placed]:
    """In place of a curve or a log that nothing is added to any more: what was said last, and where to read on."""
    last = view.last
    assert last is not None, "only a job in trouble, or a worker that left, has last lines"
    hint = "5 full" if last.job_id is not None else ""

    def said(width: int, height: int) -> list[Line]:
        rows = [row for text in last.lines for row in wrapped(text, width)]
        if len(rows) > height - 1:  # whole lines where there is room, else their beginnings
            rows = list(last.lines[-max(height - 1, 1) :])
        where = last.where(view.glance.surface)
        where = where if formatting.width(where) <= width else where.split(" · ")[0]
        return [*(event_list.log_line(row, "", width) for row in rows), line((formatting.cut(where, width), "dim"))]

    return [
        Placed(
            "log",
            x,
            y,
            width,
            1,
            _title(view, "log", f"last words of {last.title}", hint),
        ),
        Placed("", x, y + 1, width, height - 1, said),
    ]


def _results(view: View, width: int, height: int) -> list[Line]:
    """The matrix and how values grow with size; an opened test set is told of before that."""
    shown = matrix(view, width)
    if not of_bars(view):
        return [*shown, (), *winners(view, width, height - len(shown) - 1)][:height]
    if view.details.openings:
        shown += seal_lines(view, width)
    return [*shown, (), *scaling(view, width, height - len(shown) - 1)][:height]


def _trials(view: View, width: int, height: int) -> list[Line]:
    """The table, and what the trials' spread goes with, once there are enough of them."""
    known = trial_table.importance_line(view, width)
    if known is None or height < 8:
        return trial_table.trials(view, width, height, title=False)
    rows = trial_table.trials(view, width, height - 2, title=False)
    return [*rows, *([()] * (height - 1 - len(rows))), known]


def _log(view: View, x: int, y: int, width: int, height: int) -> list[Placed]:
    if view.last is not None:
        return _last_lines(view, x, y, width, height)
    job, trial = view.job, view.trial
    name = f"log {view.name}" + (f" t{trial.number}" if trial else "") if job else "log"
    follow = "on" if view.follow else "off"
    return [
        Placed("log", x, y, width, 1, _title(view, "log", name, f"5 full  f follow {follow}")),
        Placed("", x, y + 1, width, height - 1, partial(event_list.log, view)),
    ]


def _title(view: View, name: str, text: str, hint: str) -> Callable[[int, int], Sequence[Line]]:
    return lambda width, height: [rule(text, hint, width, view.focus == name)]


def _wall(_width: int, height: int) -> list[Line]:
    return [(("│", "rule"),)] * height


def _bare_chart(view: View, width: int, height: int) -> list[Line]:
    return learning_curve.chart(view, width, height, notes=False)


def _words(view: View, width: int, height: int) -> list[Line]:
    """Beside the small curve: chances, memory, heat and guard, right aligned."""
    trial = view.trial
    lines: list[Line] = []
    best = learning_curve.best_trial(view)
    if trial is not None:
        found = learning_curve.race_of(view, trial)
        if found.beats_best is not None and trial.ended_at is None:
            lines.append(_right("chance to win " + learning_curve.share(found.beats_best), width))
        elif best is not None and best.id != trial.id:
            lines.append(_right(f"╌ best t{best.number}", width))
        if found.prune_line is not None:
            step = declared.step_word(view.snapshot, view.job)
            lines.append(_right(f"prune line {declared.brief(found.prune_line)} {step} {found.prune_at}", width))
    while len(lines) < height - 2:
        lines.append(())
    lines = lines[: max(height - 2, 0)]
    for reading in meter.meters(view)[:1]:
        if reading.part is None:
            text = f"{reading.name}: {reading.text}"
            lines.append(_right(text if formatting.width(text) <= width else reading.text, width))
        else:
            lines.append(fill((), (("mem ", "dim"), *meter.bar(reading), (f" {reading.text}", "")), width))
    lines.append(_right(_heat_words(view), width))
    return lines[-height:]


def _heat_words(view: View) -> str:
    now = meter.latest(view)
    load = ""
    if now is not None and now.gpu_percent is not None:
        load = f"gpu {now.gpu_percent:.0f}%"
    elif now is not None and now.cpu_percent is not None:
        load = f"cpu {now.cpu_percent:.0f}%"
    heat = f"{now.temperature:.0f}°C" if now is not None and now.temperature is not None else "temp unknown"
    guard = meter.guard_word(view)
    known = guard not in ("unknown", meter.NO_WORKER)  # an unknown heat has said it already
    return f"{load} {heat}{f'  guard {guard}' if known else ''}".strip()


def _right(text: str, width: int) -> Line:
    return fill((), ((formatting.cut(text, width), "dim"),), width)


def _meters(view: View, columns: int, width: int, height: int) -> list[Line]:
    painted = meter.rows(view, width, columns, ("mem", "temp", "gpu", "cpu", "disk"))
    return [*painted[: height - 1], line((meter.guard_line(view, width), "dim"))]


def _history(view: View, width: int, height: int) -> list[Line]:
    painted = meter.rows(view, width, max(width - 72, 12), ("mem", "temp", "gpu", "cpu", "power", "disk"))
    facts = [
        meter.guard_line(view),
        *(meter.worker_line(view, w) for w in view.snapshot.workers[:2] if w.status == "running"),
    ]
    if resume := meter.resume_line(view):
        facts.append(resume)
    return [*painted, (), *(line((fact, "dim")) for fact in facts)][:height]
