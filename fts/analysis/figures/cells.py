"""Figures of single cells: score against baseline, learning curve, calibration, cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fts.analysis.figures.look import (
    BASELINE,
    GREY,
    HORIZON_COLOURS,
    HORIZON_MARKERS,
    INK,
    PALE,
    WIDTH,
    colour_of,
    grid,
    label_edges,
)
from fts.analysis.interval_text import signed
from fts.analysis.trials_table import trial_name
from fts.scores.calibration import rate_intervals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from fts.analysis.study_data import StudyData
    from fts.analysis.summarise import CellSummary, Group


def results_matrix(group: Group) -> Figure | None:
    """Draws AUC of every cell with its interval, per horizon, with the best baseline's band and the limit of luck."""
    cells = [cell for cell in group.cells if cell.auc]
    if not cells:
        return None
    horizons, budgets = group.horizons, group.budgets
    figure = Figure(figsize=(WIDTH, 0.75 + 0.46 * len(budgets)))
    axes = figure.subplots(1, len(horizons), sharex=True, sharey=True, squeeze=False)[0]
    for k, (axis, horizon) in enumerate(zip(axes, horizons, strict=True)):
        baselines = {c.baseline.result.name: c.baseline.result for c in cells if c.horizon == horizon and c.baseline}
        for result in list(baselines.values())[:1]:
            axis.axvspan(result.auc_low, result.auc_high, color=BASELINE, alpha=0.13, lw=0)
            axis.axvline(result.auc, color=BASELINE, lw=1)
            axis.text(result.auc, -0.72, result.name, color=BASELINE, fontsize=6.2, ha="center", va="bottom")
        axis.axvline(0.5, color=GREY, lw=0.6, ls=(0, (2, 2)))
        for row, budget in enumerate(budgets):
            cell = group.cell(budget, horizon)
            if cell is not None and cell.auc:
                _interval_dot(axis, row, cell, k)
            else:
                axis.text(0.5, row, "  no result yet", color=GREY, fontsize=6.5, va="center")
        axis.set(title=f"h{horizon}", xlabel="validation AUC", ylim=(len(budgets) - 0.3, -0.75))
        axis.set_yticks(range(len(budgets)), budgets)
        axis.tick_params(axis="y", length=0)
    return figure


def learning_curves(study: StudyData, group: Group) -> Figure | None:
    """Draws train and validation loss per epoch of each cell's best trial; a ring marks the best epoch."""
    known = study.epochs.assign(_trial=[trial_name(e, n) for e, n in _pairs(study.epochs)])
    cells = [cell for cell in group.cells if cell.best is not None and cell.name in set(known["_trial"])]
    if not cells:
        return None
    figure, axes = grid(group, height=1.35, sharey=True)
    for cell in cells:
        axis = axes[cell.budget, cell.horizon]
        curve = known[known["_trial"] == cell.name].sort_values("epoch")
        colour = colour_of(group, cell.horizon)
        axis.plot(curve["epoch"], curve["train_loss"], color=GREY, lw=1, ls=(0, (3, 1.5)), label="train")
        axis.plot(curve["epoch"], curve["val_loss"], color=colour, lw=1.4, label="validation")
        best = curve[curve["epoch"] == (cell.best or {}).get("best_epoch")]
        axis.plot(best["epoch"], best["val_loss"], "o", ms=5, mfc="white", mec=colour, mew=1.3)
        if cell.best is not None and pd.notna(cell.best["prior_loss"]):
            axis.axhline(cell.best["prior_loss"], color=INK, lw=0.6, ls=(0, (1, 2)))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    label_edges(axes, group, "epoch", "loss (nats)")
    handles = [
        mpl.lines.Line2D([], [], color=GREY, lw=1, ls=(0, (3, 1.5)), label="train"),
        mpl.lines.Line2D([], [], color=INK, lw=1.4, label="validation"),
        mpl.lines.Line2D([], [], color=INK, lw=0.6, ls=(0, (1, 2)), label="class prior"),
        mpl.lines.Line2D([], [], color=INK, marker="o", mfc="white", lw=0, label="best epoch"),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=4)
    return figure


