"""A person steers real workers with real trials: pause, resume, drain, stop, cancel, retry; nothing gets lost."""

import json
import os
import signal
import time

import psutil
import pytest

from tests import forks
from tests.data.made import make_bars, write_csv
from tests.fts_process import Study, wait_until
from tests.jobs import patient_function

LONG = ("--budgets", "tiny", "--trials", "40", "--epochs", "400", "--patience", "400", "--tier", "a20", "--no-check")
SHORT = ("--budgets", "tiny", "--trials", "40", "--epochs", "30", "--patience", "30", "--tier", "a20", "--no-check")
ALONE = ("--no-baselines", "--folds", "none")
SMALL = ("--context", "20", "--batch", "32", "--min-positives", "3", "--data", "MINE.dataset.a20", *ALONE)


def of_a_function(folder):
    study = patient_function.write(folder, FTS_CHECKPOINT_EVERY_S="0.1")
    study.ok("enqueue", "patient.py:objective", "-m", "horizon=1,3", "--trials", "40")
    return study, ("patient.py:objective", "-m", "horizon=5", "--trials", "40", "--name", "short")


def of_the_flagship(folder):
    study = Study(folder, FTS_CHECKPOINT_EVERY_S="1")
    bars = write_csv(make_bars(700, 3), study.folder / "mine.csv")
    study.ok("data", "build", "--source", "csv", "--ticker", "MINE", "--tier", "a20", str(bars))
    study.ok("enqueue", "--matrix", "--horizons", "1,3", *LONG, *SMALL)
    return study, ("--matrix", "--horizons", "5", *SHORT, *SMALL)


@pytest.fixture(params=[of_a_function, pytest.param(of_the_flagship, marks=pytest.mark.slow)])
def lined_up(request, tmp_path):
    """A study with two jobs in line, and the words that enqueue a third one."""
    study, third = request.param(tmp_path)
    yield study, third
    for worker in study.query("select pid, pid_started from worker where status = 'running'"):
        if psutil.pid_exists(worker["pid"]):
            psutil.Process(worker["pid"]).kill()


@pytest.fixture
def study(lined_up):
    return lined_up[0]


def status(study, job=1):
    return study.one(f"select status from job where id = {job}")


def epochs(study, job=1):
    return study.one(f"select coalesce(max(epochs), 0) from trial where job_id = {job}")


def verbs(study, job=1):
    return [row["verb"] for row in study.query(f"select verb from event where job_id = {job} order by id")]


def trial_process(study, job=1):
    return study.one(f"select pid from trial where job_id = {job} order by number desc limit 1")


def asked(study):
    """(who, what) of every wish that a worker leaves, oldest first."""
    rows = study.query("select who, data from event where verb = 'worker_asked' order by id")
    return [(row["who"], json.loads(row["data"])["asked"]) for row in rows]


def said_everywhere(study, sentence):
    """The status in each form, `fts why` and the monitor say that the worker leaves; those with room say who asked."""
    plain, why = study.ok("status", "--plain"), study.ok("why", "1")
    assert "DRAINING" in plain and sentence in plain
    assert "DRAINING" in why and sentence in why
    assert "DRAINING" in study.ok("status") and "DRAINING" in study.ok("status", "--line")
    assert study.json("status")["status"]["draining"][0]["by"] in sentence
    assert "DRAINING" in study.ok("snapshot", "--size", "80x24")


