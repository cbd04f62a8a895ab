"""The difference between two specifications of a job as data, so that an event can hold the undo step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fts.state.transitions.base import MAX_SPEC, Row, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING = object()
STAYS = {"study", "experiment", "kind", "axes"}  # fields that identify a job and its files: never changed
SHOWN = 60  # characters of a value in a sentence


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Row:
    """Returns what turns `before` into `after`: {"fields": {name: new value}, "without": [names of removed fields]}."""
    fields = {name: value for name, value in after.items() if before.get(name, MISSING) != value}
    return {"fields": fields, "without": [name for name in before if name not in after]}


def changed(spec: str, step: Mapping[str, Any]) -> str:
    """Applies a `difference` to a specification's JSON. Raises ValueError, TypeError or KeyError for a wrong step."""
    before = json.loads(spec)
    without = [str(name) for name in step["without"]]
    if strange := STAYS & {*without, *step["fields"]}:
        raise ValueError(f"it changes {', '.join(sorted(strange))} of a specification, which stay as they are")
    kept = {name: value for name, value in before.items() if name not in without}
    return to_json(kept | dict(step["fields"]), "spec", MAX_SPEC)


def words(spec: str, step: Mapping[str, Any]) -> str:
    """Describes a `difference`: `seeds 1 instead of 3, no baseline`."""
    before = json.loads(spec)
    parts = [
        f"{name} {_short(value)}" + (f" instead of {_short(before[name])}" if name in before else "")
        for name, value in step["fields"].items()
    ]
    return ", ".join([*parts, *(f"no {name}" for name in step["without"])])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
