"""Builds the sections about the course of the searches: history, importance, axes, parameters, curves, pruning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.jobs.report import figures, statistics
from fts.jobs.report.markup import Section, folded, left_out, scrolled, table
from fts.jobs.report.sentences import p
from fts.jobs.report.svg import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.report.data import CellReport, StudyReport

OPEN_CELLS = 6  # cells with charts of their parameters
HISTORY = "A dot is a complete trial, the line is the best value so far{}. {}"
BASELINE = ", the dashed line the baseline"
POINT = "Values far from all others stand at the edge. Point at a dot to see its parameters."

CURVES = (
    "A line is a trial, the bold one the best trial of the cell; orange ones were pruned. The best trial was chosen "
    "on these very values."
)


def history(study: StudyReport) -> Section | None:
    drawable = sum(len(cell.complete) > 1 for cell in study.cells)
    most = figures.points_each(min(drawable, figures.MOST_CHARTS))
    note = HISTORY.format(BASELINE if any(cell.baseline for cell in study.cells) else "", POINT)
    return each_cell(study, "history", "History", lambda cell: figures.history(cell, most), note)


def each_cell(
    study: StudyReport, name: str, title: str, draw: Callable[[CellReport], str | None], note: str
) -> Section | None:
    drawn = [svg for cell in study.cells if (svg := draw(cell)) is not None]
    if not drawn:
        return None
    shown = drawn[: figures.MOST_CHARTS]
    return Section(name, title, side_by_side(shown) + left_out(len(shown), len(drawn), "cells"), note)


def importance(shares: Sequence[statistics.CellImportance]) -> Section | None:
    svg = figures.importances(shares)
    if svg is None:
        return None
    several = f"mean over {len(shares)} cells, a dot for each" if len(shares) > 1 else f"n = {shares[0].shares[0].n}"
    note = (
        f"Share of the variance of the trials' ranks that goes with each parameter alone ({several}). The row `chance` "
        "is what the luckiest parameter reaches in 5 % of searches with shuffled values: a pale bar explains no more. "
        "An association within what the sampler tried, not a cause; interactions are not seen."
    )
    return Section("importance", "Importance", scrolled(svg, "scroll"), note)


def axes(
    study: StudyReport, effects: Sequence[statistics.AxisTest], depends: Sequence[statistics.AxisTest]
) -> Section | None:
    if not effects and not depends:
        return None
    parts = []
    if effects:
        rows = [[study.label(one.axis), ranks_of(one), str(one.blocks), p_of(one)] for one in effects]
        parts.append("<h3>Does the best value depend on it?</h3>")
        parts.append(table(["axis", "mean rank of its values (1 is best)", "groups", "p"], rows, ["groups", "p"]))
    if depends:
        rows = [[study.label(one.axis), one.what, lies_of(one), str(one.blocks), p_of(one)] for one in depends]
        parts.append("<h3>Does the best configuration depend on it?</h3>")
        parts.append(table(["axis", "parameter", "where the best fifth lies", "groups", "p"], rows, ["groups", "p"]))
    note = (
        "Compared are groups of cells that differ in one axis alone. p: how often levels dealt out at random within "
        "the groups lie at least as far apart, with Holm's correction over the parameters of an axis. A whole cell "
        "counts as one observation, because trials of one search depend on each other. `too few cells`: so few groups "
        "give no p below 0.05. Numbers lie between 0 (the smallest tried) and 1, by rank."
    )
    return Section("axes", "Axes", "".join(parts), note)


def p_of(one: statistics.AxisTest) -> str:
    return p(one.p_holm) if one.can_tell else f"too few cells (p ≥ {min(1.0, one.smallest * one.tests):.2g})"


def ranks_of(one: statistics.AxisTest) -> str:
    return ", ".join(f"{level} {at[0]:.1f}" for level, at in sorted(one.levels.items(), key=lambda pair: pair[1])[:12])


def lies_of(one: statistics.AxisTest) -> str:
    if not one.choices:
        return ", ".join(f"{level} {at[0]:.2f}" for level, at in list(one.levels.items())[:12])
    shares = {
        level: ", ".join(f"{name} {share:.0%}" for name, share in zip(one.choices[:5], at, strict=False))
        for level, at in list(one.levels.items())[:8]
    }
    return "; ".join(f"{level}: {text}" for level, text in shares.items())


def landscape(study: StudyReport, main: Sequence[str]) -> Section | None:
    """Returns parallel coordinates, contours and slices of the first cells."""
    cells = [cell for cell in study.cells if len(cell.complete) >= figures.ENOUGH]
    most = figures.points_each(min(len(cells), OPEN_CELLS) * figures.MOST_PARAMETERS)
    parts = []
    for k, cell in enumerate(cells[:OPEN_CELLS]):
        mine = [name for name in main if any(name in trial.params for trial in cell.complete)]
        drawn = []
        if (ways := figures.parallel(cell, mine[: figures.MOST_PARAMETERS])) is not None:
            drawn.append(scrolled(ways, "scroll"))
        charts = []
        if len(mine) > 1 and (area := figures.contour(cell, mine[0], mine[1])) is not None:
            charts.append(area)
        each = (figures.slices(cell, name, most) for name in mine[: figures.MOST_PARAMETERS])
        charts += [svg for svg in each if svg is not None]
        drawn.append(side_by_side(charts) if charts else "")
        if any(drawn):
            parts.append(folded(cell.name, "".join(drawn), is_open=k == 0))
    if not parts:
        return None
    note = (
        "Lines: each trial through its parameters, the most important first; the stronger, the better, and a line "
        "below an axis did not draw that parameter. Area: ranks of the trials, weighted by distance, of the two most "
        "important parameters; between the trials it is a guess. Slices: a parameter against the value. Orange: the "
        "best."
    )
    if any(len(cell.complete) > most for cell in cells[:OPEN_CELLS]):
        note += (
            f" Of a longer search, at most {figures.MOST_LINES} lines, {figures.MOST_RANKED} trials of an area and "
            f"{most} dots of a slice are drawn."
        )
    return Section("parameters", "Parameters", "".join(parts) + left_out(len(parts), len(cells), "cells"), note)


def pruning(study: StudyReport) -> Section | None:
    audits = [one for one in map(statistics.audit, study.cells) if one is not None]
    if not audits:
        return None
    rows = [
        [one.cell.name, f"{one.pruned} of {one.ended}", f"{one.saved:.0%}", str(one.step),
         f"{one.agreement:.2f}" if math.isfinite(one.agreement) else "—", str(one.n)]
        for one in audits
    ]  # fmt: skip
    head = ["cell", "pruned", "saved", f"middle {study.step}", "agreement", "n"]
    note = (
        f"Saved: the share of all {study.step}s, if pruned trials had run as long as the middle complete one. "
        f"Agreement: rank correlation (Spearman) of the values at the middle {study.step} of pruning and at the end, "
        "over n complete trials, which survived: for the pruned ones it may be lower. Below 0.5, early values tell "
        "little."
    )
    return Section("pruning", "Pruning", table(head, rows, head[1:]), note)
