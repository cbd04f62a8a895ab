"""The earlier trials of a job, as this process has been told of them; what it knows need not be told again.

A template process learns them before it forks, so that its forks have them in memory, in Optuna's terms too.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from fts.jobs.api.lag import seen_below
from fts.jobs.search.rebuilt import Rebuilt
from fts.jobs.search.sampler import PastTrial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.jobs.api.spec import TrialSpec


class Known:
    """Of one history; the supervisor names it by its job and claim."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.past: dict[int, PastTrial] = {}
        self.rebuilt = Rebuilt()

    def learn(self, told: Iterable[Any]) -> None:
        """Raises BadSpec for what is no trial."""
        for data in told:
            past = PastTrial.from_json(data)
            self.past[past.number] = past

    def before(self, number: int) -> list[PastTrial]:
        """The trials of lower numbers, in order."""
        past = sorted(self.past.values(), key=attrgetter("number"))
        return past[: bisect_left(past, number, key=attrgetter("number"))]


KNOWN = Known()


def learn(name: str, told: Iterable[Any]) -> Known:
    """Adds to what is known under this name; another name is another history, and the former one is forgotten."""
    global KNOWN  # one for the process
    if KNOWN.name != name:
        KNOWN = Known(name)
    KNOWN.learn(told)
    return KNOWN


def history_of(spec: TrialSpec) -> tuple[list[PastTrial], Rebuilt | None]:
    """The earlier trials of a specification, and where their Optuna trials are kept.

    Raises RuntimeError where this process has not been told of as many as the specification says.
    """
    if spec.known is None:
        return [PastTrial.from_json(past) for past in spec.history], None
    known = learn(str(spec.known["history"]), spec.history)
    past = known.before(seen_below(spec.cell, spec.number))
    if len(past) != spec.known["trials"]:
        raise RuntimeError(f"the process knows {len(past)} earlier trials, its specification {spec.known['trials']}")
    return past, known.rebuilt


def prepare(order: Mapping[str, Any]) -> None:
    """For a template: learns what it is told, and makes Optuna's trials of it, which each fork then has."""
    from fts.jobs.search.sampler import frozen_before  # here: a process without a template never comes here

    known = learn(str(order["history"]), order["trials"])
    number, goals, space = int(order["before"]), order["goals"], order["space"]
    with contextlib.suppress(ModuleNotFoundError):  # without Optuna no function asks for them
        frozen_before(known.before(number), number, goals, known.rebuilt, space)
