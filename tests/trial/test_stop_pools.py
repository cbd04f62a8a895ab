"""Pools and data loaders of a function live until the checkpoint that a stop asks for."""

from __future__ import annotations

import multiprocessing.pool
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fts.jobs.api.protocol import STOPPED
from fts.jobs.supervisor import attempt as attempts
from fts.jobs.supervisor.attempt import Ended, RunningAttempt
from fts.jobs.supervisor.child import TrialProcess
from fts.jobs.supervisor.trial_end import message_of
from fts.jobs.trial import pools
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from tests.trial.harness import Fact, Record, attempt, cell_of, log_of, run_one, spec_of, start

POOLED = """
import contextlib, time
import fts

def slow(x):
    time.sleep(0.1)
    return float(x)

def objective(trial):
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": -1, "loss": 0.0}
    loss = state["loss"]
    with pool() as many:
        for epoch in range(state["epoch"] + 1, 4):
            loss += sum(work(many, epoch))
            trial.report(loss, epoch)
            checkpoint.save({"epoch": epoch, "loss": loss})
    return loss
"""
POOL = (
    "import multiprocessing as m\npool = lambda: m.get_context('{}').Pool(2)\nwork = lambda p, e: p.map(slow, [e, 1])\n"
)
KINDS = {
    "fork": POOL.format("fork"),
    "spawn": POOL.format("spawn"),
    "forkserver": POOL.format("forkserver"),
    "futures": """
import concurrent.futures
pool = lambda: concurrent.futures.ProcessPoolExecutor(2)
work = lambda p, e: p.map(slow, [e, 1])
""",
    "joblib": """
import joblib
pool = lambda: joblib.Parallel(n_jobs=2)
work = lambda p, e: p(joblib.delayed(slow)(x) for x in [e, 1])
""",
    "loader": """
import torch
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, n):
        return slow(n)
data = torch.utils.data.DataLoader(Data(), num_workers=2, persistent_workers=True)
pool = lambda: contextlib.nullcontext()
work = lambda p, e: [float(x) + e for x in data]
""",
    "program": """
import subprocess
pool = lambda: contextlib.nullcontext()
run = lambda e: subprocess.run(["sh", "-c", f"sleep 0.2; echo {e}"], capture_output=True, check=True)
work = lambda p, e: [float(run(e).stdout)]
""",
}
STARTS = ("spawn", "forkserver", "joblib")  # their pools start interpreters, which read the command line of the trial


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_lives_until_the_checkpoint_that_a_stop_asks_for(tmp_path: Path, kind: str) -> None:
    cell, record = cell_of(tmp_path, POOLED + KINDS[kind]), Record(0)
    asked: list[int] = []

    def act(child: TrialProcess, fact: Fact) -> bool:
        if fact["fact"] == "checkpoint" and not asked:
            asked.append(fact["epoch"])
            time.sleep(0.05)  # the pool is at the next epoch
            child.ask_to_stop()
        return False

    attempt(spec_of(cell, record, ()), record, (), act, forked=False)
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), log_of(cell)
    saved = [fact["epoch"] for fact in record.told if fact["fact"] == "checkpoint"]
    assert saved[-1] == max(record.epochs) > asked[0], "the epoch that it was at is not lost"
    attempt(spec_of(cell, record, ()), record, (), forked=kind not in STARTS)
    (tmp_path / "twin").mkdir()
    assert (
        record.outcome == run_one(cell_of(tmp_path / "twin", POOLED + KINDS[kind]), forked=kind not in STARTS).outcome
    )


DEAF = """
import subprocess
def objective(trial):
    trial.report(1, 0)
    subprocess.run(["sleep", "60"], check=True)
    return 1
"""


FOREIGN = """
import json, os, signal, sys, time
fd = int(sys.argv[sys.argv.index("--facts-fd") + 1])
def say(fact): os.write(fd, json.dumps({"fact": fact, "number": 0, "epoch": 0}).encode() + b"\\n")
signal.signal(signal.SIGTERM, lambda *_: (say("stopped"), sys.exit(75)))
say("epoch")
time.sleep(60)
"""


