"""Figures of the effect of size: loss and AUC against counted parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from fts.analysis.figures.look import GREY, WIDTH, colour_of, marker_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fts.analysis.summarise import Group, ScalingCurve


def scaling_curves(group: Group) -> Figure | None:
    """Draws loss and AUC of the best trials against counted parameters, with the law if one may be fitted.

    None below two budgets: points of one size would only suggest a comparison of horizons.
    """
    if len({cell.budget for cell in group.cells if cell.best is not None}) < 2:
        return None
    figure = Figure(figsize=(WIDTH, 2.6))
    left, right = figure.subplots(1, 2)
    for curve in group.scaling:
        _scaling_line(left, group, curve, curve.losses, curve.loss_fit, flip=False)
        _scaling_line(right, group, curve, curve.aucs, curve.error_fit, flip=True)
    left.set(title="loss", ylabel="validation loss (nats)")
    right.set(title="AUC", ylabel="validation AUC")
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_xlabel("counted parameters")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.margins(x=0.15, y=0.15)
    left.legend(loc="best")
    if all(curve.loss_fit is None for curve in group.scaling):
        right.text(0.98, 0.03, "fewer than 3 sizes: no slope", transform=right.transAxes, ha="right", color=GREY)
    return figure


def _scaling_line(
    axis: Axes, group: Group, curve: ScalingCurve, values: tuple[float, ...], fit: Any, flip: bool
) -> None:
    if not curve.n_params:
        return
    colour = colour_of(group, curve.horizon)
    aside = 1.12 ** (
        group.horizons.index(curve.horizon) - (len(group.horizons) - 1) / 2
    )  # shifted, because intervals would hide each other
    axis.plot(
        np.array(curve.n_params) * aside,
        values,
        marker_of(group, curve.horizon),
        color=colour,
        ms=5,
        label=f"h{curve.horizon}",
    )
    cells = [cell for cell in group.cells if cell.horizon == curve.horizon and cell.best is not None]
    for cell in cells:
        interval = cell.auc if flip else cell.loss
        if interval is not None and cell.best is not None and pd.notna(cell.best["n_params"]):
            axis.vlines(cell.best["n_params"] * aside, interval.low, interval.high, color=colour, lw=1, alpha=0.5)
    if fit is not None:
        sizes = np.geomspace(min(curve.n_params), max(curve.n_params), 60)
        fitted = fit.law(sizes)
        solid = "-" if fit.verdict == "scales" else (0, (2, 2))
        axis.plot(sizes, 1 - fitted if flip else fitted, color=colour, lw=1.1, ls=solid)


def _count(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
