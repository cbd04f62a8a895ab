"""Screen 2: the trials of the selected cell, and how the selected trial differs from the best."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical

from fts.jobs.search.prune_line import value_of
from fts.jobs.status import declared, formatting
from fts.state.values import Cause
from fts.tui.data import table_rows
from fts.tui.data.table_rows import PARAM
from fts.tui.data.trial_store import by_id, ids_of
from fts.tui.render.text import Line, labelled, line, named, rule, wrapped
from fts.tui.screens.base import Breakpoints, MonitorScreen
from fts.tui.widgets import learning_curve, trial_table
from fts.tui.widgets.attempts import attempts
from fts.tui.widgets.pane import Long, Pane, TableSettings, rows_of
from fts.tui.widgets.scrollbar import Extent
from fts.tui.widgets.trial_facts import facts
from fts.tui.widgets.trial_table import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.values import Trial
    from fts.tui.data.view import View


def table(view: View, width: int, height: int) -> list[Line]:
    """Paints title, trials and the importance of their parameters."""
    job = view.job
    done = f"{formatting.trials_ended(job)} of {job.trials_wanted}" if job else "0"
    hint = "[ ] other cell  o sort  / filter" if width >= 70 else ""
    known = trial_table.importance_line(view, width)
    title = rule(f"trials {view.name} ({done})", hint, width, view.focus == "trials")
    lines = [title, *trial_table.trials(view, width, height - 1 - (known is not None))]
    return lines if known is None else [*lines, *([()] * (height - 1 - len(lines))), known]


def rows(view: View, width: int, height: int) -> list[int | None]:
    """Returns the trial id of each line of the pane; None for title and heading."""
    ids = ids_of(table_rows.trials_of(view))
    cursor = ids.index(view.trial_id) if view.trial_id in ids else 0
    room = height - 2 - (trial_table.importance_line(view, width) is not None)
    first, last = table_rows.window(len(ids), room, cursor)
    return [None, None, *ids[first:last]]


def extent(view: View, width: int, height: int) -> Extent:
    """Returns which trials are visible."""
    seen = [id for id in rows(view, width, height)[2:] if id is not None]
    ids = ids_of(table_rows.trials_of(view))
    return Extent(len(ids), ids.index(seen[0]) if seen else 0, len(seen))


def columns(view: View, width: int) -> dict[str, str]:
    """Returns for each word of the heading the column that a click on it sorts by."""
    step, value = declared.step_word(view.snapshot, view.job), trial_table.value_word(view).split()[0]
    params = {trial_table.SHORT.get(name, name): PARAM + name for name in trial_table.params(view, width)}
    known = {"t": "number", "state": "state", "time": "minutes", "architecture": "architecture"}
    return params | known | {step: "epochs", value: "value"}


BREAKPOINTS: Breakpoints = [(0, "-w0"), (40, "-w40"), (110, "-w110")]


class TrialsScreen(MonitorScreen):
    """The table, and the selected trial: at its right on a wide screen, else below."""

    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    DEFAULT_CSS = """
    TrialsScreen {
        #detail { height: auto; min-height: 8; max-height: 45%; }
        #beside { width: 46; display: none; }
        &.-h8 #detail { display: none; }
        &.-w110 { #detail { display: none; } #beside { display: block; } }
    }
    """

    def panes(self) -> Iterable[Pane]:
        with Horizontal():
            with Vertical():
                yield Pane("trials", table, table=TableSettings(rows, columns, heading=1), extent=extent, id="trials")
                yield Pane("diff", detail, rows=rows_of(detail), long=Long(), id="detail")
            yield Pane("diff", detail, wall=True, long=Long(), id="beside")

    def sorts(self) -> Mapping[str, str]:
        """Returns column by key: letters for the fixed columns, digits for the parameters from the left."""
        width, view = self.query_one("#trials", Pane).size.width, self.monitor.view()
        shown = trial_table.params(view, width)
        absent = trial_table.absent_columns(view, width)
        fixed = {letter: column for letter, column in super().sorts().items() if column not in absent}
        return {**fixed, **{str(n): PARAM + name for n, name in enumerate(shown[:9], 1)}}


def detail(view: View, width: int, height: int) -> list[Line]:  # noqa: ARG001  # a painter
    """Paints the selected trial: difference to the best, error, last log lines, facts, attempts."""
    rows = table_rows.trials_of(view)
    trial, job = by_id(rows, view.trial_id) or next(iter(rows), None), view.job  # the row under the cursor
    if trial is None or job is None:
        return [rule("no trial selected", "", width)]
    word = declared.metric_word(view.snapshot, job) if len(job.goals) > 1 else ""
    lines = [
        rule(f"t{trial.number} against the best{f' {word}' if word else ''}", "", width, view.focus == "diff"),
        *difference(trial, learning_curve.best_trial(view), width, word),
    ]
    if trial.message or trial.cause not in (None, Cause.FINISHED):
        lines += [(), *error(trial, width)]
    if last := last_words(view, trial):
        lines += [(), line(("its last words", "dim"))]
        lines += [line((row, "failed")) for text in last for row in wrapped(text, width - 1)[:3]]
        lines.append(line((formatting.cut(f"5 shows all of it, or: fts logs {job.id}:t{trial.number}", width), "dim")))
    gap = learning_curve.gap_words(view, trial)
    shown = [*lines, (), *facts(view, so_far(view, trial), width)]
    if gap is not None:
        shown.append(labelled("gap", gap.removeprefix("train/val ").replace("gap ", "train/val ")))
    return [*shown, *attempts(view, trial, width)]


def so_far(view: View, trial: Trial) -> Trial:
    """Returns a running trial with the scores of its best epoch so far; the database gets them when it ends."""
    curve = view.epochs(trial.id) if trial.ended_at is None else ()
    main = view.deciding_metric(trial)
    seen = [(value, epoch) for epoch in curve if (value := value_of(epoch, trial.metric, main)) is not None]
    if not seen:
        return trial
    value, best = min(seen, key=lambda found: trial.direction.key(found[0]))
    latest = max(trial.epochs, len(curve))
    return replace(
        trial,
        value=trial.value if trial.value is not None else value,
        val_loss=best.number("val_loss"),
        val_auc=best.number("val_auc"),
        best_epoch=best.epoch,
        epochs=latest,
    )


def last_words(view: View, trial: Trial) -> tuple[str, ...]:
    """Returns the last log lines of a trial that failed, was interrupted, or whose worker died."""
    last = view.last
    if last is not None and last.job_id == trial.job_id and trial.ended_at is None:
        return last.lines
    return view.details.trial_lines if trial.id == view.trial_id else ()


def difference(trial: Trial, best: Trial | None, width: int = 80, word: str = "") -> list[Line]:
    """Paints the parameters that differ, one per line: `learning_rate  2.2e-4   best 2.8e-4`.

    `word`: the metric in which `best` is the best, if the cell has several goals.
    """
    if best is None:
        return [line(("no best trial yet", "dim"))]
    if best.id == trial.id:
        text = f"on the front, with the best {word} ★" if word else "this is the best one ★"
        return [line((text, "best")), *_own(trial, width)]
    names = sorted({*trial.params, *best.params})
    lines: list[Line] = []
    for name in names:
        mine, theirs = trial.params.get(name), best.params.get(name)
        if mine == theirs:
            continue
        own, other = (ABSENT if each is None else formatting.number(each) for each in (mine, theirs))
        text = f"{formatting.fit(own, 18 if width >= 60 else 10)} best {other}"
        fits = 15 + formatting.width(text) <= width and formatting.width(own) <= (18 if width >= 60 else 10)
        lines += named(name, [text] if fits else [own, f"best {other}"], width)
    return lines or [line(("the same parameters as the best one", "dim"))]


def _own(trial: Trial, width: int) -> list[Line]:
    return [
        row for name, value in sorted(trial.params.items()) for row in named(name, [formatting.number(value)], width)
    ]


def error(trial: Trial, width: int) -> list[Line]:
    """Paints the cause and message of a trial's end."""
    text = f"{trial.cause or ''}: {trial.message or ''}".strip(": ")
    role = "failed" if trial.status == "failed" else "dim"
    return [line((row, role)) for row in wrapped(text, max(width - 1, 10))]
