"""A job whose trial waits for a GPU does not keep the jobs behind it from a free slot."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fts.jobs.devices import Gpu
from fts.jobs.executors.base import Want
from fts.jobs.sensors import detect
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.status import summary as glances
from fts.jobs.supervisor import declared_wants
from fts.jobs.supervisor.backoff import Backoff
from fts.jobs.supervisor.memory_pool import MemoryPool, RoomWant
from fts.jobs.supervisor.slot import Slot
from fts.jobs.supervisor.startable import StartableJobs, lack
from fts.jobs.supervisor.trial_place import YIELD_S
from fts.jobs.worker import worker
from fts.jobs.worker.console import Console
from fts.state import queries, replay, transitions
from fts.state.db import open_database
from fts.state.values.job import LEFT_SLOT, PASSED, passed_message
from fts.tui.data.view import View
from fts.tui.widgets import queue_table
from tests.fts_process import Study, wait_until

ENVIRON = {"FTS_GPUS": "GPU-a=24GB", "FTS_POLL_S": "0.05"}
OF_GPU = ("--gpu", "1", "--memory", "20GB", "--trials", "1")
PLAIN = ("--memory", "80MB", "--trials", "1")
FILE = """
import time
from pathlib import Path


def waits(trial):
    trial.report(1.0, 0)
    while not Path("goes on").exists():
        time.sleep(0.02)
    return trial.suggest_float("x", 0, 1)


def second_waits(trial):
    step = 0
    while trial.number == 1 and not Path("goes on").exists():
        trial.report(1.0, step)
        time.sleep(0.5)
        step += 1
    return trial.suggest_float("x", 0, 1)


def short(trial):
    return trial.suggest_float("x", 0, 1)
