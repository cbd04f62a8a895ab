"""The Pareto front of a search with several goals: the trials that no other one beats in everything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.state.models import TrialRow
from fts.state.rows import as_badges, to_object
from fts.state.values import UNRANKED, Direction, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fts.state.db import Database
    from fts.state.values import Job, Trial

Point = tuple[float, ...]  # one number for each goal, the smaller the better


def point_of(goals: Mapping[str, Direction], metrics: Any, badges: Iterable[str]) -> Point | None:
    """Where a complete trial stands; None: it may not be the best, or a goal of it is not known."""
    if not isinstance(metrics, dict) or any(badge in UNRANKED for badge in badges):
        return None
    told = [metrics.get(name) for name in goals]
    values = [float(value) for value in told if isinstance(value, int | float) and math.isfinite(value)]
    if len(values) < len(told):
        return None
    return tuple(direction.key(value) for direction, value in zip(goals.values(), values, strict=True))


def nondominated(points: Mapping[int, Point]) -> list[int]:
    """The keys of the points that none other beats, the best in the first goal first; equal ones beat nobody."""
    order = sorted(points, key=lambda key: (points[key], key))
    front: list[int] = []
    lowest: float | None = None  # of two goals: the second one of what stands before
    for key in order:
        point = points[key]
        if len(point) == 2:
            beaten = lowest is not None and (point[1] > lowest or (point[1] == lowest and point != points[front[-1]]))
            lowest = point[1] if lowest is None else min(lowest, point[1])
        else:
            beaten = any(_beats(points[other], point) for other in front)
        if not beaten:
            front.append(key)
    return front


def _beats(one: Point, other: Point) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def front_rows(db: Database, job_id: int, goals: Mapping[str, Direction]) -> tuple[int, ...]:
    """The numbers of the front, read from the complete trials of a job."""
    columns = (TrialRow.number, TrialRow.badges, TrialRow.facts)
    complete = TrialRow.select(*columns).where(TrialRow.job_id == job_id, TrialRow.status == "complete")
    points = {
        row["number"]: point_of(goals, to_object(row["facts"]).get("metrics"), as_badges(row))
        for row in db.each_row(complete)
    }
    return tuple(nondominated({number: point for number, point in points.items() if point is not None}))


def front(job: Job, trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The best trials of a job: its front; with one goal the best alone, the lower number of equal ones."""
    complete = [trial for trial in trials if trial.status is TrialStatus.COMPLETE and trial.value is not None]
    if len(job.goals) == 1:
        fit = [trial for trial in complete if trial.is_ranked]
        best = min(fit, key=lambda trial: (trial.direction.key(trial.value or 0.0), trial.number), default=None)
        return () if best is None else (best,)
    by_number = {trial.number: trial for trial in complete}
    points = {n: point_of(job.goals, trial.facts.get("metrics"), trial.badges) for n, trial in by_number.items()}
    return tuple(by_number[n] for n in nondominated({n: point for n, point in points.items() if point is not None}))


def first_of(found: Sequence[Trial]) -> Trial | None:
    """The best trial in one word: of a front the best one in the first goal."""
    return found[0] if found else None
