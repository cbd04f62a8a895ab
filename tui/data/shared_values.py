"""Stores equal parts of many jobs and trials once: 2,000 jobs of one study have a handful of specifications."""

from __future__ import annotations

import marshal
import sys
from dataclasses import replace
from typing import Any

from fts.jobs.status.sanitize import clean_value
from fts.state.values import Job, Trial

PARTS = {
    Job: ("spec", "labels", "study", "cell", "kind", "metric"),
    Trial: (
        "params", "effective", "facts", "recipe", "architecture", "objective", "label_md5", "data_md5", "code_commit",
        "torch_version", "host", "device",
    ),
}  # fmt: skip
MOST = 5000  # parts kept; each trial has some of its own, and a monitor runs for weeks
LONGEST = 500  # characters of a text that is compared with earlier ones
PLAIN = 2  # marshal version in which equal values give equal bytes


class SharedValues:
    """The shared parts of one reader's values."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}

    def clean(self, value: Any) -> Any:
        """Cleans a value as `clean_value` does, and replaces its parts by equal ones of earlier values.

        Callers must not modify the parts.
        """
        found = clean_value(value)
        parts = PARTS.get(type(found))
        if parts is None:
            return found
        return replace(found, **{name: self._shared(getattr(found, name)) for name in parts})

    def _shared(self, part: Any) -> Any:
        try:
            at = hash(marshal.dumps(part, PLAIN))
        except ValueError:  # marshal cannot write this type
            return part
        kept = self._kept.get(at)
        if kept is not None and type(kept) is type(part) and kept == part:
            return kept
        if type(part) is dict:  # specifications of a study differ in their axes only; JSON makes each key anew
            part = {sys.intern(str(name)): self._shared_entry(value) for name, value in part.items()}
        if len(self._kept) >= MOST:
            self._kept.clear()  # values that were made before keep their parts
        self._kept[at] = part
        return part

    def _shared_entry(self, value: Any) -> Any:
        if isinstance(value, str):
            return sys.intern(value) if type(value) is str and len(value) <= LONGEST else value
        return self._shared(value) if isinstance(value, list | dict) else value