def test_a_day_of_steering(study):
    """One worker through everything a person asks of it, because each start of a trial process costs seconds."""
    worker = study.start("worker", "--slots", "1", "--threads", "1")
    wait_until(lambda: epochs(study) >= 2)

    # a running job is paused: checkpoint, memory freed, and the next job gets the slot
    pid = trial_process(study)
    study.ok("pause", "1", "-y")
    wait_until(lambda: status(study) == "paused")
    assert study.one("select status from trial where job_id = 1") == "interrupted"
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    reached = epochs(study)
    wait_until(lambda: status(study, 2) == "running" and epochs(study, 2) >= 1)
    assert "paused" in study.ok("why", "1")

    # the other one is cancelled while it runs, job 1 resumes as the same trial, after the epochs it had
    study.ok("cancel", "2", "-y")
    study.ok("resume", "1")
    wait_until(lambda: status(study, 2) == "cancelled")
    wait_until(lambda: epochs(study) > reached + 1)
    assert study.one("select count(*) from trial where job_id = 1") == 1
    assert "resume_mismatch" not in verbs(study)
    assert study.one("select count(*) = (select epochs from trial where id = 1) from epoch where trial_id = 1")

    # a second worker on this machine is told who is running
    second = study.fts("worker", "--slots", "1", "--threads", "1")
    assert second.code != 0 and str(worker.pid) in second.err and "Traceback" not in second.err

    # STOP_HPO, as users of the earlier scripts know it, drains after this job; `stop` overtakes it
    (study.outputs / "logs" / "STOP_HPO").touch()
    wait_until(lambda: not (study.outputs / "logs" / "STOP_HPO").exists())
    assert worker.poll() is None and status(study) == "running"
    assert asked(study)[-1] == ("the file outputs/logs/STOP_HPO", "drain_job")
    said_everywhere(study, "stops after its job, asked by the file outputs/logs/STOP_HPO")
    study.ok("stop", "-y")
    assert worker.wait(60) == 0
    assert status(study) == "queued"
    assert study.one("select status from worker order by id desc limit 1") == "stopped"
    left = study.one("select message from event where verb = 'worker_stopped' order by id desc limit 1")
    assert left == "worker 1 left at a checkpoint, as requested"
    assert study.one("select count(*) from job where lease_until is not null") == 0

    # the cancelled job is put back by undo or retry with its trial and checkpoint
    study.ok("retry", "2")
    assert status(study, 2) == "queued"
    assert study.one("select count(*) from trial where job_id = 2 and status = 'interrupted'") == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_stops_within_seconds_at_a_checkpoint(study, signum):
    worker = study.start("worker", "--slots", "1", "--threads", "1")
    wait_until(lambda: epochs(study) >= 1)
    os.kill(worker.pid, signal.SIGUSR1)  # after this trial, which is long
    wait_until(lambda: asked(study) == [(f"SIGUSR1 to process {worker.pid}", "drain_trial")])
    said_everywhere(study, f"stops after its trial, asked by SIGUSR1 to process {worker.pid}")
    worker.send_signal(signum)
    began = time.monotonic()
    assert worker.wait(60) == 0
    assert time.monotonic() - began < 30
    assert status(study) == "queued"
    assert study.one("select status from trial") == "interrupted"
    by = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[signum]
    assert f"worker stopped by {by} at" in study.fts("status", "--plain").out
    assert study.one("select count(*) from checkpoint") >= 1
    assert asked(study)[-1] == (f"{signum.name} to process {worker.pid}", "stop")


def test_a_detached_worker_whose_start_is_interrupted_ends_or_has_its_pid_file(tmp_path):
    """Ctrl-C ends it and says so; the end of the command that starts it leaves a worker that can be found."""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
        study = patient_function.write(tmp_path / number.name, epochs=3)
        study.ok("enqueue", "patient.py:objective", "--trials", "1")
        command = study.start("worker", "--detach", "--slots", "1")
        worker = wait_until(lambda: psutil.Process(command.pid).children())[0]  # noqa: B023  # called at once
        command.send_signal(number)
        assert command.wait(60) == code
        if number is signal.SIGINT:
            assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
            assert "the worker that was being started was ended" in (study.folder / "said.txt").read_text()
            assert "nothing more was done" not in (study.folder / "said.txt").read_text()
        else:
            wait_until((study.outputs / "worker.pid").exists)
            assert (study.outputs / "worker.pid").read_text() == f"{worker.pid}\n"
            wait_until(lambda: study.query("select * from worker where status = 'running'"))  # noqa: B023
            worker.terminate()
            wait_until(lambda: not (study.outputs / "worker.pid").exists())  # noqa: B023


