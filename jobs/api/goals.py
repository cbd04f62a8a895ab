"""The goals of a search in order, the metric that the pruner reads, and the constraints of a valid trial."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import MAXIMIZE, MINIMIZE
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUND = re.compile(r"\s*(<=|>=)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
INFEASIBLE = "infeasible"  # badge of a trial that violates a constraint; such a trial is never the best
CONSTRAINTS = "constraints"  # fact of a trial: name -> violation; the constraint is met if it is at most 0
OWN_CONSTRAINTS = ("constraint", "constraints")  # user attributes in which Optuna's examples store violations
SEVERAL = ("tpe", "nsgaii", "random", "gp", "grid")  # samplers that support several goals


def goals_of(cell: Any) -> dict[str, str]:
    """Returns metric -> minimize or maximize. The first metric is the value of a trial."""
    given = getattr(cell, "goals", None) or {cell.metric: cell.direction}
    order = getattr(cell, "goal_names", ()) or [cell.metric, *given]
    return {name: given[name] for name in order if name in given}


def several(cell: Any) -> bool:
    return len(goals_of(cell)) > 1


def pruning_of(cell: Any) -> tuple[str, str]:
    """Returns the metric that the pruner reads, and its direction. A bare reported number is this metric."""
    name = getattr(cell, "prune_by", None) or cell.metric
    return name, goals_of(cell).get(name, cell.direction)


def constraints_of(cell: Any) -> dict[str, str]:
    return dict(getattr(cell, "constraints", None) or {})


def bound_of(name: str, text: Any) -> tuple[str, float]:
    """Splits `<= 2e6` into sign and number. Raises BadSpec."""
    found = BOUND.fullmatch(text) if isinstance(text, str) else None
    if found is None or not math.isfinite(float(found[2])):
        raise BadSpec(f"the constraint of {name} is {quoted(text)}, expected <= NUMBER or >= NUMBER, such as <= 2e6")
    return found[1], float(found[2])


def violations(constraints: Mapping[str, str], reported: Mapping[str, Any]) -> dict[str, float]:
    """Returns each constraint's violation, at most 0 if it is met. Raises BadSpec if a number is missing."""
    found = {}
    for name, text in constraints.items():
        sign, bound = bound_of(name, text)
        value = reported.get(name)
        if name in reported and (value is None or math.isnan(value)):
            raise BadSpec(f"the constraint {name} {text} needs a number, and the trial's {name} is no finite number")
        if not isinstance(value, int | float):
            there = ", ".join(reported)[:200] or "no number"
            raise BadSpec(
                f"the constraint {name} {text} needs {name}, and the trial reported {there}; "
                f"{hint(name, reported)}return it in a dict, "
                f"report it, or call trial.set_user_attr({name!r}, ...)"
            )
        found[name] = float(value - bound if sign == "<=" else bound - value)
    return found


def check_goals(cell: Any) -> None:
    """Raises BadSpec for goals, constraints and a `prune_by` that contradict each other."""
    for name, goal in cell.goals.items():
        if goal not in (MINIMIZE, MAXIMIZE):
            raise BadSpec(f"the goal of {name} is {quoted(goal)}, expected {MINIMIZE} or {MAXIMIZE}")
    if cell.goals and cell.goals.get(cell.metric) != cell.direction:
        raise BadSpec(
            f"the goals are {', '.join(cell.goals)}, but the metric is {cell.metric}, {cell.direction}: "
            "expected it among the goals, with the same direction"
        )
    if cell.goal_names and sorted(cell.goal_names) != sorted(cell.goals):
        raise BadSpec(
            f"the order of the goals names {', '.join(cell.goal_names)}, the goals are {', '.join(cell.goals)}"
        )
    if cell.prune_by is not None and cell.prune_by not in goals_of(cell):
        near = hint(cell.prune_by, goals_of(cell))
        raise BadSpec(
            f"prune_by is {quoted(cell.prune_by)}; {near}expected one of the goals: {', '.join(goals_of(cell))}"
        )
    for name, text in cell.constraints.items():
        bound_of(name, text)
    if several(cell) and cell.sampler not in SEVERAL:
        raise BadSpec(
            f"the sampler {cell.sampler} supports one goal, the study has {len(cell.goals)}: {', '.join(cell.goals)}; "
            f"use one of {', '.join(SEVERAL)}"
        )
