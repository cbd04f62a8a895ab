"""The search space of the flagship, and the values that users may override (DOMAIN section 3)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from fts.jobs.search.space import BadSpace, Space, distributions
from fts.model.architecture import NORMS, PARTIAL, REVIN, Architecture, ModelConfig
from fts.model.budgets import TINY, count_parameters, fits, grid
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

TRAINING: Space = {
    "learning_rate": {"kind": "float", "low": 1e-4, "high": 1e-3, "log": True},
    "weight_decay": {"kind": "float", "low": 1e-4, "high": 5e-3, "log": True},
    "warmup_steps": {"kind": "choice", "choices": [100, 200, 300, 500]},
    "dropout": {"kind": "float", "low": 0.1, "high": 0.6, "log": False},
}
WINDOW = ("context", "norm")  # searched only if the user gives values
BOUNDS: dict[str, tuple[float, float]] = {  # values that a training accepts; a search range must lie inside
    "learning_rate": (1e-12, 1e9),
    "weight_decay": (0.0, 1e9),
    "warmup_steps": (0, 1e9),
    "dropout": (0.0, 0.999),
    "context": (2, 10_000),
}
WHOLE = ("warmup_steps", "context")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
EXPECTED = "expected NAME=LOW:HIGH or NAME=A,B"


def space_for(budget: str, n_features: int, overrides: Space | None = None, **window: Any) -> Space:
    """Returns the space of one cell: the architectures of its budget by name, and the training parameters.

    `window`: context, patch, stride, channel_independent, norm, if they are not the defaults; they decide how many
    parameters an architecture has. If windows or norms are searched, an architecture must fit the budget with each of
    them. Raises BadSpace for an invalid override, or a budget that no architecture fits.
    """
    overrides = overrides or {}
    windows = _windows(overrides, window)
    try:
        grids = [[architecture.name for architecture in grid(budget, n_features, **each)] for each in windows]
        for each in windows:
            counted(TINY[0], n_features, each)  # a window that no model can read fits no budget
    except ValueError as error:
        raise BadSpace(str(error)) from None
    names = [name for name in grids[0] if all(name in other for other in grids[1:])]
    if not names:
        raise BadSpace(f"no architecture of the grid has {budget} parameters with {window}; choose another window")
    space = {"architecture": {"kind": "choice", "choices": names}} | TRAINING
    for name, distribution in overrides.items():
        if name not in space and name not in WINDOW:
            known = ", ".join(sorted({*space, *WINDOW}))
            raise BadSpace(f"{name} is not a parameter of patchtst; known: {known}")
        if name == "architecture":
            _check_architectures(budget, n_features, distribution, names, windows)
        elif name == "norm":
            check_norms(distribution)
        elif name in BOUNDS:
            _check_bounds(name, distribution)
        space = space | {name: distribution}
    distributions(space)  # refuse invalid values here, not in trial 1
    return space


def _windows(overrides: Space, window: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns every combination of window and norm that a trial can draw."""
    found = [window]
    for name in WINDOW:
        drawn = overrides.get(name, {}).get("choices")
        found = [each | {name: value} for each in found for value in drawn] if drawn else found
    return found


def counted(shape: Architecture, n_features: int, window: dict[str, Any]) -> int:
    """Returns the number of parameters; the features that a partial norm changes do not matter."""
    norm = str(window.get("norm", REVIN)).replace(PARTIAL, REVIN)
    return count_parameters(ModelConfig(shape, n_features, **window | {"norm": norm}))


def check_norms(distribution: dict[str, Any]) -> None:
    """Raises BadSpace for an unknown norm."""
    odd = [norm for norm in distribution.get("choices") or [None] if norm not in NORMS]
    if odd:
        raise BadSpace(f"norm is {quoted(odd[0], 40)}, expected choices among {', '.join(NORMS)}")


def _check_architectures(
    budget: str, n_features: int, distribution: dict[str, Any], usual: list[str], windows: list[dict[str, Any]]
) -> None:
    """Raises BadSpace for architectures that are neither of the grid nor of the budget's size."""
    for name in distribution.get("choices", []):
        if name in usual:
            continue
        try:
            sizes = [counted(Architecture.parse(str(name)), n_features, window) for window in windows]
        except ValueError as error:
            raise BadSpace(f"architecture: {error}") from None
        if odd := [counted for counted in sizes if not fits(budget, counted)]:
            raise BadSpace(f"architecture: {name} has {odd[0]:,} parameters, which does not fit budget {budget}")


