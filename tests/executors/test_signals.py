"""An engine signals every process of its job, not the agent alone: nothing of that changes the record."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.executors.crew import WORKING, Crew
from tests.fts_process import wait_until

POOLED = """
import multiprocessing, subprocess, time
import fts

def slow(x):
    time.sleep(0.4)
    return float(x)

def program(epoch):
    ran = subprocess.run(["sh", "-c", f"sleep 0.4; echo {epoch}"], capture_output=True, text=True)
    return float(ran.stdout) if ran.returncode == 0 else 1000.0

def objective(trial, size="S"):
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": -1, "loss": trial.suggest_float("x", 0.0, 1.0)}
    loss = state["loss"]
    with multiprocessing.Pool(1) as pool:  # which waits for ever once its worker is gone
        for epoch in range(state["epoch"] + 1, 4):
            loss += program(epoch) if size == "S" else pool.map(slow, [epoch])[0]
            trial.report(loss, epoch)
            checkpoint.save({"epoch": epoch, "loss": loss})
    return loss
"""


def crew_in(folder: Path, size: str, **environ: str) -> Crew:
    folder.mkdir(exist_ok=True)
    crew = Crew(folder, trials=1)
    (folder / "train.py").write_text(POOLED)
    crew.study.environ |= environ
    crew.study.ok("enqueue", "train.py:objective", "--trials", "1", "-m", f"size={size}")
    return crew


def ours(crew: Crew) -> Iterator[psutil.Process]:
    """Processes of the nodes that live, wherever they hang in the tree."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("FTS_SCRATCH") != crew.study.environ["FTS_SCRATCH"]:
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.Error, OSError):
            continue


def strike(crew: Crew, number: signal.Signals) -> None:
    """Signals an agent and all below it at one moment, as an engine does.

    All are suspended until the last one has the signal: on a busy machine a trial could see its program end first.
    """
    (row,) = crew.study.query(WORKING)
    (pid,) = crew.agents(row["host"])
    agent = psutil.Process(pid)
    tree = [*reversed(agent.children(recursive=True)), agent]
    for each in (signal.SIGSTOP, number):
        for process in tree:
            with contextlib.suppress(ProcessLookupError):  # a program of a step that has just ended
                os.kill(process.pid, each)
    for process in reversed(tree):  # a parent has received the signal before it sees that its program ends
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        wait_until(lambda process=process: not is_pending(process.pid, number))


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Whether the kernel still holds the signal for the process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return "\nState:\tZ" not in status and any(mask >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("size", ["S", "M"])  # a program, a pool
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_an_engine_that_signals_all_of_a_job_changes_no_number(
    tmp_path: Path, number: signal.Signals, size: str
) -> None:
    crew = crew_in(tmp_path / "crew", size, SLURM_JOB_ID="4711")
    worker = crew.start("a:1")
    wait_until(lambda: crew.study.query(WORKING))
    strike(crew, number)
    wait_until(lambda: crew.study.query("SELECT 1 FROM attempt WHERE how = 'preempted'"), 200)  # at most the grace
    gained = crew.study.one("SELECT count(*) FROM epoch e JOIN attempt a ON e.at <= a.ended_at AND a.how = 'preempted'")
    assert worker.wait(120) == 0, crew.said()
    here = crew_in(tmp_path / "here", size)
    here.study.ok("worker", "--until-empty", "--threads", "1")
    assert crew.record() == here.record(), crew.said()
    if number == signal.SIGUSR1:  # after a warning no epoch is repeated
        (log,) = crew.study.outputs.glob("logs/train_*_t0000.log")
        assert f"resumed from checkpoint-{gained:06}" in log.read_text(), crew.said()
    assert crew.leftovers() == [] and list(ours(crew)) == []