def how_it_stops(child: TrialProcess, spec: dict[str, Any], grace_s: float) -> tuple[Ended, float]:
    """How the attempt ends that is asked to stop a moment after its first epoch, and after how many seconds."""
    told: list[float] = []

    def take(fact: Fact) -> None:
        told.extend([time.monotonic()] if fact["fact"] == "epoch" else [])

    def wish() -> StopRequest | None:
        return StopRequest(StopReason.STOP) if told and time.monotonic() > told[0] + 0.3 else None

    with child:
        end = RunningAttempt(child, take, wish, 0.02, grace_s).run(spec, 0)
        return end.how, time.monotonic() - told[0]


def test_a_function_that_comes_to_no_report_gets_the_signal_before_the_grace_is_over(tmp_path: Path) -> None:
    spec = spec_of(cell_of(tmp_path, DEAF), Record(0), ())
    how, took = how_it_stops(start(spec, forked=False), spec.to_json(), grace_s=8.0)
    assert how is Ended.STOPPED and took > 5.9, "what it has started is asked, too, and its end ends the function"


def test_a_trainer_that_does_not_read_its_orders_gets_the_signal_early(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(attempts, "UNREAD_S", 0.5)
    child = TrialProcess([sys.executable, "-c", FOREIGN], tmp_path / "logs" / "trial.log")
    how, took = how_it_stops(child, {"cell": {}}, grace_s=60.0)
    assert how is Ended.STOPPED and took < 40


def runs(process: psutil.Process, program: str) -> bool:
    with suppress(psutil.Error):
        return process.name() == program
    return False


class Killed:
    """Asks the trial to stop once its program runs, and kills it a second later, as the watchdog's thread does."""

    def __init__(self, child: TrialProcess, says: StopRequest) -> None:
        self.child, self.says = child, says
        self.told: list[Fact] = []

    def wish(self) -> StopRequest | None:
        if self.child.poll() is not None:
            return self.says
        if not any(runs(process, "sleep") for process in self.child.tree()):  # its report would see the stop before
            return None
        threading.Timer(1.0, self.child.kill).start()
        return StopRequest(StopReason.STOP)


def test_a_trial_that_is_killed_while_it_is_to_stop_says_why(tmp_path: Path) -> None:
    for n, (says, message) in enumerate((
        (StopRequest(StopReason.KILL, "the trial holds 9 GB, its limit is 8 GB", kill=True), "the trial holds 9 GB"),
        (StopRequest(StopReason.PAUSE), "the trial process was killed by fts (train.py line 5)"),
    )):  # fmt: skip
        (tmp_path / str(n)).mkdir()
        spec = spec_of(cell_of(tmp_path / str(n), DEAF), Record(0), ())
        with start(spec, forked=False) as child:
            killed = Killed(child, says)
            end = RunningAttempt(child, killed.told.append, killed.wish, 0.02, 60.0).run(spec.to_json(), 0)
        assert end.how is Ended.DIED and end.stop_request == StopRequest(StopReason.STOP)
        assert end.facts["message"].startswith(message), end.facts


PENALTIES = """
import concurrent.futures, contextlib, multiprocessing, subprocess
import fts, optuna
trials = []

def program(epoch):
    ran = subprocess.run(["sh", "-c", f"sleep 0.4; echo {epoch}"], capture_output=True, text=True)
    return float(ran.stdout) if ran.returncode == 0 else 1000.0

def pruning(epoch):
    if (value := program(epoch)) == 1000.0:
        raise optuna.TrialPruned()
    return value

def drawing(epoch):
    return program(epoch) + float(trials[0].suggest_float(f"x{epoch}", 0, 1))

def pool(epoch):
    with concurrent.futures.ProcessPoolExecutor(1) as pool, contextlib.suppress(Exception):
        return pool.submit(program, epoch).result()
    return 1000.0

def child(epoch):
    process = multiprocessing.get_context("fork").Process(target=program, args=[epoch])
    process.start()
    process.join()
    return epoch if process.exitcode == 0 else 1000.0

def objective(trial):
    trials.append(trial)
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": -1, "loss": 0.0}
    loss = state["loss"]
    for epoch in range(state["epoch"] + 1, LAST):
        loss += HOW(epoch)
        trial.report(loss, epoch)
        checkpoint.save({"epoch": epoch, "loss": loss})
    return loss
"""


@pytest.mark.parametrize("last", [1, 3])
@pytest.mark.parametrize("how", ["program", "pruning", "drawing", "pool", "child"])
def test_a_value_made_of_a_program_that_the_signal_ended_is_not_on_record(tmp_path: Path, how: str, last: int) -> None:
    """SIGTERM to all of a trial, as an engine sends it: what the function makes of it is no epoch and no result."""
    body = PENALTIES.replace("HOW", how).replace("LAST", str(last))
    cell, record = cell_of(tmp_path, body), Record(0)
    asked: list[float] = []

    def act(child: TrialProcess, fact: Fact) -> bool:
        if fact["fact"] == ("started" if last == 1 else "checkpoint") and not asked:
            asked.append(time.monotonic())
            time.sleep(0.2)  # its program runs
            child.terminate()
        return False

    attempt(spec_of(cell, record, ()), record, (), act, forked=False)
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), log_of(cell)
    assert all(fact["value"] < 1000 for fact in record.told if fact["fact"] == "epoch"), log_of(cell)
    attempt(spec_of(cell, record, ()), record, ())
    (tmp_path / "twin").mkdir()
    assert record.outcome == run_one(cell_of(tmp_path / "twin", body)).outcome


