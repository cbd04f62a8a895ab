"""Draws the figures of the report, all in one look: small, quiet, readable without colour and by the colour-blind.

Each function takes a Group (and what else it needs) and returns a matplotlib Figure, or None when there is nothing to
draw. `write_figure` saves the SVG (for the page) and the PNG twin.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from fts.analysis.data import ranked, trial_name
from fts.analysis.horizon import PARAMETERS, top_trials
from fts.analysis.importance import CHANCE, Importance
from fts.analysis.study import StudyData
from fts.analysis.summary import CellSummary, Group, ScalingCurve
from fts.scores.metrics import calibration_bins

INK, GREY, PALE = "#1f2328", "#6e7781", "#d8dee4"
# Okabe and Ito's palette, safe for the colour-blind; the marker says the same once more
HORIZON_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
HORIZON_MARKERS = ("o", "s", "^", "D", "v")
BASELINE = "#8c6d1f"
LOOK: Any = {  # matplotlib types its keys as one literal of 300 names
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "text.color": INK,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "svg.fonttype": "none",  # text stays text: searchable, and read aloud
    "figure.constrained_layout.use": True,
    "axes.unicode_minus": True,
}
WIDTH = 7.4  # inches


@contextmanager
def look() -> Iterator[None]:
    """The common look, for whoever draws one more figure."""
    with mpl.rc_context(LOOK):
        yield


def draw_all(study: StudyData, group: Group) -> dict[str, Figure]:
    """Every figure that these data allow, by name, in the order of the report."""
    with look():
        drawn = {
            "results": results_matrix(group),
            "learning_curves": learning_curves(study, group),
            "scaling": scaling_curves(group),
            "calibration": calibration(group),
            "hyperparameters": hyperparameters(study, group),
            "importance": importance(group),
            "depth_width": depth_width(study, group),
            "cost": cost(group),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def results_matrix(group: Group) -> Figure | None:
    """AUC of every cell with its interval, per horizon, against the best baseline's band and the limit of luck."""
    cells = [cell for cell in group.cells if cell.auc]
    if not cells:
        return None
    horizons, budgets = group.horizons, group.budgets
    figure = Figure(figsize=(WIDTH, 0.75 + 0.42 * len(budgets)))
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
                axis.text(0.5, row, "  not yet", color=GREY, fontsize=6.5, va="center")
        axis.set(title=f"h{horizon}", xlabel="validation AUC", ylim=(len(budgets) - 0.4, -0.75))
        axis.set_yticks(range(len(budgets)), budgets)
        axis.tick_params(axis="y", length=0)
    return figure


def learning_curves(study: StudyData, group: Group) -> Figure | None:
    """Train and validation loss per epoch of each cell's best trial; the ring is the epoch that counts."""
    known = study.epochs.assign(_trial=[trial_name(e, n) for e, n in _pairs(study.epochs)])
    cells = [cell for cell in group.cells if cell.best is not None and cell.name in set(known["_trial"])]
    if not cells:
        return None
    figure, axes = _grid(group, height=1.35, sharey=True)
    for cell in cells:
        axis = axes[cell.budget, cell.horizon]
        curve = known[known["_trial"] == cell.name].sort_values("epoch")
        colour = _colour(group, cell.horizon)
        axis.plot(curve["epoch"], curve["train_loss"], color=GREY, lw=1, ls=(0, (3, 1.5)), label="train")
        axis.plot(curve["epoch"], curve["val_loss"], color=colour, lw=1.4, label="validation")
        best = curve[curve["epoch"] == (cell.best or {}).get("best_epoch")]
        axis.plot(best["epoch"], best["val_loss"], "o", ms=5, mfc="white", mec=colour, mew=1.3)
        if cell.best is not None and pd.notna(cell.best["prior_loss"]):
            axis.axhline(cell.best["prior_loss"], color=INK, lw=0.6, ls=(0, (1, 2)))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _label_edges(axes, group, "epoch", "loss (nats)")
    handles = [
        mpl.lines.Line2D([], [], color=GREY, lw=1, ls=(0, (3, 1.5)), label="train"),
        mpl.lines.Line2D([], [], color=INK, lw=1.4, label="validation"),
        mpl.lines.Line2D([], [], color=INK, lw=0.6, ls=(0, (1, 2)), label="class prior"),
        mpl.lines.Line2D([], [], color=INK, marker="o", mfc="white", lw=0, label="best epoch"),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=4)
    return figure


