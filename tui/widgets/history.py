"""Chart of a cell whose trials report no steps: the value of each trial by number, and the best so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.jobs.status import declared, naming
from fts.jobs.status.memoize import Once
from fts.state.values import TrialStatus
from fts.tui.render.chart import LABEL, STYLES, Dots, Plot, Series, paint, value_range, value_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job, Trial
    from fts.tui.data.view import View
    from fts.tui.render.text import Line

TRIALS = 2000  # trials drawn, the latest
LEAST = 3  # trials with a value that a chart needs
SIGN = "·"

Point = tuple[float, float]


def history(view: View, width: int, height: int, notes: bool = True) -> list[Line]:
    """Paints a dot for each trial and a line for the best so far; nothing if too few trials have a value."""
    job = view.job
    dots, best = ((), ()) if job is None else _points(view, job)
    if job is None or len(dots) < LEAST or height < 3:
        return []
    first, last = dots[0][0], dots[-1][0]
    ticks = [(x, text) for x, text in value_ticks(first, last, max((width - LABEL) // 12, 2)) if x == int(x)]
    if ticks:
        ticks[0] = (ticks[0][0], f"trial {ticks[0][1]}")
    ys = [y for _, y in dots] + [y for _, y in best]
    word = declared.metric_word(view.snapshot, job)
    since = f"best {word} of the latest {TRIALS}" if len(view.trials) > TRIALS else f"best {word} so far"
    holder = f", {naming.best_name(job, view.snapshot.trials)}" if job.kind == "baseline" else ""
    legend = [(f"{STYLES['solid']} {since} {declared.short(best[-1][1])}{holder}", "best")] if best else []
    legend.append((f"{SIGN} each trial", "dim"))
    low = best and job.direction == "minimize"
    at = 0 if low else max(height - 3 - len(legend), 0) // 2
    plot = Plot(
        (Series(best, "best", ends=True),) if best else (),
        (first, max(last, first + 1)),
        value_range(ys),
        log_y=view.log_y,
        notes=tuple((at + n, text, role) for n, (text, role) in enumerate(legend)) if notes else (),
        dots=(Dots(dots, SIGN, "dim"),),
    )
    return paint(plot, width, height, True, ticks if height >= 8 else ())


def _points(view: View, job: Job) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Returns (value of each trial, best so far as a step line), cached per set of trials."""
    trials = view.trials
    return _known((trials,), job.id, lambda: _points_of(trials, job))


_known: Once[tuple[tuple[Point, ...], tuple[Point, ...]]] = Once()


def _points_of(trials: Sequence[Trial], job: Job) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    dots: list[Point] = []
    best: list[Point] = []
    for trial in trials[-TRIALS:]:
        if trial.status is not TrialStatus.COMPLETE or trial.value is None or not math.isfinite(trial.value):
            continue
        if not trial.is_ranked:
            continue
        x, y = float(trial.number), trial.value
        dots.append((x, y))
        reached = y if not best or job.direction.better(y, best[-1][1]) else best[-1][1]
        if best and reached != best[-1][1]:
            best.append((x, best[-1][1]))  # a vertical step instead of a slope
        best.append((x, reached))
    return tuple(dots), tuple(best)
