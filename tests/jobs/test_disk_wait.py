"""A queue that a worker paused because of the disk goes on by itself when files can be written, and only then."""

from __future__ import annotations

import logging

import pytest

from fts.jobs.cli.work import RepeatFilter
from fts.jobs.status.conditions import disk_reserve
from fts.jobs.status.formatting import GB
from fts.jobs.supervisor.machine_errors import takes_files
from fts.jobs.watchdog.policy import MemoryLimits
from fts.jobs.worker import disk_wait
from fts.jobs.worker.disk_wait import DiskWait
from fts.state import queries, transitions
from fts.state.db import open_for_person
from fts.state.files import refusal
from fts.state.scheduling import resumes_by_itself

FULL = "disk: /o/trials/x cannot be written: the disk of /o/trials is full (0 bytes free): free some space"


@pytest.fixture
def db(tmp_path, monkeypatch):
    monkeypatch.setenv("FTS_DISK_RESERVE", "1M")
    opened = open_for_person(tmp_path / "outputs" / "fts.db")
    yield opened
    opened.close()


def waiting(db, tmp_path, first_s=0.0):
    return DiskWait(db, tmp_path / "outputs", 3, lambda told: None, first_s)


def paused(db):
    return queries.flag(db, "queue_paused") is not None


def test_the_queue_goes_on_when_there_is_room_and_an_event_says_who_did_it(db, tmp_path):
    transitions.pause_queue(db, FULL, who="worker 1")
    waiting(db, tmp_path).look()
    assert not paused(db)
    newest = queries.events(db, limit=1)[-1]
    assert (newest.verb, newest.who) == ("queue_resumed", "worker 3")
    assert not list((tmp_path / "outputs").glob(".*"))


def test_it_waits_while_less_than_the_reserve_is_free_or_no_file_can_be_written(db, tmp_path, monkeypatch):
    transitions.pause_queue(db, FULL, who="worker 1")
    wait = waiting(db, tmp_path)
    monkeypatch.setenv("FTS_DISK_RESERVE", str(1 << 60))
    wait.look()
    assert paused(db)
    monkeypatch.setenv("FTS_DISK_RESERVE", "1M")
    wait.outputs = tmp_path / "gone"
    wait.look()
    assert paused(db)
    wait.outputs = tmp_path / "outputs"
    wait.look()
    assert not paused(db)


@pytest.mark.parametrize(
    ("reason", "who"),
    [
        (FULL, "ada@lab"),
        ("by hand", "worker 1"),
        ("disk: the disk of /o reports an input/output error: look into the system log", "worker 1"),
        ("disk: the system could not read or write /o/fts.db (disk I/O error); nothing was written", "worker 1"),
    ],
)
def test_a_person_resumes_what_a_person_paused_and_looks_at_a_disk_that_fails(db, tmp_path, reason, who):
    transitions.pause_queue(db, reason, who=who)
    waiting(db, tmp_path).look()
    assert paused(db)


def test_each_try_in_vain_doubles_the_wait(db, tmp_path, monkeypatch):
    """The disk takes a file, but not what the trial writes: a quota, or a folder that may not be written to."""
    now = 1000.0
    monkeypatch.setattr(disk_wait.time, "monotonic", lambda: now)
    wait, waits = waiting(db, tmp_path, first_s=10.0), []
    for _ in range(9):
        transitions.pause_queue(db, FULL, who="worker 3")
        since = now
        wait.look()
        while paused(db):
            now += 10.0
            wait.look()
        waits.append(now - since)
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    now += 601.0
    transitions.pause_queue(db, FULL, who="worker 3")
    wait.look()
    now += 10.0
    wait.look()
    assert not paused(db), "it has worked well for ten minutes: a new trouble"


def test_a_folder_that_takes_no_file_is_told_from_one_that_does(tmp_path):
    assert refusal(tmp_path, 1000) is None and not list(tmp_path.iterdir())
    assert isinstance(refusal(tmp_path / "no such folder", 1000), FileNotFoundError)


def test_every_reason_that_a_full_disk_gives_ends_with_room():
    for said in ("is full", "the quota of this user", "is mounted read-only", "no free inodes", "may not write to"):
        assert resumes_by_itself(f"disk: /o {said}")
    assert not resumes_by_itself(None) and not resumes_by_itself("full disk")


def test_a_worker_says_the_same_once_in_a_while(monkeypatch):
    keep, now = RepeatFilter(), 0.0
    monkeypatch.setattr("fts.jobs.cli.work.time.monotonic", lambda: now)

    def says(text):
        return keep.filter(logging.makeLogRecord({"msg": "%s", "args": (text,)}))

    assert [says("full"), says("full"), says("busy"), says("full")] == [True, False, True, False]
    now = 601.0
    assert says("full")


@pytest.mark.parametrize(("capacity", "kept_free"), [(64 << 20, (64 << 20) // 20), (10 * GB, GB // 2), (250 * GB, GB)])
def test_a_small_disk_keeps_a_twentieth_free(tmp_path, monkeypatch, capacity, kept_free):
    """With a gigabyte, no trial would ever start on a disk of 64 MB, however empty."""
    monkeypatch.setattr("fts.jobs.status.conditions.capacity", lambda _folder: capacity)
    assert disk_reserve({}, tmp_path) == kept_free
    assert MemoryLimits.for_trial(GB, 2 * GB, {}, tmp_path).disk_reserve == kept_free
    assert disk_reserve({}, None) == GB, "a disk of another machine"
    assert disk_reserve({"FTS_DISK_RESERVE": "3GB"}, tmp_path) == 3 * GB
    monkeypatch.delenv("FTS_DISK_RESERVE", raising=False)
    for free, enough in ((kept_free, False), (2 * kept_free, True)):
        monkeypatch.setattr("fts.jobs.supervisor.machine_errors.room", lambda _folder, free=free: (free, None))
        assert takes_files(tmp_path) is enough
