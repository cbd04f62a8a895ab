"""Reads axes, parameters, goals and constraints as a person types them or a script gives them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from fts.jobs.api.amounts import LARGEST, check_range
from fts.jobs.api.goals import bound_of
from fts.jobs.api.names import is_name
from fts.jobs.api.spec import NAME, BadSpec
from fts.jobs.api.study import MAXIMIZE, MINIMIZE
from fts.raising import quoted

Value = str | int | float
LONGEST = 200  # characters of an axis' value
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
RANGE = re.compile(rf"\s*({NUMBER.pattern})\s*\.\.\s*({NUMBER.pattern})\s*(:\s*log\s*)?", re.ASCII)
RANGE_CALL = re.compile(r"[\w.]*(?:uniform|log|range|interval|randint|float|int)\(", re.IGNORECASE)  # of other tools


def parse_goal(text: str) -> tuple[str, str]:
    """Parses `loss=minimize`. Raises BadSpec."""
    name, equals, goal = text.partition("=")
    if not equals or not NAME.fullmatch(name.strip()) or goal.strip() not in (MINIMIZE, MAXIMIZE):
        raise BadSpec(
            f"{quoted(text)} is no goal, expected NAME={MINIMIZE} or NAME={MAXIMIZE}, such as loss={MINIMIZE}"
        )
    return name.strip(), goal.strip()


def parse_constraint(text: str) -> tuple[str, str]:
    """Parses `n_params <= 2e6` into metric and bound. Raises BadSpec."""
    found = re.fullmatch(r"\s*([^<>=\s]+)\s*([<>]=.*)", text)
    if found is None or not NAME.fullmatch(found[1]):
        raise BadSpec(f"{quoted(text)} is no constraint, expected NAME<=NUMBER or NAME>=NUMBER, such as n_params<=2e6")
    bound_of(found[1], found[2])
    return found[1], found[2].strip()


def parse_axis(text: str) -> tuple[str, list[Value]]:
    """Parses `size=S,M,L` into a name and its values; numbers become numbers. Raises BadSpec."""
    name, equals, listed = text.partition("=")
    name = in_code(name.strip())
    words = [word.strip() for word in listed.split(",")]
    if not equals or not is_name(name) or not all(words):
        raise BadSpec(f"{text!r} is no axis, expected NAME=A,B,C, such as size=S,M,L")
    if any(is_open(word) for word in words) and not is_open(listed):
        found = f"{text!r} has a comma inside brackets, but a comma always ends a value"
        if RANGE_CALL.match(listed.strip()):
            raise BadSpec(f"{found}; a range is LOW:HIGH or LOW:HIGH:log of --space, or LOW..HIGH:log in a command")
        raise BadSpec(f"{found}; write NAME=A,B instead")
    values = [value_of(word) for word in words]
    check_values(name, values)
    if len(set(values)) < len(values):  # 1 equals 1.0
        raise BadSpec(f"{text!r} names a value twice")
    return name, values


def checked_axes(axes: Any) -> dict[str, list[Value]]:
    """Returns the axes, which may come from a script: name -> values. Raises BadSpec."""
    if not isinstance(axes, Mapping):
        raise BadSpec(f"the axes are {quoted(axes)}, expected a dict such as {{'size': ['S', 'M']}}")
    found: dict[str, list[Value]] = {}
    for name, given in axes.items():
        if not is_name(name):
            raise BadSpec(f"an axis is called {quoted(name)}, expected a name such as size")
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise BadSpec(f"the axis {name} is {quoted(given)}, expected a list of values, such as ['S', 'M']")
        values = [one.item() if getattr(one, "shape", None) == () else one for one in given]  # numbers of numpy
        check_values(name, values)
        if not values:
            raise BadSpec(f"the axis {name} has no values, expected some, such as ['S', 'M']")
        if len(set(values)) < len(values):
            raise BadSpec(f"the axis {name} names a value twice: {quoted(values)}")
        found[in_code(name)] = values
    return found


def check_values(name: str, values: Iterable[Any]) -> None:
    for value in values:
        if not isinstance(value, str | int | float) or (not isinstance(value, str) and not abs(value) < LARGEST):
            raise BadSpec(f"{name} is {quoted(value)}, expected text or a number up to {LARGEST:g}")
        if isinstance(value, str) and not (
            value.isprintable() and 0 < len(value) <= LONGEST and value == value.strip()
        ):
            raise BadSpec(f"{name} is {quoted(value)}, expected 1 to {LONGEST} printable characters")


def in_code(name: str) -> str:
    """Returns a name as Python reads it in code, where some characters stand for others: µ (micro) for μ (mu)."""
    return unicodedata.normalize("NFKC", name)


def is_open(text: str) -> bool:
    """Returns whether a bracket in the text has no partner."""
    return any(text.count(opening) != text.count(closing) for opening, closing in ("()", "[]", "{}"))


def value_of(word: str) -> Value:
    """Returns 5, 0.1 or 1e-3 as a number, any other word unchanged."""
    if not NUMBER.fullmatch(word):
        return word
    whole = re.fullmatch(r"[+-]?\d{1,400}", word)  # Python refuses to read thousands of digits; as a float they are inf
    return int(word) if whole else float(word)


def parse_parameter(text: str) -> tuple[str, dict[str, Any]]:
    """Parses `lr=1e-5:1e-1:log`, `layers=1:4` (whole numbers stay whole) or `opt=adam,sgd`. Raises BadSpec.

    1..4 is the same as 1:4, as commands write it.
    """
    name, equals, listed = text.partition("=")
    name = in_code(name.strip())
    if ends := RANGE.fullmatch(listed):
        listed = f"{ends[1]}:{ends[2]}" + (":log" if ends[3] else "")
    expected = "expected NAME=A,B or NAME=LOW:HIGH, with :log behind it for a log scale"
    if not equals or not is_name(name):
        raise BadSpec(f"{text!r} is no parameter, {expected}")
    if ":" not in listed:
        _, values = parse_axis(text)
        return name, {"kind": "choice", "choices": values}
    parts = listed.split(":")
    log = len(parts) == 3 and parts[2].strip() == "log"
    given = [value_of(part.strip()) for part in parts[:2]]
    numbers = [number for number in given if not isinstance(number, str)]
    if len(parts) not in (2, 3) or (len(parts) == 3 and not log) or len(numbers) < 2:
        raise BadSpec(f"{text!r} is no parameter, {expected}")
    whole = all(isinstance(n, int) for n in numbers)
    low, high = numbers if whole else map(float, numbers)
    try:
        check_range(low, high, log)
    except BadSpec as error:
        raise BadSpec(f"{text!r} {error}") from None
    ends_of = {"low": low, "high": high}
    return name, {"kind": "int" if whole else "float", **ends_of, "log": log}
