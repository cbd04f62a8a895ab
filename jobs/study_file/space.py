"""Reads [space]: ranges and lists as distributions, `from` as a function of the cell, and every `when`."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fts.jobs.api.amounts import LARGEST, check_range
from fts.jobs.api.conditions import drawing_order
from fts.jobs.api.expression import BadExpression, Expression
from fts.jobs.api.names import is_name
from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import BadSpec
from fts.jobs.python import python
from fts.jobs.study_file.faults import At, BadStudy
from fts.jobs.study_file.keys import PARAMETER, checked
from fts.raising import quoted

FROM = "from"
SLOWEST_S = 600.0  # the longest time for the function of `from`, which may import torch
MOST_CHOICES = 10_000
SAMPLED = 512  # combinations of values that an expression is checked with
EXPECTED = "expected a range { low = 1, high = 4 } or a list such as ['adam', 'sgd']"

Space = dict[str, dict[str, Any]]


def parameters(given: Mapping[str, Any], at: At = ("space",)) -> Space:
    """Returns the distributions of a table, without `from`. Raises BadStudy."""
    found: Space = {}
    for name, value in given.items():
        if name == FROM and at == ("space",):
            continue
        own = parameters(value, (*at, name)) if _is_group(name, value) else None
        more = {name: distribution((*at, str(name)), name, value)} if own is None else {}
        more |= {f"{name}.{inner}": each for inner, each in (own or {}).items()}
        if twice := [each for each in more if each in found]:
            raise BadStudy(at, f"declares {twice[0]} twice")
        found |= more
    return found


def _is_group(name: Any, given: Any) -> bool:
    """Is it a table of parameters, `optimizer.lr = { low = ..., high = ... }`, instead of one parameter's keys?"""
    if not isinstance(name, str) or not isinstance(given, Mapping) or not given or set(given) & set(PARAMETER):
        return False
    return any(isinstance(value, Mapping) for value in given.values()) and all(
        isinstance(value, Mapping | list | tuple) for value in given.values()
    )


def distribution(at: At, name: Any, given: Any) -> dict[str, Any]:
    """Returns one parameter's distribution (fts.jobs.search.space), with the key `when` if it has a condition."""
    if not is_name(name) or not name.isascii():
        raise BadStudy(at, "cannot name a parameter; expected a-z, A-Z, 0-9 and _, with dots between such names")
    if isinstance(given, list | tuple):
        return _choice(at, given)
    if not isinstance(given, Mapping):
        cure = f"; a fixed value is [{quoted(given)}]" if isinstance(given, str | int | float) else ""
        raise BadStudy(at, f"is {quoted(given)}, {EXPECTED}{cure}")
    table = checked(at, given, PARAMETER, "key of a parameter")
    when = {"when": _expression((*at, "when"), table["when"]).text} if "when" in table else {}
    kind = table.get("kind")
    if "choices" in table or kind == "choice":
        if extra := [each for each in table if each not in ("choices", "when", "kind")]:
            raise BadStudy((*at, extra[0]), "belongs to a range, and the parameter has choices")
        return _choice(at, table.get("choices", ())) | when
    return _range(at, table, kind) | when


def _choice(at: At, given: Sequence[Any]) -> dict[str, Any]:
    if not given or len(given) > MOST_CHOICES:
        raise BadStudy(at, f"has {len(given):,} values to choose from, expected 1 to {MOST_CHOICES:,}")
    for place, value in enumerate(given):
        if value is not None and not isinstance(value, bool | int | float | str):
            raise BadStudy(at, f"has the choice {quoted(value)}, expected text, a number, true or false")
        if isinstance(value, int | float) and not abs(value) < LARGEST:  # nan too
            raise BadStudy(
                at, f"has the choice {quoted(value)}, expected a number up to {LARGEST:g}; as text it is fine"
            )
        if any(value == other for other in given[:place]):  # to a sampler, 1, 1.0 and True are the same choice
            raise BadStudy(at, f"names {quoted(value, 40)} twice")
    return {"kind": "choice", "choices": list(given)}


def _range(at: At, table: Mapping[str, Any], kind: str | None) -> dict[str, Any]:
    if lacking := [end for end in ("low", "high") if end not in table]:
        raise BadStudy(at, f"has no {lacking[0]}; {EXPECTED}")
    low, high, step, log = table["low"], table["high"], table.get("step"), table.get("log", False)
    numbers = [end for end in (low, high, step) if end is not None]
    whole = all(isinstance(end, int) for end in numbers) if kind is None else kind == "int"
    if kind == "int" and not all(float(end).is_integer() for end in numbers):
        raise BadStudy(at, f"is a whole number from {low} to {high}, expected whole ends")
    low, high = (int(low), int(high)) if whole else (float(low), float(high))
    found = {"kind": "int" if whole else "float", "low": low, "high": high, "log": log}
    if step is not None:
        if step <= 0 or log:
            raise BadStudy((*at, "step"), f"is {step:g}, expected " + ("none: log = true" if log else "above 0"))
        found["step"] = int(step) if whole else float(step)
    try:
        check_range(low, high, log, step)
    except BadSpec as error:
        raise BadStudy(at, str(error)) from None
    return found


# -- `from`


