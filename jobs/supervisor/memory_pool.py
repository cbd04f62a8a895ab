"""Divides memory, processors and GPUs among the slots of one worker. A trial that needs more than is free waits.

Without it a 2B trial that fits the whole machine but not half of it would be refused, or two would run together.
"""

from __future__ import annotations

import threading
from enum import Enum, auto
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state.gpu_ledger import GpuLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.devices import Gpu

LOOK_S = 0.5  # between two checks for memory freed by other programs, or for an order of a person


@dataclass(frozen=True)
class RoomWant:
    """What a trial needs besides host memory."""

    alone: bool = False  # run without other trials: its memory need is unknown, or it ran out of memory
    threads: int = 0
    gpus: int = 0
    gpu_bytes: int | None = None  # on each GPU; None: unknown, so it gets whole GPUs


class Obstacle(Enum):
    """Why a trial has no room yet."""

    TURN = auto()  # another trial has waited longer
    TURN_OF_GPUS = auto()  # another trial has waited longer, for GPUs only
    OTHERS = auto()  # it wants to run alone, and others run
    ALONE = auto()  # another trial runs alone
    MEMORY = auto()
    THREADS = auto()
    GPUS = auto()


LACKS_GPUS = (Obstacle.GPUS, Obstacle.TURN_OF_GPUS)  # trials without GPUs may begin before such a one