def _check_bounds(name: str, distribution: dict[str, Any]) -> None:
    """Raises BadSpace if the search may draw a value that a training does not accept."""
    low, high = BOUNDS[name]
    ends = ("low", "high") if distribution.get("kind") in ("float", "int") else ()
    values = [distribution.get(end) for end in ends] or list(distribution.get("choices") or [])
    for value in values:
        if (
            isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        ):  # NaN fails this comparison
            shown = f"{value:g}" if isinstance(value, int | float) else repr(value)
            whole = "whole " if name in WHOLE else ""
            raise BadSpace(f"{name} is {shown}, expected {whole}numbers from {low:g} to {high:g}")
        if name in WHOLE and value != int(value):
            raise BadSpace(f"{name} is {value:g}, expected whole numbers")


def parse_override(text: str) -> tuple[str, dict[str, Any]]:
    """Parses `dropout=0.1:0.3` (a range, on the default scale) or `warmup_steps=100,200` (choices).

    Returns name and distribution. Raises BadSpace for anything else.
    """
    name, _, values = text.partition("=")
    usual = TRAINING.get(name)
    if name in WINDOW:
        return _listed(name, values, text)
    if usual is None and name != "architecture":
        known = ", ".join(["architecture", *TRAINING, *WINDOW])
        raise BadSpace(
            f"{text!r} names no parameter of patchtst; expected NAME=LOW:HIGH or NAME=A,B with one of {known}"
        )
    if usual is not None and ":" in values:
        return name, _range(name, values, text, bool(usual.get("log", False)))
    choices = _words(values, text) if usual is None else [_number(word, text) for word in _words(values, text)]
    return name, _choices(name, choices, text)


def _listed(name: str, values: str, text: str) -> tuple[str, dict[str, Any]]:
    """Parses `context=20,80` or `norm=revin,partial`: choices, never a range."""
    if ":" in values:
        raise BadSpace(f"{text!r} is a range; {name} is searched among choices: expected NAME=A,B")
    words = _words(values, text)
    distribution = _choices(name, words if name == "norm" else [_number(word, text) for word in words], text)
    if name == "norm":
        check_norms(distribution)
    return name, distribution


def _words(values: str, text: str) -> list[str]:
    words = [word.strip() for word in values.split(",")]
    if not all(words):
        raise BadSpace(f"{text!r} has an empty value; {EXPECTED}")
    return words


def _choices(name: str, choices: Sequence[str | int | float], text: str) -> dict[str, Any]:
    if len(set(choices)) < len(choices):
        raise BadSpace(f"{text!r} names a value twice; {EXPECTED}")
    distribution: dict[str, Any] = {"kind": "choice", "choices": list(choices)}
    if name in BOUNDS:
        _check_bounds(name, distribution)
    return distribution


def _range(name: str, values: str, text: str, log: bool) -> dict[str, Any]:
    words = values.split(":")
    if len(words) != 2:
        raise BadSpace(f"{text!r} has {len(words)} ends of a range; {EXPECTED}")
    low, high = (_number(word.strip(), text) for word in words)
    if low > high:
        raise BadSpace(f"{text!r} goes from {low:g} down to {high:g}; expected the smaller number first")
    if log and low == 0:
        raise BadSpace(f"{text!r} begins at 0, but {name} is drawn on a logarithmic scale; expected a number above 0")
    whole = name in WHOLE
    distribution = {"kind": "float", "low": float(low), "high": float(high), "log": log}
    _check_bounds(name, distribution)
    return {"kind": "int", "low": int(low), "high": int(high)} if whole else distribution


def _number(word: str, text: str) -> int | float:
    if not NUMBER.fullmatch(word):
        raise BadSpace(f"{text!r}: {word!r} is not a number; {EXPECTED}")
    if not math.isfinite(float(word)):
        raise BadSpace(f"{text!r}: {word} is too large; {EXPECTED}")
    return int(word) if word.isdecimal() else float(word)
