"""The code of an installed study that does not return holds no slot, and an order ends the wait for it."""

from __future__ import annotations

import re
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.supervisor import study_calls
from fts.jobs.supervisor.orders import Orders
from fts.jobs.supervisor.study_calls import CALLS, HOOKS, QUESTIONS, CalledStudy, NotReturned
from fts.jobs.watchdog.stop_request import StopReason
from fts.jobs.worker.slot_watch import SlotWatch
from tests.fts_process import Study, wait_until

OWN = """
import os, time
from pathlib import Path
from fts.jobs.api.command import BareStudy

class S(BareStudy):
    is_bare = False

    def __init__(self):
        super().__init__("own")

    def params(self, cell, number):
        while number == 1 and Path("hangs").exists():
            time.sleep(0.05)
        return super().params(cell, number)

    def after_trial(self, finished):
        Path("in_hook").touch()
        while Path("hook_hangs").exists():
            time.sleep(0.05)
        if Path("hooks_fail").exists():
            raise KeyError("of a trial")

    def after_job(self, finished):
        if Path("hooks_fail").exists():
            raise ValueError("of a job")
"""


def own_study(folder: Path, **environ: str) -> Study:
    """A study of an installed package beside functions."""
    study, site = Study(folder / "study", starts=True, **environ), folder / "site"
    (site / "own-1.dist-info").mkdir(parents=True)
    (site / "own-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (site / "own-1.dist-info" / "entry_points.txt").write_text("[fts.studies]\nown = own_study:S\n")
    (site / "own_study.py").write_text(OWN)
    study.environ["PYTHONPATH"] += f":{site}"
    (study.folder / "train.py").write_text("def f(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    return study


def of_own(study: Study, job_id: int) -> None:
    connection = sqlite3.connect(study.outputs / "fts.db")
    connection.execute("UPDATE job SET study = 'own' WHERE id = ?", (job_id,))
    connection.commit()
    connection.close()


def trials(study: Study, job_id: int) -> Any:
    return study.query(f"SELECT number, status, value, params FROM trial WHERE job_id = {job_id} ORDER BY number")


def test_a_study_that_hangs_in_a_slot_lets_other_jobs_pass_and_continues_when_it_returns(tmp_path: Path) -> None:
    study = own_study(tmp_path, FTS_STUCK_S="1")
    for name, number in (("first", "3"), ("other", "1"), ("twin", "3")):
        study.ok("enqueue", "train.py:f", "--name", name, "--trials", number)
    of_own(study, 1)
    (study.folder / "hangs").touch()
    worker = study.start("worker", "--slots", "1", "--until-empty")
    wait_until(lambda: study.one("SELECT status FROM job WHERE id = 3") == "done")
    told = study.ok("why", "1")
    assert "the study own did not return from params() within 1 s: it is in params (site/own_study.py, line 1" in told
    assert "it starts once the study has answered; `fts pause 1`" in told
    assert "first cannot start: the study own did not return from params()" in study.fts("status").out
    assert [one["status"] for one in trials(study, 1)] == ["complete"]
    (study.folder / "hangs").unlink()
    assert worker.wait(60) == 0
    assert study.one("SELECT status FROM job WHERE id = 1") == "done"
    assert trials(study, 1) == trials(study, 3), "nothing is lost or drawn again"


def test_a_hook_that_raises_takes_no_result_and_that_of_a_job_runs_again(tmp_path: Path) -> None:
    study = own_study(tmp_path)
    for name in ("first", "twin"):
        study.ok("enqueue", "train.py:f", "--name", name, "--trials", "2")
    of_own(study, 1)
    (study.folder / "hooks_fail").touch()
    study.ok("worker", "--until-empty")
    (job, twin) = study.query("SELECT status, message, attempt FROM job ORDER BY id")
    assert (job["status"], job["attempt"], twin["status"]) == ("failed", 1, "done")
    assert job["message"] == (
        "after_job() of the study own failed: of a job (ValueError, own_study.py line 26); all trials have ended and "
        "keep their results; repair it, then `fts retry 1` calls it again"
    )
    warned = study.query("SELECT message FROM event WHERE verb = 'warned' ORDER BY id")
    assert [one["message"].rpartition("; ")[2] for one in warned] == [
        f"t{n} keeps its result, and the job continues without this call" for n in (0, 1)
    ]
    assert (
        "after_trial() of the study own failed: 'of a trial' (KeyError, own_study.py line 22)" in warned[0]["message"]
    )
    before = trials(study, 1)
    assert before == trials(study, 2)
    assert study.ok("best", "first") == study.ok("best", "twin")
    (study.folder / "hooks_fail").unlink()
    assert "nothing is left to run" in study.ok("retry", "1")
    study.ok("worker", "--until-empty")
    assert study.one("SELECT status FROM job WHERE id = 1") == "done" and trials(study, 1) == before


def test_a_worker_that_is_asked_twice_to_stop_ends_without_a_hook_that_hangs_and_loses_nothing(tmp_path: Path) -> None:
    study = own_study(tmp_path, FTS_STUCK_S="0.2")
    for name in ("first", "twin"):
        study.ok("enqueue", "train.py:f", "--name", name, "--trials", "2")
    of_own(study, 1)
    (study.folder / "hook_hangs").touch()
    worker = study.start("worker", "--slots", "1")
    wait_until((study.folder / "in_hook").exists)
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: study.query("SELECT id FROM event WHERE verb = 'slot_stuck' AND message LIKE '%after_trial()%'"))
    assert "in after_trial() of the study own" in (told := study.fts("status").out), told
    assert f"`kill {worker.pid}` ends it sooner; nothing is lost" in told
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    (job,) = study.query("SELECT status, cause, message FROM job WHERE id = 1")
    assert (job["status"], job["cause"]) == ("queued", "drained")
    assert re.match(
        r"stopped without waiting for slot 0, for .* in after_trial\(\) of the study own, in", job["message"]
    )
    (study.folder / "hook_hangs").unlink()
    study.ok("worker", "--until-empty")
    assert trials(study, 1) == trials(study, 2), "nothing is lost or drawn again"


class Asked:
    name = "own"

    def __init__(self) -> None:
        self.over = threading.Event()

    def params(self, wait_s: float, error: BaseException | None = None) -> int:
        self.over.wait(wait_s)
        if error is not None:
            raise error
        return threading.get_ident()

    after_job = params


def test_a_question_is_left_for_an_order_or_for_another_job_and_never_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study_calls, "LOOK_S", 0.02)
    monkeypatch.setattr(study_calls, "ORDER_S", 0.2)
    asked, orders, others = Asked(), [], []
    study: Any = CalledStudy(asked, 0.4, lambda: orders[0] if orders else None, lambda: bool(others))  # type: ignore[arg-type]
    assert study.name == "own"
    mine = threading.get_ident()
    assert study.params(0) != mine and study.params(0) == study.params(0), "its own thread, used again"
    assert study.after_job(0) == mine, "a hook runs in the thread of the slot"
    for error in (ValueError("wrong"), SystemExit(3)):
        with pytest.raises(type(error)):
            study.params(0, error)
    assert study.params(0.8), "no order and no other job: it waits for the answer"
    for order, other, least_s in ((StopReason.STOP, [], 0.2), (StopReason.DRAIN, [], 0.4), (None, [1], 0.4)):
        orders[:], others[:] = [order] if order else [], other
        began = time.monotonic()
        with pytest.raises(
            NotReturned, match=r"^the study own did not return from params\(\) within .*: it is in "
        ) as e:
            study.params(60)
        assert least_s <= time.monotonic() - began < 30
        assert "in params\n" in e.value.stack and e.value.thread.is_alive()
        asked.over.set()
        e.value.thread.join(60)
        assert not e.value.thread.is_alive()
        asked.over.clear()
    assert not CALLS


