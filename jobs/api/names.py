"""Valid names of parameters and axes: a Python identifier, or several with dots between them, `optimizer.lr`.

Also the words that cannot name a study.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

GROUPS = ("params.", "metrics.", "facts.", "axis.")  # beginnings of columns with other values than those of an axis
OF_JOBS = re.compile(r"\d+|\d+(?:-|\.\.)\d+|all", re.IGNORECASE)


def is_name(name: Any) -> bool:
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def variable(name: str) -> str:
    """Returns the part of an environment variable's name after FTS_PARAM_ or FTS_CELL_, such as OPTIMIZER_LR."""
    return name.replace(".", "_").upper()


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Returns two names that give the same environment variable, or None."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(variable(name), name)
        if other is not name:
            return other, name
    return None


def axis_columns(labels: Mapping[str, Any], taken: Collection[str]) -> dict[str, Any]:
    """Returns the values of axes by column: their names, or `axis.NAME` where another column has or may have it."""
    return {
        f"axis.{name}" if name in taken or name.startswith(GROUPS) else name: value for name, value in labels.items()
    }


def means_jobs(word: str) -> bool:
    """Returns whether commands take the word for jobs, whatever has that name: 7, 3-5, 3..5 or all."""
    return OF_JOBS.fullmatch(word) is not None
