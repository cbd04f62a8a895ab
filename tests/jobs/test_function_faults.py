"""Whose fault it is when a function breaks: trial, study or machine; one sentence each, and no number lost."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.jobs import commands, functions, threads
from fts.jobs.api.command import BareStudy
from fts.jobs.api.function import FunctionStudy
from fts.jobs.objective_file import BadObjective
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor import log_limit, trial_runner
from fts.jobs.supervisor.backoff import jobs_in_backoff, recorded_tries
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from fts.state import transitions
from fts.state.db import open_database
from fts.state.transitions.attempts import begin_attempt
from fts.state.transitions.base import emit, transaction
from fts.state.values import Cause, Verb
from tests.fts_process import Study, wait_until
from tests.state.helpers import claimed, enqueued, new_db, started, worker

ENVIRON = {
    "FTS_OUTAGE_PAUSE_S": "0.001",
    "FTS_MEMORY_LIMIT": "0.3GB",
    "FTS_STALL_FIRST_S": "2",
    "FTS_CPU_WINDOW_S": "1",
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """A file, and what must become of its job and of its first trial."""

    code: str
    job: str  # status and cause
    said: str  # in the message of the job, or of its first trial
    trials: int = 1  # that are asked for
    used: int = 1  # that have ended or begun


F = "def objective(trial):\n    "
DRAW = F + "return trial.suggest_float('x', 0.0, 1.0)\n"
FAULTS = {
    "some": Fault(F + "return [1.0, 1 / (trial.number - 1)][0]", "done finished", "division by zero (Zero", 3, 3),
    "all": Fault(F + "raise ValueError('bad')", "failed code error", "trial 2 failed: bad (ValueError,", 9, 3),
    "package": Fault("import no_such\n" + DRAW, "failed machine error", "t0 cannot run: No module named 'no_such'", 3),
    "syntax": Fault(F + "return (", "failed code error", "t0 cannot run: '(' was never closed", 9),
    "gone": Fault("", "failed code error", "gone.py does not exist; restore it or enqueue the study again", 9),
    "relative": Fault("from . import x\n" + F + "return 1", "failed code error", "put an __init__.py into", 9),
    "died": Fault(F + "import os; os._exit(3)", "failed code error", "process called os._exit(3) (died.py line 2)"),
    "crash": Fault(  # while it prints nowhere
        F + "import os; os.dup2(os.open(os.devnull, 1), 2); __import__('ctypes').string_at(0)",
        "failed code error", "11 (SIGSEGV) (crash.py line 2)",
    ),
    "left75": Fault(F + "import os; os._exit(75)", "failed code error", "called os._exit(75) (left75.py line 2)"),
    "alarm": Fault(
        F + "import signal, time; signal.setitimer(signal.ITIMER_REAL, 0.01)\n    time.sleep(9)",
        "failed code error", "(SIGALRM) (alarm.py line 3)",
    ),
    "terms": Fault(
        F + "import os\n    os.kill(os.getpid(), 15)\n    trial.report(1, 1)\n    return 1",
        "failed code error", "the trial process sent itself SIGTERM (terms.py line 3)",
    ),
    "locks": Fault(  # a library holds the interpreter
        "import ctypes\n" + F + "return ctypes.PyDLL(None).sleep(999)", "failed stalled", "killed (locks.py line 3)"
    ),
    "step": Fault(F + "trial.report(1, 10**12); return 1", "failed code error", "the step is 1000000000000, exp"),
    "metrics": Fault(F + "return {f'm{n}': n for n in range(9999)}", "failed code error", "9999 metrics were given"),
    "choices": Fault(
        F + "return trial.suggest_categorical('c', range(9999)) + trial.suggest_float('x', 0, 1)",
        "failed code error",
        "distribution of c",
    ),
    "wide": Fault(
        F + "x = trial.suggest_float('x', 1e200, 1e300); trial.suggest_int('n', 1, 2); return 1",
        "failed code error",
        "expected a number between -1e100 and 1e100",
    ),
    "huge": Fault(F + "return 10**400", "failed code error", "a whole number of 1329 bits, expected at most 1.8e308"),
    "penalty": Fault(
        F + "trial.report(1e60, 1); trial.report(1e300, 2); return [1e99, 1e60, 1e308][trial.number]",
        "done finished",
        "returned 1e+308, expected a finite number, at most 1e+100 (penalty.py line 1)",
        3,
        3,
    ),
    "memory": Fault(
        F + "return len([bytearray(9**9) for n in range(9)])", "queued cannot fit", "t0 needs more memory than there is"
    ),
    "sleeps": Fault(F + "import time; time.sleep(999)", "failed stalled", "killed (sleeps.py line 2)"),
    "late": Fault(
        "import time\ndef load():\n    time.sleep(999)\n" + F + "load()", "failed time limit", "d (late.py line 3)"
    ),
    "works": Fault(F + "import time\n    while time.process_time() < 3.5: pass\n    return 1", "done finished", ""),
    "leaves": Fault(F + "import os, time\n    os.fork() or time.sleep(999)\n    return 1", "done finished", ""),
    "daemon": Fault(
        F + "import os, time\n    os.fork() or (os.setsid(), os.fork() or time.sleep(999), os._exit(0))\n    return 1",
        "done finished",
        "",
    ),
    "closes": Fault(F + "import os; os.closerange(3, 99)", "failed code error", "has closed the descriptor on which"),
    "display": Fault(
        F + "raise RuntimeError('no display name and no $DISPLAY environment variable')",
        "failed code error",
        "(RuntimeError, display.py line 2); a worker has no display: draw into files, with MPLBACKEND=Agg",
    ),
    "way": Fault(
        "import fts\n" + F + "import pathlib; own = fts.checkpoint(trial); own.save({}); there = pathlib.Path(own.dir)"
        "\n    import os; os.chdir(there.parents[1])"
        "\n    os.system('mkdir -p trial_0001; touch trial_0001/checkpoint')\n    return 1",
        "done finished",
        "trial_0001/checkpoint is a file, expected a folder",
        3,
        3,
    ),
    "strays": Fault(
        "import fts\n" + F + "folder = fts.checkpoint(trial).dir.parents[1] / 'trial_0001'\n    folder.is_dir()"
        "\n    folder.mkdir(exist_ok=True)\n    (folder / 'loss.txt').write_text('0')\n    return 1",
        "done finished",
        "_strays/trial_0001 is in the folder of another trial (strays.py line 5); write below fts.checkpoint(trial)",
        3,
        3,
    ),
    "arrays": Fault(
        "import enum, numpy as np\nclass O(enum.StrEnum):\n    A = 'a'\n"
        + F
        + "return trial.suggest_categorical('n', np.arange(3)) + len(trial.suggest_categorical('o', list(O)))",
        "done finished",
        "",
    ),
    "latin": Fault(
        F + "trial.set_user_attr('file', ['caf\\udce9']); trial.set_user_attr('\\ud800', 1); return 1",
        "done finished",
        "",
    ),
    "typo": Fault(F + "return {'loss': 1.0}", "failed code error", "them (typo.py line 1); did you mean loss?"),
    "limit": Fault(
        F + "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (9, -1))\n    open('x', 'wb', 0).write(b'x' * 9)"
        "\n    open('x', 'ab', 0).write(b'x')",
        "failed code error",
        "File too large (OSError, limit.py line 4)",
    ),
    "missing": Fault(F + "return open('a/x.csv')", "failed code error", "line 2); the trial runs in /"),
    "taken": Fault(F + "import os; os.mkdir('.')", "failed code error", "(FileExistsError, taken.py line 2)"),
    "lent": Fault(DRAW.replace("'x'", "'xs'"), "done finished", "", 2, 2),
    "kills": Fault(F + "import os; os.kill(os.getpid(), 9)", "failed code error", "killed itself (kills.py line 2)"),
    "names": Fault("import jobs, state, tui, fts_study\n" + F + "return jobs.V + state.V + tui.V", "done finished", ""),
}  # fmt: skip


OPTIONS: dict[str, dict[str, Any]] = {
    "typo": {"metric": "los"},
    "lent": {"warm_start": ({"x": 0.5, "y": 1},)},
    "late": {"trial_timeout_s": 1.0},
}
BROKEN_LATER = ("syntax", "gone")  # enqueue would refuse them


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Every faulty study, through one queue and one worker; in a folder with a space and an umlaut."""
    study = Study(tmp_path_factory.mktemp("faults") / "a study, böse", **ENVIRON)
    for name, fault in FAULTS.items():
        (study.folder / f"{name}.py").write_text(DRAW if name in BROKEN_LATER else fault.code)
    for name in ("jobs", "state", "tui", "fts_study"):
        (study.folder / f"{name}.py").write_text("V = 1\n")
    for name, fault in FAULTS.items():
        put_in_line(study, {name: fault.trials}, **OPTIONS.get(name, {}))
    for name in BROKEN_LATER:
        (study.folder / f"{name}.py").write_text(FAULTS[name].code)
    (study.folder / "gone.py").unlink()
    assert "Traceback" not in work(study)
    return study


