"""Signals of a trial's process are a program's own, and a process that its code forks is not the trial."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from fts.jobs.api.protocol import STOPPED
from fts.jobs.supervisor.child import TrialProcess
from tests.trial.harness import Record, attempt, cell_of, log_of, run_one, spec_of
from tests.trial.test_stop import SAVES, stops_at, written

HANDLES = """
import signal
met = []
signal.signal(signal.SIGTERM, lambda *_: met.append("TERM"))
signal.signal(signal.SIGINT, lambda *_: met.append("INT"))
"""


def test_a_function_with_handlers_of_its_own_stops_with_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    undisturbed = run_one(cell_of(tmp_path / "a", HANDLES + written(SAVES, 0)))
    cell, record = cell_of(tmp_path, HANDLES + written(SAVES, 0.2)), Record(0)
    attempt(spec_of(cell, record, ()), record, (), stops_at("epoch", 2))
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), log_of(cell)
    assert record.told[-2]["fact"] == "checkpoint"
    attempt(spec_of(cell, record, ()), record)
    assert record.outcome == undisturbed.outcome


def test_the_handlers_of_a_function_are_its_own_in_what_it_forks_too(tmp_path: Path) -> None:
    body = """
    import os, signal, time
    def objective(trial):
        met = []
        signal.signal(signal.SIGTERM, lambda *_: met.append(1))
        os.kill(os.getpid(), signal.SIGTERM)
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(len(met))
        return 10 * os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + len(met)
    """
    record = run_one(cell_of(tmp_path, body))
    assert record.end.get("value") == 21, record.end
    assert not [fact for fact in record.told if fact["fact"] == "ends itself"], "the signal ended nothing"


ENDS_EARLY = """
import signal, time
import fts

def objective(trial):
    met = []
    signal.signal(signal.SIGTERM, lambda *_: met.append(1))
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": -1}
    for epoch in range(state["epoch"] + 1, LAST):
        steps = 0
        while steps < 30 and not met:
            time.sleep(0.05)
            steps += 1
        if LAST > 1:
            trial.report(steps, epoch)
            checkpoint.save({"epoch": epoch})
        if met:
            break
    return steps
"""


@pytest.mark.parametrize("last", [1, 3])
def test_what_a_handler_of_the_function_cuts_short_is_not_on_record(tmp_path: Path, last: int) -> None:
    """As the Trainer of transformers does with enable_jit_checkpoint: at SIGTERM it leaves its epoch, and returns."""
    body = ENDS_EARLY.replace("LAST", str(last))
    cell, record = cell_of(tmp_path, body), Record(0)

    def strikes(child: TrialProcess) -> None:
        time.sleep(0.3)  # it is in the middle of an epoch
        child.ask_to_stop()
        time.sleep(0.5)  # as a supervisor, which gives it minutes; else the signal may come before the request is read
        child.terminate()

    attempt(spec_of(cell, record, ()), record, (), stops_at("started" if last == 1 else "checkpoint", 1, strikes))
    assert (record.end["fact"], record.code) == ("stopped", STOPPED), log_of(cell)
    assert all(value == 30 for value in record.curve.values())
    attempt(spec_of(cell, record, ()), record)
    assert record.end["value"] == 30 and len(record.curve) == (0 if last == 1 else last)


INHERITS = """
import signal, subprocess, sys
def objective(trial):
    kills = 0
    for name in ("INT", "HUP", "QUIT", "TERM", "USR1"):
        kills += subprocess.run(["sh", "-c", f"kill -{name} $$; exit 0"]).returncode < 0
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
    ours = sum(1 << (number - 1) for number in signal.valid_signals())  # not those that the C library keeps for itself
    masks = [int(line.split()[1], 16) & ours for line in status.splitlines() if line.startswith(("SigIgn", "SigBlk"))]
    trial.set_user_attr("masks", masks)
    return kills
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the masks are in /proc")
@pytest.mark.parametrize("forked", [True, False])
def test_a_program_that_a_trial_starts_has_no_signal_ignored_or_blocked(tmp_path: Path, forked: bool) -> None:
    ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in ignored}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        record = run_one(cell_of(tmp_path, INHERITS), forked=forked)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert record.end.get("value") == 5, record.end
    assert record.end["user_attrs"]["masks"] == [0, 0]


RUNS_ON = {
    "returns": "return 7",
    "raises": "raise ValueError('of the child')",
    "exits": "sys.exit(3)",
    "stopped": "raise fts.Stopped",
    "interrupted": "raise KeyboardInterrupt",
}
CODES = {"returns": 0, "raises": 1, "exits": 3, "stopped": 1, "interrupted": 1}


@pytest.mark.parametrize("how", RUNS_ON)
def test_a_process_that_a_function_forks_is_not_the_trial(tmp_path: Path, how: str) -> None:
    body = f"""
    import os, sys, time
    import fts
    def objective(trial):
        checkpoint = fts.checkpoint(trial)
        checkpoint.save({{"n": 1}})
        trial.report(1, 0)
        pid = os.fork()
        if pid == 0:
            {RUNS_ON[how]}
        return 5 + os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """
    cell = cell_of(tmp_path, body)
    record = run_one(cell)
    assert record.end.get("value") == 5 + CODES[how], (record.end, log_of(cell))
    assert sum(fact["fact"] in ("result", "failed", "stopped") for fact in record.told) == 1
    assert ("of the child" in log_of(cell)) == (how == "raises"), "its error is in the log"


@pytest.mark.parametrize(
    "speaks",
    [
        "trial.report(9, 1)",
        "trial.suggest_float('y', 0, 1)",
        "checkpoint.save({'n': 2})",
        "fts.artifact(trial, __file__)",
        "trial.should_prune()",
    ],
)
def test_a_process_that_a_function_forks_does_not_speak_for_the_trial(tmp_path: Path, speaks: str) -> None:
    body = f"""
    import os
    import fts
    def objective(trial):
        trial.suggest_float("x", 0, 1)
        checkpoint = fts.checkpoint(trial)
        trial.report(1, 0)
        checkpoint.save({{"n": 1}})
        pid = os.fork()
        if pid == 0:
            {speaks}
            os._exit(0)
        os.waitpid(pid, 0)
        return len(list(checkpoint.dir.iterdir()))
    """
    cell = cell_of(tmp_path, body, pruner="median")
    record = run_one(cell)
    assert record.end.get("value") == 1, (record.end, log_of(cell))
    assert set(record.epochs) == {0} and set(record.params) == {"x"}
    assert "which its code has forked; report and save in the function's own process" in log_of(cell)


def test_a_module_that_forks_and_runs_on_is_one_trial(tmp_path: Path) -> None:
    body = """
    import os
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    def objective(trial):
        return 4
    """
    record = run_one(cell_of(tmp_path, body))
    assert record.end.get("value") == 4
    assert sum(fact["fact"] == "started" for fact in record.told) == 1