def test_a_slot_that_waits_for_a_call_of_a_study_is_reported_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for orders meanwhile if the call is a question."""
    monkeypatch.setattr(study_calls, "LOOK_S", 0.02)
    asked, orders, now, said = Asked(), Orders(), [0.0], list[tuple[str, str]]()
    watch = SlotWatch(orders, 10.0, 60.0, lambda verb, text, data: said.append((verb, text)), lambda: now[0])
    study: Any = CalledStudy(asked, 600.0, lambda: orders.for_job(1), lambda: False)  # type: ignore[arg-type]
    for method in ("params", "after_job"):

        def work(method: str = method) -> None:
            with watch.working(0):
                getattr(study, method)(60)

        slot = threading.Thread(target=work)
        slot.start()
        wait_until(lambda: CALLS, every_s=0.01)
        for _ in range(4):
            now[0] += 5.0
            watch.look()
            time.sleep(0.1)
        asked.over.set()
        slot.join(60)
        asked.over.clear()
        watch.look()
        (stuck, works), said[:] = said[:], []
        hook = ", which is not interrupted because it may be writing" if method == "after_job" else ""
        assert f"it is in {method}() of the study own{hook}, in wait (python" in stuck[1].replace("lib/", ""), stuck
        assert ", called by params (jobs/test_study_calls.py, line " in stuck[1]
        assert (stuck[0], works[0]) == ("slot_stuck", "slot_works")


def test_each_method_that_the_runner_calls_is_a_question_or_a_hook() -> None:
    """One that is neither would be called unwatched."""
    found = set[str]()
    for path in Path(study_calls.__file__).parent.glob("*.py"):
        found |= set(re.findall(r"\bstudy\.(\w+)\(", path.read_text()))
    assert "params" in found and "after_trial" in found
    assert found <= QUESTIONS | HOOKS
