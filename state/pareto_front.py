"""The Pareto front of a search with several goals: the trials that no other trial dominates."""

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

Point = tuple[float, ...]  # one number per goal; smaller is better


def point_of(goals: Mapping[str, Direction], metrics: Any, badges: Iterable[str]) -> Point | None:
    """Returns a complete trial's point; None if it is unranked or a goal's value is unknown."""
    if not isinstance(metrics, dict) or any(badge in UNRANKED for badge in badges):
        return None
    found = [metrics.get(name) for name in goals]
    values = [float(value) for value in found if isinstance(value, int | float) and math.isfinite(value)]
    if len(values) < len(found):
        return None
    return tuple(direction.key(value) for direction, value in zip(goals.values(), values, strict=True))


def nondominated(points: Mapping[int, Point]) -> list[int]:
    """Returns the keys of the points that no other dominates, the best in the first goal first. Equal points do not
    dominate each other."""
    order = sorted(points, key=lambda key: (points[key], key))
    front: list[int] = []
    lowest: float | None = None  # with two goals: the smallest second value so far
    for key in order:
        point = points[key]
        if len(point) == 2:
            loses = lowest is not None and (point[1] > lowest or (point[1] == lowest and point != points[front[-1]]))
            lowest = point[1] if lowest is None else min(lowest, point[1])
        else:
            loses = any(_dominates(points[other], point) for other in front)
        if not loses:
            front.append(key)
    return front


def _dominates(one: Point, other: Point) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def front_rows(
    db: Database, job_id: int, goals: Mapping[str, Direction], created_at: float, complete: int
) -> tuple[int, ...]:
    """Returns the trial numbers of the front of a job with `complete` complete trials.

    Keeps the front in memory and reads only trials that may have ended since: a dominated trial stays dominated. If
    the count of complete trials does not match, reads all trials again.
    """
    key = (str(db.path), job_id, created_at, tuple(goals.items()))
    known = _KNOWN.get(key, NOTHING)
    committed = db.readonly or not db.in_transaction()  # uncommitted rows may be rolled back
    if known.complete == complete and known is not NOTHING and committed:
        return tuple(known.points)
    found = _extended(db, job_id, goals, known)
    if found.complete != complete and known is not NOTHING:
        found = _extended(db, job_id, goals, NOTHING)
    if found.complete == complete and committed:
        if len(_KNOWN) > MOST_FRONTS:
            _KNOWN.clear()
        _KNOWN[key] = found
    return tuple(found.points)


@dataclass(frozen=True)
class _Known:
    """A front, and the trials that it covers."""

    complete: int = 0  # number of complete trials
    below: int = 0  # all trials with a smaller number have ended
    above: frozenset[int] = frozenset()  # complete trials with other numbers
    points: dict[int, Point] = field(default_factory=dict)  # the front's points by trial number, in its order


MOST_FRONTS = 1000
NOTHING = _Known()
_KNOWN: dict[tuple[Any, ...], _Known] = {}


def _extended(db: Database, job_id: int, goals: Mapping[str, Direction], known: _Known) -> _Known:
    """Returns the front extended by the trials that have become complete since."""
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
    """Returns a job's front; with one goal its best trial, of equal ones the lowest number."""
    complete = [trial for trial in trials if trial.status is TrialStatus.COMPLETE and trial.value is not None]
    if len(job.goals) == 1:
        fit = [trial for trial in complete if trial.is_ranked]
        best = min(fit, key=lambda trial: (trial.direction.key(trial.value or 0.0), trial.number), default=None)
        return () if best is None else (best,)
    by_number = {trial.number: trial for trial in complete}
    points = {n: point_of(job.goals, trial.facts.get("metrics"), trial.badges) for n, trial in by_number.items()}
    return tuple(by_number[n] for n in nondominated({n: point for n, point in points.items() if point is not None}))


def best_first(job: Job, trials: Iterable[Trial], most: int) -> tuple[Trial, ...]:
    """Returns at most `most` of a job's best trials; with several goals its front, then the front of the rest."""
    if len(job.goals) == 1:
        fit = [t for t in trials if t.status is TrialStatus.COMPLETE and t.value is not None and t.is_ranked]
        return tuple(sorted(fit, key=lambda trial: (trial.direction.key(trial.value or 0.0), trial.number))[:most])
    left = {trial.number: trial for trial in trials}
    found: list[Trial] = []
    while len(found) < most and (best := front(job, left.values())):
        found += best
        left = {number: trial for number, trial in left.items() if trial not in best}
    return tuple(found[:most])


def best_of(job: Job, trials: Iterable[Trial]) -> Trial | None:
    """Returns a job's best ranked complete trial, of equal ones the lowest number; with several goals the first of its
    front. None if there is none."""
    return first_of(front(job, trials))


def first_of(found: Sequence[Trial]) -> Trial | None:
    """Returns the front's best trial in the first goal, or None."""
    return found[0] if found else None
