"""The style of all figures, readable without colour and by the colour-blind; and how they are saved."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from fts.state.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes

    from fts.analysis.summarise import Group

INK, GREY, PALE = "#1f2328", "#6e7781", "#d8dee4"
# Okabe and Ito's palette, safe for the colour-blind; markers encode the same
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
    "text.parse_math": False,  # dollar signs in names are not maths
    "svg.fonttype": "none",  # text stays text: searchable, and readable by screen readers
    "figure.constrained_layout.use": True,
    "axes.unicode_minus": True,
}
WIDTH = 7.4  # inches
ON_PAGE = 130.0  # pixels per inch on the page; narrower screens shrink a figure, none enlarges it
THEMED = {INK: "var(--ink)", GREY: "var(--grey)", PALE: "var(--line)", "#ffffff": "var(--paper)"}
THEMED |= {BASELINE: "var(--base)", **{colour: f"var(--h{n})" for n, colour in enumerate(HORIZON_COLOURS)}}


@contextmanager
def look() -> Iterator[None]:
    """Applies the common style, for drawing another figure."""
    with mpl.rc_context(LOOK):
        yield


def write_figure(figure: Figure, folder: Path, name: str) -> str:
    """Writes {name}.svg and {name}.png into `folder`; returns the SVG as an element for a page.

    The element has no prolog, unique ids, and the page's colours for ink, lines and paper, so that it is readable in
    dark mode, too.
    """
    png, out = io.BytesIO(), io.StringIO()
    with look(), mpl.rc_context({"svg.hashsalt": name}):  # equal data give equal bytes, and figures do not share ids
        figure.savefig(png, format="png", dpi=170, facecolor="white", metadata={"Software": None})
        figure.set_layout_engine("none")  # keeps the computed layout for the SVG
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    atomic_write(folder / f"{name}.png", png.getvalue(), durable=False)
    atomic_write(folder / f"{name}.svg", svg, durable=False)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\1{name}-", svg)
    svg = re.sub(r"(?<=: )#[0-9a-f]{6}", lambda found: THEMED.get(found[0], found[0]), svg)
    return svg.replace("<svg ", f'<svg style="width:{figure.get_figwidth() * ON_PAGE:.0f}px" ', 1)


def grid(group: Group, height: float, sharey: bool) -> tuple[Figure, dict[tuple[str, int], Axes]]:
    budgets, horizons = group.budgets, group.horizons
    figure = Figure(figsize=(WIDTH, 0.4 + height * len(budgets)))
    axes = figure.subplots(len(budgets), len(horizons), sharex=True, sharey=sharey, squeeze=False)
    return figure, {(b, h): axes[i, j] for i, b in enumerate(budgets) for j, h in enumerate(horizons)}


def label_edges(axes: dict[tuple[str, int], Axes], group: Group, x: str, y: str) -> None:
    for (budget, horizon), axis in axes.items():
        axis.set_title(f"{budget} h{horizon}")
        if not axis.has_data():
            axis.text(0.5, 0.5, "not yet", transform=axis.transAxes, ha="center", color=GREY)
        if budget == group.budgets[-1]:
            axis.set_xlabel(x)
        if horizon == group.horizons[0]:
            axis.set_ylabel(y)


def colour_of(group: Group, horizon: int) -> str:
    return HORIZON_COLOURS[group.horizons.index(horizon) % len(HORIZON_COLOURS)]


def marker_of(group: Group, horizon: int) -> str:
    return HORIZON_MARKERS[group.horizons.index(horizon) % len(HORIZON_MARKERS)]
