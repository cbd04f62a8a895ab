"""What differs between two specifications of a job, as data, so that an event can hold the way back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fts.state.transitions.base import MAX_SPEC, Row, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING = object()
STAYS = {"study", "experiment", "kind", "axes"}  # what a job is, and where its files are
SHOWN = 60  # characters of a value in a sentence


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Row:
    """The fields that make `after` of `before`: {"fields": {name: value}, "without": [names that it has not]}."""
    fields = {name: value for name, value in after.items() if before.get(name, MISSING) != value}
    return {"fields": fields, "without": [name for name in before if name not in after]}


def changed(spec: str, step: Mapping[str, Any]) -> str:
    """The text of a specification after such a step. Raises ValueError, TypeError or KeyError for what is none."""
    before = json.loads(spec)
    without = [str(name) for name in step["without"]]
    if strange := STAYS & {*without, *step["fields"]}:
        raise ValueError(f"it changes {', '.join(sorted(strange))} of a specification, which stay as they are")
    kept = {name: value for name, value in before.items() if name not in without}
    return to_json(kept | dict(step["fields"]), "spec", MAX_SPEC)


def words(spec: str, step: Mapping[str, Any]) -> str:
    """`seeds 1 instead of 3, no baseline`."""
    before = json.loads(spec)
    told = [
        f"{name} {_short(value)}" + (f" instead of {_short(before[name])}" if name in before else "")
        for name, value in step["fields"].items()
    ]
    return ", ".join([*told, *(f"no {name}" for name in step["without"])])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
