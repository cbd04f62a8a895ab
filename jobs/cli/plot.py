"""Draws a trial's losses with characters, for a terminal, a mail or a log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.jobs.status.declared import ARROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.values import Direction, Epoch

TRAIN, VAL, BEST, PRIOR = "·", "●", "★", "┄"
WIDTH, HEIGHT = 66, 16  # characters of the drawing itself; with the axis it fits 80 columns


def plot_curve(epochs: Sequence[Epoch], prior_loss: float | None, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Training and validation loss over the epochs, and the class prior's loss as a line."""
    losses = [loss for e in epochs for loss in (e.train_loss, e.val_loss) if math.isfinite(loss)]
    if not losses:
        return "no finite loss to draw"
    low, high = min([*losses, *_prior(prior_loss, losses)]), max([*losses, *_prior(prior_loss, losses)])
    span = (high - low) or 1.0
    last = max(e.epoch for e in epochs)
    columns = min(width, max(16, last * 4))
    grid = [[" "] * columns for _ in range(height)]

    def place(epoch: int, loss: float, sign: str) -> None:
        if math.isfinite(loss):
            x = round((epoch - 1) / max(last - 1, 1) * (columns - 1))
            grid[height - 1 - round((loss - low) / span * (height - 1))][x] = sign

    if prior_loss is not None and low <= prior_loss <= high:
        grid[height - 1 - round((prior_loss - low) / span * (height - 1))] = [PRIOR] * columns
    for e in epochs:
        place(e.epoch, e.train_loss, TRAIN)
    for e in epochs:
        place(e.epoch, e.val_loss, VAL)
    best = min((e for e in epochs if math.isfinite(e.val_loss)), key=lambda e: e.val_loss, default=None)
    if best is not None:
        place(best.epoch, best.val_loss, BEST)
    lines = [f"{_label(n, height, low, span):>8} ┤{''.join(row).rstrip()}" for n, row in enumerate(grid)]
    axis = f"{'':>8} └{'─' * columns}"
    foot = f"{'':>10}1{f'epoch {last}':>{columns - 1}}"
    key = f"{'':>10}{VAL} validation  {TRAIN} training  {BEST} best" + (
        "" if prior_loss is None else f"  {PRIOR} prior"
    )
    return "\n".join([*lines, axis, foot, key])


def plot_metric(
    told: Mapping[int, float], name: str, direction: Direction, step: str, width: int = WIDTH, height: int = HEIGHT
) -> str:
    """The metric of a trial over its steps, the best one marked."""
    points = {at: value for at, value in sorted(told.items()) if math.isfinite(value)}
    if not points:
        return f"no finite {name} to draw"
    low, high = min(points.values()), max(points.values())
    first, last = min(points), max(points)
    columns = min(width, max(16, (last - first + 1) * 4))
    grid = [[" "] * columns for _ in range(height)]
    best = min(points, key=lambda at: (direction.key(points[at]), at))
    for at, value in [*points.items(), (best, points[best])]:
        x = round((at - first) / max(last - first, 1) * (columns - 1))
        y = round((value - low) / ((high - low) or 1.0) * (height - 1))
        grid[height - 1 - y][x] = BEST if at == best else VAL
    lines = [f"{_label(n, height, low, high - low):>8} ┤{''.join(row).rstrip()}" for n, row in enumerate(grid)]
    axis = f"{'':>8} └{'─' * columns}"
    foot = f"{'':>10}{first}{f'{step} {last}':>{columns - len(str(first))}}"
    return "\n".join([*lines, axis, foot, f"{'':>10}{VAL} {name} {ARROWS[direction]}  {BEST} best"])


def _prior(prior_loss: float | None, losses: Sequence[float]) -> list[float]:
    """The prior's loss, if drawing it does not squeeze the curves into one line."""
    if prior_loss is None:
        return []
    span = max(losses) - min(losses)
    near = min(losses) - span <= prior_loss <= max(losses) + span
    return [prior_loss] if near else []


def _label(n: int, height: int, low: float, span: float) -> str:
    """A number beside every fifth row."""
    if n % 5 and n != height - 1:
        return ""
    return f"{low + span * (height - 1 - n) / (height - 1):.4f}"
