"""Remembers what rows became: of ten thousand rows a write changes a few, and only those are made into values again."""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Made = TypeVar("Made")
PLAIN = 2  # of marshal: the same values give the same bytes, whoever else holds them


class KnownRows:
    """Of one reader. A row is compared by the hash of its values, 64 bits; the rows themselves are not kept."""

    def __init__(self, clean: Callable[[Any], Any] | None = None) -> None:
        """`clean`: what a value goes through before it is kept."""
        self._clean = clean
        self._kept: dict[str, dict[int, tuple[int, Any]]] = {}  # table: row id: (hash, value)

    def values(
        self, table: str, rows: Iterable[Mapping[str, Any]], make: Callable[[Mapping[str, Any]], Made], *more: Any
    ) -> tuple[Made, ...]:
        """What `make` gives of each row, in their order: the same object as the last time, if the row is the same.

        `more`: dictionaries by the id of a row, whose values belong to it as its own columns do.
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
        """Whether it is one of the values that were handed out last."""
        kept = self._kept.get(table, {}).get(value.id)
        return kept is not None and kept[1] is value
