"""A trial that is asked to stop ends where nothing is lost, and goes on from there."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.api.protocol import STOPPED
from fts.jobs.supervisor.child import TrialProcess
from fts.jobs.trial.process import SignalHandlers
from tests.trial.harness import PATIENCE_S, Record, attempt, cell_of, log_of, run_one, spec_of, start

REPORTS = """
import os
import signal
import time

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    for epoch in range(6):
        time.sleep(WAIT)
        trial.report(x + epoch, epoch)
    return x
"""
SAVES = """
import random, time
import optuna
import fts

def objective(trial):
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": -1, "loss": 1.0}
    loss = state["loss"]
    try:
        for epoch in range(state["epoch"] + 1, 6):
            time.sleep(WAIT)
            loss *= random.random()
            trial.report(loss, epoch)
            checkpoint.save({"epoch": epoch, "loss": loss})
            if trial.should_prune():
                raise optuna.TrialPruned()
    except Exception:
        loss = -1.0  # what people write around training must not swallow a stop
    return loss
"""


def written(body: str, wait: float) -> str:
    return body.replace("WAIT", str(wait))


def stops_at(kind: str, n: int, how: Any = TrialProcess.ask_to_stop) -> Any:
    seen: list[Any] = []

    def act(child: TrialProcess, fact: dict[str, Any]) -> bool:
        seen.extend([fact] if fact["fact"] == kind else [])
        if len(seen) == n and seen[-1] is fact:
            how(child)
        return False

    return act


@pytest.mark.parametrize("how", [TrialProcess.ask_to_stop, TrialProcess.close_stdin])
def test_a_function_without_checkpoints_ends_at_its_next_report(tmp_path: Path, how: Any) -> None:
    cell, record = cell_of(tmp_path, written(REPORTS, 0.2)), Record(0)
    attempt(spec_of(cell, record, ()), record, (), stops_at("epoch", 1, how), forked=False)
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), log_of(cell)
    assert len(record.epochs) <= 3, "it did not train on"
    attempt(spec_of(cell, record, ()), record)
    assert record.end["fact"] == "result" and len(record.epochs) == 6


@pytest.mark.parametrize(("pruner", "how"), [("none", TrialProcess.ask_to_stop), ("median", TrialProcess.ask_to_stop)])
def test_a_function_with_checkpoints_ends_after_one_and_goes_on_from_it(tmp_path: Path, pruner: str, how: Any) -> None:
    (tmp_path / "a").mkdir()
    undisturbed = run_one(cell_of(tmp_path / "a", written(SAVES, 0), pruner=pruner))
    cell, record = cell_of(tmp_path, written(SAVES, 0.2), pruner=pruner), Record(0)
    attempt(spec_of(cell, record, (), checkpoint_every_s=60.0), record, (), stops_at("epoch", 2, how))
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), log_of(cell)
    saved = [fact for fact in record.told if fact["fact"] == "checkpoint"]
    assert saved[-1]["epoch"] == max(record.epochs), "its last epoch is in the checkpoint"
    attempt(spec_of(cell, record, ()), record)
    assert record.outcome == undisturbed.outcome
    assert f"resumed from {Path(saved[-1]['path']).name}" in log_of(cell)


def test_a_supervisor_that_dies_before_it_judges_leaves_a_trial_that_goes_on_equal(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    undisturbed = run_one(cell_of(tmp_path / "a", written(SAVES, 0), pruner="median"))
    cell, record = cell_of(tmp_path, written(SAVES, 0), pruner="median"), Record(0)
    spec = spec_of(cell, record, ())
    with start(spec, forked=True) as child:
        child.send({"do": "run", "spec": spec.to_json()})
        until = time.monotonic() + PATIENCE_S
        while not any(fact["fact"] == "judge" for fact in record.told) and time.monotonic() < until:
            for fact in child.facts(1.0):
                record.take(fact)
        child.close_stdin()
        assert child.wait(PATIENCE_S) == STOPPED
    attempt(spec_of(cell, record, ()), record)
    assert record.outcome == undisturbed.outcome


def test_an_error_after_a_stop_is_no_failure_of_the_trial(tmp_path: Path) -> None:
    body = """
    import os, signal, time
    def objective(trial):
        trial.report(1, 0)
        os.kill(os.getpid(), signal.SIGTERM)  # as a data loader sees it whose workers the stop ended
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal")
    """
    record = run_one(cell_of(tmp_path, body))
    assert (record.end["fact"], record.code) == ("stopped", STOPPED)


def test_a_function_that_swallows_the_stop_has_no_result(tmp_path: Path) -> None:
    body = """
    import os, signal
    def objective(trial):
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            trial.report(1, 0)
        except BaseException:
            return 5
    """
    assert run_one(cell_of(tmp_path, body)).end["fact"] == "stopped"


def test_a_signal_that_meets_a_process_as_it_is_forked_is_not_lost() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    handlers = SignalHandlers({signal.SIGTERM: signal.getsignal(signal.SIGTERM)})
    try:
        handlers.before()
        pid = os.fork()
        if pid == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                handlers.in_child()
            finally:
                os._exit(0)
        handlers.in_parent()
        assert os.waitpid(pid, 0)[1] == signal.SIGTERM
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_workers_that_a_function_forks_end_when_they_are_told_to(tmp_path: Path) -> None:
    body = """
    import multiprocessing, time
    def objective(trial):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = sum(pool.map(abs, [-1, -2]))
        return found  # leaving the pool ends its workers by SIGTERM, and waits for them
    """
    assert run_one(cell_of(tmp_path, body)).end["value"] == 3


def test_two_trials_share_nothing_but_what_lies_on_the_disk(tmp_path: Path) -> None:
    body = "seen = []\ndef objective(trial):\n    seen.append(1)\n    return len(seen)"
    cell = cell_of(tmp_path, body)
    assert [run_one(cell, n).end["value"] for n in range(2)] == [1, 1]


PROGRAM_ENDS = {
    "an error": 'subprocess.run(["sh", "-c", "kill -TERM $$"], check=True)',
    "a wrong result": 'subprocess.run(["sh", "-c", "kill -TERM $$"])',
    "below a shell": """subprocess.run(["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"])""",
    "a pool": "ProcessPoolExecutor(1).submit(ends).result()",
}
SIGNALLED = """
import os, signal, subprocess
from concurrent.futures import ProcessPoolExecutor

