"""Draws the curve of a trial with characters, for a terminal, a mail or a log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.declared import ARROWS
from fts.state.values import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.values import Epoch

TRAIN, VAL, BEST, PRIOR = "·", "●", "★", "┄"
WIDTH, HEIGHT = 66, 16  # characters of the drawing itself; with the axis it fits 80 columns


def plot_curve(epochs: Sequence[Epoch], prior_loss: float | None) -> str:
    """Draws training and validation loss over the epochs, and the class prior's loss as a line."""
    losses = [loss for e in epochs for loss in (e.train_loss, e.val_loss) if math.isfinite(loss)]
    if not losses:
        return "no finite loss to draw"
    levels = _prior(prior_loss, losses)
    curves = {TRAIN: {e.epoch: e.train_loss for e in epochs}, VAL: {e.epoch: e.val_loss for e in epochs}}
    drawing = _drawing(curves, Direction.MINIMIZE, (1, max(e.epoch for e in epochs)), "epoch", levels)
    prior = "" if prior_loss is None else f"  {PRIOR} prior"
    return f"{drawing}\n{'':>10}{VAL} validation  {TRAIN} training  {BEST} best{prior}"


def plot_metric(told: Mapping[int, float], name: str, direction: Direction, step: str) -> str:
    """Draws the metric of a trial over its steps and marks the best."""
    points = {at: value for at, value in sorted(told.items()) if math.isfinite(value)}
    if not points:
        return f"no finite {name} to draw"
    drawing = _drawing({VAL: points}, direction, (min(points), max(points)), step, [])
    return f"{drawing}\n{'':>10}{VAL} {name} {ARROWS[direction]}  {BEST} best"


def _drawing(
    curves: Mapping[str, Mapping[int, float]],
    direction: Direction,
    steps: tuple[int, int],
    step: str,
    levels: Sequence[float],
) -> str:
    """Draws curves, keyed by their character, with axes. Later ones cover earlier ones; marks the best of the last."""
    first, last = steps
    every = [value for curve in curves.values() for value in curve.values() if math.isfinite(value)]
    low, high = min([*every, *levels]), max([*every, *levels])
    columns = min(WIDTH, max(16, (last - first + 1) * 4))

    def row_of(value: float) -> list[str]:
        return grid[HEIGHT - 1 - round((value - low) / ((high - low) or 1.0) * (HEIGHT - 1))]

    grid = [[" "] * columns for _ in range(HEIGHT)]
    for level in levels:
        row_of(level)[:] = [PRIOR] * columns
    judged = {at: value for at, value in list(curves.values())[-1].items() if math.isfinite(value)}
    best = min(judged, key=lambda at: (direction.key(judged[at]), at), default=None)
    marked = {} if best is None else {BEST: {best: judged[best]}}
    for sign, curve in [*curves.items(), *marked.items()]:
        for at, value in curve.items():
            if math.isfinite(value):
                row_of(value)[round((at - first) / max(last - first, 1) * (columns - 1))] = sign
    lines = [f"{_label(n, low, high - low):>8} ┤{''.join(row).rstrip()}" for n, row in enumerate(grid)]
    axis = f"{'':>8} └{'─' * columns}"
    begins, ends = str(first), f"{step} {last}"
    apart = max(columns - len(begins) - len(ends), 1)  # numbers of many digits may need more than the drawing's width
    foot = f"{'':>10}{begins}{' ' * apart}{ends}"
    return "\n".join([*lines, axis, foot])


def _prior(prior_loss: float | None, losses: Sequence[float]) -> list[float]:
    """Returns the prior's loss, unless it is so far away that the curves would become flat."""
    if prior_loss is None:
        return []
    span = max(losses) - min(losses)
    near = min(losses) - span <= prior_loss <= max(losses) + span
    return [prior_loss] if near else []


def _label(n: int, low: float, span: float) -> str:
    """Returns the axis label of a row; only every fifth row has one."""
    if n % 5 and n != HEIGHT - 1:
        return ""
    return formatting.score(low + span * (HEIGHT - 1 - n) / (HEIGHT - 1))