def scaling_curves(group: Group) -> Figure | None:
    """Loss and AUC of the best trials against counted parameters, with the law where one may be fitted."""
    if not any(curve.n_params for curve in group.scaling):
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


def calibration(group: Group) -> Figure | None:
    """Promised against observed rate of each cell's best trial; a dot's area is its number of days."""
    cells = [cell for cell in group.cells if cell.predictions is not None]
    if not cells:
        return None
    figure, axes = _grid(group, height=1.75, sharey=True)
    for cell in cells:
        assert cell.predictions is not None
        axis, colour = axes[cell.budget, cell.horizon], _colour(group, cell.horizon)
        bins = calibration_bins(cell.predictions["y"], cell.predictions["p"])
        promised, observed = [b.mean_p for b in bins], [b.observed for b in bins]
        axis.plot([0, 1], [0, 1], color=PALE, lw=1, zorder=0)
        axis.vlines(promised, *np.array([_wilson(b.n_pos, b.n) for b in bins]).T, color=colour, lw=0.8, alpha=0.6)
        axis.scatter(promised, observed, s=[6 + b.n / 4 for b in bins], color=colour, lw=0)
        if cell.scores:
            error = cell.scores.calibration_error
            axis.text(0.04, 0.9, f"ECE {error.value:.3f}, n {cell.scores.n}", transform=axis.transAxes, fontsize=6.2)
        axis.set(xlim=(0, 1), ylim=(0, 1))
    _label_edges(axes, group, "promised probability", "observed rate")
    return figure


def hyperparameters(study: StudyData, group: Group) -> Figure | None:
    """Where the top trials of each horizon lie among all trials, per parameter."""
    fit = ranked(_of(study, group))
    if fit.empty:
        return None
    top = top_trials(fit)
    effects = {effect.name: effect for effect in group.variance.effects}
    figure = Figure(figsize=(WIDTH, 2.1))
    axes = figure.subplots(1, len(PARAMETERS))
    rng = np.random.default_rng(0)
    for axis, parameter in zip(axes, PARAMETERS, strict=True):
        for k, horizon in enumerate(group.horizons):
            every = fit[fit["horizon"] == horizon][parameter.name].dropna()
            best = top[top["horizon"] == horizon][parameter.name].dropna()
            axis.plot(k + rng.uniform(-0.3, 0.3, len(every)), every, ".", color=PALE, ms=3, mew=0, zorder=1)
            style = {"marker": _marker(group, horizon), "color": _colour(group, horizon)}
            axis.plot(k + rng.uniform(-0.22, 0.22, len(best)), best, ls="", ms=3.4, mew=0, alpha=0.85, **style)
            if len(best):
                axis.hlines(best.median(), k - 0.36, k + 0.36, color=INK, lw=1.4, zorder=3)
        if parameter.log:
            axis.set_yscale("log", base=2 if parameter.name in ("n_layers", "d_model") else 10)
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title(parameter.label)
        effect = effects.get(parameter.name)
        if effect is not None:
            axis.set_xlabel(f"eta² {effect.eta_squared:.2f}\np {effect.p_holm:.3f}", fontsize=6.5)
        axis.set_xticks(range(len(group.horizons)), [f"h{h}" for h in group.horizons])
    return figure


