"""A study that does not say what its trials want keeps no other job from a slot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fts.jobs.api.command import BareStudy
from fts.jobs.devices import Gpu
from fts.jobs.executors.base import Want
from fts.jobs.sensors import detect
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor import declared_wants
from fts.jobs.supervisor.memory_pool import MemoryPool
from fts.jobs.supervisor.slot import Slot
from fts.jobs.supervisor.startable import StartableJobs
from fts.jobs.worker import shared_jobs
from fts.jobs.worker.shared_jobs import SharedJobs
from fts.state import queries, transitions
from fts.state.db import open_database
from tests.fts_process import Study, wait_until
from tests.state.helpers import worker

SILENCE = "the study slow has not said yet what its trials need"


class Slow(BareStudy):
    """Answers as soon as it may."""

    answers = threading.Event()

    def resources(self, cell: Any) -> Any:
        assert self.answers.wait(60)
        if cell.experiment == "wrong":
            raise SystemExit(3)
        return super().resources(cell)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    """Three jobs of a slow study, then two of functions."""
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text("def f(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    for name in ("first", "wrong", "third", "plain", "last"):
        study.ok("enqueue", "train.py:f", "--name", name, "--trials", "1", "--memory", "50MB")
    Slow.answers = threading.Event()
    load = declared_wants.load_study
    monkeypatch.setattr(declared_wants, "installed", lambda: {"slow": None})
    monkeypatch.setattr(declared_wants, "load_study", lambda name: Slow(name) if name == "slow" else load(name))
    monkeypatch.setattr(declared_wants, "PATIENCE_S", 0.5)
    monkeypatch.setattr(declared_wants.DeclaredWants.ask, "__defaults__", (0.5,))
    found = Places(study.outputs / "fts.db", tmp_path)
    with open_database(found.db) as db:
        db.execute_sql("UPDATE job SET study = 'slow' WHERE id <= 3")
    yield found
    Slow.answers.set()


def slot_of(places: Places, *gpus: Gpu) -> Slot:
    sensors = detect.from_env(places.data, {"FTS_SENSORS": "none"})
    return Slot(0, places, WorkerSettings(2), sensors, MemoryPool(gpus))


@pytest.mark.parametrize("gpus", [(), (Gpu("GPU-a"),)], ids=["alike", "gpus"])
def test_jobs_of_a_study_that_does_not_answer_are_passed_over_until_it_does(
    places: Places, gpus: tuple[Gpu, ...]
) -> None:
    with open_database(places.db) as db:
        jobs, slot, crew = StartableJobs(db, WorkerSettings(2)), slot_of(places, *gpus), worker(db)
        began = time.monotonic()
        assert jobs.ahead(slot, ()) == dict.fromkeys((1, 2, 3), SILENCE)
        assert 0.4 < time.monotonic() - began < 3
        began = time.monotonic()
        for _ in range(50):
            passed = jobs.ahead(slot, ())
        assert time.monotonic() - began < 2, "it waits for a silent study once"
        assert passed == jobs.ahead(slot, {4, 5}) == dict.fromkeys((1, 2, 3), SILENCE), "also if no other is left"
        claim = transitions.claim(db, crew, 60.0, excluded=passed)
        assert claim is not None and claim.job_id == 4
        jobs.tell(passed, crew)
        jobs.tell(passed, crew)
        assert [e.verb for e in queries.events(db)].count("passed_over") == 1
        assert SILENCE in str(queries.job(db, 1).message)
        assert not jobs.declared.any_answered()
        Slow.answers.set()
        wait_until(jobs.declared.any_answered)
        assert not jobs.declared.any_answered()
        jobs.tell({}, crew)
        assert [queries.job(db, job).message for job in (1, 2, 3)] == [None] * 3
        assert jobs.ahead(slot, ()) == {}, "one that ends in an error fails once it is claimed"
        assert jobs.other(slot, 1, Want(gpus=9), ()) is None


def test_a_study_that_answers_in_time_keeps_its_place(places: Places) -> None:
    with open_database(places.db) as db:
        jobs = StartableJobs(db, WorkerSettings(2))
        threading.Timer(0.2, Slow.answers.set).start()
        assert jobs.ahead(slot_of(places, Gpu("GPU-a")), ()) == {}
        wait_until(lambda: not any(thread.name == "study slow" for thread in threading.enumerate()))


def test_a_specification_that_changes_while_its_study_is_asked_is_asked_again(places: Places) -> None:
    with open_database(places.db) as db:
        jobs, slot = StartableJobs(db, WorkerSettings(2)), slot_of(places)
        assert 1 in jobs.ahead(slot, ())
        db.execute_sql("UPDATE job SET spec_md5 = 'changed' WHERE id = 1")
        assert 1 in jobs.ahead(slot, ())
        Slow.answers.set()
        wait_until(jobs.declared.any_answered)
        assert jobs.ahead(slot, ()) == {} and jobs.declared.of(1, "changed") is not None


def test_slots_wait_a_few_seconds_for_a_job_that_another_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of its study may never return."""
    monkeypatch.setattr(shared_jobs, "CREATED_S", 0.3)
    shared, joined = SharedJobs(), []
    claims = [SimpleNamespace(job_id=n, job=SimpleNamespace(parallel=2, rank=n)) for n in (1, 2)]
    cell = SimpleNamespace(parallel=2, sampler="tpe")
    monkeypatch.setattr(shared_jobs, "parallel_of", lambda cell: cell.parallel)
    runner = SimpleNamespace(cell=cell, join=lambda slot: joined.append(slot) or True)
    for claim in claims:
        shared.claimed(claim)
    threading.Timer(0.1, shared.runs, (claims[1], runner)).start()
    began = time.monotonic()
    assert shared.join("slot") and joined == ["slot"] and 0.2 < time.monotonic() - began < 2
    began = time.monotonic()
    assert shared.join("slot") and time.monotonic() - began < 0.1, "not again"
    shared.runs(claims[0], runner)
    assert len(shared._in_queue_order()) == 2
    for claim in claims:
        shared.ends(claim)
    assert not shared.join("slot")
