"""Stores equal parts of many jobs and trials once: 2,000 jobs of one study have a handful of specifications."""

from __future__ import annotations

import marshal
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
        if len(self._kept) >= MOST:
            self._kept.clear()  # values that were made before keep their parts
        kept = self._kept.setdefault(at, part)
        return kept if type(kept) is type(part) and kept == part else part