def importance(group: Group) -> Figure | None:
    """fANOVA share per parameter and cell; what does not pass the grey line is no more than chance."""
    shown = [cell for cell in group.cells if cell.experiment in group.importance]
    if not shown:
        return None
    labels = {row.label for cell in shown for row in group.importance[cell.experiment] if row.name != CHANCE}
    shares = {label: [_share(group.importance[cell.experiment], label) for cell in shown] for label in labels}
    order = sorted(labels, key=lambda label: (np.mean(shares[label]), label))
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.35 * rows))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, cell in zip(axes, shown, strict=False):
        found = {row.label: row for row in group.importance[cell.experiment]}
        bar = next(row.fanova for row in group.importance[cell.experiment] if row.name == CHANCE)
        known = [label for label in order if label in found]
        colours = [_colour(group, cell.horizon) if found[label].beats_chance else PALE for label in known]
        axis.barh(known, [found[label].fanova for label in known], color=colours, height=0.65)
        axis.plot([found[label].ped_anova for label in known], known, "|", color=INK, ms=7)
        axis.axvline(bar, color=GREY, lw=0.8, ls=(0, (2, 2)))
        axis.set_title(f"{cell.budget} h{cell.horizon}")
        axis.tick_params(axis="y", length=0)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.supxlabel("share of explained variance: bar fANOVA, tick PED-ANOVA, dashed line a random number", fontsize=7)
    return figure


def depth_width(study: StudyData, group: Group) -> Figure | None:
    """Depth against width per budget; darker is better within the cell, rings are each cell's best."""
    fit = ranked(_of(study, group)).dropna(subset=["d_model", "n_layers"])
    budgets = [budget for budget in group.budgets if budget in set(fit["budget"])]
    if not budgets:
        return None
    figure = Figure(figsize=(min(WIDTH, 0.7 + 2.6 * len(budgets)), 2.5))
    axes = figure.subplots(1, len(budgets), squeeze=False)[0]
    fit = fit.assign(
        _share=fit.groupby("experiment").cumcount() / fit.groupby("experiment")["number"].transform("size")
    )
    rng = np.random.default_rng(0)
    for axis, budget in zip(axes, budgets, strict=True):
        rows = fit[fit["budget"] == budget].sort_values("_share", ascending=False)
        for horizon in group.horizons:
            some = rows[rows["horizon"] == horizon]
            if some.empty:
                continue
            x = some["d_model"] * 2 ** rng.uniform(-0.06, 0.06, len(some))
            y = some["n_layers"] * 2 ** rng.uniform(-0.08, 0.08, len(some))
            shade = 0.9 - 0.75 * some["_share"].to_numpy(float)
            axis.scatter(x, y, s=13, color=_colour(group, horizon), alpha=shade, marker=_marker(group, horizon), lw=0)
            best = some["_share"].to_numpy() == 0
            style = {"facecolors": "none", "edgecolors": INK, "marker": _marker(group, horizon), "linewidths": 1.2}
            axis.scatter(x[best], y[best], s=60, zorder=4, label=f"best h{horizon}", **style)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set(title=budget, xlabel="width d_model")
    axes[0].set_ylabel("depth, layers")
    legend = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(legend.values(), legend.keys(), loc="outside lower right", ncols=len(legend))
    return figure


def cost(group: Group) -> Figure | None:
    """Training hours (or minutes) of each cell, with watt hours where a sensor knew them."""
    cells = [cell for cell in group.cells if cell.minutes > 0]
    if not cells:
        return None
    hours = max(cell.minutes for cell in cells) > 120
    figure = Figure(figsize=(WIDTH, 0.6 + 0.2 * len(cells)))
    axis = figure.subplots()
    spent = [cell.minutes / (60 if hours else 1) for cell in cells]
    rows = np.arange(len(cells))
    axis.barh(rows, spent, color=[_colour(group, cell.horizon) for cell in cells], height=0.62)
    for row, (cell, value) in enumerate(zip(cells, spent, strict=True)):
        trials = cell.n_complete + cell.n_pruned + cell.n_failed
        told = f" {value:.1f} {'h' if hours else 'min'}, {trials} trials, {cell.n_pruned} pruned"
        told += f", {cell.energy_wh:.0f} Wh" if cell.energy_wh is not None else ""
        axis.text(value, row, told, va="center", fontsize=6.5, color=INK)
    axis.set_yticks(rows, [f"{cell.budget} h{cell.horizon}" for cell in cells])
    axis.invert_yaxis()
    axis.margins(x=0.35)
    axis.set_xlabel(f"training {'hours' if hours else 'minutes'}, all trials")
    axis.tick_params(axis="y", length=0)
    return figure


