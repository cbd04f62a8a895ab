"""What a search is after: its goals in order, the metric that decides pruning, and the constraints of a valid trial."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import BadSpec
from fts.jobs.api.study import MAXIMIZE, MINIMIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUND = re.compile(r"\s*(<=|>=)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
INFEASIBLE = "infeasible"  # badge of a trial that violates a constraint: it is never the best one
CONSTRAINTS = "constraints"  # fact of a trial: name -> violation, at most 0 where it is met
OWN_CONSTRAINTS = ("constraint", "constraints")  # user attributes in which Optuna's examples keep violations
SEVERAL = ("tpe", "nsgaii", "random", "gp", "grid")  # samplers that can have several goals


def goals_of(cell: Any) -> dict[str, str]:
    """Metric -> minimize or maximize; the first is the value of a trial."""
    given = getattr(cell, "goals", None) or {cell.metric: cell.direction}
    order = getattr(cell, "goal_names", ()) or [cell.metric, *given]
    return {name: given[name] for name in order if name in given}


def several(cell: Any) -> bool:
    return len(goals_of(cell)) > 1


def pruning_of(cell: Any) -> tuple[str, str]:
    """The metric that one reported number stands for, and its direction: what the pruner looks at."""
    name = getattr(cell, "prune_by", None) or cell.metric
    return name, goals_of(cell).get(name, cell.direction)


def constraints_of(cell: Any) -> dict[str, str]:
    return dict(getattr(cell, "constraints", None) or {})


def bound_of(name: str, text: Any) -> tuple[str, float]:
    """The sign and the number of `<= 2e6`. Raises BadSpec."""
    found = BOUND.fullmatch(text) if isinstance(text, str) else None
    if found is None or not math.isfinite(float(found[2])):
        raise BadSpec(f"the constraint of {name} is {text!r:.80}, expected <= NUMBER or >= NUMBER, such as <= 2e6")
    return found[1], float(found[2])


def violations(constraints: Mapping[str, str], told: Mapping[str, Any]) -> dict[str, float]:
    """By how much each bound is missed; at most 0 where it is met. Raises BadSpec for a number that was not told."""
    found = {}
    for name, text in constraints.items():
        sign, bound = bound_of(name, text)
        value = told.get(name)
        if not isinstance(value, int | float) or math.isnan(value):
            there = ", ".join(told)[:200] or "no number"
            raise BadSpec(
                f"the constraint {name} {text} needs {name}, and the trial told {there}; "
                f"{hint(name, told)}return it in a dict, "
                f"report it, or call trial.set_user_attr({name!r}, ...)"
            )
        found[name] = float(value - bound if sign == "<=" else bound - value)
    return found


def check_goals(cell: Any) -> None:
    """Raises BadSpec for goals, constraints and a `prune_by` that do not go together."""
    for name, goal in cell.goals.items():
        if goal not in (MINIMIZE, MAXIMIZE):
            raise BadSpec(f"the goal of {name} is {goal!r:.80}, expected {MINIMIZE} or {MAXIMIZE}")
    if cell.goals and cell.goals.get(cell.metric) != cell.direction:
        raise BadSpec(
            f"the goals are {', '.join(cell.goals)}, but the metric that decides is {cell.metric}, {cell.direction}: "
            "expected it among them, with the same direction"
        )
    if cell.goal_names and sorted(cell.goal_names) != sorted(cell.goals):
        raise BadSpec(
            f"the order of the goals names {', '.join(cell.goal_names)}, the goals are {', '.join(cell.goals)}"
        )
    if cell.prune_by is not None and cell.prune_by not in goals_of(cell):
        near = hint(cell.prune_by, goals_of(cell))
        raise BadSpec(
            f"prune_by is {cell.prune_by!r:.80}; {near}expected one of the goals: {', '.join(goals_of(cell))}"
        )
    for name, text in cell.constraints.items():
        bound_of(name, text)
    if several(cell) and cell.sampler not in SEVERAL:
        raise BadSpec(
            f"the sampler {cell.sampler} has one goal, the study has {len(cell.goals)}: {', '.join(cell.goals)}; "
            f"use one of {', '.join(SEVERAL)}"
        )