def put_in_line(study: Study, trials: dict[str, int], **fields: Any) -> None:
    """The function `objective` of each file."""
    cells = [functions.cells(f"{name}.py:objective", study.folder, n, **fields)[0] for name, n in trials.items()]
    db = open_database(study.outputs / "fts.db")
    try:
        transitions.enqueue(db, [FunctionStudy(cell.study).row(cell) for cell in cells])
    finally:
        db.close()


def work(study: Study) -> str:
    said = study.fts("worker", "--until-empty", "--slots", "2", timeout_s=280)
    assert said.code == 0, said
    return said.out + said.err


def jobs(study: Study) -> dict[str, dict[str, Any]]:
    return {row["study"]: row for row in study.query("SELECT * FROM job")}


def trials(study: Study, name: str) -> list[dict[str, Any]]:
    return study.query(
        f"SELECT t.* FROM trial t JOIN job j ON j.id = t.job_id WHERE j.study = '{name}' ORDER BY number"
    )


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_one_sentence_and_uses_up_no_more_than_its_trials(ended: Study, name: str) -> None:
    fault, job, found = FAULTS[name], jobs(ended)[name], trials(ended, name)
    messages = [str(job["message"]), *(str(trial["message"]) for trial in found)]
    assert f"{job['status']} {job['cause']}" == fault.job, messages
    assert any(fault.said in message and "\n" not in message for message in messages), messages
    assert len(found) == fault.used


