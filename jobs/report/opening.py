"""Builds the top of the page: the answer in one sentence and one picture of all cells."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from fts.jobs.report import figures
from fts.jobs.report.data import is_finite
from fts.jobs.report.sentences import as_good, lead, value
from fts.jobs.report.svg import Chart, pixels, shortened
from fts.jobs.status import formatting
from fts.state.pareto_front import front

if TYPE_CHECKING:
    from fts.jobs.report.data import CellReport, StudyReport

MOST_CELLS = 16  # rows of the picture
MOST_DOTS = 2400  # in all rows of the picture
LONGEST = 60  # characters of a name in the sentence
WIDE, NARROW = 760, 340  # width in pixels on a desktop and on a phone
ROW = {WIDE: 26, NARROW: 42}


def opening(study: StudyReport) -> str:
    """Returns the sentence, the figure and the counts as markup."""
    drawn = "".join(
        f'<div class="{kind}">{svg}</div>'
        for kind, width in (("desk", WIDE), ("phone", NARROW))
        if (svg := picture(study, width)) is not None
    )
    figure = f"<figure>{drawn}<figcaption>{escape(caption(study))}</figcaption></figure>" if drawn else ""
    return f'<p class="answer">{escape(answer(study))}</p>\n{figure}\n<p class="lead">{escape(lead(study))}</p>\n'


# ---------------------------------------------------------------- the sentence


def answer(study: StudyReport) -> str:
    """Returns a sentence with the best value and its caveats."""
    cell = best_cell(study)
    if cell is None:
        return "No cell has a result yet." if len(study.cells) > 1 else "There is no result yet."
    assert cell.best is not None, "it has a result"
    values = {trial.value for one in alike(study, cell) for trial in one.complete}
    every = sum(len(one.complete) for one in alike(study, cell))
    if every > 1 and len(values) == 1 and not cell.goals:
        return f"All {every:,} complete trials have the same {cell.metric}, {value(cell.best.value)}: none is better."
    which = "lowest" if str(cell.direction) == "minimize" else "highest"
    where = f"trial t{cell.best.number}" + (f" of {shortened(cell.name, LONGEST)}" if len(study.cells) > 1 else "")
    where += as_good(cell, alike(study, cell)).replace(" of ", " ")
    parts = [f"The {which} {shortened(cell.metric, LONGEST)} is {value(cell.best.value)} ({where})"]
    parts += [after for after in (of_front(cell), of_baseline(cell), of_seeds(cell)) if after]
    return f"{parts[0]}{': ' if len(parts) > 1 else ''}{'; '.join(parts[1:])}."


def of_front(cell: CellReport) -> str:
    if not cell.goals:
        return ""
    n = len(front(cell.job, cell.trials))
    return f"one of {n:,} trials that no other one beats in every goal" if n > 1 else "no other trial is on the front"


def of_baseline(cell: CellReport) -> str:
    if cell.baseline is None or cell.best is None or not is_finite(cell.baseline.value):
        return ""
    gain = cell.key(cell.baseline.value or 0.0) - cell.key(cell.best.value or 0.0)
    if not gain:
        return "as good as the baseline"
    return f"{value(abs(gain))} {'better' if gain > 0 else 'worse'} than the baseline"


def of_seeds(cell: CellReport) -> str:
    """Returns the mean with other seeds, or a warning that the best of many is partly luck."""
    if cell.replicates is not None:
        seeds = formatting.count(len(cell.replicates.trials), "other seed")
        return f"with {seeds} it is {value(cell.replicates.interval.value)} on average"
    n = len(cell.complete)
    return f"the best of {n:,}, so perhaps partly luck" if n > 1 else ""


def best_cell(study: StudyReport) -> CellReport | None:
    """Returns the best cell among those with the first metric that has a result, or None."""
    cells = study.with_result
    of = alike(study, cells[0]) if cells else []
    return min(of, key=lambda cell: cell.key(cell.best.value or 0.0) if cell.best else math.inf) if of else None


def alike(study: StudyReport, cell: CellReport) -> list[CellReport]:
    """Returns the cells with a result and the same metric and direction."""
    return [one for one in study.with_result if (one.metric, one.direction) == (cell.metric, cell.direction)]


# ---------------------------------------------------------------- the picture


def picture(study: StudyReport, width: int) -> str | None:
    """Draws a row per cell with its trials as dots; for a study of one cell the course of its search."""
    first = best_cell(study)
    if first is None:
        return None
    cells = chosen(study, first)
    if len(cells) == 1:
        return figures.history(first, figures.MOST_POINTS // 2, (width, 240))
    values = [trial.value for cell in cells for trial in cell.complete if trial.value is not None]
    ends = [
        end for c in cells if c.replicates and c.replicates.interval.is_known
        for end in (c.replicates.interval.low, c.replicates.interval.high)
    ]  # fmt: skip
    bases = [cell.baseline.value for cell in cells if cell.baseline and is_finite(cell.baseline.value)]
    bests = [cell.best.value for cell in cells if cell.best and cell.best.value is not None]
    is_narrow, row = width == NARROW, ROW[width]
    left = 14 if is_narrow else int(min(200, 24 + max(pixels(cell.name) for cell in cells)))
    chart = Chart("", width, 44 + row * len(cells), left=left, right=14, top=8)
    chart.x = figures.scale_of_values(values, also=[*ends, *bests, *(b for b in bases if b is not None)])
    better = "lower" if str(first.direction) == "minimize" else "higher"
    chart.x_label = f"{shortened(first.metric, 30)} ({better} is better)"
    for place, _ in chart.x.ticks:
        at = chart.edge + place * chart.inner[0]
        chart.path(f"M{at:.1f} {chart.top}V{chart.top + chart.inner[1]:.1f}", "grid")
    for n, cell in enumerate(cells):
        draw_cell(chart, cell, chart.top + row * (n + (0.68 if is_narrow else 0.5)), MOST_DOTS // len(cells), is_narrow)
    return chart.svg(f"{first.metric} of every trial, a row for each cell")


def draw_cell(chart: Chart, cell: CellReport, y: float, most: int, is_narrow: bool) -> None:
    if is_narrow:
        chart.fitted(chart.left, y - 14, cell.name, chart.width - 90, "label")
        chart.text(chart.width - chart.right, y - 14, value(cell.best.value if cell.best else None), "title", "end")
    else:
        chart.fitted(chart.left - 12, y + 4, cell.name, chart.left - 20, "label", "end")
    chart.path(f"M{chart.edge:g} {y:.1f}H{chart.edge + chart.inner[0]:.1f}", "grid")
    for trial in figures.thinned([one for one in cell.complete if not figures.is_best(cell, one)], most):
        spread = ((trial.number * 7) % 11 - 5) * 0.9  # so that dots of equal values do not hide each other
        chart.dot(chart.across(trial.value), y + spread, "dot", figures.tooltip(trial), 2.2, figures.key_of(trial))
    if cell.baseline is not None and is_finite(cell.baseline.value):
        at = chart.across(cell.baseline.value)
        chart.path(f"M{at:.1f} {y - 9:.1f}V{y + 9:.1f}", "base", f"baseline: {value(cell.baseline.value)}")
    if cell.replicates is not None and is_finite(cell.replicates.interval.value):
        again = cell.replicates.interval
        if again.is_known:
            chart.path(f"M{chart.across(again.low):.1f} {y:.1f}H{chart.across(again.high):.1f}", "again")
        chart.dot(chart.across(again.value), y, "mean", f"other seeds: {value(again.value)}", 3.4)
    if cell.best is not None:
        chart.dot(chart.across(cell.best.value), y, "star", figures.tooltip(cell.best), 4.6, figures.key_of(cell.best))


def chosen(study: StudyReport, first: CellReport) -> list[CellReport]:
    """Returns the cells of the picture: all in the study's order, or the best MOST_CELLS."""
    cells = alike(study, first)
    if len(cells) <= MOST_CELLS:
        return cells
    return sorted(cells, key=lambda cell: cell.key(cell.best.value or 0.0) if cell.best else math.inf)[:MOST_CELLS]


def caption(study: StudyReport) -> str:
    first = best_cell(study)
    assert first is not None, "there is a picture"
    cells = chosen(study, first)
    if len(cells) == 1:
        words = "A dot is a complete trial, the line is the best value so far"
        return words + (", the dashed line the baseline." if first.baseline is not None else ".")
    parts = ["A row is a cell, a grey dot one of its complete trials, the orange dot the best."]
    if any(cell.replicates for cell in cells):
        parts.append("Blue: the mean of the winner with other seeds, and its 95 % interval.")
    if any(cell.baseline for cell in cells):
        parts.append("Dashed: the baseline.")
    if (absent := len(study.cells) - len(cells)) > 0:
        parts.append(f"{formatting.count(absent, 'cell')} without a result, worse, or of another metric: see below.")
    if any(len(cell.complete) - 1 > MOST_DOTS // len(cells) for cell in cells):
        parts.append(f"At most {MOST_DOTS // len(cells)} dots of a cell are drawn.")
    return " ".join(parts)
