"""Figures of the searches: where the best settings are, which parameters matter, depth against width."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fts.analysis.figures.look import GREY, INK, PALE, WIDTH, colour_of, marker_of
from fts.analysis.horizon import PARAMETERS, top_trials
from fts.analysis.trials_table import placed

if TYPE_CHECKING:
    import pandas as pd

    from fts.analysis.study_data import StudyData
    from fts.analysis.summarise import Group


def hyperparameters(study: StudyData, group: Group) -> Figure | None:
    """Draws where the top trials of each horizon are among all trials, per parameter."""
    fit = placed(_of(study, group))
    top = top_trials(fit)
    if top.empty:
        return None
    effects = {effect.name: effect for effect in group.variance.effects}
    figure = Figure(figsize=(WIDTH, 2.1))
    axes = figure.subplots(1, len(PARAMETERS))
    rng = np.random.default_rng(0)
    for axis, parameter in zip(axes, PARAMETERS, strict=True):
        for k, horizon in enumerate(group.horizons):
            every = fit[fit["horizon"] == horizon][parameter.name].dropna()
            best = top[top["horizon"] == horizon][parameter.name].dropna()
            axis.plot(
                k + rng.uniform(-0.3, 0.3, len(every)), every, ".", color=GREY, alpha=0.35, ms=3.5, mew=0, zorder=1
            )
            style = {"marker": marker_of(group, horizon), "color": colour_of(group, horizon)}
            axis.plot(k + rng.uniform(-0.22, 0.22, len(best)), best, ls="", ms=3.4, mew=0, alpha=0.85, **style)
            if len(best):
                axis.hlines(best.median(), k - 0.36, k + 0.36, color=INK, lw=1.4, zorder=3)
        if parameter.log:
            by_two = parameter.name in ("n_layers", "d_model")
            axis.set_yscale("log", base=2 if by_two else 10)
            axis.yaxis.set_major_locator(LogLocator(2) if by_two else LogLocator(10, subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title(f"{parameter.label}{', layers' if parameter.name == 'n_layers' else ''}")
        axis.set_xlim(-0.5, len(group.horizons) - 0.5)
        effect = effects.get(parameter.name)
        if effect is not None:
            axis.set_xlabel(f"eta² {effect.eta_squared:.2f}\np {effect.p_holm:.3f}", fontsize=6.5)
        axis.set_xticks(range(len(group.horizons)), [f"h{h}" for h in group.horizons])
    return figure


def importance(group: Group) -> Figure | None:
    """Draws the share of each parameter and cell; below the grey line it is explained by chance."""
    shown = [(cell, group.importance[cell.experiment]) for cell in group.cells if cell.experiment in group.importance]
    if not shown:
        return None
    names = {name for _, found in shown for name in found.shares}
    order = sorted(names, key=lambda name: (np.mean([found.shares.get(name, 0.0) for _, found in shown]), name))
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.35 * rows))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, (cell, found) in zip(axes, shown, strict=False):
        known = [name for name in order if name in found.shares]
        colours = [colour_of(group, cell.horizon) if found.shares[name] > found.chance else PALE for name in known]
        labels = [LABELS.get(name, name) for name in known]
        axis.barh(labels, [found.shares[name] for name in known], color=colours, height=0.65)
        axis.axvline(found.chance, color=GREY, lw=0.8, ls=(0, (2, 2)))
        axis.set_title(f"{cell.budget} h{cell.horizon}")
        axis.tick_params(axis="y", length=0)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.supxlabel("share of the variance of ranks; dashed line: what chance reaches", fontsize=7)
    return figure


LABELS = {parameter.name: parameter.label for parameter in PARAMETERS} | {"layers": "depth", "warmup_steps": "warm-up"}
LEAST_SHAPES = 12  # with fewer trials of a size, shapes show no pattern


def depth_width(study: StudyData, group: Group) -> Figure | None:
    """Draws depth against width per budget; darker is better within the cell, rings mark each cell's best."""
    fit = placed(_of(study, group)).dropna(subset=["d_model", "n_layers"])
    budgets = [budget for budget in group.budgets if budget in set(fit["budget"])]
    if not budgets or len(fit) < LEAST_SHAPES * len(budgets):
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
            axis.scatter(
                x, y, s=13, color=colour_of(group, horizon), alpha=shade, marker=marker_of(group, horizon), lw=0
            )
            best = some["_share"].to_numpy() == 0
            style = {"facecolors": "none", "edgecolors": INK, "marker": marker_of(group, horizon), "linewidths": 1.2}
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


def _of(study: StudyData, group: Group) -> pd.DataFrame:
    return study.trials[study.trials["experiment"].isin([cell.experiment for cell in group.cells])]