def test_a_warm_start_that_the_function_does_not_ask_for_is_said_once(ended: Study) -> None:
    (event,) = ended.query(f"SELECT message FROM event WHERE verb = 'warned' AND job_id = {jobs(ended)['lent']['id']}")
    told = "warm_start gives t0 a value for x, y, which its function did not suggest; did you mean xs? it suggested xs"
    assert event["message"] == told


def test_a_file_that_breaks_at_import_has_said_why_in_the_log_of_its_trial(ended: Study) -> None:
    for name, said in {"package": "No module named 'no_such'", "syntax": "was never closed"}.items():
        assert said in ended.ok("logs", str(jobs(ended)[name]["id"])), "the way that `fts status` names"


def test_the_log_of_a_trial_and_why_show_the_code_of_its_person_and_none_of_ours(ended: Study) -> None:
    for name in ("all", "typo", "huge", "display"):
        for command in ("logs", "why"):
            told = ended.ok(command, str(jobs(ended)[name]["id"]))
            assert "/fts/jobs/" not in told and "fts.jobs" not in told, told
    assert 'all.py", line 2, in objective' in ended.ok("logs", str(jobs(ended)["all"]["id"]))


def test_nothing_that_a_function_started_lives_on(ended: Study) -> None:
    def live() -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if stands_in(process, ended.folder)]

    if Path("/proc/self/cwd").exists():
        _, alive = psutil.wait_procs(live(), 60.0)
        assert not alive, [(process.pid, process.ppid(), process.status(), process.cmdline()) for process in alive]