def write_figure(figure: Figure, folder: Path, name: str) -> str:
    """Writes {name}.svg and {name}.png into `folder`; returns the SVG as an element for a page (no prolog, own ids)."""
    folder.mkdir(parents=True, exist_ok=True)
    with look(), mpl.rc_context({"svg.hashsalt": name}):  # equal data give equal bytes, and no two figures share ids
        figure.savefig(folder / f"{name}.png", dpi=170, facecolor="white", metadata={"Software": None})
        figure.set_layout_engine("none")  # the layout just found holds for the SVG too
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    (folder / f"{name}.svg").write_text(svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\1{name}-", svg)


def _interval_dot(axis: Axes, row: int, cell: CellSummary, k: int) -> None:
    assert cell.auc is not None
    colour = HORIZON_COLOURS[k % len(HORIZON_COLOURS)]
    axis.hlines(row, cell.auc.low, cell.auc.high, color=colour, lw=1.6)
    axis.plot(cell.auc.value, row, HORIZON_MARKERS[k % len(HORIZON_MARKERS)], color=colour, ms=5, mec="white", mew=0.6)
    if cell.luck is not None:
        axis.plot(cell.luck.luck_limit, row, "|", color=INK, ms=9, mew=1.1)
    axis.text(cell.auc.value, row - 0.2, f"{cell.auc.value:.3f}", ha="center", va="bottom", fontsize=6.5)


def _scaling_line(
    axis: Axes, group: Group, curve: ScalingCurve, values: tuple[float, ...], fit: Any, flip: bool
) -> None:
    if not curve.n_params:
        return
    colour = _colour(group, curve.horizon)
    aside = 1.12 ** (
        group.horizons.index(curve.horizon) - (len(group.horizons) - 1) / 2
    )  # or intervals hide each other
    axis.plot(
        np.array(curve.n_params) * aside,
        values,
        _marker(group, curve.horizon),
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


def _grid(group: Group, height: float, sharey: bool) -> tuple[Figure, dict[tuple[str, int], Axes]]:
    budgets, horizons = group.budgets, group.horizons
    figure = Figure(figsize=(WIDTH, 0.4 + height * len(budgets)))
    axes = figure.subplots(len(budgets), len(horizons), sharex=True, sharey=sharey, squeeze=False)
    return figure, {(b, h): axes[i, j] for i, b in enumerate(budgets) for j, h in enumerate(horizons)}


def _label_edges(axes: dict[tuple[str, int], Axes], group: Group, x: str, y: str) -> None:
    for (budget, horizon), axis in axes.items():
        axis.set_title(f"{budget} h{horizon}")
        if not axis.has_data():
            axis.text(0.5, 0.5, "not yet", transform=axis.transAxes, ha="center", color=GREY)
        if budget == group.budgets[-1]:
            axis.set_xlabel(x)
        if horizon == group.horizons[0]:
            axis.set_ylabel(y)


def _share(rows: list[Importance], label: str) -> float:
    return next((row.fanova for row in rows if row.label == label), 0.0)


def _of(study: StudyData, group: Group) -> pd.DataFrame:
    return study.trials[study.trials["experiment"].isin([cell.experiment for cell in group.cells])]


def _colour(group: Group, horizon: int) -> str:
    return HORIZON_COLOURS[group.horizons.index(horizon) % len(HORIZON_COLOURS)]


def _marker(group: Group, horizon: int) -> str:
    return HORIZON_MARKERS[group.horizons.index(horizon) % len(HORIZON_MARKERS)]


def _pairs(epochs: pd.DataFrame) -> Iterator[tuple[str, float]]:
    return zip(epochs["experiment"].astype(str), epochs["number"].astype(float), strict=True)


def _count(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate (1927); days of one bin are taken as independent, so it is a narrow one."""
    z = 1.959964
    centre, half = (hits + z * z / 2) / (n + z * z), z * np.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return float(centre - half), float(centre + half)
