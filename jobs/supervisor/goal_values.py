"""Reads a trial's result: a number for every goal, and how much the trial violates each constraint."""

from __future__ import annotations

import math
from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.goals import CONSTRAINTS, INFEASIBLE, constraints_of, goals_of, several, violations
from fts.jobs.api.spec import BadSpec
from fts.state.values import HUGE, Cause

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class GoalOutcome:
    """What is recorded besides the trial's value."""

    facts: dict[str, Any] = field(default_factory=dict)
    badges: tuple[str, ...] = ()
    cause: Cause | None = None  # why the result is not valid; None: it is valid
    message: str | None = None


def goal_outcome(cell: Any, result: Mapping[str, Any], complete: bool) -> GoalOutcome:
    """Returns goals and constraints of a complete or pruned trial; values may be missing only in a pruned one."""
    metrics = {**_numbers(result.get("metrics"))}
    every = several(cell) and not getattr(cell, "is_baseline", False)  # a baseline needs only the deciding goal
    if complete:
        metrics.setdefault(cell.metric, result.get("value"))
        if every and (missing := _missing_goals(cell, metrics, result.get("message"))) is not None:
            return missing
    found = _numbers(result.get(CONSTRAINTS))
    declared = constraints_of(cell)
    try:
        found |= violations(declared, _numbers(result.get("user_attrs")) | metrics)
    except BadSpec as missing:
        if complete:
            return GoalOutcome(cause=Cause.CODE_ERROR, message=str(missing))
        found = {}  # with only some of the constraints it could look feasible
    facts: dict[str, Any] = {CONSTRAINTS: found} if found else {}
    if complete and (every or (several(cell) and len(metrics) > 1)):
        facts["metrics"] = metrics
    violated = complete and any(value > 0 for value in found.values())
    return GoalOutcome(facts, (INFEASIBLE,) if violated else ())


def _missing_goals(cell: Any, metrics: Mapping[str, Any], told: str | None) -> GoalOutcome | None:
    goals = goals_of(cell)
    if missing := [name for name in goals if name not in metrics]:
        reported = ", ".join(metrics)[:200]
        expected, absent = ", ".join(goals), ", ".join(missing)
        return GoalOutcome(
            cause=Cause.CODE_ERROR,
            message=f"the study has the goals {expected}, the trial reported {reported} and no {absent}",
        )
    if odd := [name for name in goals if metrics[name] is None or not math.isfinite(metrics[name])]:
        found = f"{', '.join(odd)} is nan, infinite or beyond {HUGE:g}; expected a finite number"
        return GoalOutcome(cause=Cause.DIVERGED, message=told or found)
    return None


def _numbers(result: Any) -> dict[str, Any]:
    """Returns numbers by name; None stands for NaN and infinities, which JSON cannot hold."""
    if not isinstance(result, dict):
        return {}
    return {
        name: v for name, v in result.items() if v is None or (isinstance(v, int | float) and not isinstance(v, bool))
    }
