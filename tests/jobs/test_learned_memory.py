"""What a trial will need follows from the peaks on record; what it takes, from what the other slots leave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fts.jobs.devices import BadSetting, Gpu
from fts.jobs.sensors.gpus import list_gpus
from fts.jobs.settings import WorkerSettings
from fts.jobs.supervisor.admission import Admission
from fts.jobs.supervisor.learned_memory import Peak, distance, learned
from fts.jobs.supervisor.memory_pool import MemoryPool, Obstacle, RoomWant
from fts.jobs.supervisor.slot import Slot
from fts.jobs.supervisor.trial_memory import TrialMemory
from fts.jobs.supervisor.trial_place import waits_for
from fts.state.trial_usage import PEAKS

GB = 1 << 30
SPACE = {
    "width": {"kind": "int", "low": 1, "high": 1024, "log": True},
    "drop": {"kind": "float", "low": 0.0, "high": 1.0, "log": False},
    "opt": {"kind": "choice", "choices": ["adam", "sgd"]},
}


def peak(size: float, width: int = 32, drop: float = 0.0, opt: str = "adam") -> Peak:
    return Peak({"width": width, "drop": drop, "opt": opt}, int(size * GB))


def test_nothing_on_record_is_nothing_known_and_neighbours_are_a_first_guess():
    assert learned({"width": 32}, SPACE, []) is None
    assert learned({"width": 32}, SPACE, [], [2 * GB, 4 * GB]) == 6 * GB
    assert learned({"width": 32}, SPACE, [peak(2)], [40 * GB]) == 3 * GB, "a trial of its own says more"


def test_few_peaks_count_by_the_largest_and_many_by_the_nearest():
    small, large = [peak(1, width=1)] * 5, [peak(8, width=1024)] * 3
    assert learned({"width": 1}, SPACE, [*small[:2], *large[:2]]) == 12 * GB
    assert learned({"width": 1, "drop": 0.0, "opt": "adam"}, SPACE, small + large) == int(1.25 * GB)
    assert learned({"width": 1024, "drop": 0.0, "opt": "adam"}, SPACE, small + large) == 10 * GB
    assert learned({}, SPACE, small + large) == 10 * GB, "what has drawn nothing yet may become the largest"


def test_a_trial_of_this_claim_that_has_ended_counts_once():
    """It counted twice, so that three trials passed for the five that the nearest are taken of."""
    one, two, three = peak(1, width=1), peak(2, width=2), peak(3, width=3)
    memory: Any = SimpleNamespace(_peaks={0: one, 1: two}, _beside={0: one, 1: three, 2: peak(9)})
    memory.trial = SimpleNamespace(number=2)
    assert TrialMemory._known_peaks(memory) == [one, three], "the larger peak of a trial that runs again, not its own"


def test_of_the_trials_of_a_claim_the_latest_peaks_are_kept():
    """A claim lasts for all trials of a job: with each peak, the next trial's memory took longer to predict."""
    peaks: dict[int, Peak] = {}
    for number in range(3 * PEAKS):
        trial = SimpleNamespace(number=number, params={"width": number})
        memory: Any = SimpleNamespace(trial=trial, plans=False, _beside=peaks, _drawn={}, _learns=False)
        for step in range(3):
            TrialMemory.reported(memory, GB + step)
    assert list(peaks) == list(range(2 * PEAKS, 3 * PEAKS))
    assert peaks[number] == Peak({"width": number}, GB + 2)


def test_parameters_are_scaled_by_their_distributions():
    one = {"width": 1, "drop": 0.0, "opt": "adam"}
    assert distance(one, one, SPACE) == 0.0
    assert distance(one, one | {"width": 1024}, SPACE) == distance(one, one | {"drop": 1.0}, SPACE) == 1.0
    assert distance(one, one | {"width": 32}, SPACE) == pytest.approx(0.5), "by its logarithm"
    assert distance(one, one | {"opt": "sgd"}, SPACE) == 1.0
    assert distance(one, {"width": 1, "drop": 0.0}, SPACE) == 1.0, "not drawn there: another branch"


def never() -> bool:
    return False


def total() -> int:
    return 10 * GB


def waits(take: Callable[[Callable[[], bool]], bool]) -> bool:
    """Whether it would have to wait: it is asked to leave at its first look."""
    return not take(lambda: True)


def test_a_trial_that_runs_alone_keeps_the_others_out_until_its_need_is_known():
    room = MemoryPool()
    assert room.take(0, 0, total, never, RoomWant(alone=True))
    assert waits(lambda leaves: room.take(1, GB, total, leaves))
    room.settle(0, 4 * GB)
    assert waits(lambda leaves: room.take(1, 7 * GB, total, leaves))
    assert room.take(1, 6 * GB, total, never)
    assert waits(lambda leaves: room.take(2, 0, total, leaves, RoomWant(alone=True)))