"""


@pytest.mark.parametrize("plain_first", [True, False], ids=["passed over", "leaves its slot"])
def test_a_job_without_a_gpu_runs_while_an_earlier_one_waits_for_the_only_gpu(
    tmp_path: Path, plain_first: bool
) -> None:
    """`plain_first`: it is queued before a slot takes the job that waits; otherwise that slot gives it up again."""
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    study.ok("enqueue", "train.py:waits", "--name", "holds", *OF_GPU)
    worker = study.start("worker", "--until-empty", "--slots", "2")
    wait_until(lambda: study.one("SELECT sum(epochs) FROM trial"))
    study.ok("pause", "--queue")
    study.ok("enqueue", "train.py:waits", "--name", "next", *OF_GPU)
    if plain_first:
        study.ok("enqueue", "train.py:short", "--name", "plain", *PLAIN)
    study.ok("resume", "--queue")
    if not plain_first:
        wait_until(lambda: study.query("SELECT id FROM event WHERE job_id = 2 AND message LIKE '%until 1 GPU is free'"))
        study.ok("enqueue", "train.py:short", "--name", "plain", *PLAIN)
    wait_until(lambda: study.one("SELECT status FROM job WHERE id = 3") == "done")
    wait_until(lambda: study.query("SELECT id FROM event WHERE job_id = 2 AND message LIKE '%until 1 GPU is free'"))
    assert study.one("SELECT status FROM job WHERE id = 1") == "running"
    if not plain_first:
        left = "%until 1 GPU is free; it left its slot to job 3"
        told = study.query(f"SELECT message FROM event WHERE job_id = 2 AND message LIKE '{left}'")
        assert len(told) == 2 and not any("drained" in event["message"] for event in told), told
    (tmp_path / "goes on").touch()
    assert worker.wait(60) == 0
    assert [row["status"] for row in study.query("SELECT status FROM job ORDER BY id")] == ["done"] * 3
    assert study.one("SELECT idle_attempts FROM job WHERE id = 2") == 0
    assert [row["status"] for row in study.query("SELECT status FROM trial ORDER BY id")] == ["complete"] * 3
    if plain_first:
        assert study.one("SELECT max(attempt) FROM job") == 1, "nobody had to give up a slot"
        told = "job 2: it needs 1 GPU besides a slot; later jobs may start before it"
        assert [row["message"] for row in study.query("SELECT message FROM event WHERE verb = 'passed_over'")] == [told]


def test_a_slot_that_a_parallel_job_gives_up_takes_no_other_trial_of_it_that_can_only_wait(tmp_path: Path) -> None:
    """It would go from one to the other every YIELD_S, and the job that can begin would never get the slot."""
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    study.ok("enqueue", "train.py:waits", "--name", "wide", *OF_GPU[:-1], "4", "--parallel", "3")
    worker = study.start("worker", "--until-empty", "--slots", "2")
    wait_until(lambda: study.query("SELECT id FROM event WHERE verb = 'waits' AND message LIKE 't1 %'"))
    study.ok("enqueue", "train.py:short", "--name", "plain", *PLAIN)
    study.ok("enqueue", "train.py:short", "--name", "more", *PLAIN)
    wait_until(lambda: study.one("SELECT count(*) FROM job WHERE status = 'done'") == 2)
    assert study.one("SELECT count(*) FROM event WHERE verb = 'trial_interrupted'") == 1, "the slot takes both"
    wait_until(lambda: study.query("SELECT id FROM event WHERE verb = 'trial_resumed' AND message LIKE 'trial 1 %'"))
    (tmp_path / "goes on").touch()
    assert worker.wait(60) == 0
    assert study.one("SELECT count(*) FROM trial WHERE status = 'complete'") == 6


def test_a_worker_that_leaves_after_its_jobs_ends_one_that_waits_for_a_gpu(tmp_path: Path) -> None:
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    study.ok("enqueue", "train.py:waits", "--name", "holds", *OF_GPU)
    worker = study.start("worker", "--slots", "2")
    wait_until(lambda: study.one("SELECT sum(epochs) FROM trial"))
    study.ok("enqueue", "train.py:short", "--name", "next", *OF_GPU)
    wait_until(lambda: study.query("SELECT id FROM event WHERE job_id = 2 AND verb = 'waits'"))
    study.ok("drain", "--after", "job")
    study.ok("enqueue", "train.py:short", "--name", "plain", *PLAIN)
    time.sleep(2 * YIELD_S)
    (tmp_path / "goes on").touch()
    assert worker.wait(60) == 0
    assert [row["status"] for row in study.query("SELECT status FROM job ORDER BY id")] == ["done", "done", "queued"]
    assert study.one("SELECT max(attempt) FROM job") == 1


def test_a_trial_whose_memory_a_function_tells_is_asked_before_others_pass_it(tmp_path: Path) -> None:
    """It may share a GPU that is in use; how much it takes is known once it has been claimed."""
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE + "\n\ndef need(params):\n    return 10 * 1024**3\n")
    study.ok("enqueue", "train.py:short", "--space", "x=0.0:1.0", *OF_GPU[:2], "--memory", "train.py:need")
    study.ok("enqueue", "train.py:short", "--name", "plain", *PLAIN)
    pool = MemoryPool((Gpu("GPU-a", 24 << 30),))
    settings, places = WorkerSettings(2), Places(study.outputs / "fts.db", tmp_path)
    slot = Slot(0, places, settings, detect.from_env(tmp_path, {"FTS_SENSORS": "none"}), pool)
    with open_database(places.db) as db:
        jobs = StartableJobs(db, settings)
        for held, ahead in ((10 << 30, set()), (None, {1})):  # None: a whole GPU
            pool.take(1, 0, lambda: None, lambda: False, RoomWant(gpus=1, gpu_bytes=held))
            assert jobs.ahead(slot, ()).keys() == ahead
            pool.release(1)


def test_why_a_job_waits_that_has_left_its_slot_and_what_is_before_the_next_one(tmp_path: Path) -> None:
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    for name in ("first", "second", "third"):
        study.ok("enqueue", "train.py:short", "--name", name, *PLAIN)
    message = f"t0 waits until 1 GPU is free; {LEFT_SLOT} 9"
    with open_database(study.outputs / "fts.db") as db:
        transitions.register_worker(db, socket.gethostname(), os.getpid(), time.time(), 1)
        db.execute_sql("UPDATE job SET attempt = 1, cause = 'drained', message = ? WHERE id = 1", (message,))
    assert study.ok("why", "1").splitlines()[:2] == [
        f"job 1 (first) is not running: {message}",
        "it starts once a slot and what it waits for are free; until then slots run later jobs",
    ]
    said = study.ok("why", "3")
    assert "2 jobs before it" in said and "job 1 (first) waits for more than a slot: later jobs may start first" in said
    assert "next is job 2 (second)" in said
    assert "drained" not in study.ok("queue")


def test_a_job_that_was_passed_over_is_not_called_next(tmp_path: Path) -> None:
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    for name in ("first", "second", "third"):
        study.ok("enqueue", "train.py:short", "--name", name, *PLAIN)
    with contextlib.closing(open_database(study.outputs / "fts.db")) as db:
        crew = transitions.register_worker(db, socket.gethostname(), os.getpid(), time.time(), 1)
        for why, brief in ((lack(2), "needs 2 GPUs besides a slot"), (lack(0), "needs a node that is")):
            transitions.pass_over(db, crew, {1: why})
            transitions.record_heartbeat(db, crew, 60.0)  # the commands below take a while
            said = study.ok("why", "1")
            assert said.splitlines()[:2] == [
                f"job 1 (first) is not running: {why}; later jobs may start before it",
                "it starts once a slot and what it waits for are free; until then slots run later jobs",
            ]
            assert brief in study.ok("queue").splitlines()[1] and brief[:20] in study.ok("status")
            snapshot = queries.snapshot(db)
            view = View(glances.look(snapshot, snapshot.taken_at))
            assert brief in queue_table.why(view, snapshot.jobs[0], 60)
        events = len(queries.events(db))
        transitions.pass_over(db, crew, {1: why})
        assert len(queries.events(db)) == events, "said once"
        before = db.now()
        time.sleep(0.01)
        transitions.record_heartbeat(db, crew, 60.0)
        transitions.pass_over(db, crew, {1: None, 2: None})
        assert "is next" in study.ok("why", "1")
        assert PASSED in (replay.rebuild(db, before).jobs[0].message or "") and not queries.job(db, 1).message
        transitions.pass_over(db, crew, {1: why, 2: why})
        assert queries.events(db)[-1].message == f"jobs 1, 2: {why}; {PASSED}"
        said = study.ok("why", "3")
        assert "2 of them wait for more than a slot: later jobs may start first" in said
        assert transitions.claim(db, crew, 60.0, excluded={2}) and not queries.job(db, 1).message
        transitions.pass_over(db, crew, {1: why})
        assert not queries.job(db, 1).message, "it runs"


def test_a_job_that_is_passed_over_keeps_its_own_message_and_two_workers_do_not_take_turns(tmp_path: Path) -> None:
    study, failed = Study(tmp_path, **ENVIRON), "the driver of the GPU does not answer"
    (tmp_path / "train.py").write_text(FILE)
    for name in ("first", "second", "third"):
        study.ok("enqueue", "train.py:short", "--name", name, *PLAIN)
    with contextlib.closing(open_database(study.outputs / "fts.db")) as db:

        def messages() -> list[str | None]:
            return [job.message for job in queries.jobs(db)]

        crew, other = (
            transitions.register_worker(db, socket.gethostname(), os.getpid(), time.time(), n) for n in (1, 2)
        )
        claim = transitions.claim(db, crew, 60.0)
        assert claim is not None
        transitions.release_job(db, claim, "machine error", failed)
        jobs = [1, 2]
        told = [passed_message(lack(1), failed), passed_message(lack(1), None), None]
        transitions.pass_over(db, crew, dict.fromkeys(jobs, lack(1)))
        assert messages() == told and failed in study.ok("why", "1")
        before, events = db.now(), len(queries.events(db))
        time.sleep(0.01)
        for _ in range(3):
            transitions.pass_over(db, other, dict.fromkeys(jobs, lack(0)), again=True)
            transitions.pass_over(db, crew, dict.fromkeys(jobs, lack(1)), again=True)
        assert messages() == told and len(queries.events(db)) == events, "what a worker has said stays"
        transitions.pass_over(db, other, dict.fromkeys(jobs, lack(0)))
        assert messages() == [passed_message(lack(0), failed), passed_message(lack(0), None), None]
        assert [job.message for job in replay.rebuild(db, before).jobs] == told
        transitions.pause(db, jobs)
        transitions.undo(db)
        assert messages() == [failed, None, None], "whether it is passed over, a worker says again"
        transitions.pass_over(db, crew, dict.fromkeys(jobs, lack(1)), again=True)
        assert messages() == told
        transitions.pass_over(db, crew, dict.fromkeys(jobs))
        assert messages() == [failed, None, None]
        transitions.pass_over(db, crew, {1: lack(1)})
        db.execute_sql("UPDATE job SET idle_attempts = 99 WHERE id = 1")
        assert transitions.claim(db, crew, 60.0, excluded=(2, 3)) is None
        parked = str(queries.job(db, 1).message)
        assert f"({failed});" in parked and PASSED not in parked


def test_two_workers_with_different_reasons_write_one_event_each_and_repair_what_somebody_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fts.jobs.supervisor.startable.TELL_AGAIN_S", -1.0)
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    study.ok("enqueue", "train.py:short", "--name", "first", *PLAIN)
    with contextlib.closing(open_database(study.outputs / "fts.db")) as db:
        crew = [transitions.register_worker(db, socket.gethostname(), os.getpid(), time.time(), n) for n in (1, 2)]
        both = [StartableJobs(db, WorkerSettings(1)) for _ in crew]
        for _ in range(3):
            for n, jobs in enumerate(both):
                jobs.tell({1: lack(n)}, crew[n])
        assert queries.job(db, 1).message == passed_message(lack(1), None)
        assert [event.verb for event in queries.events(db)].count("passed_over") == 2
        db.execute_sql("UPDATE job SET message = NULL")
        both[0].tell({1: lack(0)}, crew[0])
        assert queries.job(db, 1).message == passed_message(lack(0), None)
        monkeypatch.undo()
        for claimed in (False, True):
            both[0].tell({1: lack(0)}, crew[0])
            db.execute_sql("UPDATE job SET message = NULL")
            if claimed:
                both[0].claimed(cast(Slot, SimpleNamespace(is_local=False)), 1)
            both[0].tell({1: lack(0)}, crew[0])
            assert bool(queries.job(db, 1).message) == claimed, "a claim has removed it, so it is said at once"
        left = f"t0 waits until 1 GPU is free; {LEFT_SLOT} 9"
        db.execute_sql("UPDATE job SET message = ?", (left,))
        transitions.pass_over(db, crew[0], {1: lack(1)})
        assert queries.job(db, 1).message == left, "it says more"


def test_the_first_slot_of_a_parallel_job_stays_with_it_while_another_trial_of_it_runs(tmp_path: Path) -> None:
    """It could run no other job, and would interrupt and resume its trial for as long as the other one runs."""
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    study.ok("enqueue", "train.py:second_waits", "--name", "both", *OF_GPU[:-1], "3", "--parallel", "2")
    worker = study.start("worker", "--until-empty", "--slots", "2")
    wait_until(lambda: study.query("SELECT id FROM event WHERE verb = 'waits' AND message LIKE 't2 %'"))
    study.ok("enqueue", "train.py:short", "--name", "plain", *PLAIN)
    seen = study.one("SELECT epochs FROM trial WHERE number = 1")
    wait_until(lambda: study.one("SELECT epochs FROM trial WHERE number = 1") >= seen + 12)  # three times YIELD_S
    assert study.one("SELECT count(*) FROM event WHERE verb = 'trial_interrupted' AND message LIKE '%trial 2 %'") == 0
    (tmp_path / "goes on").touch()
    assert worker.wait(60) == 0
    assert study.one("SELECT count(*) FROM trial WHERE status = 'complete'") == 4
    assert study.one("SELECT max(attempt) FROM job") == 1


def test_no_trial_with_gpus_passes_an_earlier_one_that_waits_for_gpus(tmp_path: Path) -> None:
    gpus = tuple(Gpu(name, 24 << 30) for name in "abc")
    rng = random.Random(1)
    settings, places = WorkerSettings(2), Places(tmp_path / "fts.db", tmp_path)
    for _ in range(300):
        pool = MemoryPool(gpus)
        held = rng.randrange(4)
        if held:
            assert pool.take(1, 0, lambda: None, lambda: False, RoomWant(gpus=held))
        slot = Slot(0, places, settings, detect.from_env(tmp_path, {"FTS_SENSORS": "none"}), pool)
        wants = [rng.choice((0, 1, 2, 3, 4)) for _ in range(rng.randrange(6))]
        found = slot.first_startable([Want(gpus=one) for one in wants])
        free = 3 - held
        expected = None
        for index, one in enumerate(wants):
            waiting = any(wants[:index])
            if one == 0 or (not waiting and (one <= free or one > 3)):  # 4: admission says that there are only three
                expected = index
                break
        assert found == expected, (wants, held)


def test_what_each_queued_job_wants_is_read_once_and_a_specification_that_is_wrong_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    study.ok("enqueue", "train.py:waits", "--name", "first", *OF_GPU)
    study.ok("enqueue", "train.py:short", "--name", "second", *PLAIN)
    study.ok("enqueue", "train.py:waits", "--name", "third", *OF_GPU)
    pool = MemoryPool((Gpu("GPU-a", 24 << 30),))
    settings, places = WorkerSettings(2), Places(study.outputs / "fts.db", tmp_path)
    slot = Slot(0, places, settings, detect.from_env(tmp_path, {"FTS_SENSORS": "none"}), pool)
    with open_database(places.db) as db:
        jobs = StartableJobs(db, settings)
        assert not jobs.ahead(slot, ()), "the first can begin"
        pool.take(1, 0, lambda: None, lambda: False, RoomWant(gpus=1))
        monkeypatch.setattr(declared_wants, "load_study", None)  # read already
        assert jobs.ahead(slot, ()) == {1: "it needs 1 GPU besides a slot"}
        assert not jobs.ahead(slot, {2}), "none can begin: the first waits"
        assert jobs.other(slot, 3, Want(gpus=1), ()) == 2 and jobs.other(slot, 3, Want(gpus=1), {2}) is None
        assert jobs.other(slot, 3, Want(), ()) is None, "it can begin itself"
        jobs.leaves(2, 7, Want(gpus=1, needed=5))
        assert not jobs.ahead(slot, ()) and jobs.other(slot, 3, Want(gpus=1), ()) is None
        assert (jobs.needed(2, 7), jobs.needed(2, 7)) == (5, 0)
        jobs.leaves(2, 7, Want(gpus=1, needed=5))
        assert jobs.needed(2, 8) == 0, "another trial"
        monkeypatch.undo()
        other = Slot(1, places, settings, slot.sensors, pool)
        pool.expect(1, 0)  # it takes none
        assert jobs.other(slot, 3, Want(gpus=1), ()) == jobs.other(slot, 3, Want(gpus=1), ()) == 2
        assert jobs.other(other, 1, Want(gpus=1), ()) is None, "one trial leaves its slot for a job, not all"
        jobs.leaves(2, 8, Want(gpus=1))
        db.execute_sql("UPDATE job SET spec_md5 = 'y' WHERE id = 2")
        assert jobs.ahead(slot, ()).keys() == {1}, (
            "what a trial wanted before its specification was changed counts no more"
        )
        db.execute_sql("UPDATE job SET spec = '{}', spec_md5 = 'x' WHERE id = 1")
        assert not jobs.ahead(slot, ()), "it fails once it is claimed, and says why"
        assert not jobs.ahead(Slot(0, places, settings, slot.sensors, MemoryPool()), ())


def test_the_gpus_of_a_claimed_job_are_expected_to_be_taken_until_its_slot_has_left_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next slot would claim another trial with GPUs, or none would ever leave its slot."""
    study = Study(tmp_path, **ENVIRON)
    (tmp_path / "train.py").write_text(FILE)
    for name, wants in (("first", OF_GPU), ("second", OF_GPU), ("plain", PLAIN)):
        study.ok("enqueue", "train.py:short", "--name", name, *wants)
    monkeypatch.setenv("FTS_GPUS", ENVIRON["FTS_GPUS"])
    monkeypatch.setattr(worker, "JobRunner", Ends)
    places = Places(study.outputs / "fts.db", tmp_path)
    with open_database(places.db) as db:
        one = worker.Worker(db, places, WorkerSettings(2), Console())
        try:
            claim = one._claim(one.slots[1])
            assert claim is not None and claim.job_id == 1
            assert one.startable.ahead(one.slots[0], ()).keys() == {2}
            one._run_claim(one.slots[1], claim)
            assert not one.startable.ahead(one.slots[0], ())
        finally:
            one.close()


