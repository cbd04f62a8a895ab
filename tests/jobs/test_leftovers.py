"""What trials have started is ended although worker and trial process were killed at the same moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fts.jobs.supervisor import leftovers
from fts.jobs.supervisor.process_tree import is_living, started_at
from tests.fts_process import Study, wait_until

BODY = """
    import os, subprocess, sys, time, multiprocessing
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        pids = open("pids.txt", "a")
        for words in (["sleep", "600"], ["sh", "-c", "trap '' TERM; sleep 600 & sleep 600"]):
            for apart in (False, True):
                print(subprocess.Popen(words, start_new_session=apart).pid, file=pids, flush=True)
        if os.fork() == 0:  # what it starts has no parent any more
            os.setsid()
            print(subprocess.Popen(["sleep", "600"]).pid, file=pids, flush=True)
            os._exit(0)
        os.wait()
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
        process.start()
        print(process.pid, file=pids, flush=True)
        for step in range(10):
            trial.report(x, step)
            time.sleep(1 if os.path.exists("slowly") else 0)
        return x
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an environment cannot always be read")
def test_the_next_worker_ends_what_a_killed_worker_and_its_killed_trial_left(tmp_path: Path) -> None:
    study = Study(tmp_path, starts=True)  # a fork has the environment of what it was forked from
    (tmp_path / "train.py").write_text(textwrap.dedent(BODY))
    (tmp_path / "slowly").touch()
    study.ok("enqueue", "train.py:objective", "--trials", "1")
    worker = study.start("worker", "--slots", "1", "--threads", "1")
    wait_until(lambda: study.query("select pid from trial where pid is not null and status = 'running'"))
    wait_until(lambda: study.one("select count(*) from epoch") >= 1)
    started = [psutil.Process(int(pid)) for pid in (tmp_path / "pids.txt").read_text().split()]
    assert len(started) == 6
    trial = study.one("select pid from trial")
    for pid in (worker.pid, trial):
        os.kill(pid, signal.SIGSTOP)  # at once: neither sees the other's end
    for pid in (worker.pid, trial):
        os.kill(pid, signal.SIGKILL)
    worker.wait()
    assert any(is_living(process) for process in started), "or this shows nothing"
    (tmp_path / "slowly").unlink()
    study.ok("worker", "--slots", "1", "--threads", "1", "--until-empty")
    assert not [process for process in started if is_living(process)]
    assert study.one("select count(*) from trial where status = 'complete'") == 1


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_only_what_dead_processes_started_for_this_study_is_met(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    here, copy = tmp_path / "outputs", tmp_path / "copy"
    here.mkdir()
    copy.mkdir()
    (own,) = leftovers.mark(here).values()
    pid, start, namespace, folder = own.split()
    assert int(pid) == os.getpid() and float(start) == started_at(os.getpid())
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    marks = {
        "left": f"{dead.pid} 1.0 {namespace} {folder}",
        "of a process that has its number now": f"{pid} {float(start) - 100!r} {namespace} {folder}",
        "of a living one": own,
        "of another study": f"{dead.pid} 1.0 {namespace} {leftovers.mark(copy)[leftovers.STARTED_BY].split()[3]}",
        "of a container": f"{dead.pid} 1.0 pid:[1] {folder}",
        "odd": "x",
        "a spared worker": f"{dead.pid} 1.0 {namespace} {folder}",
    }
    sleepers += [
        subprocess.Popen(["sleep", "600"], env=os.environ | {leftovers.STARTED_BY: mark}) for mark in marks.values()
    ]
    by_name = dict(zip(marks, sleepers, strict=True))
    for process in sleepers:  # until it is `sleep`, its environment is ours
        wait_until(lambda process=process: psutil.Process(process.pid).name() == "sleep")
    assert leftovers.end_leftovers(here, {by_name["a spared worker"].pid}) == 2
    gone = {name for name, process in by_name.items() if process.poll() is not None or _ends(process)}
    assert gone == {"left", "of a process that has its number now"}


def _ends(process: subprocess.Popen[bytes]) -> bool:
    time.sleep(0.05)
    return process.poll() is not None