def test_a_signal_counts_from_the_moment_that_a_worker_can_be_found(tmp_path):
    """It registers, and gets a signal before its first thread runs; it leaves while its beat records the order."""
    for number, detached, told in (
        (signal.SIGHUP, True, None),
        (signal.SIGHUP, False, "stop"),
        (signal.SIGINT, False, "stop"),
        (signal.SIGTERM, True, "stop"),
        (signal.SIGUSR1, True, "drain_trial"),
    ):
        study = patient_function.write(tmp_path / f"{number.name}_{detached}", epochs=3)
        (early := study.folder / "early").mkdir()
        (early / "sitecustomize.py").write_text(SIGNALLED_EARLY.format(number=int(number)))
        study.environ |= {"PYTHONPATH": f"{study.environ['PYTHONPATH']}:{early}", forks.CUSTOM: str(early)}
        study.environ["FTS_POLL_S"] = "0.001"
        study.ok("enqueue", "patient.py:objective", "--trials", "2")
        words = ("worker", "--until-empty", "--slots", "1", *(["--detached"] if detached else []))
        assert study.start(*words).wait(60) == 0, (number, (study.folder / "said.txt").read_text())
        assert [what for _, what in asked(study)] == ([told] if told else []), number
        assert status(study) == ("queued" if told else "done")


SIGNALLED_EARLY = """
import os, sys, time
if "worker" in sys.argv:
    from fts.state import transitions
    register = transitions.register_worker
    def and_signal(*given):
        number = register(*given)
        os.kill(os.getpid(), {number})
        return number
    transitions.register_worker = and_signal
    record = transitions.record_request
    def slowly(*given, **named):
        time.sleep(2)
        return record(*given, **named)
    transitions.record_request = slowly
"""


def test_drain_ends_after_this_trial_and_a_detached_worker_survives_its_terminal(lined_up):
    study, third = lined_up
    study.ok("pause", "2", "-y")
    study.ok("cancel", "1", "-y")
    study.ok("enqueue", *third)
    study.ok("worker", "--detach", "--slots", "1", "--threads", "1")
    pid = int((study.outputs / "worker.pid").read_text())
    os.kill(pid, signal.SIGHUP)
    refused = study.fts("worker", "--detach", "--slots", "1", "--threads", "1")
    assert refused.code == 1 and f"is taken by worker 1 (process {pid} on " in refused.err
    assert int((study.outputs / "worker.pid").read_text()) == pid, "the refused one leaves the file of the other alone"
    wait_until(lambda: epochs(study, 3) >= 1)
    study.ok("drain", "-y")
    worker = psutil.Process(pid)
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 120)
    assert not (study.outputs / "worker.pid").exists()
    ended = study.query("select status, count(*) as n from trial where job_id = 3 group by status")
    assert [row["status"] for row in ended] == ["complete"], "the trial it was in was finished, no other was begun"
    assert status(study, 3) == "queued"


WAITS = """
import time
from pathlib import Path

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    mine = trial.running.folder.parent.name
    Path(f"{mine} runs").touch()
    while not Path(f"{mine} may end").exists():
        time.sleep(0.02)
    return x
"""


def test_a_job_whose_last_trial_ends_under_an_order_is_done(tmp_path):
    """Left in the queue, it would wait for another worker that has nothing to run in it."""
    study = Study(tmp_path / "study")
    (study.folder / "waits.py").write_text(WAITS)
    for name in ("one", "two", "three"):
        study.ok("enqueue", "waits.py:objective", "--trials", "1", "--name", name)
    worker = study.start("worker", "--slots", "1")
    wait_until((study.folder / "00001_one runs").exists)
    study.ok("pause", "1")
    (study.folder / "00001_one may end").touch()
    wait_until((study.folder / "00002_two runs").exists)
    worker.send_signal(signal.SIGUSR1)
    wait_until(lambda: asked(study))
    (study.folder / "00002_two may end").touch()
    assert worker.wait(60) == 0
    assert [status(study, number) for number in (1, 2, 3)] == ["done", "done", "queued"]
    assert study.query("select status from trial") == [{"status": "complete"}] * 2
    assert "released" not in verbs(study, 2)
