"""The Pareto front of a search with several goals: the trials that no other one beats in everything."""

from __future__ import annotations

import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
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


def front_rows(
    db: Database, job_id: int, goals: Mapping[str, Direction], created_at: float, complete: int
) -> tuple[int, ...]:
    """The numbers of the front of a job with so many complete trials.

    What was read before is remembered, and only trials that may have ended since are read: what a front leaves out,
    it leaves out for ever. Where the number of complete trials does not come out, all of them are read anew.
    """
    key = (str(db.path), job_id, created_at, tuple(goals.items()))
    known = _KNOWN.get(key, NOTHING)
    committed = db.readonly or not db.in_transaction()  # what is not may be taken back
    if known.complete == complete and known is not NOTHING and committed:
        return tuple(known.points)
    found = _grown(db, job_id, goals, known)
    if found.complete != complete and known is not NOTHING:
        found = _grown(db, job_id, goals, NOTHING)
    if found.complete == complete and committed:
        if len(_KNOWN) > MOST_FRONTS:
            _KNOWN.clear()
        _KNOWN[key] = found
    return tuple(found.points)


@dataclass(frozen=True)
class _Known:
    """A front, and which trials it is of."""

    complete: int = 0  # trials
    below: int = 0  # every trial of a lower number has ended
    above: frozenset[int] = frozenset()  # complete trials of other numbers
    points: dict[int, Point] = field(default_factory=dict)  # of the front, in its order


MOST_FRONTS = 1000
NOTHING = _Known()
_KNOWN: dict[tuple[Any, ...], _Known] = {}


def _grown(db: Database, job_id: int, goals: Mapping[str, Direction], known: _Known) -> _Known:
    """The front with the trials that have become complete since."""
    columns = (TrialRow.number, TrialRow.status, TrialRow.ended_at, TrialRow.badges, TrialRow.facts)
    later = TrialRow.select(*columns).where(TrialRow.job_id == job_id, TrialRow.number >= known.below)
    points, complete, ended = dict(known.points), set(known.above), set()
    count = known.complete
    for row in db.each_row(later.order_by(TrialRow.number)):
        if row["ended_at"] is not None or row["status"] == "complete":
            ended.add(row["number"])
        if row["status"] != "complete" or row["number"] in known.above:
            continue
        complete.add(row["number"])
        count += 1
        point = point_of(goals, to_object(row["facts"]).get("metrics"), as_badges(row))
        if point is not None:
            points[row["number"]] = point
    below = known.below
    while below in ended:
        below += 1
    above = frozenset(number for number in complete if number >= below)
    return _Known(count, below, above, {number: points[number] for number in nondominated(points)})


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


def best_first(job: Job, trials: Iterable[Trial], most: int) -> tuple[Trial, ...]:
    """The best trials of a job, at most so many: by the goal; of several goals its front, then that of the rest."""
    if len(job.goals) == 1:
        fit = [t for t in trials if t.status is TrialStatus.COMPLETE and t.value is not None and t.is_ranked]
        return tuple(sorted(fit, key=lambda trial: (trial.direction.key(trial.value or 0.0), trial.number))[:most])
    left = {trial.number: trial for trial in trials}
    found: list[Trial] = []
    while len(found) < most and (best := front(job, left.values())):
        found += best
        left = {number: trial for number, trial in left.items() if trial not in best}
    return tuple(found[:most])


def first_of(found: Sequence[Trial]) -> Trial | None:
    """The best trial in one word: of a front the best one in the first goal."""
    return found[0] if found else None
