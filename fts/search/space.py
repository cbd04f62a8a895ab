"""What a search may choose from, as data: parameter -> distribution, per model family (DOMAIN section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.model.budgets import grid

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = dict[str, dict[str, Any]]

TRAINING: Space = {
    "learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-3, "log": True},
    "weight_decay": {"kind": "float", "low": 1e-4, "high": 5e-3, "log": True},
    "warmup_steps": {"kind": "choice", "choices": [100, 200, 300, 500]},
    "dropout": {"kind": "float", "low": 0.1, "high": 0.6, "log": False},
}
FAMILIES: dict[str, Space] = {"patchtst": TRAINING}


class BadSpace(ValueError):
    """A distribution is not one of float, int, choice, or its bounds make no sense."""


def space_for(
    budget: str, n_features: int, overrides: Space | None = None, family: str = "patchtst", **window: Any
) -> Space:
    """The space of one cell: the architectures of its budget by name, and the training parameters.

    `window`: context, patch, stride, channel_independent, where they are not the usual ones: they decide how many
    parameters an architecture has. Raises BadSpace for an override that makes no sense, or a budget nothing fits.
    """
    names = [architecture.name for architecture in grid(budget, n_features, **window)]
    if not names:
        raise BadSpace(f"no architecture of the grid has {budget} parameters with {window}; choose another window")
    space = {"architecture": {"kind": "choice", "choices": names}} | FAMILIES[family]
    for name, distribution in (overrides or {}).items():
        if name not in space:
            raise BadSpace(f"{name} is not a parameter of {family}; known: {', '.join(sorted(space))}")
        space = space | {name: distribution}
    distributions(space)  # refuse nonsense here, not in trial 1
    return space


def parse_override(text: str, family: str = "patchtst") -> tuple[str, dict[str, Any]]:
    """`dropout=0.1:0.3` (a range, on the usual scale) or `warmup_steps=100,200` (choices), as a name and distribution.

    Raises BadSpace for anything else.
    """
    name, _, values = text.partition("=")
    usual = FAMILIES[family].get(name)
    if usual is None and name != "architecture":
        known = ", ".join(["architecture", *FAMILIES[family]])
        raise BadSpace(
            f"{text!r} names no parameter of {family}; expected NAME=LOW:HIGH or NAME=A,B with one of {known}"
        )
    try:
        if usual is not None and ":" in values:
            low, high = (float(value) for value in values.split(":"))
            return name, {"kind": "float", "low": low, "high": high, "log": bool(usual.get("log", False))}
        choices = [value.strip() for value in values.split(",") if value.strip()]
        if not choices:
            raise ValueError("no value")
        return name, {"kind": "choice", "choices": choices if usual is None else [_number(c) for c in choices]}
    except ValueError as error:
        raise BadSpace(f"{text!r} is no choice of values ({error}); expected NAME=LOW:HIGH or NAME=A,B") from error


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The same space in Optuna's terms; raises BadSpace with the parameter's name."""
    from optuna import distributions as od  # here, not above: 0.4 s that `fts status` need not pay

    made: dict[str, BaseDistribution] = {}
    for name, d in space.items():
        try:
            if d["kind"] == "float":
                made[name] = od.FloatDistribution(d["low"], d["high"], log=d.get("log", False), step=d.get("step"))
            elif d["kind"] == "int":
                made[name] = od.IntDistribution(d["low"], d["high"], log=d.get("log", False), step=d.get("step", 1))
            elif d["kind"] == "choice":
                made[name] = od.CategoricalDistribution(d["choices"])
            else:
                raise BadSpace(f"{name}: kind is {d['kind']!r}, expected float, int or choice")
        except (KeyError, TypeError, ValueError) as error:
            raise BadSpace(f"{name}: {error}") from error
    return made
