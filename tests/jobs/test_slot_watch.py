"""A slot whose thread does nothing is reported, with the line at which it is; one that works or waits never is."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.records import exports
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.status.event_groups import NEWSWORTHY, SLOT_STUCK, SLOT_WORKS, stuck_sentence
from fts.jobs.supervisor.orders import Orders
from fts.jobs.supervisor.parallel_trials import ParallelTrials
from fts.jobs.supervisor.study_calls import calling
from fts.jobs.worker.console import Console
from fts.jobs.worker.slot_watch import SlotWatch
from fts.jobs.worker.worker import run_job
from fts.state import queries
from fts.state.db import open_database
from fts.state.errors import DatabaseBusy
from fts.state.values import WorkerOrder
from tests.fts_process import Study


class Watched:
    """A slot's thread that does what the test says, and a clock of the test."""

    def __init__(self, stuck_s: float = 60.0) -> None:
        self.now, self.said, self.fails, self.calls = 0.0, [], False, False
        self.orders = Orders()
        self.watch = SlotWatch(self.orders, stuck_s, 120.0, self.report, lambda: self.now)
        self.go, self.done, self.over = threading.Semaphore(0), threading.Semaphore(0), False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.done.acquire()

    def report(self, verb: str, message: str, data: dict[str, Any]) -> None:
        if self.fails:
            raise DatabaseBusy("locked")
        self.said.append((verb, message, data["slot"]))

    def run(self) -> None:
        with self.watch.working(3):
            self.done.release()
            while self.go.acquire() and not self.over:
                self.orders.for_job(1)
                while self.calls:
                    with calling("after_job() of the study own, which is not interrupted"):
                        self.done.release()
                        self.go.acquire()
                self.done.release()
        self.done.release()

    def works(self, over: bool = False) -> None:
        self.over = over
        self.go.release()
        self.done.acquire()

    def passes(self, seconds: float, by: float = 5.0) -> None:
        for _ in range(int(seconds / by)):
            self.now += by
            self.watch.look()


def test_only_a_thread_that_does_nothing_is_reported_and_once(caplog: pytest.LogCaptureFixture) -> None:
    one = Watched()
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            one.passes(55)
            one.works()
        one.passes(55, by=50.0)  # the worker itself was stopped meanwhile
        assert one.said == []
        one.passes(55)
        one.passes(300)
    ((verb, message, slot),) = one.said
    assert (verb, slot) == ("slot_stuck", 3)
    assert message.startswith("slot 3 has done nothing for 60 s: it is in ")
    assert ", called by run (jobs/test_slot_watch.py, line " in message
    assert ", in run" in caplog.text and ", in _bootstrap\n" in caplog.text, "the stack"
    one.works()
    one.passes(5)
    assert one.said[1:] == [("slot_works", "slot 3 works again, after 6 min", 3)]
    one.works(over=True)
    one.passes(600)
    assert len(one.said) == 2, "it has ended"


def test_a_report_reads_no_source_file_which_may_be_on_the_disk_that_hangs(tmp_path: Path) -> None:
    """A traceback with its source lines would stop the heartbeats, too: nobody writes to this pipe."""
    os.mkfifo(path := tmp_path / "pipe.py")
    names: dict[str, Any] = {}
    exec(compile("def hangs(over):\n    over.wait()\n", str(path), "exec"), names)
    now, said, over, ready = [0.0], [], threading.Event(), threading.Event()
    watch = SlotWatch(Orders(), 10.0, 120.0, lambda *words: said.append(words), lambda: now[0])

    def work() -> None:
        with watch.working(0):
            ready.set()
            names["hangs"](over)

    def look() -> None:
        for _ in range(4):
            now[0] += 5.0
            watch.look()

    threads = [threading.Thread(target=each, daemon=True) for each in (work, look)]
    threads[0].start()
    assert ready.wait(60)
    threads[1].start()
    threads[1].join(60)
    over.set()
    assert not threads[1].is_alive() and len(said) == 1


def test_a_report_that_cannot_be_written_is_written_later_also_the_end() -> None:
    one = Watched()
    one.fails = True
    for _ in range(3):
        with pytest.raises(DatabaseBusy):
            one.passes(70)
    one.fails = False
    one.passes(5)
    assert [verb for verb, *_ in one.said] == ["slot_stuck"]
    one.works(over=True)
    one.thread.join()
    one.fails = True
    with pytest.raises(DatabaseBusy):
        one.passes(5)
    one.fails = False
    one.passes(5)
    assert [verb for verb, *_ in one.said] == ["slot_stuck", "slot_works"]


