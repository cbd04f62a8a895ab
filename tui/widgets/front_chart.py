"""Scatter plot of a cell with several goals over two of them: the front, beaten trials, violated constraints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fts.jobs.status import declared, formatting, trial_facts
from fts.jobs.status.memoize import Once
from fts.tui.data.trial_store import by_number
from fts.tui.render.axis import ChartAxis
from fts.tui.render.chart import Dots, Plot, paint, value_range
from fts.tui.render.text import Line, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job, Trial
    from fts.tui.data.view import View

ON, BEATEN, VIOLATES = "●", "·", "✗"
MOST = 2000  # trials drawn, the latest; those on the front always
LEAST = 7  # lines of the plot at least

Point = tuple[float, float]


def front(view: View, width: int, height: int) -> list[Line]:
    """Paints a title such as `latency ↓ (up) by loss ↓ (across)` and the plot; nothing for one goal or no room."""
    job = view.job
    if job is None or len(job.goals) < 2 or height < LEAST:
        return []
    across, up = goals_shown(view, job)
    held, beaten, bad = _placed(view, job, across, up)
    if not held and not beaten and not bad:
        return []
    study = declared.of_job(view.snapshot, job)
    every = [*held, *beaten, *bad]
    x = ChartAxis.of([a for a, _ in every])
    ys = [b for _, b in every]
    log_y = min(ys) > 0 and max(ys) / min(ys) >= 30
    plot = Plot(
        (),
        x.span,
        (min(ys) * 0.9, max(ys) * 1.1) if log_y else value_range(ys),
        log_y=log_y,
        dots=(
            Dots(_at(x, beaten), BEATEN, "dim"),
            Dots(_at(x, bad), VIOLATES, "failed"),
            Dots(_at(x, held), ON, "best"),
        ),
    )
    first, second = (study.word(name, job.goals[name]) for name in (across, up))
    named = f"{second} (up) by {first} (across)"
    parts = [f"{ON} {len(held)} on the front", f"{BEATEN} {len(beaten)} beaten"]
    parts += [f"{VIOLATES} {len(bad)} {'violates' if len(bad) == 1 else 'violate'} a constraint"] if bad else []
    parts += [f"latest {MOST}"] if len(beaten) + len(bad) >= MOST else []
    parts += ["m: another goal"] if len(job.goals) > 2 else []
    legend = "   ".join(parts)
    heads = [f"{named}   {legend}"] if formatting.width(named + legend) + 3 <= width else [named, legend]
    painted = paint(plot, width, height - len(heads), True, x.ticks(width - 7))
    return [*(line((formatting.cut(text, width), "dim")) for text in heads), *painted]


def goals_shown(view: View, job: Job) -> tuple[str, str]:
    """Returns the first goal, and another: the one that `m` has chosen, else the second."""
    names = list(job.goals)
    chosen = view.metric if view.metric in names[1:] else names[1]
    return names[0], chosen


def value_in(trial: Trial, goal: str) -> float | None:
    """Returns the value of a trial in one goal; None if there is none."""
    found = trial.value if goal == trial.metric else trial_facts.metrics_of(trial).get(goal)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None


def violates(trial: Trial) -> bool:
    """Returns whether a trial violates a constraint."""
    return "infeasible" in trial.badges or any(by > 0 for by in trial_facts.violations_of(trial).values())


def _at(axis: ChartAxis, points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple((axis.at(x), y) for x, y in points)


def _placed(view: View, job: Job, across: str, up: str) -> Found:
    """Returns the points (on the front, beaten, violating), cached per set of trials."""
    trials = view.trials
    return _known((trials,), (job.id, job.front, across, up), lambda: _placed_of(trials, job, across, up))


Found = tuple[list[Point], list[Point], list[Point]]
_known: Once[Found] = Once()


def _placed_of(trials: Sequence[Trial], job: Job, across: str, up: str) -> Found:
    held: list[Point] = []
    beaten: list[Point] = []
    bad: list[Point] = []
    members = set(job.front)
    recent = trials[-MOST:]
    first = recent[0].number if len(trials) > MOST else 0
    earlier = (by_number(trials, number) for number in job.front if number < first)
    for trial in (*(each for each in earlier if each is not None), *recent):
        x, y = value_in(trial, across), value_in(trial, up)
        if x is None or y is None or trial.ended_at is None or not (trial.is_ranked or violates(trial)):
            continue
        (held if trial.number in members else bad if violates(trial) else beaten).append((x, y))
    return held, beaten, bad