def calibration(group: Group) -> Figure | None:
    """Draws predicted against observed rate of each cell's best trial; the area of a dot is its number of days."""
    cells = [cell for cell in group.cells if cell.predictions is not None]
    if not cells:
        return None
    figure, axes = grid(group, height=1.75, sharey=True)
    for cell in cells:
        assert cell.predictions is not None
        axis, colour = axes[cell.budget, cell.horizon], colour_of(group, cell.horizon)
        block = cell.scores.block if cell.scores else float(cell.horizon)
        dots = rate_intervals(cell.predictions["y"], cell.predictions["p"], block)
        promised, observed = [dot.bin.mean_p for dot in dots], [dot.bin.observed for dot in dots]
        axis.plot([0, 1], [0, 1], color=PALE, lw=1, zorder=0)
        axis.vlines(promised, *np.array([(dot.low, dot.high) for dot in dots]).T, color=colour, lw=0.8, alpha=0.6)
        axis.scatter(promised, observed, s=[6 + dot.bin.n / 4 for dot in dots], color=colour, lw=0)
        if cell.scores:
            error = cell.scores.calibration_error
            axis.text(
                0.04,
                0.9,
                f"ECE {error.value:.3f} [{error.low:.3f}, {error.high:.3f}], n {cell.scores.n}",
                transform=axis.transAxes,
                fontsize=6.2,
            )
        axis.set(xlim=(0, 1), ylim=(0, 1))
    label_edges(axes, group, "predicted probability", "observed rate")
    return figure


def cost(group: Group) -> Figure | None:
    """Draws training hours (or minutes) of each cell, with watt hours if a sensor measured them."""
    cells = [cell for cell in group.cells if cell.minutes > 0]
    if not cells:
        return None
    hours = max(cell.minutes for cell in cells) > 120
    figure = Figure(figsize=(WIDTH, 0.6 + 0.2 * len(cells)))
    axis = figure.subplots()
    spent = [cell.minutes / (60 if hours else 1) for cell in cells]
    rows = np.arange(len(cells))
    axis.barh(rows, spent, color=[colour_of(group, cell.horizon) for cell in cells], height=0.62)
    for row, (cell, value) in enumerate(zip(cells, spent, strict=True)):
        trials = cell.n_complete + cell.n_pruned + cell.n_failed
        sentence = f"{value:.1f} {'h' if hours else 'min'}, {trials} trials, {cell.n_pruned} pruned"
        sentence += f", {cell.energy_wh:.0f} Wh" if cell.energy_wh is not None else ""
        offset = (4, 0)  # points; SVG drops a leading space
        axis.annotate(sentence, (value, row), offset, textcoords="offset points", va="center", fontsize=6.5, color=INK)
    axis.set_yticks(rows, [f"{cell.budget} h{cell.horizon}" for cell in cells])
    axis.invert_yaxis()
    axis.margins(x=0.35)
    axis.set_xlabel(f"training {'hours' if hours else 'minutes'}, all trials")
    axis.tick_params(axis="y", length=0)
    return figure


def _interval_dot(axis: Axes, row: int, cell: CellSummary, k: int) -> None:
    assert cell.auc is not None
    colour = HORIZON_COLOURS[k % len(HORIZON_COLOURS)]
    axis.hlines(row, cell.auc.low, cell.auc.high, color=colour, lw=1.6)
    axis.plot(cell.auc.value, row, HORIZON_MARKERS[k % len(HORIZON_MARKERS)], color=colour, ms=5, mec="white", mew=0.6)
    if cell.luck is not None:
        axis.plot(cell.luck.luck_limit, row, "|", color=INK, ms=9, mew=1.1)
    axis.text(cell.auc.value, row - 0.2, f"{cell.auc.value:.3f}", ha="center", va="bottom", fontsize=6.5)
    if cell.auc_gain is not None:
        gain = signed(cell.auc_gain.interval)
        behind = {"fc": "#ffffff", "alpha": 0.75, "lw": 0, "pad": 0.6}
        axis.text(cell.auc.value, row + 0.17, gain, ha="center", va="top", fontsize=5.8, color=INK, bbox=behind)


def _pairs(epochs: pd.DataFrame) -> Iterator[tuple[str, float]]:
    return zip(epochs["experiment"].astype(str), epochs["number"].astype(float), strict=True)
