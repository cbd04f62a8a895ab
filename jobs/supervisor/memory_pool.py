"""The memory that the slots of one worker share: a trial larger than its slot's share waits until there is room for it.

Without it a 2B trial that fits the machine but not half of it would be refused, or two of them would meet.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 0.5  # between two looks whether other programs have left, or a person wants something else


class MemoryPool:
    """Who has taken how many bytes; several slots' threads ask. First come, first served, so that no trial starves."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: dict[int, int] = {}
        self._waiting: list[int] = []

    def take(self, slot: int, need: int, total: Callable[[], int | None], leaves: Callable[[], bool]) -> bool:
        """Blocks until `need` bytes fit beside what the other slots have taken; False when `leaves` said to go first.

        A trial that runs alone always has room: whether it can run at all was judged before.
        """
        with self._changed:
            self._waiting.append(slot)
            try:
                while not self._has_room(slot, need, total()):
                    if leaves():
                        return False
                    self._changed.wait(LOOK_S)
                self._taken[slot] = need
                return True
            finally:
                self._waiting.remove(slot)
                self._changed.notify_all()

    def give_back(self, slot: int) -> None:
        """The trial has ended, or never began."""
        with self._changed:
            self._taken.pop(slot, None)
            self._changed.notify_all()

    def taken_by_others(self, slot: int) -> int:
        """Bytes."""
        with self._changed:
            return self._others(slot)

    def _has_room(self, slot: int, need: int, total: int | None) -> bool:
        if self._waiting[0] != slot:
            return False
        others = self._others(slot)
        return not others or total is None or others + need <= total

    def _others(self, slot: int) -> int:
        return sum(bytes_ for other, bytes_ in self._taken.items() if other != slot)
