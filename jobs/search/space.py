"""The space of a search as data (parameter -> distribution), and its conversion to and from Optuna's distributions."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fts.raising import quoted

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = dict[str, dict[str, Any]]
# {"kind": "float", "low", "high", "log", "step"} · {"kind": "int", "low", "high", "log", "step"} ·
# {"kind": "choice", "choices": [...]}; log and step may be missing


class BadSpace(ValueError):
    """A distribution is not float, int or choice, or its bounds are invalid."""


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Converts a space to Optuna's distributions. Raises BadSpace with the parameter's name."""
    return {name: distribution_of(name, d) for name, d in space.items()}


def distribution_of(name: str, d: dict[str, Any]) -> BaseDistribution:
    """Converts one distribution. Raises BadSpace with the parameter's name."""
    from optuna import distributions as od  # here: 0.4 s, and `fts status` does not need it

    try:
        if d["kind"] == "float":
            return od.FloatDistribution(d["low"], _last_step(d), log=d.get("log", False), step=d.get("step"))
        if d["kind"] == "int":
            return od.IntDistribution(d["low"], _last_step(d), log=d.get("log", False), step=d.get("step", 1))
        if d["kind"] == "choice":
            return od.CategoricalDistribution(d["choices"])
        raise BadSpace(f"{name}: kind is {d['kind']!r}, expected float, int or choice")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadSpace(f"{name} has an invalid distribution: {str(d)[:200]} ({error})") from error


def _last_step(d: dict[str, Any]) -> Any:
    """Returns the largest value that the steps reach. Optuna would use the same one, with a warning on stderr."""
    low, high, step = d["low"], d["high"], d.get("step")
    if not step or not low < high:  # what is invalid is named by Optuna
        return high
    if d["kind"] == "int":
        return high if step < 0 else low + (high - low) // step * step
    first, last, by = (Decimal(str(one)) for one in (low, high, step))
    if by <= 0:
        return high
    reached = float(last - (last - first) % by)
    return reached if (Decimal(str(reached)) - first) % by == 0 else high  # else Optuna would leave out one more


def data_of(name: str, distribution: BaseDistribution) -> dict[str, Any]:
    """Converts Optuna's distribution back. Raises BadSpace for a choice that JSON would change."""
    from optuna import distributions as od

    if isinstance(distribution, od.FloatDistribution):
        ends = {"low": distribution.low, "high": distribution.high}
        return {"kind": "float", **ends, "log": distribution.log, "step": distribution.step}
    if isinstance(distribution, od.IntDistribution):
        ends = {"low": int(distribution.low), "high": int(distribution.high)}
        return {"kind": "int", **ends, "log": distribution.log, "step": int(distribution.step)}
    if isinstance(distribution, od.CategoricalDistribution):
        return {"kind": "choice", "choices": [plain_choice(name, choice) for choice in distribution.choices]}
    raise BadSpace(f"{name} has a distribution of type {type(distribution).__name__}, expected float, int or choice")


def plain_choice(name: str, choice: Any) -> Any:
    """Returns a choice as it is recorded: numpy's numbers and members of a StrEnum as plain Python values."""
    if hasattr(choice, "dtype") and getattr(choice, "ndim", None) == 0:
        choice = choice.item()
    for kind in (bool, int, float, str):
        if isinstance(choice, kind) and not (isinstance(choice, float) and not math.isfinite(choice)):
            return str.__str__(choice) if isinstance(choice, str) else kind(choice)
    if choice is None:
        return None
    raise BadSpace(
        f"{name} has the choice {quoted(choice)} of type {type(choice).__name__}, which cannot be recorded; "
        "expected a string, a finite number, True, False or None: choose by a name, and look the value up"
    )