def ends():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)

def objective(trial):
    if LATER:
        subprocess.Popen(["sh", "-c", f"sleep 0.15; kill -TERM {os.getpid()}"])
    ENDS
    return 1.0
"""


def in_a_process(cell: Any) -> Record:
    """Runs a trial that starts programs, in a process that is no fork of the tests."""
    record = Record(0)
    attempt(spec_of(cell, record, ()), record, forked=False)
    return record


@pytest.mark.parametrize("ends", PROGRAM_ENDS)
def test_a_program_that_an_engine_ends_before_the_trial_itself_fails_no_trial(tmp_path: Path, ends: str) -> None:
    body = SIGNALLED.replace("ENDS", PROGRAM_ENDS[ends])
    record = in_a_process(cell_of(tmp_path, body.replace("LATER", "True")))
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), record.end
    alone = in_a_process(cell_of(tmp_path, body.replace("LATER", "False")))
    assert alone.end["fact"] == ("failed" if ends in ("an error", "a pool") else "result")


POOR = """
import asyncio, multiprocessing, os, signal, subprocess, time
from concurrent.futures import ProcessPoolExecutor
import fts

DIES = "kill -TERM $$"

def ends():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)

async def program():
    return await (await asyncio.create_subprocess_exec("sh", "-c", DIES)).wait()

def process():
    forked = multiprocessing.Process(target=ends)
    forked.start()
    forked.join()
    return forked.exitcode

def pool():
    try:
        return ProcessPoolExecutor(1).submit(ends).result()
    except Exception:
        return -1

