"""Reads the tables of a study that concern all cells: metrics, values of axes, changes by [[cell]]."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import NAME, BadSpec
from fts.jobs.study_file import keys
from fts.jobs.study_file.faults import At, BadStudy
from fts.raising import quoted

if TYPE_CHECKING:
    from fts.jobs.api.command import BareStudy
    from fts.jobs.api.expression import Expression
    from fts.jobs.study_file.matrix import Labels

LIMIT = re.compile(r"\s*(<=|>=)\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
Tables = dict[str, Any]
Params = dict[str, Any]


def metrics_of(given: Any) -> dict[str, dict[str, Any]]:
    """Reads [metrics], by name. Raises BadStudy."""
    if not isinstance(given, Mapping):
        raise BadStudy(("metrics",), f"is {quoted(given)}, expected a table")
    found = {}
    for name, each in given.items():
        at = ("metrics", str(name))
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadStudy(at, "cannot name a metric, expected a-z, A-Z, 0-9 and _.- (at most 80)")
        if not isinstance(each, Mapping):
            raise BadStudy(at, f'is {quoted(each)}, expected a table such as {{ goal = "minimize" }}, or {{}}')
        found[name] = keys.checked(at, each, keys.METRIC, "key of a metric")
        limit = found[name].get("constraint")
        if limit is not None and not LIMIT.fullmatch(limit):
            raise BadStudy((*at, "constraint"), f'is {quoted(limit)}, expected a limit such as "<= 2e6" or ">= 0.5"')
    return found


def changed(tables: Tables, labels: Labels, overrides: Sequence[tuple[Expression, Tables]]) -> Tables:
    """Returns the tables of one cell: the keys of each matching [[cell]] replace those of the study."""
    changed = dict(tables)
    for where, more in overrides:
        if where.holds(labels):
            for name, inner in more.items():
                changed[name] = {**_without_other_pruner(changed.get(name, {}), inner), **inner}
    return changed


def _without_other_pruner(table: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a table without the numbers of its pruner if a [[cell]] names another one."""
    gone = ("halving", "percentile") if inner.get("pruner", table.get("pruner")) != table.get("pruner") else ()
    return {name: value for name, value in table.items() if name not in gone}


@contextlib.contextmanager
def placed_at(at: At) -> Iterator[None]:
    """Raises a BadSpec of another module as BadStudy with this key."""
    try:
        yield
    except BadStudy:
        raise
    except BadSpec as error:
        raise BadStudy(at, f": {error}") from None


def values_of(every: Sequence[Labels]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for labels in every:
        for name, value in labels.items():
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return found


def title_of(study: BareStudy, labels: Labels) -> str:
    """Returns the title of a cell, as in `fts status`."""
    from fts.jobs.api import function  # here: only this function needs it

    return function.title_of(labels, study.name)
