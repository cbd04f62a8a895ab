"""Remembers the last thing that was worked out, by the identity of what it was worked out of: a frame asks often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")


class Once(Generic[Made]):
    """The latest results alone; a snapshot is frozen, so the same object has the same answer.

    What it was asked about stays alive with the answer, until `forget` finds that nobody has asked again.
    """

    def __init__(self, most: int = 1) -> None:
        self.most = most  # two: for a picture that is frozen, and for the first lines, which are not
        self.kept: tuple[Answer[Made], ...] = ()  # replaced as a whole: two threads may ask
        EVERY.add(self)

    def __call__(self, of: tuple[object, ...], rest: object, make: Callable[[], Made]) -> Made:
        """What `make` gives, which is asked only when one of `of` is another object or `rest` is not equal."""
        wanted = [*map(id, of)]
        for answer in self.kept:
            if wanted == [*map(id, answer.of)] and rest == answer.rest:
                answer.asked = True
                return answer.made
        made = make()
        self.kept = (Answer(of, rest, made), *self.kept[: self.most - 1])
        return made


class Answer(Generic[Made]):
    """What was worked out, from what, and whether anybody has asked for it since new data came."""

    def __init__(self, of: tuple[object, ...], rest: object, made: Made) -> None:
        self.of, self.rest, self.made, self.asked = of, rest, made, True


EVERY: WeakSet[Once[Any]] = WeakSet()


def expect() -> None:
    """New data has come: from now on it is noted which answers somebody still asks for."""
    for each in EVERY:
        for answer in each.kept:
            answer.asked = False


def forget() -> None:
    """Drops every answer that nobody has asked for since `expect`: all jobs of an old snapshot may hang on one."""
    for each in EVERY:
        each.kept = tuple(answer for answer in each.kept if answer.asked)