def stands_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except (psutil.Error, OSError):
        return False


def test_what_was_repaired_goes_on_with_the_same_numbers(ended: Study) -> None:
    (ended.folder / "no_such.py").write_text("")
    path = ended.folder / "package.py"
    path.write_text(path.read_text() + "# repaired\n")
    (job,) = [job["id"] for job in jobs(ended).values() if job["study"] == "package"]
    ended.ok("retry", str(job))
    work(ended)
    found = trials(ended, "package")
    assert [trial["number"] for trial in found] == [0, 1, 2]
    assert {trial["status"] for trial in found} == {"complete"}
    assert {tuple(json.loads(trial["badges"])) for trial in found} == {("code changed",)}
    (event,) = ended.query(f"SELECT message FROM event WHERE verb = 'warned' AND job_id = {job}")
    assert "trials from t0 on get the badge `code changed`" in event["message"]


def test_a_moved_folder_is_named_and_a_package_is_imported_as_one(tmp_path: Path) -> None:
    study = Study(tmp_path / "here", **ENVIRON, FTS_DB=str(tmp_path / "db" / "fts.db"))
    study.outputs = tmp_path / "db"
    package = study.folder / "src" / "model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "data.py").write_text("ONE = 1.0")
    (package / "train.py").write_text(f"from .data import ONE\nimport model.data\n{F}return ONE + model.data.ONE")
    put_in_line(study, {"src/model/train": 1})
    elsewhere = study.folder.rename(tmp_path / "there")
    study.folder = elsewhere
    work(study)
    assert f"t0 cannot run: {tmp_path / 'here'} is no folder; move it back" in jobs(study)["train"]["message"]
    study.folder = elsewhere.rename(tmp_path / "here")
    study.ok("retry", "1")
    work(study)
    assert [trial["value"] for trial in trials(study, "train")] == [2.0]


def test_another_interpreter_needs_no_fts_and_is_asked_before_anything_is_put_in_line(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False)
    python = str(tmp_path / "activated")  # as `conda run` has it
    Path(python).write_text(f'#!/bin/sh\necho it speaks first\n{bare}/bin/python "$@"\n')
    Path(python).chmod(0o700)
    space = {"x": {"kind": "float", "low": 1.0, "high": 2.0}}
    (study.folder / "train.py").write_text(
        f"import sys, fts\ndef objective(x):\n    return x + 10 * (sys.prefix == {str(bare)!r}) + len(fts.__all__) * 0"
    )
    put_in_line(study, {"train": 1}, space=space, python=python)
    assert "not forked" not in work(study)
    assert trials(study, "train")[0]["value"] > 11.0
    with pytest.raises(BadObjective, match=r"has no optuna, which gives the function its trial: .* install"):
        functions.cells("train.py:objective", study.folder, 1, python=python)
    (packages := next(bare.glob("lib/python*/site-packages")) / "optuna-4.5.0.dist-info").mkdir()
    (packages / "METADATA").write_text("Name: optuna\nVersion: 4.5.0\n")
    packages.with_name("optuna.py").touch()
    with pytest.raises(BadObjective, match=r"has optuna 4.5.0, expected 5 or newer: .* install .*optuna>=5"):
        functions.cells("train.py:objective", study.folder, 1, python=python)
    for wrong in ("/bin/ls", sys.executable + "-none"):
        with pytest.raises(BadObjective, match="does not answer as Python does"):
            functions.cells("train.py:objective", study.folder, 1, space=space, python=wrong)


