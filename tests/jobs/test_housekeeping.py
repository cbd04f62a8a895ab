"""Once a day a worker copies the database, and never more than the last seven are kept."""

import io
import os
import queue
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fts.jobs.maintenance.cleanup import Freed, unique
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor import log_limit
from fts.jobs.supervisor.machine_errors import start_room
from fts.jobs.worker import maintenance
from fts.jobs.worker import worker as worker_of_fts
from fts.jobs.worker.console import Console
from fts.jobs.worker.maintenance import DAY_S, LOOK_EVERY_S, Maintenance
from fts.jobs.worker.worker import UNUSED_S, Worker, work
from fts.state import queries, transitions
from fts.state.backup import KEEP, backup, check_file
from fts.state.db import open_database
from fts.state.errors import DatabaseOverwritten, NoSuchRow
from fts.state.transitions import register_worker
from tests.state.helpers import spec

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def make(tmp_path):
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    now = [0.0]
    return Maintenance(open_database(places.db), places, clock=lambda: now[0]), places, now


def copies(places):
    return sorted(places.backups.glob("fts-*.db")) if places.backups.exists() else []


def test_the_first_copy_waits_for_the_first_look(tmp_path):
    house, places, now = make(tmp_path)
    assert not house.look() and not copies(places)
    now[0] = LOOK_EVERY_S
    assert house.look()
    check_file(copies(places)[0])


def test_a_fresh_copy_is_enough_for_a_day(tmp_path):
    house, places, now = make(tmp_path)
    now[0] = LOOK_EVERY_S
    assert house.look()
    now[0] = 2 * LOOK_EVERY_S
    assert not house.look()
    yesterday = time.time() - DAY_S
    os.utime(copies(places)[0], (yesterday, yesterday))
    now[0] = 3 * LOOK_EVERY_S
    assert house.look()


def test_a_copy_from_before_the_clock_was_set_back_is_not_todays(tmp_path):
    house, places, now = make(tmp_path)
    now[0] = LOOK_EVERY_S
    assert house.look()
    ahead = time.time() + 30 * DAY_S
    os.utime(copies(places)[0], (ahead, ahead))
    now[0] = 2 * LOOK_EVERY_S
    assert house.look()
    now[0] = 3 * LOOK_EVERY_S
    assert not house.look()


def test_old_samples_are_thinned_each_day_also_with_backups_of_a_person(tmp_path):
    house, places, now = make(tmp_path)
    db = open_database(places.db)
    worker = register_worker(db, "lab", 100, 1.5, 1)
    for day in range(1, 4):
        backup(db, places.backups)
        for second in range(120):
            db.execute_sql("INSERT INTO sample (at, worker_id) VALUES (?, ?)", (86_400.0 * day + second, worker))
        now[0] = day * DAY_S
        assert not house.look()
        assert db.execute_sql("SELECT count(*) FROM sample").fetchone() == (2 * day,)
    db.close()


def test_of_the_logs_of_workers_the_middle_is_given_back_and_those_of_trials_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(log_limit, "MOST", 1 << 20)
    monkeypatch.setattr(log_limit, "KEPT", 1 << 16)
    house, places, now = make(tmp_path)
    places.logs.mkdir(parents=True)
    whole = {"agent_1_t0001.log": False}
    names = {f"{name}.log": True for name in ("worker", "notify", "agent_0", "trial_process_11")} | whole
    for name in names:
        (places.logs / name).write_bytes(b"x" * (2 << 20))
    if not log_limit.drop_middle(places.logs / "worker.log", 1 << 16):
        pytest.skip("this file system keeps every block")
    (places.logs / "worker.log").write_bytes(b"x" * (2 << 20))
    now[0] = LOOK_EVERY_S
    house.look()
    freed = {name: (places.logs / name).stat().st_blocks * 512 < 1 << 20 for name in names}
    assert freed == names


def test_a_backup_that_would_fill_the_disk_is_left_out_and_told_once(tmp_path, monkeypatch, caplog):
    """Trials stop when less than the reserve is free: the worker's own copy of the database must not be the cause."""
    house, places, now = make(tmp_path)
    free = start_room(places.outputs) + places.db.stat().st_size - 1
    monkeypatch.setattr(maintenance, "room", lambda _: (free, 0))
    for n in (1, 2):
        now[0] = n * LOOK_EVERY_S
        assert not house.look() and not copies(places)
    assert caplog.text.count("no daily backup: it takes ") == 1
    free += 1
    now[0] = 3 * LOOK_EVERY_S
    assert house.look() and len(copies(places)) == 1


