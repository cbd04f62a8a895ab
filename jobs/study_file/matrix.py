"""The cells of [matrix]: every combination of the axes, without those in `exclude`, plus those in `include`.

As in a workflow file of GitHub, an entry of `exclude` removes each combination that has all its values. An entry of
`include` adds its other keys as axes to each combination that has its values of the axes; if there is none, the entry
becomes a cell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fts.jobs.api.amounts import LARGEST
from fts.jobs.api.names import is_name
from fts.jobs.functions import MOST_CELLS
from fts.jobs.study_file.faults import BadStudy, unknown
from fts.raising import quoted

Value = str | int | float
Labels = dict[str, Value]

MATRIX = "matrix"
LONGEST = 200  # characters of a value
INCLUDE, EXCLUDE = "include", "exclude"


def cells(given: Any) -> list[Labels]:
    """Returns each cell's value on each axis. Raises BadStudy."""
    if not isinstance(given, Mapping):
        raise BadStudy((MATRIX,), f"is {quoted(given)}, expected a table")
    axes = {name: _axis(name, values) for name, values in given.items() if name not in (INCLUDE, EXCLUDE)}
    includes = _entries(given.get(INCLUDE, []), INCLUDE)
    if not axes and not includes:
        if EXCLUDE in given:
            raise BadStudy((MATRIX, EXCLUDE), "has no axes to remove from; add one, such as size = ['S', 'M']")
        return [{}]
    if math.prod(len(values) for values in axes.values()) > MOST_CELLS:
        raise BadStudy((MATRIX,), f"has more than {MOST_CELLS:,} combinations; give fewer values")
    made: list[Labels] = []
    if axes:
        made = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    for number, entry in enumerate(_entries(given.get(EXCLUDE, []), EXCLUDE), 1):
        at = (MATRIX, EXCLUDE)
        unknown(at, entry, axes, "axis")
        left = [labels for labels in made if not _agrees(labels, entry, list(entry))]
        if len(left) == len(made):
            raise BadStudy(at, f"entry {number}, {_shown(entry)}, removes no combination; {_known(axes)}")
        made = left
    made = _with(made, includes, list(axes))
    if not made:
        raise BadStudy((MATRIX,), "leaves no cell: everything is excluded")
    if len(made) > MOST_CELLS:
        raise BadStudy((MATRIX,), f"has more than {MOST_CELLS:,} cells")
    before: set[frozenset[tuple[str, Value]]] = set()
    for labels in made:
        if (each := frozenset(labels.items())) in before:
            raise BadStudy((MATRIX, INCLUDE), f"makes the cell {_shown(labels)} twice")
        before.add(each)
    return made


def _with(made: list[Labels], includes: Sequence[Labels], axes: Sequence[str]) -> list[Labels]:
    own = [dict(labels) for labels in made]  # the original combinations, which entries are compared with
    grown = [dict(labels) for labels in made]
    more: list[Labels] = []
    for entry in includes:
        named = [name for name in entry if name in axes]
        fitting = [place for place, labels in enumerate(own) if _agrees(labels, entry, named)]
        for place in fitting:
            grown[place] |= {name: value for name, value in entry.items() if name not in axes}
        if not fitting:
            ordered = {name: entry[name] for name in axes if name in entry}
            more.append(ordered | entry)
    return grown + more


def _agrees(labels: Labels, entry: Labels, names: Sequence[str]) -> bool:
    return all(name in labels and _same(labels[name], entry[name]) for name in names)


def _same(one: Value, other: Value) -> bool:
    return isinstance(one, str) is isinstance(other, str) and one == other


def _axis(name: str, values: Any) -> list[Value]:
    at = (MATRIX, name)
    _check_name(at, name)
    if not isinstance(values, list | tuple) or not values:
        raise BadStudy(at, f"is {quoted(values)}, expected a list of values, such as ['S', 'M']")
    found = [_checked(at, value) for value in values]
    for place, value in enumerate(found):
        if any(_same(value, other) for other in found[:place]):
            raise BadStudy(at, f"names {quoted(value, 40)} twice")
    return found


def _entries(given: Any, which: str) -> list[Labels]:
    at = (MATRIX, which)
    if not isinstance(given, list | tuple) or not all(isinstance(entry, Mapping) and entry for entry in given):
        raise BadStudy(at, f"is {quoted(given)}, expected a list of tables, such as [{{ size = 'L' }}]")
    for entry in given:
        for name, value in entry.items():
            _check_name((*at, str(name)), name)
            _checked((*at, str(name)), value)
    return [dict(entry) for entry in given]


def _check_name(at: tuple[str, ...], name: Any) -> None:
    if not is_name(name) or not name.isascii() or len(name) > 80:
        raise BadStudy(at, "cannot name an axis; expected a-z, A-Z, 0-9 and _ (at most 80), dots between such names")


def _checked(at: tuple[str, ...], value: Any) -> Value:
    sound = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not sound or value == "" or (not isinstance(value, str) and not abs(value) < LARGEST):
        cure = '; write "yes" and "no", or 1 and 0' if isinstance(value, bool) else ""
        raise BadStudy(at, f"has the value {quoted(value)}, expected text or a number{cure}")
    assert isinstance(value, str | int | float)
    if isinstance(value, str) and not (value.isprintable() and len(value) <= LONGEST and value.strip() == value):
        raise BadStudy(at, f"has the value {quoted(value)}, expected 1 to {LONGEST} printable characters")
    return value


def _shown(labels: Labels) -> str:
    return "{ " + ", ".join(f"{name} = {value!r}" for name, value in labels.items()) + " }"


def _known(axes: Mapping[str, Sequence[Value]]) -> str:
    return "; ".join(f"{name} has {', '.join(map(str, values))}"[:200] for name, values in axes.items())