def test_a_trial_that_cannot_go_on_keeps_no_other_job_from_its_slot(tmp_path: Path) -> None:
    """The study's own disk has room, so the queue goes on; the first job keeps its place and its numbers."""
    study = Study(tmp_path / "study", **ENVIRON | {"FTS_OUTAGE_PAUSE_S": "0.02"})
    (study.folder / "full.py").write_text(
        "import os\n" + F + "print('tried')\n"
        "    return open('/dev/full' if not os.path.exists('mended') else 'x', 'wb', 0).write(b'x')"
    )
    (study.folder / "next.py").write_text(F + "open('mended', 'w').close(); return 1")
    put_in_line(study, {"full": 1, "next": 1})
    study.fts("worker", "--until-empty", "--slots", "1", timeout_s=120)
    assert [(job["study"], job["status"]) for job in jobs(study).values()] == [("full", "done"), ("next", "done")]
    verbs = [event["verb"] for event in study.query("SELECT verb FROM event ORDER BY id")]
    assert verbs.count("claimed") == 3 and "queue_paused" not in verbs


def test_tries_in_vain_count_whichever_worker_made_them(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON | {"FTS_OUTAGE_PAUSE_S": "0.005"})
    (study.folder / "offline.py").write_text(F + "raise ConnectionError('no host answers')")
    put_in_line(study, {"offline": 1})
    command = [sys.executable, "-m", "fts.jobs.cli", "worker", "--until-empty", "--slots", "1"]
    worker = subprocess.Popen(command, cwd=study.folder, env=study.environ, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(study.query("SELECT 1 FROM attempt WHERE how = 'machine'")) >= 5, every_s=0.02)
    worker.kill()
    worker.wait()
    study.fts("worker", "--until-empty", "--slots", "1", timeout_s=120)
    assert jobs(study)["offline"]["status"] == "failed"
    assert len(study.query("SELECT 1 FROM attempt WHERE how = 'machine'")) == trial_runner.OUTAGES_ALLOWED
    study.ok("retry", "1")
    study.fts("worker", "--until-empty", "--slots", "1", timeout_s=120)
    assert len(study.query("SELECT 1 FROM attempt WHERE how = 'machine'")) == 2 * trial_runner.OUTAGES_ALLOWED


def test_a_machine_without_room_for_a_thread_delays_a_trial_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its watchdog no trial runs; the slot works on, and its job does not stay `running`."""
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "fine.py").write_text(F + "return 1.0")
    put_in_line(study, {"fine": 1})
    start, asked = threading.Thread.start, list[str]()

    def starts(thread: threading.Thread) -> None:
        asked.append(thread.name)
        if len([name for name in asked if "memory of" in name]) == 1 and "memory of" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starts)
    run_here(study, monkeypatch)
    assert len([name for name in asked if "memory of" in name]) == 2
    assert jobs(study)["fine"]["status"] == "done"


def test_a_thread_that_finds_no_memory_to_begin_with_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python prints `Exception ignored in thread` and waits for it in Thread.start."""
    monkeypatch.setattr(threads, "STARTS_S", 0.01)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda _: None)
    ran = list[int]()
    late = threading.Thread(target=lambda: ran.append(1))
    with pytest.raises(OSError, match="no thread can be started"):
        threads.begin(late)
    late.run()
    assert ran == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("cannot join thread before it is started")])
def test_a_job_is_released_although_its_slot_cannot_be_closed(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "fine.py").write_text(F + "return 1.0")
    put_in_line(study, {"fine": 1})

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as trouble:
        trouble.setattr("fts.jobs.supervisor.slot.Slot.close", fails)
        trouble.setattr("fts.jobs.supervisor.job_runner.JobRunner.run", fails)
        with pytest.raises(type(error)):
            run_here(study, trouble)
    (job,) = jobs(study).values()
    assert job["status"] == "queued", job
    assert job["cause"] == ("machine error" if isinstance(error, MemoryError) else "code error")


