"""Remembers the last thing that was worked out, by the identity of what it was worked out of: a frame asks often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")


class Once(Generic[Made]):
    """The latest result alone; a snapshot is frozen, so the same object has the same answer."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._rest: object = None
        self._made: list[Made] = []

    def __call__(self, of: tuple[object, ...], rest: object, make: Callable[[], Made]) -> Made:
        """What `make` gives, which is asked only when one of `of` is another object or `rest` is not equal."""
        same = len(of) == len(self._of) and all(a is b for a, b in zip(of, self._of, strict=True))
        if not (self._made and same and rest == self._rest):
            self._made = [make()]
            self._of, self._rest = of, rest
        return self._made[0]
