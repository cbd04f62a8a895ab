"""Slots share the machine's memory: a large trial waits for room, and nobody overtakes it."""

import threading
import time

from fts.jobs.devices import Gpu
from fts.jobs.supervisor.memory_pool import MemoryPool, Obstacle, RoomWant

GB = 10**9


def never() -> bool:
    return False


def total() -> int:
    return 20 * GB


def test_trials_that_fit_together_run_together():
    room = MemoryPool()
    assert room.take(0, 8 * GB, total, never) and room.take(1, 12 * GB, total, never)
    assert room.taken_by_others(0) == 12 * GB


def test_a_trial_that_runs_alone_always_has_room():
    assert MemoryPool().take(0, 30 * GB, total, never)


def test_one_that_does_not_fit_waits_and_leaves_when_asked():
    room = MemoryPool()
    room.take(0, 12 * GB, total, never)
    asked: list[bool] = []
    assert not room.take(1, 12 * GB, total, lambda: asked.append(True) is None)
    assert asked and room.taken_by_others(0) == 0


def test_a_waiting_large_trial_is_not_overtaken_by_small_ones():
    room, order = MemoryPool(), []

    def take(slot: int, need: int) -> None:
        room.take(slot, need, total, never)
        order.append(slot)

    room.take(0, 12 * GB, total, never)
    large = threading.Thread(target=take, args=(1, 12 * GB))
    large.start()
    while not room._waiting:
        time.sleep(0.001)
    small = threading.Thread(target=take, args=(2, 1 * GB))
    small.start()
    while len(room._waiting) < 2:
        time.sleep(0.001)
    assert order == []
    room.release(0)
    large.join()
    small.join()
    assert order == [1, 2]


def test_whoever_is_asked_may_wait_for_what_another_slot_does_in_the_room():
    """As for the database: the other slot reports while it holds the write lock that this one wants."""
    room = MemoryPool()
    room.take(0, 12 * GB, total, never)
    hung: list[bool] = []

    def leaves() -> bool:
        other = threading.Thread(target=room.settle, args=(0, 1 * GB), daemon=True)
        other.start()
        other.join(10)
        hung.append(other.is_alive())
        return False

    assert room.take(1, 12 * GB, total, leaves)
    assert hung == [False]


def test_a_trial_without_gpus_passes_one_that_lacks_only_gpus_and_gpus_of_a_moment_later_count_as_taken():
    room = MemoryPool((Gpu("a"), Gpu("b")))
    assert room.take(0, 0, total, never, RoomWant(gpus=2))
    waiting = threading.Thread(target=room.take, args=(1, 8 * GB, total, never, RoomWant(gpus=1)))
    waiting.start()
    while room.obstacle(1) is not Obstacle.GPUS:
        time.sleep(0.001)
    assert room.take(2, 4 * GB, total, never, RoomWant())
    assert not room.take(3, 0, total, lambda: True, RoomWant(gpus=1)), "one with GPUs does not"
    room.release(0)
    waiting.join()
    assert [room.has_gpus(0, wanted, None) for wanted in (0, 1, 2, 3)] == [True, True, False, True], "3: never enough"
    room.expect(2, 1)
    assert not room.has_gpus(0, 1, None) and room.has_gpus(2, 1, None)
    room.release(2)
    assert room.has_gpus(0, 1, None)


def test_of_trials_that_wait_for_gpus_the_last_one_may_leave_and_none_holds_up_a_trial_without():
    room = MemoryPool((Gpu("a"), Gpu("b")))
    assert room.take(0, 0, total, never, RoomWant(gpus=1))
    goes = dict.fromkeys((1, 2), False)
    waiting = []
    for slot, gpus, obstacle in ((1, 2, Obstacle.GPUS), (2, 1, Obstacle.TURN_OF_GPUS)):
        want = RoomWant(gpus=gpus)
        waiting.append(threading.Thread(target=room.take, args=(slot, 0, total, lambda one=slot: goes[one], want)))
        waiting[-1].start()
        while room.obstacle(slot) is not obstacle:
            time.sleep(0.001)
    assert room.is_followed(1), "without it slot 2 would take b, and slot 1 would wait for both for ever"
    assert not room.is_followed(2)
    assert not room.has_gpus(3, 1, None), "b is awaited, also by a trial that is not the first of its job"
    assert not room.has_gpus(2, 1, None), "by one that has waited longer"
    assert room.take(3, 4 * GB, total, never, RoomWant()), "both lack only GPUs"
    goes[2] = True
    waiting[1].join()
    room.release(2)
    assert not room.is_followed(1)
    room.release(0)
    waiting[0].join()
    assert len(room.gpus_of(1)) == 2