def test_a_function_that_ignores_a_stop_is_killed_and_an_event_says_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "deaf.py").write_text(
        "import signal, time\n" + F + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    open('deaf', 'w').close()\n"
        "    while True:\n        time.sleep(0.01)"
    )
    put_in_line(study, {"deaf": 1})

    def pauses() -> None:
        wait_until((study.folder / "deaf").exists, every_s=0.02)
        study.ok("pause", "1")

    threading.Thread(target=pauses, daemon=True).start()
    run_here(study, monkeypatch)
    assert jobs(study)["deaf"]["status"] == "paused"
    (event,) = study.query("SELECT message FROM event WHERE verb = 'killed'")
    assert event["message"].startswith("t0: the trial did not stop within 0.3 s and was killed (deaf.py line "), event


def test_kills_that_nobody_can_put_down_to_the_code_end_after_five_that_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runner, "WITHOUT_PROGRESS_S", 0.0)
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "shot.py").write_text("import os\n" + F + "os.system('kill -9 $PPID')")
    put_in_line(study, {"shot": 1})
    run_here(study, monkeypatch)
    (job,) = jobs(study).values()
    assert f"{job['status']} {job['cause']}" == "failed machine error"
    assert job["message"].startswith("t0 was tried 5 times without progress; the last time: the trial process was kill")


def test_a_command_that_is_killed_names_its_last_line_of_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    (cell,) = commands.cells(
        ("echo step 7; sleep 99",), study.folder, 1, shell=True, study="slow", metric="loss", trial_timeout_s=1.0
    )
    db = open_database(study.outputs / "fts.db")
    transitions.enqueue(db, [BareStudy(cell.study).row(cell)])
    db.close()
    run_here(study, monkeypatch)
    (trial,) = trials(study, "slow")
    assert trial["message"].endswith("1 s allowed (its last line of output: step 7)"), trial["message"]


def run_here(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first job, in this process."""
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    settings = WorkerSettings(poll_s=0.05, stop_grace_s=0.3, outage_pause_s=0.001, stall={})
    run_job(Places(study.outputs / "fts.db", study.folder), settings, 1, Console(live=False))


def test_a_job_rests_for_every_worker_by_the_tries_on_record(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    try:
        (job_id,), claim = enqueued(db), claimed(db)
        trial_id = started(db, claim)
        for pid in range(1, 5):
            with db.write():
                begin_attempt(db, trial_id, claim.token, "lab", pid)
            transitions.record_attempt_ended(db, claim, trial_id, "machine")
        assert len(recorded_tries(db, job_id, trial_id)) == 4 and not jobs_in_backoff(db, 60.0), "it runs"
        transitions.interrupt_trial(db, claim, trial_id, Cause.MACHINE_ERROR)
        transitions.release_job(db, claim, Cause.DRAINED, "rest")
        assert jobs_in_backoff(db, 60.0) == {job_id} and not jobs_in_backoff(db, 0.0)
        assert transitions.claim(db, worker(db, "other"), 60.0, excluded=jobs_in_backoff(db, 60.0)) is None
        with transaction(db):
            emit(db, Verb.EXTENDED, "ada@lab", "more trials", job_id=job_id)
        assert not jobs_in_backoff(db, 60.0), "a person wants it now"
    finally:
        db.close()


FAILS_BESIDE = """
import os, time
def objective(trial):
    while trial.number == 0 and not os.path.exists("mended"):
        time.sleep(0.01)
    return open("x" if os.path.exists("mended") else "/dev/full", "wb", 0).write(b"x")
"""


def test_of_a_job_with_several_trials_at_once_one_that_cannot_go_on_gives_its_slot_up(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON | {"FTS_OUTAGE_PAUSE_S": "0.02"})
    (study.folder / "full.py").write_text(FAILS_BESIDE)
    (study.folder / "next.py").write_text(F + "open('mended', 'w').close(); return 1")
    put_in_line(study, {"full": 3}, parallel=2)
    put_in_line(study, {"next": 1})
    study.fts("worker", "--until-empty", "--slots", "2", timeout_s=120)
    assert [(job["study"], job["status"]) for job in jobs(study).values()] == [("full", "done"), ("next", "done")]
    verbs = [event["verb"] for event in study.query("SELECT verb FROM event ORDER BY id")]
    assert verbs.count("claimed") == 2, "trial 0 of the first job ran on"


SHUTS = """
import os, pathlib
def objective(trial):
    mark = pathlib.Path("shut")
    if not mark.exists():
        mark.touch()
        os.chmod("outputs", 0)
    return trial.suggest_float("x", 0, 1)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="root must lose its right to read everything")