LOSSES = {  # what the pool's process does -> how the sentence names its end
    "os.kill(os.getpid(), 9)": "ended by SIGKILL (the kernel without memory, or a person)",
    "os.kill(os.getpid(), 11)": "ended by SIGSEGV",
    "os._exit(3)": "ended with exit code 3",
}
LOSES = """
import multiprocessing, os
def lost(x):
    {}
def objective(trial):
    trial.report(1, 0)
    with multiprocessing.get_context("{}").Pool(1) as pool:
        return sum(pool.map(lost, [1]))
"""


@pytest.mark.parametrize(("kind", "how"), [("fork", how) for how in LOSSES] + [("spawn", "os._exit(3)")])
def test_a_trial_that_hangs_because_its_pool_lost_a_process_says_so(tmp_path: Path, kind: str, how: str) -> None:
    cell = cell_of(tmp_path, LOSES.format(how, kind))
    spec = spec_of(cell, Record(0), ()).to_json()

    def wish() -> StopRequest | None:
        stalled = "multiprocessing.Pool" in log_of(cell)
        return StopRequest(StopReason.STALLED, "no step: killed", kill=True) if stalled else None

    with start(spec_of(cell, Record(0), ()), forked=kind == "fork") as child:
        end = RunningAttempt(child, lambda _: None, wish, 0.02, 5.0).run(spec, 0)
    said = message_of(end)
    assert "no step: killed (train.py line 8); process " in said, said
    assert f"of a multiprocessing.Pool {LOSSES[how]}, and a Pool waits for its result for ever" in said, said
    assert log_of(cell).count("multiprocessing.Pool ended") == 1, "once"


def test_a_process_of_a_pool_that_ends_between_two_looks_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pools, "say", said.append)

    class EndsBetween:
        pid, codes = 7, [None, 3, 3, 3]

        @property
        def exitcode(self) -> int | None:
            return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]

        def join(self) -> None:
            pass

    joins = multiprocessing.pool.Pool._join_exited_workers  # type: ignore[attr-defined]
    module: Any = SimpleNamespace(Pool=type("Pool", (), {"_join_exited_workers": staticmethod(joins)}))
    pools._patch(module)
    pool = [EndsBetween()]
    while pool:
        module.Pool._join_exited_workers(pool)
    assert len(said) == 1 and said[0].startswith("process 7 of a multiprocessing.Pool ended with exit code 3")


def test_a_pool_that_ends_as_it_should_has_lost_nothing(tmp_path: Path) -> None:
    body = """
import multiprocessing
def half(x):
    return x / 2
def objective(trial):
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        first = sum(pool.map(half, range(6)))
    many = multiprocessing.Pool(2)
    second = sum(many.map(half, range(6)))
    many.close()
    many.join()
    return first + second
"""
    cell = cell_of(tmp_path, body)
    assert run_one(cell).end["value"] == 15.0 and "Pool" not in log_of(cell)
