"""Screen 3: the curve of the selected trial; on a wide screen also the best curve of every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal

from fts.jobs.status import declared, formatting, naming
from fts.tui.data.curve_comparison import broken
from fts.tui.data.result_grid import (
    LEAST_ROWS,
    MOST_COLUMNS,
    columns_in_sight,
    grid_of,
    question_of,
    rows_in_sight,
)
from fts.tui.render.chart import Plot, Series, paint, value_range
from fts.tui.render.text import Line, clip, line, rule
from fts.tui.screens.base import MonitorScreen
from fts.tui.widgets import learning_curve
from fts.tui.widgets.pane import Pane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.values import Job, Trial
    from fts.tui.data.view import View


def curve(view: View, width: int, height: int) -> list[Line]:
    """Paints the large plot: title, chart, conclusion."""
    zoom = f"+/- 1/{2**view.chart_zoom}" if view.chart_zoom else "+/- all"
    hint = f"{zoom}  h l  y {'log' if view.log_y else 'linear'}  s overlay {'on' if view.overlay else 'off'}"
    title = learning_curve.title(view)
    if learning_curve.without_steps(view):
        hint = zoom = f"y {'log' if view.log_y else 'linear'}"
    if formatting.width(title) + formatting.width(hint) + 7 > width:
        hint = zoom
    hint = hint if width >= 70 else ""
    return learning_curve.titled(view, width, height, title, hint)


class CurvesScreen(MonitorScreen):
    """The curve of the selected trial; from 100 columns also the best curve of each cell."""

    DEFAULT_CSS = """
    CurvesScreen {
        #cells { width: 40%; }
        &.-w40, &.-w70 { #cells { display: none; } }
    }
    """

    def panes(self) -> Iterable[Pane]:
        with Horizontal():
            yield Pane("curve", curve)
            yield Pane("cells", small_multiples, wall=True, id="cells")

    def action_log_y(self) -> None:
        self.navigation.log_y = not self.navigation.log_y
        self.monitor.paint()


def small_multiples(view: View, width: int, height: int) -> list[Line]:
    """Paints the best curve of each cell comparable with the selected one, by the first two axes of the study."""
    grid = grid_of(view)
    cells = grid.cells
    if not cells:
        return [rule("best curve of each cell", "", width), line(("nothing queued yet", "dim"))]
    horizons, sizes = columns_in_sight(view, grid, MOST_COLUMNS)[0], rows_in_sight(view, height)
    question = question_of(view)
    title = f"best curve of each cell{' · ' + question if question else ''}"
    lines: list[Line] = [rule(title, "[ ] selects", width, view.focus == "cells")]
    column = max(width // max(len(horizons), 1), 8)
    rows = max((height - 1) // max(len(sizes), 1) - 1, LEAST_ROWS)
    span = _range(view, [cells[size, horizon] for size in sizes for horizon in horizons if (size, horizon) in cells])
    for size in sizes:
        heads: list[tuple[str, str]] = []
        blocks: list[list[Line]] = []
        for horizon in horizons:
            job = cells.get((size, horizon))
            heads.append(_head(view, job, size, horizon, column))
            blocks.append(_small(view, job, column - 1, rows, span))
        lines.append(tuple(heads))
        for n in range(rows):
            row: list[tuple[str, str]] = []
            for block in blocks:
                row += _padded(block[n] if n < len(block) else (), column)
            lines.append(tuple(row))
    return lines[:height]


def _head(view: View, job: Job | None, size: str, horizon: str, column: int) -> tuple[str, str]:
    if job is None:
        return (formatting.fit(f" {size}/{horizon} —", column), "dim")
    sign = "►" if job.id == view.job_id else " "
    state = formatting.LOST if view.glance.lost(job) else formatting.glyph_of(job.status)
    text = f"{sign}{state} {naming.cell_name(job)} {declared.short(job.best_value)}"
    return (formatting.fit(text, column), "focus" if job.id == view.job_id else str(job.status))


def _small(view: View, job: Job | None, width: int, height: int, span: tuple[float, float]) -> list[Line]:
    found = _points(view, job) if job else ()
    if job is None:
        return []
    if not found:
        missing = "reading ..." if _is_unread(view, job) else "no curve yet" if width >= 12 else "no curve"
        return [line((missing, "dim"))]
    x = (found[0][0], max(found[-1][0], found[0][0] + 1))
    return paint(Plot((Series(found, "live"),), x, span), width, height, axis=False)


def _is_unread(view: View, job: Job) -> bool:
    """Returns whether the best trial's curve was not read yet: only this screen requests it."""
    best = _best(view, job)
    return best is not None and best.epochs > 0 and job.id not in view.details.best_curves


def _best(view: View, job: Job) -> Trial | None:
    return next((t for t in view.snapshot.trials if t.job_id == job.id and t.number == job.best_trial), None)


def _points(view: View, job: Job) -> tuple[tuple[float, float], ...]:
    trial = _best(view, job)
    curve = view.details.best_curves.get(job.id, ())
    chosen = view.metric if any(epoch.number(view.metric) is not None for epoch in curve[-1:]) else ""
    return broken(curve, chosen or (trial.metric if trial else job.metric), job.deciding_metric)


def _range(view: View, jobs: list[Job]) -> tuple[float, float]:
    return value_range([y for job in jobs for _, y in _points(view, job)])


def _padded(painted: Line, column: int) -> list[tuple[str, str]]:
    return [*clip(painted, column - 1), (" ", "")]
