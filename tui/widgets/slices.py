"""Scatter plots of the trials' value by each of the most important parameters, side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.jobs.search.importance import with_shape
from fts.jobs.status import declared, formatting
from fts.state.values import TrialStatus
from fts.tui.render.axis import ChartAxis
from fts.tui.render.chart import LABEL, Dots, Plot, paint, value_range
from fts.tui.render.text import Line, clip, rule
from fts.tui.widgets import trial_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Trial
    from fts.tui.data.view import View

MOST = 4  # parameters
TRIALS = 500  # trials drawn, the latest
LEAST_WIDE, LEAST_HIGH = 24, 8  # columns and lines of one plot at least
BEST, COMPLETE, PRUNED = "★", "●", "·"
OUTER = 0.9  # share of the trials, the best ones, that sets the scale if the others are far off
ENOUGH = 5  # trials that the plots need

Row = tuple[float, dict[str, Any], str]


def slices(view: View, width: int, height: int) -> list[Line]:
    """Paints title and plots; nothing if there are too few trials or too little room."""
    rows = _rows(view)
    names = _names(view, rows)[: min(MOST, (width - LABEL - 1) // LEAST_WIDE)]
    if view.job is None or len(rows) < ENOUGH or not names or height < LEAST_HIGH:
        return []
    low, high, beyond = _range(view, [value for value, _, _ in rows])
    word = declared.metric_word(view.snapshot, view.job)
    hint = f"{BEST} best  {COMPLETE} complete  {PRUNED} pruned"
    hint += f"  {beyond} far worse, at the edge" if beyond else ""
    title = f"{word} by parameter"
    title += f", latest {len(rows)} trials" if len(rows) >= TRIALS else f", {formatting.count(len(rows), 'trial')}"
    if formatting.width(title) + formatting.width(hint) + 7 > width:
        hint = ""
    column = (width - LABEL - 1) // len(names)
    blocks = [_picture(rows, name, column - 1, height - 2, (low, high), n == 0) for n, name in enumerate(names)]
    lines: list[Line] = [rule(title, hint, width)]
    lines.append(_heads(names, column))
    for n in range(height - 2):
        spans: list[tuple[str, str]] = []
        for at, block in enumerate(blocks):
            spans += clip(block[n] if n < len(block) else (), column + (LABEL + 1 if at == 0 else 0))
        lines.append(tuple(spans))
    return lines


def _heads(names: Sequence[str], column: int) -> Line:
    spans: list[tuple[str, str]] = [(" " * (LABEL + 1), "")]
    for name in names:
        text = formatting.cut(trial_table.SHORT.get(name, name), column - 1)
        left = max((column - 1 - formatting.width(text)) // 2, 0)
        spans.append((formatting.fit(" " * left + text, column), "head"))
    return tuple(spans)


def _picture(
    rows: Sequence[Row], name: str, columns: int, height: int, span: tuple[float, float], labels: bool
) -> list[Line]:
    drawn = [(value, params[name], sign) for value, params, sign in rows if name in params]
    axis = ChartAxis.of([each for _, each, _ in drawn])
    roles = {PRUNED: "dim", COMPLETE: "running", BEST: "best"}
    dots = tuple(
        Dots(
            tuple(
                (axis.at(each) + (_spread(n) if axis.levels else 0.0), value)
                for n, (value, each, sign) in enumerate(drawn)
                if sign == kind
            ),
            kind,
            role,
        )
        for kind, role in roles.items()
    )
    width = columns + (LABEL + 1 if labels else 0)
    return paint(Plot((), axis.span, span, dots=dots), width, height, labels, axis.ticks(columns))


def _spread(n: int) -> float:
    """Returns a small horizontal offset, so that trials with the same choice do not cover each other."""
    return (n * 7 % 11 - 5) * 0.05


def _rows(view: View) -> list[Row]:
    """Returns (value, parameters, sign) of the latest trials with a value, cached per set of trials."""
    trials = view.trials
    if _latest and _latest[0][0] is trials and _latest[0][1] == view.job:
        return _latest[0][2]
    best = () if view.job is None else view.job.front or (view.job.best_trial,)
    found: list[Row] = []
    for trial in trials[-TRIALS:]:
        ended = trial.status in (TrialStatus.COMPLETE, TrialStatus.PRUNED)
        if ended and trial.is_ranked and trial.value is not None and math.isfinite(trial.value):
            sign = BEST if trial.number in best else COMPLETE if trial.status is TrialStatus.COMPLETE else PRUNED
            found.append((trial.value, with_shape(trial.params), sign))
    _latest[:] = [(trials, view.job, found)]
    return found


_latest: list[tuple[Sequence[Trial], Any, list[Row]]] = []


def _names(view: View, rows: Sequence[Row]) -> list[str]:
    """Returns the parameters that vary, the most important first."""
    seen: dict[str, set[str]] = {}
    for _, params, _ in rows:
        for name, value in params.items():
            seen.setdefault(name, set()).add(str(value))
    ranks = {each.name: n for n, each in enumerate(trial_table.importance_of(view))}
    varying = [name for name, values in seen.items() if len(values) > 1]
    return sorted(varying, key=lambda name: (ranks.get(name, len(ranks)), name))


def _range(view: View, values: Sequence[float]) -> tuple[float, float, int]:
    """Returns (low, high, number of trials beyond): a few values far off would flatten all others."""
    assert view.job is not None, "a cell is selected"
    order = sorted(values, key=view.job.direction.key)
    kept = order[: max(math.ceil(len(order) * OUTER), ENOUGH)]
    wide, narrow = abs(order[-1] - order[0]), abs(kept[-1] - kept[0])
    shown = order if wide <= 3 * narrow or not narrow else kept
    low, high = value_range(shown)
    return low, high, len(order) - len(shown)
