"""Screen 6: the matrix of best values, conclusions below it, and the best trial of the selected cell.

The study of daily bars also shows the values by size. It is judged on validation data only: the test set stays sealed
until a person opens it for one cell (`fts final`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal

from fts.jobs.status import formatting
from fts.tui.data.result_grid import has_front, objective, of_bars, question_of
from fts.tui.data.trial_store import by_number
from fts.tui.render.text import Line, labelled, line, rule, wrapped
from fts.tui.screens.base import MonitorScreen
from fts.tui.widgets import best_trials, front_chart, learning_curve, slices, trial_table
from fts.tui.widgets.matrix import below_matrix, matrix, shown
from fts.tui.widgets.pane import Long, Pane, rows_of
from fts.tui.widgets.trial_facts import facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.values import Job
    from fts.tui.data.view import View

CHANCE = "a random number"  # label of the importance that a random number may have by chance


def results(view: View, width: int, height: int) -> list[Line]:  # noqa: ARG001  # a painter
    """Paints the matrix and the meaning of its signs."""
    named = question_of(view)
    where = " on validation" if of_bars(view) else ""
    hint = "w writes them" if width >= 70 else ""
    whole = f"{f'results of {named}' if named else 'results so far'} · {shown(view)}{where} · n trials"
    parts = (whole, whole.removesuffix(" · n trials"), f"{shown(view)}{where}", shown(view))
    room = width - formatting.width(hint) - 7
    title = next((text for text in parts if formatting.width(text) <= room), parts[-1])
    return [rule(title, hint, width, view.focus == "results"), *matrix(view, width), *below_matrix(view, width)]


class ResultsScreen(MonitorScreen):
    """The matrix, conclusions below it, and on a wide screen the selected cell."""

    DEFAULT_CSS = """
    ResultsScreen {
        #matrix { height: auto; max-height: 100%; }
        #cell { width: 40%; }
        &.-w40, &.-w70 { #cell { display: none; } }
    }
    """

    def panes(self) -> Iterable[Pane]:
        signs = Long(head=2, foot=lambda view, width: len(below_matrix(view, width)))
        yield Pane("results", results, rows=rows_of(results, below=1), long=signs, id="matrix")
        with Horizontal():
            yield Pane("best", below, long=Long())
            yield Pane("cell", cell, wall=True, long=Long(), id="cell")


def below(view: View, width: int, height: int) -> list[Line]:
    """Paints the part below the matrix: the values by size, the front, or the best trials; then charts by parameter."""
    goals = has_front(view)
    if of_bars(view):
        title, draw = "value against size", best_trials.scaling
    elif goals:
        title, draw = f"front of {view.name}: no other trial is better in every goal", best_trials.on_front
    else:
        title, draw = "best trials", best_trials.winners
    picture = front_chart.front(view, width, max(min((height - 1) * 3 // 5, 22), 0)) if goals else []
    lines = [rule(title, "", width, view.focus == "best"), *picture, *draw(view, width)]
    room = height - len(lines) - 1
    drawn = slices.slices(view, width, min(room, 16)) if room >= slices.LEAST_HIGH else []
    return [*lines, (), *drawn] if drawn else lines


def cell(view: View, width: int, height: int) -> list[Line]:  # noqa: ARG001  # a painter
    """Paints facts of the selected cell's best trial."""
    job = view.job
    if job is None:
        return [rule("no cell selected", "", width)]
    best = f"best {objective(view)}" if has_front(view) else "best trial"
    lines: list[Line] = [rule(f"{view.name} · {best}", "2", width, view.focus == "cell")]
    trial = by_number(view.trials, job.best_trial)
    if trial is None:
        text = formatting.without_best(job) if formatting.trials_ended(job) else "no trial has ended yet"
        return [*lines, *(line((part, "dim")) for part in wrapped(text, width))]
    gap = learning_curve.gap_words(view, trial)
    known = [] if gap is None else [labelled("gap", gap.removeprefix("train/val ").replace("gap ", "train/val "))]
    return [*lines, *facts(view, trial, width), *known, *against_baseline(view, job), *_importance(view, width)]


def _importance(view: View, width: int) -> list[Line]:
    """Paints the importance of the cell's parameters, one per line, with the level of chance among them."""
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
    note = "share of the trials' order that goes with each parameter alone; what is below chance may be chance"
    return [*lines, *(line((row, "dim")) for row in wrapped(note, width - 1))]


def against_baseline(view: View, job: Job) -> list[Line]:
    """Paints the difference to the best baseline of the same task, with its paired 95 % interval."""
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
