"""Divides memory, processors and GPUs among the slots of one worker. A trial that needs more than is free waits.

Without it a 2B trial that fits the whole machine but not half of it would be refused, or two would run together.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.supervisor.gpu_use import GpuUse
from fts.state.gpu_ledger import GpuLedger
from fts.state.gpu_waits import GpuWaits, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.devices import Gpu
    from fts.state.gpu_waits import WaitingTrial

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
    TURN_OF_GPUS = auto()  # an earlier trial waits for GPUs, here or in another process
    OTHERS = auto()  # it wants to run alone, and others run
    ALONE = auto()  # another trial runs alone
    MEMORY = auto()
    THREADS = auto()
    GPUS = auto()


LACKS_GPUS = (Obstacle.GPUS, Obstacle.TURN_OF_GPUS)  # trials without GPUs may begin before such a one


class MemoryPool:
    """Records what each slot uses. Thread-safe.

    First come, first served, so that no trial starves. GPUs go by rank first, and in this order to the trials of all
    processes of this machine (fts.state.gpu_waits).
    """

    def __init__(
        self,
        gpus: Sequence[Gpu] = (),
        cores: int | None = None,
        ledger: GpuLedger | None = None,
        waits: GpuWaits | None = None,
    ) -> None:
        """`ledger`, `waits`: shared by the processes of this machine to record which GPUs they use, and wait for.

        None: not shared.
        """
        self.gpus, self.cores = tuple(gpus), cores
        self._ledger, self._waits = ledger or GpuLedger(None), waits or GpuWaits(None)
        self._changed = threading.Condition()
        self._changes = 0  # a counter, so that no change is missed between a check and the wait
        self._taken: dict[int, int] = {}
        self._wants: dict[int, RoomWant] = {}
        self._held: dict[int, tuple[Gpu, ...]] = {}  # slot -> its GPUs
        self._expected: dict[int, int] = {}  # slot -> GPUs that its next trial takes in a moment, or waits for
        self._waiting: list[int] = []
        self._turns: dict[int, WaitingTrial] = {}  # slot -> its trial that waits for GPUs
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
        rank: Callable[[], float] = float,
    ) -> bool:
        """Blocks until `need` bytes are free besides those of other slots; False when `leaves` returns True first.

        All or nothing: a waiting slot holds nothing, so two trials never wait for each other. When no other trial
        runs there is always room: admission has checked before that the trial fits the machine. `rank` of the trial's
        job may change while it waits. `rank` and `leaves` may use the database: they are called without the pool's
        lock, which other threads take while they write.
        """
        want = want or RoomWant()
        turn = self._waits.of(slot, want.gpus, [gpu.key for gpu in self.gpus], time.monotonic(), want.gpu_bytes)
        with self._changed:
            self._waiting.append(slot)
            self._expected[slot] = want.gpus
        try:
            while True:
                place = rank() if want.gpus else 0.0
                with self._changed:
                    seen = self._changes
                    turn = self._waits.renewed(self._turns.get(slot, turn), place)
                    if self._takes(slot, need, total(), want, turn):
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
                if self._turns.pop(slot, None) is not None:
                    self._waits.announce(self._turns.values())
                self._wake_all()

    def _takes(self, slot: int, need: int, total: int | None, want: RoomWant, turn: WaitingTrial) -> bool:
        """Takes what is needed if there is room; GPUs under a lock that all processes of the machine share."""
        with self._ledger.locked([gpu.key for gpu in self.gpus] if want.gpus else []) as elsewhere:
            found = self._look(slot, need, total, want, turn, elsewhere)
            if isinstance(found, Obstacle):
                self._obstacles[slot] = found
                if want.gpus:
                    self._waits.announce(self._turns.values())
                return False
            self._taken[slot], self._wants[slot], self._held[slot] = need, want, found
            if want.gpus:
                self._write_ledger()
                self._pass_on(slot)
        return True

    def _look(
        self,
        slot: int,
        need: int,
        total: int | None,
        want: RoomWant,
        turn: WaitingTrial,
        elsewhere: Mapping[str, int | None],
    ) -> tuple[Gpu, ...] | Obstacle:
        """Returns the GPUs that the slot may take now, or why it has to wait.

        A trial joins the order of GPUs once it lacks only GPUs: otherwise GPUs would stay free while it waits for other
        trials to end. It stays in the order if it lacks memory later: otherwise small trials would take its GPUs again
        and again.
        """
        follows = any(self._obstacles.get(other) not in LACKS_GPUS for other in self._earlier(slot))
        lacks = Obstacle.TURN if follows else self._lacks(slot, need, total, want)
        if want.gpus and (lacks is None or slot in self._turns):
            self._turns[slot] = turn
        if follows:
            return Obstacle.TURN
        found = self._free_gpus(slot, want, elsewhere)
        return found if found is Obstacle.TURN_OF_GPUS else lacks or found

    def _pass_on(self, slot: int) -> None:
        """Gives the place that the slot had in the order to the trial of this pool whose waiting time it was.

        Otherwise a trial that others pass by their rank would keep its database before all others for ever.
        """
        mine = self._turns[slot]
        place = next(at for at, one in in_turn([*self._turns.values(), *self._waits.elsewhere()]) if one is mine)
        for other, waiting in self._turns.items():
            if waiting.since == place and other != slot:
                self._turns[other] = replace(waiting, since=mine.since)

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

    def _lacks(self, slot: int, need: int, total: int | None, want: RoomWant) -> Obstacle | None:
        """Returns what of memory and processors is not free for the slot."""
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
        """Does a later trial wait for GPUs, too, here or in another process? It would take them if this slot left."""
        with self._changed:
            here = {gpu.key for gpu in self.gpus}
            later = any(not one.of.isdisjoint(here) for one in self._order(slot)[1])
            return later or any(
                more and other != slot and other not in self._turns for other, more in self._expected.items()
            )

    def has_gpus(self, slot: int, gpus: int, gpu_bytes: int | None) -> bool:
        """Are so many GPUs free for the slot now, besides those that trials before it take in a moment or wait for?

        Also True if there are not so many: admission then says so.
        """
        with self._changed:
            if gpus > len(self.gpus) or not gpus:
                return True
            coming = {} if slot in self._turns else self._expected  # by claimed jobs that do not wait yet
            expected = sum(more for other, more in coming.items() if other != slot and other not in self._turns)
            want = RoomWant(gpus=gpus + expected, gpu_bytes=gpu_bytes)
            with self._ledger.locked([gpu.key for gpu in self.gpus]) as elsewhere:
                return isinstance(self._free_gpus(slot, want, elsewhere), tuple)

    def _order(self, slot: int) -> tuple[list[WaitingTrial], list[WaitingTrial]]:
        """Returns the trials of all processes that wait for GPUs, in their order: those before the slot, those after.

        All are before a slot that does not wait for GPUs.
        """
        order = [one for _, one in in_turn([*self._turns.values(), *self._waits.elsewhere()])]
        mine = self._turns.get(slot)
        at = len(order) if mine is None else order.index(mine)
        return order[:at], order[at + 1 :]

    def _free_gpus(self, slot: int, want: RoomWant, elsewhere: Mapping[str, int | None]) -> tuple[Gpu, ...] | Obstacle:
        """Returns free GPUs for the slot, or why there are too few: earlier trials that wait for some come first.

        `elsewhere`: bytes that other processes use on each; None: one of them uses it alone.
        """
        if not want.gpus:
            return ()
        use = GpuUse(self.gpus)
        for gpu in self.gpus:
            use.add_elsewhere(gpu, elsewhere.get(gpu.key, 0))
        for other, held in self._held.items():
            if other != slot:
                use.add(held, self._wants[other].gpu_bytes)
        is_late = use.leave_to(self._order(slot)[0])
        return use.find(want.gpus, want.gpu_bytes) or (Obstacle.TURN_OF_GPUS if is_late else Obstacle.GPUS)
