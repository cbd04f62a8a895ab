"""What a parameter or an axis may be called: a name of Python, or several with dots between them, `optimizer.lr`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def is_name(name: Any) -> bool:
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))


def variable(name: str) -> str:
    """How the name stands in an environment variable, behind FTS_PARAM_ or FTS_CELL_: OPTIMIZER_LR."""
    return name.replace(".", "_").upper()


def alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Two of the names that would be one environment variable; None: all differ."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(variable(name), name)
        if other is not name:
            return other, name
    return None
