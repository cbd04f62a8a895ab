"""Targets for agents, and which of them are large enough for a trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fts.jobs.status.formatting import count, in_gb

if TYPE_CHECKING:
    from fts.jobs.executors.base import Want
    from fts.jobs.supervisor.memory_pool import MemoryPool

REFUSED_S = 600.0  # how long a node that was too small for a trial gets none that needs as much
LAUNCH_PAUSE_S = (1.0, 60.0)  # after a failed launch: the first pause, and the longest


@dataclass
class Place:
    """A target for agents: one machine, or the engine behind the launch command."""

    name: str
    slots: int  # agents at the same time
    fixed: bool  # True: the name of a machine; False: the engine chooses the node each time
    used: set[int] = field(default_factory=set)  # slots of the worker
    pool: MemoryPool | None = None  # shared by the slots of a machine
    fingerprint: str = ""
    gpus: int | None = None  # number of GPUs; None until an agent has reported it
    cores: int | None = None  # that agents may use; None until one has reported it
    pause_until: float = 0.0  # monotonic
    pause_s: float = LAUNCH_PAUSE_S[0]
    why: str = ""  # reason of the pause
    refused: dict[tuple[bool, int], float] = field(default_factory=dict)  # (of GPUs?, bytes) -> when (monotonic)

    def pause(self, why: str) -> None:
        self.why, self.pause_until = why, time.monotonic() + self.pause_s
        self.pause_s = min(2 * self.pause_s, LAUNCH_PAUSE_S[1])

    def resume(self) -> None:
        self.why, self.pause_until, self.pause_s = "", 0.0, LAUNCH_PAUSE_S[0]

    def refuse(self, want: Want) -> None:
        """Notes that it has less memory than such a trial needs. Other programs may leave more of it free later."""
        now = time.monotonic()
        self.refused = {key: at for key, at in self.refused.items() if now - at < REFUSED_S}
        self.refused[want.gpus > 0, want.needed] = now

    def forget(self, want: Want) -> None:
        """Forgets what speaks against such a trial, so that it is tried here again."""
        self.refused = {key: at for key, at in self.refused.items() if not _concerns(key, want)}

    def refuses(self, want: Want) -> bool:
        """Was it too small for such a trial a moment ago?"""
        now = time.monotonic()
        return any(_concerns(key, want) and now - at < REFUSED_S for key, at in self.refused.items())


def _concerns(key: tuple[bool, int], want: Want) -> bool:
    of_gpus, needed = key
    return of_gpus == (want.gpus > 0) and needed <= want.needed


def able(places: Sequence[Place], want: Want, takes: Callable[[str], bool]) -> list[Place]:
    """Returns the places with enough GPUs, memory and cores; of what none has enough, those with the most.

    `takes`: does the node of this name take trials? The ones with the most cores count only if one of them does.
    """
    found = large_enough(places, want) or _with_most(places, want.gpus, lambda one: one.gpus)
    rich, now = _with_most(found, want.threads, lambda one: one.cores), time.monotonic()
    if len(rich) == len(found) or any(one.pause_until <= now and takes(one.name) for one in rich):
        return rich
    return found  # a slow trial is better than one that waits for a node that is out of reach


def large_enough(places: Sequence[Place], want: Want) -> list[Place]:
    """Returns, of the places with the most GPUs, those that have not been too small for such a trial."""
    return [one for one in _with_most(places, want.gpus, lambda one: one.gpus) if not one.refuses(want)]


def _with_most(places: Sequence[Place], wanted: int, has: Callable[[Place], int | None]) -> list[Place]:
    """Returns the places with as much as is wanted, or with the most; an unknown amount counts as enough."""
    amounts = [wanted if (amount := has(one)) is None else min(amount, wanted) for one in places]
    return [one for one, amount in zip(places, amounts, strict=True) if amount == max(amounts)]


def needs(places: Iterable[Place], want: Want) -> str:
    """Names the node that a trial waits for, by what some node does not have enough of."""
    places = list(places)
    amount = in_gb(want.needed) if any(one.refuses(want) for one in places) else ""
    with_gpus = f"{count(want.gpus, 'GPU')}{' of ' if amount else ''}{amount}"
    parts = [with_gpus if want.gpus else f"{amount} of memory" if amount else ""]
    if any(one.cores is not None and one.cores < want.threads for one in places):
        parts.append(count(want.threads, "core"))
    return " with ".join(filter(None, ["a node", " and ".join(filter(None, parts))]))
