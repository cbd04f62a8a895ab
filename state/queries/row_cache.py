"""Caches the values made from rows: a write changes a few of ten thousand rows, and only those are converted again."""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Made = TypeVar("Made")
PLAIN = 2  # marshal version without references: equal values give equal bytes


class KnownRows:
    """The cache of one reader. Compares rows by a 64-bit hash of their values; does not keep the rows."""

    def __init__(self, clean: Callable[[Any], Any] | None = None) -> None:
        """`clean`: is applied to each value before it is cached."""
        self._clean = clean
        self._kept: dict[str, dict[int, tuple[int, Any]]] = {}  # table: row id: (hash, value)

    def values(
        self, table: str, rows: Iterable[Mapping[str, Any]], make: Callable[[Mapping[str, Any]], Made], *more: Any
    ) -> tuple[Made, ...]:
        """Converts each row with `make`, in order; returns the same object as the last time for an unchanged row.

        `more`: dictionaries by row id; their values count as further columns of the row.
        """
        before, now = self._kept.get(table, {}), dict[int, tuple[int, Any]]()
        for row in rows:
            id = row["id"]
            hashed = hash(marshal.dumps((*row.values(), *(each.get(id) for each in more)), PLAIN))
            kept = before.get(id)
            if kept is None or kept[0] != hashed:
                made = make(row)
                kept = hashed, made if self._clean is None else self._clean(made)
            now[id] = kept
        self._kept[table] = now
        return tuple(value for _, value in now.values())

    def has(self, table: str, value: Any) -> bool:
        """Whether this object is one of those returned last."""
        kept = self._kept.get(table, {}).get(value.id)
        return kept is not None and kept[1] is value