class Ends:
    """A job that ends before it takes a GPU."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def prepare(self) -> None: ...

    def run(self) -> None: ...


def test_a_slot_joins_a_job_that_can_only_wait_if_no_other_is_left_to_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTS_GPUS", ENVIRON["FTS_GPUS"])
    joined: list[bool] = []

    def join(slot: Slot, without: object = None) -> bool:
        joined.append(without is None)
        return len(joined) == 2  # that trial runs; then nothing is left

    with open_database(tmp_path / "fts.db", create=True) as db:
        one = worker.Worker(db, Places(tmp_path / "fts.db", tmp_path), WorkerSettings(2), Console())
        try:
            monkeypatch.setattr(one._shared, "join", join)
            one._run_jobs(one.slots[0])
        finally:
            one.close()
    assert joined == [False, True] * 2


def test_without_gpus_a_slot_joins_a_running_job_without_a_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, places = WorkerSettings(2), Places(tmp_path / "fts.db", tmp_path)
    sensors = detect.from_env(tmp_path, {"FTS_SENSORS": "none"})
    with open_database(places.db, create=True) as db:
        one = worker.Worker.__new__(worker.Worker)  # without its threads
        one.db, one.settings, one.backoff = db, settings, Backoff()
        one.startable = StartableJobs(db, settings)
        job = SimpleNamespace(job=SimpleNamespace(id=1), want=Want(gpus=1))
        asked: list[str] = []
        db.connection().set_trace_callback(asked.append)
        assert not one._only_waits(job, Slot(0, places, settings, sensors))
        assert asked == []
        pool = MemoryPool((Gpu("GPU-a", 24 << 30),))
        assert not one._only_waits(job, Slot(0, places, settings, sensors, pool)) and asked != []