def objective(trial):
    checkpoint = fts.checkpoint(trial)
    subprocess.Popen(["sh", "-c", f"sleep 0.15; kill -TERM {os.getpid()}"])
    loss = 0.0 if BY == 0 else 1000.0
    RECORDS
    return 1.0
"""
ENDED_BY = {
    "subprocess": 'subprocess.run(["sh", "-c", DIES]).returncode',
    "os.system": "os.system(DIES)",
    "asyncio": "asyncio.run(program())",
    "multiprocessing": "process()",
    "a pool": "pool()",
}
RECORDED_BY = {
    "a report": "trial.report(loss, 0)",
    "a checkpoint": "checkpoint.save({'loss': loss})",
    "a drawn value": "trial.suggest_float('x', loss, loss + 1)",
}


@pytest.mark.parametrize(
    ("by", "records"),
    [*((by, "a report") for by in ENDED_BY), *(("subprocess", to) for to in RECORDED_BY if to != "a report")],
)
def test_the_poor_value_of_a_program_that_an_engine_has_just_ended_is_not_recorded(
    tmp_path: Path, by: str, records: str
) -> None:
    body = POOR.replace("BY", ENDED_BY[by]).replace("RECORDS", RECORDED_BY[records])
    record = in_a_process(cell_of(tmp_path, body))
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), record.end
    assert {fact["fact"] for fact in record.told}.isdisjoint({"epoch", "report", "checkpoint", "draw"})


def test_nor_is_it_when_the_stop_command_came_before_the_signal(tmp_path: Path) -> None:
    first = "trial.report(0.5, 0); time.sleep(0.3); subprocess.Popen("
    body = POOR.replace("subprocess.Popen(", first).replace("BY", ENDED_BY["subprocess"])
    cell, record = cell_of(tmp_path, body.replace("RECORDS", "trial.report(loss, 1)")), Record(0)
    attempt(spec_of(cell, record, ()), record, (), stops_at("epoch", 1), forked=False)
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), record.end
    assert record.curve == {0: 0.5}


def test_a_program_that_the_function_itself_ends_makes_no_trial_wait(tmp_path: Path) -> None:
    body = """
    import subprocess, time
    from fts.jobs.trial.signalled import signalled
    def objective(trial):
        server = subprocess.Popen(["sleep", "60"])
        server.terminate()
        server.wait()
        return float(signalled.until > time.monotonic())
    """
    assert in_a_process(cell_of(tmp_path, body)).end["value"] == 0.0


def test_functions_of_python_that_a_trial_has_replaced_go_to_a_pool_and_become_no_methods(tmp_path: Path) -> None:
    body = """
    import multiprocessing, os, pickle, signal
    def objective(trial):
        class Runs:
            system, kill, end = os.system, os.kill, os._exit
        assert Runs().system("exit 3") >> 8 == 3 and Runs().kill(os.getpid(), 0) is None
        with multiprocessing.Pool(1) as pool:
            assert pool.map(os.system, ["true", "true"]) == [0, 0]
        for function in (os.kill, os.killpg, os.system, os.waitpid, os._exit, signal.raise_signal):
            assert pickle.loads(pickle.dumps(function)) is function
        return 1.0
    """
    record = in_a_process(cell_of(tmp_path, body))
    assert record.end["fact"] == "result", record.end


def test_a_process_that_a_pool_saw_end_before_it_could_be_waited_for_is_noticed(tmp_path: Path) -> None:
    body = """
    import os, signal, time
    from concurrent.futures import ProcessPoolExecutor
    from fts.jobs.trial.signalled import SIGNALLED_S, signalled
    def ends():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    def objective(trial):
        missed = 0
        for _ in range(40):
            began = time.monotonic()
            try:
                ProcessPoolExecutor(1).submit(ends).result()
            except Exception:
                missed += signalled.until < began + SIGNALLED_S
        return float(missed)
    """
    record = in_a_process(cell_of(tmp_path, body))
    assert (record.end["fact"], record.end["value"]) == ("result", 0.0), record.end
