"""What the slots of one worker share: memory, processors and GPUs. A trial that needs more than is free waits.

Without it a 2B trial that fits the machine but not half of it would be refused, or two of them would meet.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.gpu_ledger import GpuLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.devices import Gpu

LOOK_S = 0.5  # between two looks whether other programs have left, or a person wants something else
GPU_SHARE = 0.95  # of a GPU's memory that trials may share; the rest is the driver's


@dataclass(frozen=True)
class Want:
    """What a trial takes beside its memory."""

    alone: bool = False  # nobody knows its memory, or it has run out of what it had
    threads: int = 0
    gpus: int = 0
    gpu_bytes: int | None = None  # of each; None: nobody has said, so it shares none


class MemoryPool:
    """Who has taken what; several slots' threads ask. First come, first served, so that no trial starves."""

    def __init__(self, gpus: Sequence[Gpu] = (), cores: int | None = None, ledger: GpuLedger | None = None) -> None:
        """`ledger`: where processes of this machine say which GPUs they hold; None: they do not."""
        self.gpus, self.cores = tuple(gpus), cores
        self._ledger = ledger or GpuLedger(None)
        self._changed = threading.Condition()
        self._changes = 0  # counted, so that none is missed between a look and the wait for the next one
        self._taken: dict[int, int] = {}
        self._wants: dict[int, Want] = {}
        self._held: dict[int, tuple[Gpu, ...]] = {}  # slot -> its GPUs
        self._waiting: list[int] = []

    def take(
        self,
        slot: int,
        need: int,
        total: Callable[[], int | None],
        leaves: Callable[[], bool],
        want: Want | None = None,
    ) -> bool:
        """Blocks until `need` bytes fit beside what the other slots have taken; False when `leaves` said to go first.

        All or nothing: who waits holds nothing, so two trials never wait for each other. A trial that runs alone
        always has room: whether it can run at all was judged before. `leaves` may write to the database: it is asked
        without the pool's lock, which others take while they write.
        """
        want = want or Want()
        with self._changed:
            self._waiting.append(slot)
        try:
            while True:
                with self._changed:
                    seen = self._changes
                    if self._takes(slot, need, total(), want):
                        return True
                if leaves():
                    return False
                with self._changed:
                    if self._changes == seen:
                        self._changed.wait(LOOK_S)
        finally:
            with self._changed:
                self._waiting.remove(slot)
                self._tell_all()

    def _takes(self, slot: int, need: int, total: int | None, want: Want) -> bool:
        """Takes what is wanted, if there is room; a GPU under a lock that all processes of the machine share."""
        if not self._has_room(slot, need, total, want):
            return False
        with self._ledger.locked([gpu.key for gpu in self.gpus] if want.gpus else []) as elsewhere:
            gpus = self._free_gpus(slot, want, elsewhere)
            if gpus is None:
                return False
            self._taken[slot], self._wants[slot], self._held[slot] = need, want, gpus
            if want.gpus:
                self._tell_others()
        return True

    def _tell_others(self) -> None:
        """What this process holds of each GPU, for other processes of the machine."""
        held: dict[str, int | None] = {}
        for slot, gpus in self._held.items():
            bytes_ = self._wants[slot].gpu_bytes
            for gpu in gpus:
                before = held.get(gpu.key, 0)
                held[gpu.key] = None if bytes_ is None or before is None else before + bytes_
        self._ledger.hold(held)

    def _tell_all(self) -> None:
        """Those that wait look again."""
        self._changes += 1
        self._changed.notify_all()

    def settle(self, slot: int, need: int) -> None:
        """Its need is known now: others may run beside it, and have what it does not take."""
        with self._changed:
            if slot in self._taken:
                want = self._wants[slot]
                self._taken[slot] = need
                self._wants[slot] = Want(False, want.threads, want.gpus, want.gpu_bytes)
                self._tell_all()

    def grow(self, slot: int, held: int) -> None:
        """It has taken more than it was expected to: that is no longer there for others."""
        with self._changed:
            if slot in self._taken:
                self._taken[slot] = max(self._taken[slot], held)

    def give_back(self, slot: int) -> None:
        """The trial has ended, or never began."""
        with self._changed:
            for of_slots in (self._taken, self._wants, self._held):
                of_slots.pop(slot, None)
            if self.gpus:
                self._tell_others()
            self._tell_all()

    def gpus_of(self, slot: int) -> tuple[Gpu, ...]:
        with self._changed:
            return self._held.get(slot, ())

    def is_alone(self, slot: int) -> bool:
        """Does it keep every other trial out?"""
        with self._changed:
            return slot in self._wants and self._wants[slot].alone

    def other_is_alone(self, slot: int) -> bool:
        """Does a trial of another slot keep this one's out?"""
        with self._changed:
            return any(want.alone for other, want in self._wants.items() if other != slot)

    def taken_by_others(self, slot: int) -> int:
        """Bytes."""
        with self._changed:
            return self._others(slot)

    def _others(self, slot: int) -> int:
        return sum(bytes_ for other, bytes_ in self._taken.items() if other != slot)

    def _has_room(self, slot: int, need: int, total: int | None, want: Want) -> bool:
        """Is there memory and a processor for it now? Else it has to wait."""
        if self._waiting[0] != slot:
            return False
        wants = [each for other, each in self._wants.items() if other != slot]
        if wants and (want.alone or any(each.alone for each in wants)):
            return False
        if wants and total is not None and self._others(slot) + need > total:
            return False
        return not (wants and self.cores and sum(each.threads for each in wants) + want.threads > self.cores)

    def _free_gpus(self, slot: int, want: Want, elsewhere: Mapping[str, int | None]) -> tuple[Gpu, ...] | None:
        """The fullest that have room, so that a trial which shares none finds an empty one; None: it has to wait.

        `elsewhere`: bytes that other processes hold of each; None: one of them shares it with nobody.
        """
        if not want.gpus:
            return ()
        used = {gpu.name: elsewhere.get(gpu.key, 0) or 0 for gpu in self.gpus}
        closed = {gpu.name for gpu in self.gpus if elsewhere.get(gpu.key, 0) is None}
        for other, held in self._held.items():
            for gpu in held if other != slot else ():
                used[gpu.name] += self._wants[other].gpu_bytes or 0
                if self._wants[other].gpu_bytes is None:
                    closed.add(gpu.name)
        fits = [gpu for gpu in self.gpus if gpu.name not in closed and self._fits(gpu, used[gpu.name], want)]
        fits.sort(key=lambda gpu: -used[gpu.name])
        return tuple(fits[: want.gpus]) if len(fits) >= want.gpus else None

    def _fits(self, gpu: Gpu, used: int, want: Want) -> bool:
        if want.gpu_bytes is None:
            return not used and not any(gpu in held for held in self._held.values())
        return not used or (gpu.memory is not None and used + want.gpu_bytes <= GPU_SHARE * gpu.memory)