def test_a_worker_that_was_asked_to_stop_waits_for_a_hook_only_for_the_time_of_a_trial() -> None:
    """And not at all if it was asked twice; any other thread has a little more time, and one that works has all."""
    for asks, inside, waits_s in ((1, True, 120), (2, True, 10), (1, False, 150), (2, False, 150)):
        one = Watched()
        one.calls = inside
        one.works()
        one.passes(900)
        assert not one.watch.gives_up(), "nobody has asked it to stop"
        for _ in range(asks):
            one.orders.signal(WorkerOrder.STOP, "Ctrl-C")
        one.passes(waits_s - 5)
        assert not one.watch.gives_up(), (asks, inside)
        one.passes(5)
        (left,) = one.watch.gives_up()
        assert left.startswith("slot 3, for ") and ("in after_job() of the study own, in wait" in left) == inside, left
        one.calls = False
        one.works()
        one.passes(5)
        assert not one.watch.gives_up(), "it works again"
        one.works(over=True)
    database = Orders()
    for _ in range(3):
        database.from_database(WorkerOrder.STOP, {})
    assert database.stops_asked == 1
    database.signal(WorkerOrder.STOP, "SIGTERM")
    database.from_database(WorkerOrder.STOP, {})
    assert database.stops_asked == 2


def test_a_call_of_a_study_that_keeps_a_job_from_its_order_is_reported_after_ten_seconds() -> None:
    one = Watched(900.0)
    one.calls = True
    one.works()
    one.passes(60)
    assert one.said == []
    one.orders.from_database(None, {2: "cancel"})
    one.passes(5)
    assert one.said == [], "that of another job"
    one.orders.from_database(None, {1: "cancel"})
    one.passes(5)
    assert [verb for verb, *_ in one.said] == ["slot_stuck"]
    one.calls = False
    one.works()
    one.works(over=True)


def test_a_leading_slot_that_waits_for_another_still_looks_for_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fts.jobs.supervisor.parallel_trials.LOOK_S", 0.01)
    looks, looked = [], threading.Event()

    def look() -> None:
        looks.append(1)
        if len(looks) > 3:
            looked.set()

    one: Any = ParallelTrials(2, lambda live: None, bool, bool, lambda live: False, bool, look)
    one._live.add(7)
    leads = threading.Thread(target=one.lead, args=(None,))
    leads.start()
    assert looked.wait(60)
    with one._changed:
        one._live.discard(7)
        one._changed.notify_all()
    leads.join(60)
    assert not leads.is_alive()


def test_a_worker_whose_disk_does_not_answer_says_where_it_is_and_works_on_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path / "study")
    (study.folder / "f.py").write_text("def objective(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    study.fts("enqueue", "f.py:objective", "--trials", "2")
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    answers, real, path = threading.Event(), exports.export_trials, study.outputs / "fts.db"
    events: list[Any] = []

    def reports() -> None:
        db = open_database(path)
        while not events:
            found = queries.events(db, verbs=["slot_stuck"])  # on a busy machine also one of another place
            events.extend(event for event in found if "in hangs" in event.message)
        db.close()
        answers.set()

    def hangs(*given: Any) -> None:
        if not answers.is_set():
            read_end, write_end = os.pipe()
            threading.Thread(target=lambda: answers.wait() and os.close(write_end)).start()
            os.read(read_end, 1)
            os.close(read_end)
        real(*given)

    monkeypatch.setattr(exports, "export_trials", hangs)
    person = threading.Thread(target=reports)
    person.start()
    settings = WorkerSettings(poll_s=0.05, stuck_s=0.3, stop_grace_s=0.3, stall={})
    assert run_job(Places(path, study.folder), settings, 1, Console(live=False)) == 0
    person.join()
    db = open_database(path)
    (stuck,) = events
    said = stuck.message
    assert "it is in the export of its results, in hangs (jobs/test_slot_watch.py, line " in said, said
    assert stuck_sentence(stuck, stuck.at) == said and "for 10 min: it is in" in stuck_sentence(stuck, stuck.at + 600)
    (trial, other) = queries.trials(db, 1)
    assert (trial.status, other.status) == ("complete", "complete")
    db.close()


def test_a_stuck_slot_is_news_of_the_first_screen() -> None:
    assert {SLOT_STUCK, SLOT_WORKS} <= NEWSWORTHY
