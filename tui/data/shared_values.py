"""Equal parts of many jobs and trials kept once: two thousand jobs of one study have a handful of specifications."""

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
PLAIN = 2  # of marshal: the same values give the same bytes


class SharedValues:
    """Of one reader. A value that it has cleaned is given the parts of the one before that had equal ones."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}

    def clean(self, value: Any) -> Any:
        """As `clean_value`; nobody may change what it hands out, as with any frozen value."""
        found = clean_value(value)
        parts = PARTS.get(type(found))
        if parts is None:
            return found
        return replace(found, **{name: self._shared(getattr(found, name)) for name in parts})

    def _shared(self, part: Any) -> Any:
        try:
            at = hash(marshal.dumps(part, PLAIN))
        except ValueError:  # a part of another kind
            return part
        kept = self._kept.setdefault(at, part)
        return kept if type(kept) is type(part) and kept == part else part