def test_outputs_that_nobody_may_look_into_for_a_moment_stop_nothing(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON | {"FTS_OUTAGE_PAUSE_S": "0.2"})
    (study.folder / "shuts.py").write_text(SHUTS)
    put_in_line(study, {"shuts": 3})
    less = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*less, sys.executable, "-m", "fts.jobs.cli", "worker", "--until-empty", "--slots", "2"]
    worker = subprocess.Popen(command, cwd=study.folder, env=study.environ, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: worker.poll() is not None or study.outputs.stat().st_mode & 0o777 == 0, every_s=0.02)
        time.sleep(1.0)  # some beats, and the end of the trial
        study.outputs.chmod(0o700)
        _, said = worker.communicate(timeout=60)
    finally:
        worker.kill()
    assert worker.returncode == 0, said
    assert jobs(study)["shuts"]["status"] == "done"
    assert [trial["status"] for trial in trials(study, "shuts")] == ["complete"] * 3
    assert "Traceback" not in said, said


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="root must lose its right to read everything")
def test_logs_that_nobody_may_look_into_cost_a_worker_no_lease(tmp_path: Path) -> None:
    """Whether the stop file is there could not be known, and no heartbeat was written."""
    study = Study(tmp_path / "study", **ENVIRON | {"FTS_OUTAGE_PAUSE_S": "0.2"})
    shuts = SHUTS.replace('"outputs", 0)', '"outputs/logs", 0)\n        time.sleep(3.0)').replace("os,", "os, time,")
    (study.folder / "shuts.py").write_text(shuts)
    put_in_line(study, {"shuts": 1})
    less = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*less, sys.executable, "-m", "fts.jobs.cli", "worker", "--until-empty", "--slots", "1"]
    worker = subprocess.Popen(command, cwd=study.folder, env=study.environ, stderr=subprocess.PIPE, text=True)
    logs = study.outputs / "logs"
    try:
        wait_until(lambda: logs.exists() and logs.stat().st_mode & 0o777 == 0, every_s=0.02)
        beats = study.one("SELECT beats FROM worker")
        wait_until(lambda: study.one("SELECT beats FROM worker") > beats + 1, 2.5)
        logs.chmod(0o700)
        _, said = worker.communicate(timeout=60)
    finally:
        worker.kill()
    assert worker.returncode == 0 and "heartbeat not written" not in said, said


def test_of_a_log_that_fills_the_disk_the_middle_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_limit, "MOST", 2 << 20)
    monkeypatch.setattr(log_limit, "KEPT", 1 << 16)
    log = tmp_path / "trial.log"
    limit = log_limit.LogLimit(log)
    with log.open("ab") as file:
        file.write(b"first\n" + b"x" * (4 << 20))
        file.flush()
        if not limit.look(last=True):
            pytest.skip("this file system keeps every block")
        file.write(b"\nlast\n" + b"y" * (4 << 20))
        file.flush()
        assert not limit.look(last=True), "it is told once"
    held = log.read_bytes()
    assert limit.taken() < 1 << 20 and len(held) == (8 << 20) + 12
    assert held.startswith(b"first\nx") and held.endswith(b"y" * 1000) and b"\0" * 1000 in held
