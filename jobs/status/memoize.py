"""Caches the latest results by the identity of their inputs, because one frame of the monitor asks many times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")


class Once(Generic[Made]):
    """A cache of the latest `most` results. Inputs are frozen, so the same object has the same result.

    The cache keeps its inputs alive until `forget` drops results that were not used again.
    """

    def __init__(self, most: int = 1) -> None:
        self.most = most  # 2: one for a frozen screen and one for its live first lines
        self.kept: tuple[CachedResult[Made], ...] = ()  # replaced as a whole, because two threads may use it
        EVERY.add(self)

    def __call__(self, of: tuple[object, ...], rest: object, make: Callable[[], Made]) -> Made:
        """Returns the cached result for the same objects `of` and an equal `rest`, else calls `make`."""
        wanted = [*map(id, of)]
        for answer in self.kept:
            if wanted == [*map(id, answer.of)] and rest == answer.rest:
                answer.asked = True
                return answer.made
        made = make()
        self.kept = (CachedResult(of, rest, made), *self.kept[: self.most - 1])
        return made


class CachedResult(Generic[Made]):
    """A cached result, its inputs, and whether it was used since the latest data arrived."""

    def __init__(self, of: tuple[object, ...], rest: object, made: Made) -> None:
        self.of, self.rest, self.made, self.asked = of, rest, made, True


EVERY: WeakSet[Once[Any]] = WeakSet()


def expect() -> None:
    """Marks all cached results as unused; call it when new data arrives."""
    for each in EVERY:
        for answer in each.kept:
            answer.asked = False


def forget() -> None:
    """Drops results that were not used since `expect`: one may keep all jobs of an old snapshot alive."""
    for each in EVERY:
        each.kept = tuple(answer for answer in each.kept if answer.asked)
