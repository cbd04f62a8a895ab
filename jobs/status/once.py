"""Remembers the last thing that was worked out, by the identity of what it was worked out of: a frame asks often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")


class Once(Generic[Made]):
    """The latest result alone; a snapshot is frozen, so the same object has the same answer."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[object, ...], object, Made] | None = None  # one value: two threads may ask

    def __call__(self, of: tuple[object, ...], rest: object, make: Callable[[], Made]) -> Made:
        """What `make` gives, which is asked only when one of `of` is another object or `rest` is not equal."""
        kept = self._kept
        if kept is not None and [*map(id, of)] == [*map(id, kept[0])] and rest == kept[1]:
            return kept[2]
        made = make()
        self._kept = (of, rest, made)
        return made
