"""A worker of this machine that was killed is not called alive for the fifteen seconds its heartbeat is still fresh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fts.jobs.status.concern import Word
from fts.jobs.status.conditions import is_disk_low, is_live
from fts.jobs.status.explain import why as reasons_of
from fts.jobs.status.verdict import judge
from fts.state import liveness, queries, transitions
from fts.state.slot_lock import SlotLock
from fts.tui.data.reader import Reader, ReadRequest
from tests.state.helpers import claimed, enqueued, new_db, started


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def study_of(folder: Path, pid: int, host: str = ""):
    """A database in which a worker of that pid runs a trial."""
    db = new_db(folder)
    enqueued(db, 2)
    number = transitions.register_worker(db, host or os.uname().nodename, pid, 1.0, 1)
    started(db, claimed(db, number))
    return db


def test_a_killed_worker_is_gone_at_once_and_one_that_lives_is_not(tmp_path, child):
    db = study_of(tmp_path, child.pid)
    (worker,) = queries.workers(db)
    assert liveness.gone_workers([worker], tmp_path / "outputs") == frozenset()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has fetched its end yet
    assert liveness.gone_workers([worker], tmp_path / "outputs") == {worker.id}
    child.wait()
    assert liveness.gone_workers([worker], tmp_path / "outputs") == {worker.id}


def test_a_worker_elsewhere_is_known_by_its_heartbeat_alone(tmp_path, child):
    db = study_of(tmp_path, child.pid, host="another")
    child.kill()
    child.wait()
    assert liveness.gone_workers(queries.workers(db), tmp_path / "outputs") == frozenset()


def test_a_worker_in_a_container_holds_its_slot_although_no_such_process_is_seen_here(tmp_path, child):
    db = study_of(tmp_path, os.getpid())
    (worker,) = queries.workers(db)
    child.kill()
    child.wait()
    unseen = replace(worker, pid=child.pid)
    lock = SlotLock(tmp_path / "outputs", 0).acquire()
    lock.path.write_text(f'{{"pid": {child.pid}, "host": "here", "started": 1.0, "slot": 0}}')
    assert liveness.gone_workers([unseen], tmp_path / "outputs") == frozenset()
    os.close(lock._fd)  # as its death would: the file keeps its words
    assert liveness.gone_workers([unseen], tmp_path / "outputs") == {worker.id}


def test_a_worker_of_the_original_is_not_called_alive_in_a_copy(tmp_path):
    db = study_of(tmp_path / "study", os.getpid())
    with SlotLock(tmp_path / "study" / "outputs", 0):
        shutil.copytree(tmp_path / "study", tmp_path / "copy")
        (worker,) = queries.workers(db)
        assert liveness.gone_workers([worker], tmp_path / "study" / "outputs") == frozenset()
        assert liveness.gone_workers([worker], tmp_path / "copy" / "outputs") == {worker.id}
        (tmp_path / "study").rename(tmp_path / "moved")
        assert liveness.gone_workers([worker], tmp_path / "moved" / "outputs") == frozenset(), "a move is no copy"


def test_monitor_verdict_and_why_say_so(tmp_path, child):
    db = study_of(tmp_path, child.pid)
    reader = Reader(db.path)
    first = reader.read(ReadRequest(job_id=1))
    assert first is not None
    assert judge(first.snapshot, first.snapshot.taken_at).word is Word.WELL
    assert reader.read(ReadRequest(job_id=1)) is None  # nothing has changed
    child.kill()
    child.wait()
    second = reader.read(ReadRequest(job_id=1))  # nothing was written, and yet there is news
    assert second is not None
    assert not is_live(second.snapshot.workers[0], second.snapshot.taken_at)
    verdict = judge(second.snapshot, second.snapshot.taken_at)
    assert verdict.word is Word.ACT
    assert verdict.short == "worker 1 died. W starts one"
    assert "is not running: worker 1 has died" in reasons_of(second.snapshot.jobs[0], second.snapshot)[0]
    assert reader.read(ReadRequest(job_id=1)) is None
    reader.close()


def test_a_disk_that_fills_is_seen_before_the_worker_measures_it_again(tmp_path, child, monkeypatch):
    db = study_of(tmp_path, child.pid)
    transitions.add_sample(db, 1, disk_free=1 << 50)
    reader = Reader(db.path)
    first = reader.read(ReadRequest())
    assert first is not None and not is_disk_low(first.snapshot)
    monkeypatch.setenv("FTS_DISK_RESERVE", "100T")  # as if so little were free
    second = reader.read(ReadRequest())
    assert second is not None and is_disk_low(second.snapshot)
    assert is_disk_low(liveness.with_local_facts(queries.snapshot(db), tmp_path / "outputs"))
    monkeypatch.setenv("FTS_DISK_RESERVE", "1")
    assert not is_disk_low(liveness.with_local_facts(queries.snapshot(db), tmp_path / "outputs"))
    reader.close()