def test_the_last_seven_are_kept(tmp_path):
    house, places, now = make(tmp_path)
    for day in range(1, KEEP + 4):
        now[0] = day * LOOK_EVERY_S
        assert house.look()
        aged = copies(places)[-1].rename(places.backups / name_of(day))  # two of one second would wait for each other
        os.utime(aged, (0, 0))
    assert [copy.name for copy in copies(places)] == [name_of(day) for day in range(4, KEEP + 4)]


def name_of(day):
    return f"fts-200001{day:02}-000000.db"


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(tmp_path):
    house, places, now = make(tmp_path)
    places.backups.write_text("a file where the folder should be")
    now[0] = LOOK_EVERY_S
    assert not house.look()


def test_a_copy_that_another_worker_removes_meanwhile_is_no_error_of_the_heartbeat(tmp_path, caplog):
    house, places, now = make(tmp_path)
    places.backups.mkdir(parents=True)
    (places.backups / "fts-20000101-000000.db").symlink_to("gone")
    now[0] = LOOK_EVERY_S
    assert not house.look()
    assert "the daily backup failed and will be tried again" in caplog.text


def test_the_heartbeat_does_not_wait_for_a_backup(tmp_path, monkeypatch):
    """A backup of some hundred megabytes took as long as a lease on a busy machine."""
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    open_database(places.db).close()
    seen = set()

    class SlowHouse:
        def __init__(self, *_):
            pass

        def look(self):
            """Ends after three more heartbeats; then the worker is stopped."""
            db = open_database(places.db, readonly=True)
            while len(seen) < 4:
                seen.add(queries.snapshot(db).workers[0].heartbeat_at)
            db.close()
            places.stop_file.parent.mkdir(exist_ok=True)
            places.stop_file.touch()

    monkeypatch.setattr(worker_of_fts, "Maintenance", SlowHouse)
    monkeypatch.setattr(worker_of_fts, "AGAIN_S", 0.01)
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    try:
        assert work(places, WorkerSettings(poll_s=0.02, beat_s=0.05), Console(io.StringIO())) == 0
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert len(seen) == 4


def test_a_slot_whose_processes_cannot_be_ended_stays_a_slot():
    """It was taken out of the idle slots and never put back, so that a worker with one slot ran nothing more."""

    class Broken:
        index, holds_processes = 0, True

        def release(self):
            raise OSError("cannot be ended")

    worker = SimpleNamespace(slots=[Broken()], _idle_lock=threading.Lock(), _free=queue.SimpleQueue(), _used_at={})
    worker._used_at[0] = -UNUSED_S
    worker._free.put(worker.slots[0])
    with pytest.raises(OSError, match="cannot be ended"):
        Worker.release_unused(worker)
    assert worker._free.get_nowait() is worker.slots[0]


def test_what_lies_inside_another_item_is_freed_with_it_also_among_ten_thousand():
    """Each was once compared with all others, which took minutes for the checkpoints of a long study."""
    inside = ["a", "a/x", "a/x/y", "a-b", "a-b/x", "b/x", "b/y"]
    assert [str(item.path) for item in unique(Freed(Path(name), 1, "") for name in inside)] == [
        "a",
        "a-b",
        "b/x",
        "b/y",
    ]
    began, many = time.process_time(), [Freed(Path(f"t/{n:05}/checkpoint"), 1, "") for n in range(10_000)]
    assert unique(many) == many
    assert time.process_time() - began < 10


@pytest.mark.parametrize("is_older", [True, False])
def test_a_row_that_is_missing_because_of_an_older_copy_is_no_fault_of_the_job(tmp_path, monkeypatch, is_older):
    db = open_database(tmp_path / "fts.db", create=True)
    transitions.enqueue(db, [spec(1)])
    one = Worker(db, Places(db.path, tmp_path), WorkerSettings(), Console())

    class Contradicted:
        def __init__(self, *_, **__): ...

        def prepare(self):
            one.heartbeat.beat()

        def run(self):
            if is_older:
                db.execute_sql("UPDATE worker SET beats = 0")  # as in a copy from before the last beat
            raise NoSuchRow("job 1 has no trial 30")

    monkeypatch.setattr(worker_of_fts, "JobRunner", Contradicted)
    try:
        one._run_claim(one.slots[0], one._claim(one.slots[0]))
        assert isinstance(one._lost_database, DatabaseOverwritten) == is_older
        assert queries.job(db, 1).status == ("running" if is_older else "queued")
    finally:
        one.close()
        db.close()
