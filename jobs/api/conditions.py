"""The conditions of a declared space: which parameters a trial draws, in which order, and which values are forbidden.

lr = { low = 1e-5, high = 1e-1 }
momentum = { low = 0.0, high = 0.99, when = "optimizer == 'sgd'" }       # drawn only in this branch
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fts.jobs.api.expression import Expression
from fts.jobs.api.spec import BadSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

WHEN = "when"


def conditions(space: Mapping[str, Mapping[str, Any]]) -> dict[str, Expression]:
    """Returns the condition of each parameter that has one."""
    return {name: Expression.parse(d[WHEN]) for name, d in space.items() if d.get(WHEN) is not None}


def drawing_order(space: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns the parameters as declared, but each after those in its condition. Raises BadSpec for a circle."""
    needs = {name: frozenset(one for one in found.names if one in space) for name, found in conditions(space).items()}
    return _sorted(tuple(space), tuple(needs.items()))


@lru_cache(maxsize=256)
def _sorted(names: tuple[str, ...], needs: tuple[tuple[str, frozenset[str]], ...]) -> tuple[str, ...]:
    needs_of, order = dict(needs), dict[str, None]()
    while len(order) < len(names):
        ready = [n for n in names if n not in order and all(one in order for one in needs_of.get(n, ()))]
        if not ready:
            circle = ", ".join(name for name in names if name not in order)
            raise BadSpec(
                f"the conditions of {circle:.200} wait for one another; expected one of them without a `when`"
            )
        order |= dict.fromkeys(ready)
    return tuple(order)


def is_drawn(distribution: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Does the parameter's condition hold? `known` are the axes and the parameters drawn so far; without a name's value
    it does not hold.
    """
    return distribution.get(WHEN) is None or Expression.parse(distribution[WHEN]).holds(known)


def forbidden_by(forbid: Mapping[str, str], known: Mapping[str, Any]) -> str | None:
    """Returns the name of the first `forbid` rule that excludes the values, or None."""
    return next((name for name, text in forbid.items() if Expression.parse(text).holds(known)), None)


def check_conditions(cell: Any) -> None:
    """Raises BadSpec for an unknown name, for conditions that form a circle, and for `forbid` without a space."""
    space = cell.space or {}
    if cell.forbid and not space:
        raise BadSpec(f"forbid has {', '.join(cell.forbid)}, but the cell declares no space: the function itself draws")
    known = [*space, *cell.axes]
    for where, text in _expressions(cell):
        if unknown := [name for name in Expression.parse(text).names if name not in known]:
            there = ", ".join(known)[:200] or "there are none"
            raise BadSpec(f"{where} names {', '.join(unknown)}, expected parameters and axes: {there}")
    drawing_order(space)


def _expressions(cell: Any) -> list[tuple[str, str]]:
    space = {name: d for name, d in (cell.space or {}).items() if isinstance(d, dict)}
    found = [(f"the condition of {name}", d[WHEN]) for name, d in space.items() if d.get(WHEN) is not None]
    return found + [(f"forbid.{name}", text) for name, text in cell.forbid.items()]