def test_the_obstacle_names_what_is_not_free():
    def found(room: MemoryPool, slot: int, need: int, want: RoomWant) -> Obstacle | None:
        seen: list[Obstacle | None] = []
        assert not room.take(slot, need, total, lambda: bool(seen.append(room.obstacle(slot))) or True, want)
        assert room.obstacle(slot) is None, "it does not wait any more"
        return seen[0]

    room = MemoryPool([A], cores=4)
    assert room.take(0, GB, total, never, RoomWant(threads=3, gpus=1))
    assert found(room, 1, GB, RoomWant(threads=2)) is Obstacle.THREADS
    assert found(room, 1, 10 * GB, RoomWant(threads=2)) is Obstacle.MEMORY
    assert found(room, 1, GB, RoomWant(threads=1, gpus=1)) is Obstacle.GPUS
    assert found(room, 1, GB, RoomWant(alone=True)) is Obstacle.OTHERS
    first = threading.Thread(target=room.take, args=(1, GB, total, never, RoomWant(threads=2)))
    first.start()
    while not room._waiting:
        time.sleep(0.001)
    assert found(room, 2, 0, RoomWant()) is Obstacle.TURN
    room.release(0)
    first.join()
    room.release(1)
    assert room.take(0, 0, total, never, RoomWant(alone=True))
    assert found(room, 1, GB, RoomWant()) is found(room, 1, 0, RoomWant(alone=True)) is Obstacle.ALONE


def test_the_sentence_about_a_wait_speaks_of_memory_only_if_memory_is_short():
    admitted = Admission(None, None, 2 * GB, RoomWant(threads=2, gpus=1))
    told = {one: waits_for(admitted, one) for one in Obstacle}
    assert told[Obstacle.THREADS] == "2 threads are free: other trials use them"
    assert told[Obstacle.GPUS] == "1 GPU is free" and "GB of memory are free" in told[Obstacle.MEMORY]
    assert not any("of memory are free" in words for one, words in told.items() if one is not Obstacle.MEMORY)


def test_what_grows_beyond_its_estimate_is_no_longer_there_for_others():
    room = MemoryPool()
    room.take(0, 2 * GB, total, never)
    room.grow(0, 7 * GB)
    assert waits(lambda leaves: room.take(1, 4 * GB, total, leaves))
    assert room.take(1, 3 * GB, total, never) and room.taken_by_others(1) == 7 * GB


def test_trials_with_threads_of_their_own_share_the_processors():
    room = MemoryPool(cores=4)
    assert room.take(0, 0, total, never, RoomWant(threads=3))
    assert waits(lambda leaves: room.take(1, 0, total, leaves, RoomWant(threads=2)))
    assert room.take(1, 0, total, never, RoomWant(threads=1))


A, B = Gpu("a", 24 * GB), Gpu("b", 24 * GB)


def test_a_gpu_belongs_to_one_trial_or_is_shared_by_declared_memory():
    room = MemoryPool([A, B])
    for slot in (0, 1):
        assert room.take(slot, 0, total, never, RoomWant(gpus=1, gpu_bytes=10 * GB))
    assert room.gpus_of(0) == room.gpus_of(1) == (A,), "the fuller one first, so that another stays empty"
    assert room.take(2, 0, total, never, RoomWant(gpus=1)) and room.gpus_of(2) == (B,)
    assert waits(lambda leaves: room.take(3, 0, total, leaves, RoomWant(gpus=1, gpu_bytes=10 * GB)))
    room.release(2)
    assert room.take(3, 0, total, never, RoomWant(gpus=1, gpu_bytes=10 * GB)) and room.gpus_of(3) == (B,)
    assert waits(lambda leaves: room.take(2, 0, total, leaves, RoomWant(gpus=1)))
    assert waits(lambda leaves: room.take(2, 0, total, leaves, RoomWant(gpus=2, gpu_bytes=GB * 8)))


def test_who_waits_for_a_gpu_holds_no_memory_meanwhile():
    room = MemoryPool([A])
    room.take(0, GB, total, never, RoomWant(gpus=1))
    waiting = threading.Thread(target=room.take, args=(1, 8 * GB, total, never, RoomWant(gpus=1)))
    waiting.start()
    while not room._waiting:
        time.sleep(0.001)
    assert room.taken_by_others(0) == 0
    room.release(0)
    waiting.join()
    assert room.gpus_of(1) == (A,) and room.taken_by_others(0) == 8 * GB


def test_gpus_come_from_the_variable_and_an_unreadable_one_is_refused():
    assert list_gpus({"FTS_GPUS": "GPU-a=24GB, GPU-b=24GB,7"}) == (
        Gpu("GPU-a", 24 * GB),
        Gpu("GPU-b", 24 * GB),
        Gpu("7"),
    )
    assert list_gpus({"FTS_GPUS": "none"}) == list_gpus({"CUDA_VISIBLE_DEVICES": ""}) == ()
    for wrong in ("a,a", "a=", "a=big", ","):
        with pytest.raises(BadSetting, match="FTS_GPUS is"):
            list_gpus({"FTS_GPUS": wrong})


def test_a_limit_stays_while_memory_cannot_be_read() -> None:
    limited: list[Any] = []
    slot: Any = Slot.__new__(Slot)
    slot.index, slot.room, slot.settings, slot._kept_at = 0, MemoryPool(), WorkerSettings(), float("-inf")
    slot._child = SimpleNamespace(pid=1)
    slot._watchdog = SimpleNamespace(memory=SimpleNamespace(peak=GB), limit_memory=limited.append)
    slot.sensors = SimpleNamespace(read=no_files_left)
    slot.keep_within_room()
    assert limited == []


def no_files_left() -> None:
    raise OSError(24, "Too many open files")
