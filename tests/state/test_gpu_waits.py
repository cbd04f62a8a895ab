"""Trials that wait for GPUs get them in one order, in whatever process of the machine they wait."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fts.jobs.devices import Gpu
from fts.jobs.supervisor.memory_pool import MemoryPool, Obstacle, RoomWant
from fts.state.gpu_ledger import GpuLedger
from fts.state.gpu_waits import FOLDER, GpuWaits, WaitingTrial, _draft, identity_of, in_turn
from tests.fts_process import wait_until

GPU_A, GPU_B = Gpu("0", 24 << 30, "GPU-a"), Gpu("1", 24 << 30, "GPU-b")
ONE = RoomWant(gpus=1)


def pool(folder: Path, *gpus: Gpu, database: str = "study", lease_s: float = 60.0) -> MemoryPool:
    return MemoryPool(gpus or (GPU_A,), None, GpuLedger(folder), GpuWaits(folder, database, lease_s))


class Waiter:
    """Waits for GPUs in a thread, until it gets them or is told to leave."""

    def __init__(self, room: MemoryPool, slot: int, want: RoomWant = ONE, rank: float = 0.0) -> None:
        self.room, self.slot, self.rank, self.leaves, self.got = room, slot, rank, False, False
        self.thread = threading.Thread(target=self.run, args=(want,), daemon=True)
        self.thread.start()
        wait_until(lambda: room.obstacle(slot) or not self.thread.is_alive(), every_s=0.005)

    def run(self, want: RoomWant) -> None:
        self.got = self.room.take(self.slot, 0, lambda: None, lambda: self.leaves, want, lambda: self.rank)

    def goes(self) -> None:
        self.leaves = True
        self.thread.join(5)


@contextlib.contextmanager
def going(*waiters: Waiter) -> Iterator[None]:
    try:
        yield
    finally:
        for one in waiters:
            one.goes()


def test_waiting_trials_of_one_database_go_by_rank_and_databases_by_who_has_waited_longest() -> None:
    def one(name: str, database: str, rank: float, since: float) -> WaitingTrial:
        return WaitingTrial(0, 1, frozenset("a"), since, rank=rank, database=database, process=name)

    waiting = [one("late", "x", 5, 1), one("first", "x", 1, 3), one("other", "y", 9, 2), one("tie", "x", 5, 0.5)]
    assert [each.process for _, each in in_turn(waiting)] == ["first", "tie", "other", "late"]
    rng = random.Random(1)
    for _ in range(200):
        some = [
            one(str(n), rng.choice("xyz"), rng.randrange(3), float(rng.randrange(5))) for n in range(rng.randrange(8))
        ]
        order = [each for _, each in in_turn(some)]
        assert sorted(order, key=lambda each: each.process) == sorted(some, key=lambda each: each.process)
        assert order == [each for _, each in in_turn(rng.sample(some, len(some)))], "the same in every process"
        for name in "xyz":
            mine = [(each.rank, each.since) for each in order if each.database == name]
            assert mine == sorted(mine)


def test_a_trial_of_a_later_rank_gets_no_gpu_while_an_earlier_one_waits_in_another_process(tmp_path: Path) -> None:
    one, other = pool(tmp_path), pool(tmp_path)
    assert other.take(0, 0, lambda: None, lambda: False, ONE, lambda: 2.0)
    with going(early := Waiter(one, 0, rank=1.0), late := Waiter(other, 1, rank=2.0)):
        assert late.room.obstacle(1) is Obstacle.TURN_OF_GPUS
        assert not late.room.is_followed(1) and early.room.is_followed(0), "the last one leaves its slot first"
        other.release(0)
        wait_until(lambda: early.got)
        assert not late.got
        one.release(0)
        wait_until(lambda: late.got)
    assert not list((tmp_path / FOLDER).iterdir())


def test_the_order_follows_a_move_in_the_queue_while_the_trials_wait(tmp_path: Path) -> None:
    one, other = pool(tmp_path), pool(tmp_path)
    assert one.take(5, 0, lambda: None, lambda: False, ONE)
    with going(first := Waiter(one, 0, rank=1.0), second := Waiter(other, 0, rank=2.0)):
        second.rank = 0.5
        wait_until(lambda: one.obstacle(0) is Obstacle.TURN_OF_GPUS)
        one.release(5)
        wait_until(lambda: second.got)
        assert not first.got


def test_a_trial_that_wants_two_gpus_is_not_passed_by_those_that_want_one(tmp_path: Path) -> None:
    one, other = pool(tmp_path, GPU_A, GPU_B), pool(tmp_path, GPU_A, GPU_B)
    assert other.take(0, 0, lambda: None, lambda: False, ONE)
    with going(two := Waiter(one, 0, RoomWant(gpus=2), 1.0), single := Waiter(other, 1, ONE, 2.0)):
        assert single.room.obstacle(1) is Obstacle.TURN_OF_GPUS, "b is free, and awaited"
        assert not other.has_gpus(2, 1, None) and other.has_gpus(2, 0, None)
        other.release(0)
        wait_until(lambda: two.got)
        assert not single.got


def test_gpus_that_an_earlier_trial_cannot_get_or_does_not_need_are_free_for_later_ones(tmp_path: Path) -> None:
    one, other = pool(tmp_path, GPU_A), pool(tmp_path, GPU_A, GPU_B)
    assert one.take(5, 0, lambda: None, lambda: False, ONE)
    with going(Waiter(one, 0, ONE, 1.0)):
        assert other.take(0, 0, lambda: None, lambda: False, ONE, lambda: 2.0), "the other worker does not see b"
        assert [gpu.key for gpu in other.gpus_of(0)] == ["GPU-b"]
        with going(waits := Waiter(pool(tmp_path, GPU_B), 0, ONE, 2.0)):
            assert waits.room.obstacle(0) is Obstacle.GPUS, "b is in use; it is nobody's turn"


def test_a_trial_that_lacks_more_than_gpus_holds_none_up(tmp_path: Path) -> None:
    """It waits for the end of other trials of its worker, perhaps for hours, and has never been ready for a GPU."""
    one, other = pool(tmp_path), pool(tmp_path)
    assert one.take(5, 0, lambda: None, lambda: False, RoomWant())
    with going(alone := Waiter(one, 0, RoomWant(gpus=1, alone=True), 1.0)):
        assert one.obstacle(0) is Obstacle.OTHERS
        assert other.take(0, 0, lambda: None, lambda: False, ONE, lambda: 2.0)
        one.release(5)
        wait_until(lambda: one.obstacle(0) is Obstacle.GPUS)
        with going(next_one := Waiter(other, 1, ONE, 2.0)):
            other.release(0)
            wait_until(lambda: alone.got)
            assert not next_one.got


WAITS = """
import sys, threading
from pathlib import Path
from tests.state.test_gpu_waits import ONE, pool
room = pool(Path(sys.argv[1]), lease_s=float(sys.argv[2]))
threading.Timer(0.3, lambda: print(room.obstacle(0), flush=True)).start()
room.take(0, 0, lambda: None, lambda: False, ONE, lambda: 1.0)
print("got", flush=True)
threading.Event().wait()
"""


def waiting_process(folder: Path, lease_s: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(folder), str(lease_s)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and "GPUS" in process.stdout.readline()
    return process


def test_a_killed_process_gives_up_its_turn_at_once_and_a_stopped_one_with_its_lease(tmp_path: Path) -> None:
    room = pool(tmp_path)
    for number, least_s, most_s in ((signal.SIGKILL, 0.0, 5.0), (signal.SIGSTOP, 3.0, 20.0)):
        assert room.take(5, 0, lambda: None, lambda: False, ONE)
        earlier = waiting_process(tmp_path, lease_s=6.0)
        try:
            with going(later := Waiter(room, 0, ONE, 2.0)):
                assert room.obstacle(0) is Obstacle.TURN_OF_GPUS
                os.kill(earlier.pid, number)
                began = time.monotonic()
                room.release(5)
                wait_until(lambda one=later: one.got)
                assert least_s <= time.monotonic() - began <= most_s
                if number == signal.SIGSTOP:  # it goes on, and is the first again
                    os.kill(earlier.pid, signal.SIGCONT)
                    with going(last := Waiter(room, 1, ONE, 2.0)):
                        wait_until(lambda: room.obstacle(1) is Obstacle.TURN_OF_GPUS)
                        room.release(0)
                        assert earlier.stdout is not None and earlier.stdout.readline() == "got\n"
                        assert not last.got
        finally:
            earlier.kill()
            earlier.wait()
            room.release(0)
    assert not list((tmp_path / FOLDER).iterdir()), "the files of the dead go"


def test_a_place_that_was_used_goes_to_the_trial_whose_waiting_time_it_was(tmp_path: Path) -> None:
    """Otherwise a trial that others of its database pass by rank would keep the other database away for ever."""
    mine, theirs = pool(tmp_path, database="mine"), pool(tmp_path, database="theirs")
    assert mine.take(9, 0, lambda: None, lambda: False, ONE)
    with going(last := Waiter(mine, 0, ONE, 5.0), other := Waiter(theirs, 0), first := Waiter(mine, 1, ONE, 1.0)):
        mine.release(9)
        wait_until(lambda: first.got)
        with going(again := Waiter(mine, 2, ONE, 1.0)):
            mine.release(1)
            wait_until(lambda: other.got)
            assert not last.got and not again.got


def test_a_file_that_is_no_list_of_waiting_trials_is_passed_over(tmp_path: Path) -> None:
    mine, theirs = GpuWaits(tmp_path, "x"), GpuWaits(tmp_path, "y")
    entry = theirs.renewed(theirs.of(0, 1, ["GPU-a"], 1.0, None), 3.0)
    theirs.announce([entry])
    assert mine.elsewhere() == [entry] and theirs.elsewhere() == []
    assert theirs._fd is not None
    for text in (b"", b"{", b"[1]", b"{}", b'[{"slot": 1}]', b"[" * 5000, b"\xff", b'[{"slot": 1e999}]'):
        os.ftruncate(theirs._fd, 0)
        os.pwrite(theirs._fd, text, 0)
        assert mine.elsewhere() == [], text
    theirs.announce([replace(entry, rank=4.0)])
    assert [one.rank for one in mine.elsewhere()] == [4.0]
    (tmp_path / FOLDER / "1.dead").write_text("[]")
    (tmp_path / FOLDER / "folder").mkdir()
    assert len(mine.elsewhere()) == 1
    assert not (tmp_path / FOLDER / "1.dead").exists()
    theirs.announce([])
    assert not (tmp_path / FOLDER / theirs.process).exists()
    readonly = GpuWaits(Path("/proc/nowhere"), "z")
    readonly.announce([entry])
    assert readonly.elsewhere() == []


def test_the_order_heals_after_whatever_happened_to_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs, folder = GpuWaits(tmp_path, "x"), GpuWaits(tmp_path, "y"), tmp_path / FOLDER
    entry = theirs.renewed(theirs.of(0, 1, ["GPU-a"], 1.0, None), 0.0)

    def rename_fails() -> None:
        theirs.close()
        monkeypatch.setattr(Path, "rename", lambda *_: os.close(-1))

    def file_cannot_grow() -> None:
        theirs.close()
        monkeypatch.setattr(os, "pwrite", lambda *_: 0)

    def read_while_it_is_closed() -> None:
        seen = [os.open(folder / theirs.process, os.O_RDWR)]
        theirs.close()
        theirs.announce([replace(entry, rank=9.0)])
        monkeypatch.setattr(os, "open", lambda path, *rest: seen.pop() if seen else opens(path, *rest))
        assert [one.rank for one in mine.elsewhere()] == [9.0], "the file that it has read is of the past"

    opens = os.open
    accidents: list[Callable[[], object]] = [
        lambda: shutil.rmtree(tmp_path), lambda: shutil.rmtree(folder), lambda: (folder / theirs.process).unlink(),
        lambda: (folder / theirs.process).write_text("{"), rename_fails, file_cannot_grow, read_while_it_is_closed,
    ]  # fmt: skip
    for n, happens in enumerate(accidents):
        theirs.announce([entry])
        assert mine.elsewhere() == [entry]
        happens()
        theirs.announce([replace(entry, rank=n + 0.5)])
        monkeypatch.undo()
        theirs.announce([replace(entry, rank=n + 0.5)])
        assert [one.rank for one in mine.elsewhere()] == [n + 0.5], n
        assert [path.name for path in folder.iterdir()] == [theirs.process]
    many = [replace(entry, slot=slot) for slot in range(100)]
    for now in (many, many[:1]):
        theirs.announce(now)
        assert mine.elsewhere() == now
    (folder / "1.killed.new").write_text("[]")
    draft = _draft(folder / "2.alive.new", (folder / theirs.process).read_bytes())
    assert mine.elsewhere() == many[:1] and not (folder / "1.killed.new").exists()
    os.close(draft)
    monkeypatch.setattr("fts.state.gpu_waits._draft", lambda *_: os.close(-1))  # the disk takes no other file
    theirs.announce([replace(entry, rank=1234.5678)])
    assert [one.rank for one in mine.elsewhere()] == [1234.5678]
    monkeypatch.undo()
    open_files = psutil.Process().num_fds()
    for rank in range(5):
        (folder / theirs.process).unlink()
        theirs.announce([replace(entry, rank=float(rank))])
    assert psutil.Process().num_fds() == open_files
    theirs.announce([replace(entry, until=time.monotonic() + 1e6)])
    assert mine.elsewhere() == [], "by another clock"


def test_a_waiting_trial_writes_its_file_only_when_something_changes(tmp_path: Path) -> None:
    now = 100.0
    waits = GpuWaits(tmp_path, "x", lease_s=60.0, clock=lambda: now)
    entry = waits.of(0, 1, ["GPU-a"], now, None)
    written: list[int] = []
    write: Callable[..., None] = waits._write
    waits._write = lambda entries: (written.append(1), write(entries))[1]  # type: ignore[method-assign]
    for _ in range(120):
        waits.announce([waits.renewed(entry, 1.0)])
        now += 0.5
    assert 3 <= len(written) <= 5
    waits.announce([waits.renewed(entry, 2.0)])
    assert len(written) <= 6 and waits._written[0].rank == 2.0


def test_a_database_has_one_name_by_whatever_path_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "fts.db").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    assert identity_of(tmp_path / "fts.db") == identity_of(tmp_path / "link" / "fts.db")
    assert identity_of(tmp_path / "none.db") == str(tmp_path / "none.db")