def of_cells(
    objective: str, folder: Path, interpreter: str | None, cells: Sequence[Mapping[str, Any]], env: Mapping[str, str]
) -> list[Space]:
    """Calls FILE.py:FUNCTION for each cell in the study's interpreter, and returns the spaces. Raises BadStudy."""
    import os  # here: only this function needs it

    at = ("space", FROM)
    home = Path(sys.modules["fts"].__path__[0]).absolute()
    words = python(str(home / "jobs" / "trial" / "space_of.py"), str(home), objective, interpreter=interpreter)
    try:
        done = subprocess.run(
            words,
            input=json.dumps([dict(cell) for cell in cells]),
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, **env},
            timeout=SLOWEST_S,
            check=False,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
    except subprocess.TimeoutExpired:
        raise BadStudy(at, f"names {objective}, which did not return within {SLOWEST_S:.0f} s") from None
    except (OSError, ValueError) as error:
        raise BadStudy(at, f"names {objective}, which could not be called: {error}") from None
    if "spaces" not in answer:
        last = (done.stderr.strip().splitlines() or ["it printed no error"])[-1]
        raise BadStudy(at, f"names {objective}, which failed: {answer.get('fault') or last}")
    found = []
    for cell, given in zip(cells, answer["spaces"], strict=True):
        if not isinstance(given, dict) or not given:
            raise BadStudy(
                at, f"names {objective}, which returns {quoted(given)} for {dict(cell)}, expected parameters"
            )
        found.append(parameters(given, (*at, *map(str, cell.values()))))
    return found


# -- expressions


def _expression(at: At, text: Any) -> Expression:
    try:
        return Expression.parse(text)
    except BadExpression as error:
        raise BadStudy(at, f"is not an expression: {error}") from None


def forbidden(given: Any) -> dict[str, str]:
    """Reads [forbid] as name -> expression. Raises BadStudy."""
    if not isinstance(given, Mapping):
        raise BadStudy(("forbid",), f"is {quoted(given)}, expected a table of expressions")
    for name, text in given.items():
        if not isinstance(text, str):
            there = f'"{name} == {quoted(text)}"' if isinstance(text, int | float) else "\"lr > 0.1 and size == 'L'\""
            raise BadStudy(
                ("forbid", str(name)), f"is {quoted(text)}, expected an expression in quotes, such as {there}"
            )
    return {str(name): _expression(("forbid", str(name)), text).text for name, text in given.items()}


def check_expressions(
    space: Space, forbid: Mapping[str, str], axes: Mapping[str, Sequence[Any]], labels: Mapping[str, Any]
) -> None:
    """Raises BadStudy for a `when` or `forbid` with unknown names, impossible values, or that can never hold.

    `axes` are the axes of the matrix with all their values, `labels` the values of this cell.
    """
    values = {name: list(each) for name, each in axes.items()} | {name: _samples(each) for name, each in space.items()}
    closed = {name: list(each) for name, each in axes.items()}
    closed |= {name: each["choices"] for name, each in space.items() if each["kind"] == "choice"}
    for name, each in space.items():
        if "when" in each:
            at = ("space", name, "when")
            expression = _expression(at, each["when"])
            if name in expression.names:
                raise BadStudy(at, f"of {name} names {name} itself")
            _check(at, expression, values, closed)
    try:
        drawing_order(space)
    except BadSpec as error:
        raise BadStudy(("space",), f": {error}") from None
    for name, text in forbid.items():
        here = ("forbid", name)
        expression = _expression(here, text)
        if not set(expression.names) & set(space):
            raise BadStudy(here, f"names no parameter, expected one of {', '.join(space)}; `exclude` removes cells")
        _check(here, expression, values, closed)
    always = {name: each for name, each in closed.items() if name in space and "when" not in space[name]}
    always |= {name: [value] for name, value in labels.items()}
    rules = [rule for text in forbid.values() if set((rule := Expression.parse(text)).names) <= set(always)]
    names = tuple(dict.fromkeys(name for rule in rules for name in rule.names))
    tried = [dict(zip(names, each, strict=True)) for each in _some(always, names)]
    if rules and len(tried) < SAMPLED and all(any(rule.holds(each) for rule in rules) for each in tried):
        refused = ", ".join(name for name in names if name in space) + _in_cell(names, labels)
        raise BadStudy(("forbid",), f"refuses every value of {refused}, so that no trial could be drawn")


def _in_cell(names: Sequence[str], labels: Mapping[str, Any]) -> str:
    given = [f"{name} = {labels[name]!r}" for name in names if name in labels]
    return f" where {' and '.join(given)}" if given else ""


def _some(values: Mapping[str, list[Any]], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Returns the first SAMPLED combinations of the values of these names."""
    return itertools.islice(itertools.product(*(values[name] for name in names)), SAMPLED)


def _check(at: At, expression: Expression, values: Mapping[str, list[Any]], closed: Mapping[str, list[Any]]) -> None:
    unknown_name(at, expression, values)
    for name, constant in expression.compared:
        if name in closed and constant not in closed[name]:
            there = ", ".join(repr(each) for each in closed[name])[:200]
            raise BadStudy(at, f"compares {name} with {quoted(constant, 40)}, which is not one of its values: {there}")
    for combination in _some(values, expression.names):
        try:
            expression.value(dict(zip(expression.names, combination, strict=True)))
        except BadExpression as error:
            raise BadStudy(at, f"cannot be evaluated for every value: {error}") from None


def unknown_name(at: At, expression: Expression, known: Mapping[str, Any]) -> None:
    """Raises BadStudy for a name that is neither a parameter nor an axis."""
    for name in expression.names:
        if name not in known:
            there = ", ".join(known)
            raise BadStudy(at, f"names {name}, not a parameter or axis; {hint(name, known)}known are {there}")


def _samples(each: Mapping[str, Any]) -> list[Any]:
    if each["kind"] == "choice":
        return list(each["choices"])
    return [each["low"], each["high"]]