class MemoryPool:
    """Records what each slot uses. First come, first served, so that no trial starves. Thread-safe."""

    def __init__(self, gpus: Sequence[Gpu] = (), cores: int | None = None, ledger: GpuLedger | None = None) -> None:
        """`ledger`: shared by the processes of this machine to record which GPUs they use; None: not shared."""
        self.gpus, self.cores = tuple(gpus), cores
        self._ledger = ledger or GpuLedger(None)
        self._changed = threading.Condition()
        self._changes = 0  # a counter, so that no change is missed between a check and the wait
        self._taken: dict[int, int] = {}
        self._wants: dict[int, RoomWant] = {}
        self._held: dict[int, tuple[Gpu, ...]] = {}  # slot -> its GPUs
        self._expected: dict[int, int] = {}  # slot -> GPUs that its next trial takes in a moment, or waits for
        self._waiting: list[int] = []
        self._obstacles: dict[int, Obstacle] = {}  # of the slots that wait

    def has_now(self, found: MemoryPool) -> MemoryPool:
        """Takes over the GPUs and cores that a new agent has found on the machine; returns itself."""
        with self._changed:
            self.gpus, self.cores = found.gpus, found.cores
        return self

    def take(
        self,
        slot: int,
        need: int,
        total: Callable[[], int | None],
        leaves: Callable[[], bool],
        want: RoomWant | None = None,
    ) -> bool:
        """Blocks until `need` bytes are free besides those of other slots; False when `leaves` returns True first.

        All or nothing: a waiting slot holds nothing, so two trials never wait for each other. When no other trial
        runs there is always room: admission has checked before that the trial fits the machine. `leaves` may write to
        the database: it is called without the pool's lock, which other threads take while they write.
        """
        want = want or RoomWant()
        with self._changed:
            self._waiting.append(slot)
            self._expected[slot] = want.gpus
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
                self._expected.pop(slot, None)
                self._obstacles.pop(slot, None)
                self._wake_all()

    def _takes(self, slot: int, need: int, total: int | None, want: RoomWant) -> bool:
        """Takes what is needed if there is room; GPUs under a lock that all processes of the machine share."""
        if (obstacle := self._obstacle(slot, need, total, want)) is not None:
            self._obstacles[slot] = obstacle
            return False
        with self._ledger.locked([gpu.key for gpu in self.gpus] if want.gpus else []) as elsewhere:
            gpus = self._free_gpus(slot, want, elsewhere)
            if gpus is None:
                self._obstacles[slot] = Obstacle.GPUS
                return False
            self._taken[slot], self._wants[slot], self._held[slot] = need, want, gpus
            if want.gpus:
                self._write_ledger()
        return True

    def _write_ledger(self) -> None:
        """Writes to the ledger how many bytes of each GPU this process uses."""
        held: dict[str, int | None] = {}
        for slot, gpus in self._held.items():
            bytes_ = self._wants[slot].gpu_bytes
            for gpu in gpus:
                before = held.get(gpu.key, 0)
                held[gpu.key] = None if bytes_ is None or before is None else before + bytes_
        self._ledger.hold(held)

    def _wake_all(self) -> None:
        """Wakes the waiting slots, which check again."""
        self._changes += 1
        self._changed.notify_all()

    def settle(self, slot: int, need: int) -> None:
        """Records a need that is known now; other trials may use the rest."""
        with self._changed:
            if slot in self._taken:
                want = self._wants[slot]
                self._taken[slot] = need
                self._wants[slot] = RoomWant(False, want.threads, want.gpus, want.gpu_bytes)
                self._wake_all()

    def grow(self, slot: int, held: int) -> None:
        """Records that a trial uses more than expected."""
        with self._changed:
            if slot in self._taken:
                self._taken[slot] = max(self._taken[slot], held)

    def release(self, slot: int) -> None:
        """Frees everything that the slot took; safe if it took nothing."""
        with self._changed:
            for of_slots in (self._taken, self._wants, self._held, self._expected):
                of_slots.pop(slot, None)
            if self.gpus:
                self._write_ledger()
            self._wake_all()

    def gpus_of(self, slot: int) -> tuple[Gpu, ...]:
        with self._changed:
            return self._held.get(slot, ())

    def is_alone(self, slot: int) -> bool:
        """Does its trial exclude all others?"""
        with self._changed:
            return slot in self._wants and self._wants[slot].alone

    def obstacle(self, slot: int) -> Obstacle | None:
        """Returns why the slot waits, as of its latest check; None if it does not wait."""
        with self._changed:
            return self._obstacles.get(slot)

    def taken_by_others(self, slot: int) -> int:
        """Returns the bytes that the other slots have taken."""
        with self._changed:
            return self._others(slot)

    def _others(self, slot: int) -> int:
        return sum(bytes_ for other, bytes_ in self._taken.items() if other != slot)

    def _obstacle(self, slot: int, need: int, total: int | None, want: RoomWant) -> Obstacle | None:
        """Returns why it is not this slot's turn, or what of memory and processors is not free for it."""
        earlier = self._earlier(slot)
        if any(self._obstacles.get(other) not in LACKS_GPUS for other in earlier):
            return Obstacle.TURN
        if earlier and want.gpus:
            return Obstacle.TURN_OF_GPUS
        wants = [each for other, each in self._wants.items() if other != slot]
        if any(each.alone for each in wants):
            return Obstacle.ALONE
        if wants and want.alone:
            return Obstacle.OTHERS
        if wants and total is not None and self._others(slot) + need > total:
            return Obstacle.MEMORY
        too_many = wants and self.cores and sum(each.threads for each in wants) + want.threads > self.cores
        return Obstacle.THREADS if too_many else None

    def _earlier(self, slot: int) -> list[int]:
        """Returns the slots that have waited longer."""
        return self._waiting[: self._waiting.index(slot)] if slot in self._waiting else list(self._waiting)

    def expect(self, slot: int, gpus: int) -> None:
        """Notes that the slot has a trial that takes so many GPUs in a moment."""
        with self._changed:
            self._expected[slot] = gpus

    def is_followed(self, slot: int) -> bool:
        """Does a later trial wait for GPUs, too? It would take them if the waiting slot left."""
        with self._changed:
            earlier = self._earlier(slot)
            return any(more and other != slot and other not in earlier for other, more in self._expected.items())

    def has_gpus(self, slot: int, gpus: int, gpu_bytes: int | None) -> bool:
        """Are so many GPUs free for the slot now, besides those that trials before it take in a moment or wait for?

        Also True if there are not so many: admission then says so.
        """
        with self._changed:
            if gpus > len(self.gpus) or not gpus:
                return True
            waits, earlier = slot in self._waiting, self._earlier(slot)
            before = [other for other in self._expected if other != slot and (other in earlier or not waits)]
            expected = sum(self._expected[other] for other in before)
            want = RoomWant(gpus=gpus + expected, gpu_bytes=gpu_bytes)
            with self._ledger.locked([gpu.key for gpu in self.gpus]) as elsewhere:
                return self._free_gpus(slot, want, elsewhere) is not None

    def _free_gpus(self, slot: int, want: RoomWant, elsewhere: Mapping[str, int | None]) -> tuple[Gpu, ...] | None:
        """Returns the fullest GPUs with enough room, so that empty ones stay free for trials that need a whole GPU.

        None: it has to wait. `elsewhere`: bytes that other processes use on each; None: one of them uses it alone.
        """
        if not want.gpus:
            return ()
        used = {gpu.name: elsewhere.get(gpu.key, 0) or 0 for gpu in self.gpus}
        closed = {gpu.name for gpu in self.gpus if elsewhere.get(gpu.key, 0) is None}
        for other, held in self._held.items():
            for gpu in held if other != slot else ():
                used[gpu.name] = used.get(gpu.name, 0) + (self._wants[other].gpu_bytes or 0)
                if self._wants[other].gpu_bytes is None:
                    closed.add(gpu.name)
        fits = [gpu for gpu in self.gpus if gpu.name not in closed and self._fits(gpu, used[gpu.name], want)]
        fits.sort(key=lambda gpu: -used[gpu.name])
        return tuple(fits[: want.gpus]) if len(fits) >= want.gpus else None

    def _fits(self, gpu: Gpu, used: int, want: RoomWant) -> bool:
        if want.gpu_bytes is None:
            return not used and not any(gpu in held for held in self._held.values())
        return not used or (gpu.usable is not None and used + want.gpu_bytes <= gpu.usable)
