"""Screen 1: the queue, and as much of curve, hardware, events, results and log as fits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical

from fts.jobs.status import declared, formatting, naming
from fts.state.values import Job, JobStatus
from fts.tui.data import table_rows
from fts.tui.data.result_grid import has_front, of_bars, question_of
from fts.tui.render.text import Line, clip, fill, line, rule, wrapped
from fts.tui.screens import hardware
from fts.tui.screens.base import Breakpoints, MonitorScreen
from fts.tui.widgets import event_list, front_chart, learning_curve, nodes, queue_table, trial_table
from fts.tui.widgets import meters as meter
from fts.tui.widgets.best_trials import on_front, scaling, winners
from fts.tui.widgets.matrix import matrix, seal_lines
from fts.tui.widgets.pane import Long, Pane, TableSettings, rows_of
from fts.tui.widgets.scrollbar import Extent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.jobs.status.log_excerpt import LastLines
    from fts.tui.data.view import View

GRID_ROWS = 12  # height of an empty queue
FEW = 6  # a queue with at most this many rows leaves room for more panes
LEAST_PLOT = 3  # rows of a curve with its title at least
ZOOMED = 18  # rows from which the hardware pane also shows the charts of a day
WORDS = 26  # columns of text at the right of the small curve


BREAKPOINTS: Breakpoints = [(0, "-h0"), (8, "-h8"), (20, "-h20"), (32, "-h32"), (39, "-h39"), (50, "-h50")]


class QueueScreen(MonitorScreen):
    """The queue with panes of the other screens, and a summary when nothing is left to run.

    Four layouts: pocket, small, medium (the default here), wide.
    """

    VERTICAL_BREAKPOINTS = BREAKPOINTS
    DEFAULT_CSS = """
    QueueScreen {
        #summary { height: auto; }
        #top { height: auto; margin: 0 0 1 0; }
        #queue { height: auto; max-height: 14; }
        #middle { height: 99fr; max-height: 14; }
        #side { width: 1fr; max-width: 48; min-width: 38; }
        #meters { height: 7; }
        #log { min-height: 4; }
        #results, #trials, #lower, #small, #latest { display: none; }

        &.-h20, &.-w70 {
            #top { margin: 0; }
            #queue { max-height: 13; }
            #middle { display: none; }
            #small { display: block; }
            #latest { display: block; height: 2; }
            #log { display: none; height: 6; min-height: 0; }
            &.-trouble { #log { display: block; height: 5; } }
        }
        &.-h20.-trouble { #small { display: none; } }
        &.-w70.-h32, &.-w70.-h39, &.-w70.-h50 {
            #latest { height: 5; }
        }
        &.-w70.-h39, &.-w70.-h50 {
            #log { display: block; height: 6; }
        }
        &.-h8, &.-w40 {
            #top, #queue { height: 1fr; max-height: 100%; margin: 0; }
            #middle, #small, #latest, #log { display: none; }
        }
        &.-w40.-h20.-trouble, &.-w40.-h32.-trouble, &.-w40.-h39.-trouble, &.-w40.-h50.-trouble {
            #log { display: block; height: 5; }
        }
        &.-few.-trouble.-h20 {
            #small { display: block; }
        }
        &.-few.-trouble.-h8, &.-few.-trouble.-w40 {
            #top, #queue { height: auto; }
            #log { display: block; height: 1fr; }
        }
        &.-w160.-h50 {
            #queue, #middle, #lower { width: 100%; }
            #top { margin: 0; }
            #queue { min-height: 14; max-height: 33vh; width: 59%; }
            #results { display: block; height: 100%; }
            #middle { height: 17; max-height: 17; }
            #big { width: 59%; }
            #side { max-width: 100%; }
            #trials { display: block; }
            #meters, #events { display: none; }
            #lower { display: block; height: 99fr; max-height: 11; }
            #history { width: 59%; }
            #log { min-height: 6; }
        }
    }
    """

    def panes(self) -> Iterable[Pane]:
        yield Pane("summary", summary, rows=rows_of(summary), focus=False, id="summary")
        with Horizontal(id="top"):
            table = TableSettings(rows, lambda *_: COLUMNS)
            yield Pane("queue", queue_table.paint, rows=rows_wanted, table=table, extent=extent, id="queue")
            yield Pane("results", results_so_far, wall=True, long=Long(), id="results")
        with Horizontal(id="middle"):
            yield Pane("curve", curve, id="big")
            with Vertical(id="side"):
                yield Pane("trials", trials, wall=True, id="trials")
                yield Pane("hardware", meters, wall=True, id="meters")
                yield Pane("events", events, wall=True, id="events")
        with Horizontal(id="lower"):
            yield Pane("hardware", history, id="history")
            yield Pane("events", events, wall=True, id="more-events")
        yield Pane("curve", small_curve, id="small")
        yield Pane("events", latest, id="latest")
        yield Pane("log", log, id="log")

    def show(self, view: View) -> None:
        self.set_class(queue_table.height_of(view) <= FEW, "-few")
        super().show(view)

    def action_fold(self) -> None:
        """Folds the study of the selected row to one row, or unfolds it."""
        if not self.navigation.fold(self.monitor.view()):
            super().action_fold()
        self.changed()


# Word in the heading of the queue: the column that a click on it sorts by.
COLUMNS = {
    "#": "run order", "cell": "cell", "state": "state", "trials": "trials", "best": "best", "front": "best",
}  # fmt: skip


def rows_wanted(view: View, width: int) -> int:
    """Returns the height of the queue: heading and rows; GRID_ROWS if it is empty."""
    return queue_table.has_heading(view, width) + (queue_table.height_of(view) or GRID_ROWS)


def rows(view: View, width: int, height: int) -> list[int | None]:
    """Returns the job id of each line of the queue; None for headings."""
    head = int(queue_table.has_heading(view, width))
    lines = table_rows.queue_lines(view, height - head)
    return [None] * head + [each.id if isinstance(each, Job) else None for each in lines]


def extent(view: View, width: int, height: int) -> Extent:
    """Returns which rows are visible around the cursor, not counting running and failed rows kept from elsewhere."""
    found = table_rows.jobs_of(view)
    shown = sum(id is not None for id in rows(view, width, height))
    cursor = table_rows.cursor_in(found, view.job_id)
    return Extent(len(found), table_rows.window(len(found), shown, cursor)[0], shown)


def summary(view: View, width: int, height: int) -> list[Line]:
    """Paints the results once all jobs have ended, and a line about the nodes if there are any."""
    crew = nodes.brief(view, width)
    jobs = view.snapshot.jobs
    if any(job.status not in formatting.ENDED for job in jobs):  # first, because it stops at the first of thousands
        return crew[: max(height, 0)]
    states = Counter(job.status for job in jobs)
    if not states[JobStatus.DONE]:
        return crew[: max(height, 0)]
    ended = max((job.ended_at for job in jobs if job.ended_at is not None), default=view.now)
    trials = sum(formatting.trials_ended(job) for job in jobs)
    parts = [f"{states[status]} {status}" for status in formatting.ENDED if states[status]]
    text = f"finished {formatting.when(ended, view.now)}: {', '.join(parts)} · {formatting.count(trials, 'trial')}"
    best = [line((formatting.cut(_winners(view), width), "best"))] if queue_table.best_ids(view) else []
    where = "6 shows the results, w writes them"
    first = fill([(text, "strong")], [(where, "dim")] if formatting.width(text + where) < width else [], width)
    return [first, *best, *crew] if width >= 70 and height > 1 else [first]


def _winners(view: View) -> str:
    """Returns `best AUC: 20M/h1 .6549 · 20M/h3 .6841`: the best cell of each task and horizon."""
    best, names = queue_table.best_ids(view), naming.names_of(view.snapshot.jobs)
    won = sorted((job for job in view.snapshot.jobs if job.id in best), key=lambda job: (job.task, job.horizon))
    kinds = {declared.metric_word(view.snapshot, job) for job in won}
    kind = "best" if len(kinds) > 1 else f"best {next(iter(kinds))}"
    if len({job.study for job in won}) > 1:
        names = {job.id: " ".join(dict.fromkeys([job.study, names[job.id]])) for job in won}
    return f"{kind}: " + " · ".join(f"{names[job.id]} {declared.short(job.best_value)}" for job in won)


def curve(view: View, width: int, height: int) -> list[Line]:
    """Paints the curve of the selected trial."""
    hint = "+/- zoom  y log  s overlay" if width >= 100 else "+/-"
    return learning_curve.titled(view, width, height, learning_curve.title(view), hint)


def small_curve(view: View, width: int, height: int) -> list[Line]:
    """Paints the curve in a few rows, with chances, memory and temperature as text at its right."""
    title = rule(learning_curve.title(view), learning_curve.summary(view), width, view.focus == "curve")
    if height < LEAST_PLOT:
        return [title]
    plot = learning_curve.chart(view, width - WORDS - 1, height - 1, notes=False)
    words = _words(view, WORDS, height - 1)
    plot = [*plot[: height - 1], *([()] * (height - 1 - len(plot)))]
    return [title, *((*clip(left, width - WORDS), *right) for left, right in zip(plot, words, strict=False))]


def meters(view: View, width: int, height: int) -> list[Line]:
    """Paints the meters and the state of the guard."""
    title = rule(f"hardware · guard {meter.guard_word(view)}", "4", width, view.focus == "hardware")
    if height >= ZOOMED:
        return [title, *meter.rows(view, width, 24, hardware.ALL), (), *hardware.day(view, width, height - 8)]
    painted = meter.rows(view, width, 5, ("mem", "temp", "gpu", "cpu", "disk"))
    return [title, *painted[: height - 3], line((meter.guard_line(view, width), "dim"))]


def history(view: View, width: int, height: int) -> list[Line]:
    """Paints the meters with 24 hours of history, the guard, the workers, and what a kill would lose."""
    title = rule(f"hardware, 24 h · guard {meter.guard_word(view)}", "4", width, view.focus == "hardware")
    painted = meter.rows(view, width, max(width - 72, 12), ("mem", "temp", "gpu", "cpu", "power", "disk"))
    facts = [
        meter.guard_line(view),
        *(meter.worker_line(view, w) for w in view.snapshot.workers[:2] if w.status == "running"),
    ]
    if resume := meter.resume_line(view):
        facts.append(resume)
    return [title, *painted, (), *(line((fact, "dim")) for fact in facts)][: height - 1]


def events(view: View, width: int, height: int) -> list[Line]:
    """Paints the latest events, one per line."""
    title = rule("events", "7 all", width, view.focus == "events")
    return [title, *event_list.events(view, width, height - 1)]


def latest(view: View, width: int, height: int) -> list[Line]:
    """Paints the latest events; with one row as many as fit into it."""
    if height > 2:
        return events(view, width, height)
    title = rule("events", "7 all", width, view.focus == "events")
    return [title, event_list.event_line(view, width)]


def log(view: View, width: int, height: int) -> list[Line]:
    """Paints the end of the log; the last lines of a job in trouble or of a worker that has stopped."""
    if view.last is not None:
        return last_words(view, view.last, width, height)
    job, trial = view.job, view.trial
    name = f"log {view.name}" + (f" t{trial.number}" if trial else "") if job else "log"
    title = rule(name, f"5 full  f follow {'on' if view.follow else 'off'}", width, view.focus == "log")
    return [title, *event_list.log(view, width, height - 1)]


def last_words(view: View, last: LastLines, width: int, height: int) -> list[Line]:
    """Paints the last lines of a log that has ended, wrapped if there is room, and where to read all of it."""
    hint = "5 full" if last.job_id is not None and last.job_id == view.job_id else ""  # 5 shows the selected cell
    rows = [row for text in last.lines for row in wrapped(text, width)]
    if len(rows) > height - 2:
        rows = list(last.lines[-max(height - 2, 1) :])
    where = last.where(view.glance.surface, view.job_id)
    where = where if formatting.width(where) <= width else where.split(" · ")[0]
    lines = [rule(f"last words of {last.title}", hint, width, view.focus == "log")]
    return [
        *lines,
        *(event_list.log_line(row, "", width) for row in rows),
        line((formatting.cut(where, width), "dim")),
    ]


def results_so_far(view: View, width: int, height: int) -> list[Line]:
    """Paints the matrix of results and what follows below it."""
    question = question_of(view)
    found = f"results of {question} · best (n trials)" if question else "results so far · best (n trials)"
    return [rule(found, "6", width, view.focus == "results"), *_results(view, width, height - 1)]


def trials(view: View, width: int, height: int) -> list[Line]:
    """Paints the trials of the selected cell. Marks, filter and order of this screen are those of the queue."""
    job, view = view.job, replace(view, marks=frozenset(), filter="", sort="", reverse=False)
    count = f"trials {view.name} ({formatting.trials_ended(job)} of {job.trials_wanted})" if job else "trials"
    return [rule(count, "2", width, view.focus == "trials"), *_trials(view, width, height - 1)]


def _results(view: View, width: int, height: int) -> list[Line]:
    """Paints the matrix, then the front, the best trials, or opened test sets and the values by size."""
    shown = matrix(view, width)
    if has_front(view):
        room = height - len(shown) - 1
        picture = front_chart.front(view, width, room)
        return [*shown, (), *(picture or on_front(view, width))]
    if not of_bars(view):
        return [*shown, (), *winners(view, width)]
    if view.details.openings:
        shown += seal_lines(view, width)
    return [*shown, (), *scaling(view, width)]


def _trials(view: View, width: int, height: int) -> list[Line]:
    """Paints the table of trials, and the parameter importance if there are enough trials."""
    known = trial_table.importance_line(view, width)
    if known is None or height < 8:
        return trial_table.trials(view, width, height, title=False)
    rows = trial_table.trials(view, width, height - 2, title=False)
    return [*rows, *([()] * (height - 1 - len(rows))), known]


def _words(view: View, width: int, height: int) -> list[Line]:
    """Paints the text at the right of the small curve: chances, memory, temperature, guard."""
    trial = view.trial
    lines: list[Line] = []
    best = learning_curve.best_trial(view)
    if trial is not None:
        found = learning_curve.comparison_of(view, trial)
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
    known = not guard.startswith(("unknown", "off"))  # "temp unknown" already says it
    return f"{load} {heat}{f'  guard {guard}' if known else ''}".strip()


def _right(text: str, width: int) -> Line:
    return fill((), ((formatting.cut(text, width), "dim"),), width)
