"""Memory, time, GPUs and threads of functions and commands, with a real worker: what a trial gets, and what ends it."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fts.jobs.api.study import Program
from fts.jobs.cli import main
from fts.jobs.executors.base import OrderReceived
from fts.jobs.supervisor.trial_memory import ask, differs_in_one
from fts.state import transitions, trial_usage
from tests.fts_process import Study, wait_until
from tests.state.helpers import claimed, enqueued, epoch, new_db, started

ENVIRON = {"FTS_GPUS": "GPU-a=24GB,GPU-b=24GB", "FTS_OUTAGE_PAUSE_S": "0.001", "FTS_POLL_S": "0.05"}
FILE = """
import os, time


def fill(x, number, shrink=0):
    "Trial 0 takes little, the others 700 MB, unless they were asked to take less."
    size = 1 if number == 0 else 700 >> shrink
    block = bytearray(size << 20)
    for start in range(0, len(block), 4096):
        block[start] = 1
    time.sleep(0.6 if size > 300 else 0.0)
    return float(size)


def sees(x, threads):
    return {"value": x, "threads": threads, "omp": int(os.environ["OMP_NUM_THREADS"]),
            "gpus": len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))}


def spin(trial):
    trial.report(1.0, 0)
    while True:  # busy enough not to be taken for idle
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        time.sleep(0.08)


def slow(trial):
    trial.report(5.0 - trial.number, 0)
    time.sleep(0.0 if trial.number == 1 else 60.0)
    return 1.0


def short(x):
    time.sleep(1.2)
    return x


def bytes_of(params, cell):
    return int(params["x"] * 2**20) + 400 * 2**20


def breaks(params, cell):
    return params["no_such"]
"""
SPACE = ("--space", "x=1.0:2.0")
LIMIT = ("--memory", "400M")
HOLD = "sleep $((60 * ({shrink} < 1)))"  # until somebody has measured it
FILLS = "head -c $(({mb:100..101} * 1000000 >> {shrink})) /dev/zero"
FILL = f'({FILLS}; {HOLD}) | tail > /dev/null; echo "loss=$FTS_SHRINK"'
BASH = ("--memory", "60M", "--shell", "--regex", "loss=(.*)", "--metric", "loss", "--", FILL)


@dataclasses.dataclass(frozen=True)
class Case:
    """Options of one study, and what must become of its job and of its trials."""

    words: tuple[str, ...]
    job: str  # status and cause
    trials: tuple[str, ...]  # status and cause of each
    said: str = ""  # by the job, a trial or an event


def function(name: str, *words: str) -> tuple[str, ...]:
    return (f"train.py:{name}", *words)


CASES = {
    "fail": Case(
        function("fill", *SPACE, *LIMIT, "--on-oom", "fail", "--trials", "2"),
        "done finished",
        ("complete finished", "failed out of memory"),
        "hard limit 460 MB: killed; it ends as failed",
    ),
    "prune": Case(
        function("fill", *SPACE, *LIMIT, "--on-oom", "prune", "--trials", "2"),
        "done finished",
        ("complete finished", "pruned pruned"),
        "out of memory: the trial holds",
    ),
    "shrink": Case(
        function("fill", *SPACE, *LIMIT, "--on-oom", "shrink", "--trials", "2"),
        "done finished",
        ("complete finished", "complete finished"),
        "now batch=1/2",
    ),
    "alone": Case(
        function("fill", *SPACE, *LIMIT, "--trials", "2"),
        "done finished",
        ("complete finished", "complete finished"),
        "killed; it is tried once more, alone",
    ),
    "command": Case(
        ("--on-oom", "shrink", "--trials", "1", *BASH),
        "done finished",
        ("complete finished",),
        "now batch=1/2",
    ),
    "stall": Case(
        function("spin", "--stall", "1s", "--trials", "1"),
        "failed stalled",
        ("failed stalled",),
        " s, 1 s allowed: killed",
    ),
    "late": Case(
        function("slow", "--trial-timeout", "4s", "--trials", "2"),
        "done finished",
        ("failed time limit", "complete finished"),
        "time is up: it has worked for",
    ),
    "cell": Case(
        function("short", *SPACE, "--timeout", "1s", "--trials", "30"),
        "done finished",
        ("complete finished",),
        "1 s allowed; 1 of 30 trials began",
    ),
    "gpus": Case(
        function("sees", *SPACE, "--gpu", "2", "--threads", "2", "--trials", "1"),
        "done finished",
        ("complete finished",),
    ),
    "by_function": Case(
        function("fill", *SPACE, "--memory", "train.py:bytes_of", "--on-oom", "fail", "--trials", "2"),
        "done finished",
        ("complete finished", "failed out of memory"),
        "the trial holds",
    ),
    "broken": Case(
        function("fill", *SPACE, "--memory", "train.py:breaks", "--trials", "2"),
        "failed code error",
        ("interrupted code error",),
        "train.py:breaks did not say how much memory the trial takes: 'no_such' (KeyError, train.py line",
    ),
    "promise": Case(
        function("fill", *SPACE, "--memory", "900TB", "--trials", "2"),
        "queued cannot fit",
        ("interrupted cannot fit",),
        "needs 921600.0 GB of memory, as promised;",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Every case, through one queue and one worker of two slots."""
    study = Study(tmp_path_factory.mktemp("resources"), **ENVIRON)
    (study.folder / "train.py").write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:  # in this process: eleven times 0.3 s
        patch.chdir(study.folder)
        patch.setenv("FTS_GPUS", ENVIRON["FTS_GPUS"])
        for name, case in CASES.items():
            words = ["enqueue", "--name", name, *case.words] if "--" in case.words else ["enqueue", *case.words]
            words += [] if "--" in case.words else ["--name", name, "--sampler", "random"]
            assert main(["--db", str(study.outputs / "fts.db"), *words]) == 0
    said = study.fts("worker", "--until-empty", "--slots", "2", timeout_s=300)
    assert said.code == 0 and "Traceback" not in said.out + said.err, said
    return study


def rows(study: Study, table: str, name: str) -> list[dict[str, Any]]:
    job = study.one(f"SELECT id FROM job WHERE study = '{name}'")
    return study.query(f"SELECT * FROM {table} WHERE {'id' if table == 'job' else 'job_id'} = {job} ORDER BY id")


@pytest.mark.parametrize("name", CASES)
def test_each_limit_ends_what_it_should_and_nothing_else(ended: Study, name: str) -> None:
    case = CASES[name]
    (job,), trials = rows(ended, "job", name), rows(ended, "trial", name)
    told = [str(row["message"]) for row in (job, *trials, *rows(ended, "event", name))]
    assert f"{job['status']} {job['cause']}" == case.job, told
    assert tuple(f"{trial['status']} {trial['cause']}" for trial in trials) == case.trials, told
    assert any(case.said in text and "\n" not in text for text in told), told


def test_the_peak_of_every_trial_is_on_record_however_it_ended(ended: Study) -> None:
    for name in ("fail", "prune", "alone"):
        small, large = (trial["peak_bytes"] for trial in rows(ended, "trial", name))
        assert small < 200 << 20 and large > 400 << 20, name


def test_a_trial_that_was_too_slow_keeps_its_best_report_and_is_never_the_best(ended: Study) -> None:
    late, complete = rows(ended, "trial", "late")
    assert (late["value"], late["best_epoch"], complete["value"]) == (5.0, 0, 1.0)
    assert rows(ended, "job", "late")[0]["best_trial"] == 1


def test_what_was_asked_to_take_less_is_told_how_often(ended: Study) -> None:
    trial = rows(ended, "trial", "shrink")[1]
    assert (json.loads(trial["recipe"]), trial["value"]) == ({"shrink": 1}, 350.0)
    (trial,) = rows(ended, "trial", "command")
    assert trial["value"] == json.loads(trial["recipe"])["shrink"] >= 1


def test_a_trial_sees_its_gpus_and_its_threads_alone(ended: Study) -> None:
    (trial,) = rows(ended, "trial", "gpus")
    facts = json.loads(trial["facts"])
    assert facts["gpus"] == ["GPU-a", "GPU-b"] and (trial["device"], trial["threads"]) == ("cuda", 2)
    assert {name: facts["metrics"][name] for name in ("omp", "threads", "gpus")} == {"omp": 2, "threads": 2, "gpus": 2}


def test_what_a_function_said_is_on_record(ended: Study) -> None:
    first, _ = rows(ended, "trial", "by_function")
    assert first["predicted_bytes"] == int(json.loads(first["params"])["x"] * 2**20) + (400 << 20)


ASKED = """
import os, time
from pathlib import Path

def memory(params, cell):
    Path("asked").write_text(f"{os.getpid()} {os.getsid(0)}")
    time.sleep(params["seconds"])
    return 10_000
"""


def test_an_order_ends_the_function_that_is_asked_for_the_memory_and_no_ctrl_c_of_the_worker(tmp_path: Path) -> None:
    """Ctrl-C reached the function too, so that its job failed; and a stop waited for it up to five minutes."""
    (tmp_path / "train.py").write_text(ASKED)
    asked, cell = tmp_path / "asked", SimpleNamespace(folder=str(tmp_path), axes={})
    program = Program(("-m", "fts.jobs.trial.memory"), folder=str(tmp_path))

    def leaves() -> bool:
        return asked.exists() and bool(asked.read_text())

    with pytest.raises(OrderReceived):
        ask(program, "train.py:memory", cell, {"seconds": 60}, tmp_path, leaves)
    pid, session = map(int, asked.read_text().split())
    assert session != os.getsid(0) and not psutil.pid_exists(pid)
    assert ask(program, "train.py:memory", cell, {"seconds": 0}, tmp_path, lambda: False) == 10_000


def test_more_gpus_than_there_are_is_said_at_once_and_held_by_a_worker_that_has_fewer(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "train.py").write_text(FILE)
    words = ("enqueue", "train.py:sees", *SPACE, "--trials", "1", "--gpu")
    said = study.fts(*words, "3", "--dry-run")
    assert said.code == 0 and "gpu is 3, and this machine has 2 GPUs for trials: only a worker with nodes" in said.err
    slow = study.fts(*words, "2", "--threads", "1024", "--dry-run")
    assert slow.code == 0 and "threads is 1024, but a worker has" in slow.err
    small = study.fts(*words, "2", "--memory", "900TB", "--dry-run")
    room = "each of 2 GPUs, and this machine has 2 GPUs for trials, each with room for "
    assert small.code == 0 and room in small.err and "; it does not fit this machine" not in small.err + small.out
    assert "of each GPU of a trial, as declared; this machine has 2 GPUs" in small.err + small.out
    study.ok(*words, "2", "--memory", "900TB", "--name", "large")
    study.ok("worker", "--until-empty", "--slots", "1")
    held = study.one("SELECT hold_reason FROM job")
    assert held.startswith("t0 needs 921600.0 GB of each of 2 GPUs, as promised; this machine has 2 GPUs"), held
    study.ok("cancel", "large", "--yes")
    assert not study.ok(*words, "2").count("GPU")
    study.environ["FTS_GPUS"] = "none"
    study.ok("worker", "--until-empty", "--slots", "1")
    _, job = study.query("SELECT * FROM job ORDER BY id")
    assert (job["status"], job["hold_reason"]) == ("queued", "t0 needs 2 GPUs, this machine has 0 GPUs for trials")
    study.environ["FTS_GPUS"] = ENVIRON["FTS_GPUS"]
    study.ok("resume", "2")
    study.ok("worker", "--until-empty", "--slots", "1")
    assert study.one("SELECT status FROM job WHERE id = 2") == "done"


def test_amounts_that_cannot_be_meant_are_one_sentence(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "train.py").write_text(FILE)
    wrong = {
        ("--memory", "big"): "--memory is 'big', expected a size such as 8GB or 500M, learn, or a function such as",
        ("--memory", "8"): "--memory is '8', but a trial takes 16 MB before it does anything; write a size such as 8GB",
        ("--stall", "soon"): "--stall is 'soon', expected a duration such as 90s, 10m, 2h or 1.5d",
        ("--timeout", "0"): "--timeout is '0', expected a duration",
        ("--memory", "train.py:bytes_of"): "known only once the trial has drawn them; declare the space, or take learn",
    }
    for words, sentence in wrong.items():
        said = study.fts("enqueue", "train.py:slow", *words)
        assert (said.code, said.out) == (2, ""), said
        assert sentence in " ".join(said.err.split()), said.err
    assert not study.outputs.exists()


def test_a_job_takes_over_the_limits_that_are_typed_and_no_others(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "train.py").write_text(FILE)
    words = ("enqueue", "train.py:short", *SPACE, "--trials", "2")
    study.ok(*words, "--timeout", "1s", "--threads", "1")
    said = study.fts(*words, "--timeout", "2h", "--memory", "2GB").err
    assert "takes over: resources.memory learn -> 2 GB, budget.timeout 1 s -> 2 h" in said
    (job,) = study.query("SELECT spec FROM job")
    spec = json.loads(job["spec"])
    assert (spec["timeout_s"], spec["memory_bytes"], spec["threads"]) == (7200.0, 2 << 30, 1)
    study.ok(*words, "--memory", "train.py:bytes_of")
    spec = json.loads(study.query("SELECT spec FROM job")[0]["spec"])
    assert spec["memory"] == "train.py:bytes_of" and "memory_bytes" not in spec, "one takes the place of the other"


def test_defaults_that_are_typed_are_taken_over_and_those_that_are_not_reset_nothing(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", **ENVIRON)
    (study.folder / "train.py").write_text(FILE)
    function = ("enqueue", "train.py:short", *SPACE, "--trials", "2")
    command = ("enqueue", "--name", "c", "--metric", "loss", "--trials", "2")
    behind = ("--", "true", "{x:0..1}")
    fields = ("on_oom", "gpu", "process", "memory_bytes", "memory", "grace_s")

    def of(job: int) -> dict[str, Any]:
        spec = json.loads(study.query(f"SELECT spec FROM job WHERE id = {job}")[0]["spec"])
        return {name: spec[name] for name in fields if name in spec}

    study.ok(*function, "--on-oom", "fail", "--memory", "8GB", "--process", "reused")
    before = of(1)
    study.ok(*function)
    assert of(1) == before
    said = study.fts(*function, "--on-oom", "alone", "--memory", "learn", "--process", "fresh").err
    assert (
        "takes over: resources.memory 8 GB -> learn, resources.on_oom fail -> alone, resources.process reused -> fresh"
        in said
    )
    assert of(1) == {}
    study.ok(*command, "--grace", "60", "--on-oom", "prune", *behind)
    assert "takes over" not in study.fts(*command, *behind).err
    assert of(2) == {"on_oom": "prune", "grace_s": 60.0}
    study.ok(*command, "--grace", "30", "--on-oom", "alone", *behind)
    assert of(2) == {"grace_s": 30.0}


def test_the_time_of_a_trial_counts_from_its_start_to_its_end_or_its_last_sign_of_life(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    enqueued(db, 1)
    claim = claimed(db)
    trial = started(db, claim)
    began = db.execute_sql("SELECT began_at FROM attempt").fetchone()[0] - 9000
    db.execute_sql("UPDATE attempt SET began_at = ?", (began,))
    assert trial_usage.spent_s(db, claim.job_id) == 0.0, "it waits for memory"
    transitions.record_started(db, claim, trial, {"device": "cpu"})
    transitions.record_epoch(db, claim, trial, epoch(1))
    db.execute_sql("UPDATE event SET at = ? WHERE verb = 'trial_facts'", (began + 50,))
    db.execute_sql("UPDATE epoch SET at = ?", (began + 150,))
    assert trial_usage.spent_s(db, claim.job_id) == pytest.approx(100)
    transitions.pause(db, [claim.job_id])
    transitions.pause_running(db, claim)
    db.execute_sql("UPDATE attempt SET ended_at = ?", (began + 180,))
    assert trial_usage.spent_s(db, claim.job_id, trial) == pytest.approx(130), "it ended in good order"
    assert trial_usage.spent_s(db, claim.job_id, trial + 1) == 0.0
    db.close()


def test_peaks_on_record_are_those_of_the_trials_and_of_the_cells_of_the_study(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    enqueued(db, 2)
    for size in (100, 300):
        claim = claimed(db)
        trial = started(db, claim, params={"lr": 0.1})
        transitions.record_progress(db, claim, trial, {"peak_bytes": size})
    assert trial_usage.peaks(db, 1) == [(0, {"lr": 0.1}, 100)]
    (one, size), (other, _) = sorted(trial_usage.peaks_of_cells(db, claim.job.study), key=lambda found: found[1])
    assert size == 100 and differs_in_one(one, other), "they differ in the horizon alone"
    assert not differs_in_one(one, one) and not differs_in_one(one, {**one, "other": 1})
    db.close()


HOLDS = """
import os, time
from pathlib import Path
def objective(trial):
    own = Path(os.environ["HELD"]) / os.environ["CUDA_VISIBLE_DEVICES"]
    own.mkdir()  # fails where another trial has the GPU
    Path(os.environ["HELD"], f"pid{os.getpid()}").touch()
    until = time.monotonic() + float(os.environ["FOR_S"])
    while time.monotonic() < until:
        time.sleep(0.01)
    own.rmdir()
    return 1.0
"""


def test_workers_of_two_folders_and_a_run_beside_them_never_share_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    common = {
        **ENVIRON, "FTS_GPUS": "GPU-a", "HELD": str(tmp_path / "held"), "FOR_S": "0.3",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }  # fmt: skip
    studies = [Study(tmp_path / name, **common) for name in ("one", "other")]
    for study in studies:
        (study.folder / "train.py").write_text(HOLDS)
        study.ok("enqueue", "train.py:objective", "--trials", "2", "--gpu", "1")
    workers = [study.start("worker", "--until-empty", "--slots", "1") for study in studies]
    for worker in workers:
        assert worker.wait(120) == 0
    for study in studies:
        assert study.query("SELECT DISTINCT status FROM trial") == [{"status": "complete"}]
        assert study.one("SELECT count(*) FROM trial") == 2


def test_the_gpu_of_a_killed_worker_is_free_at_once(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    common = {
        **ENVIRON, "FTS_GPUS": "GPU-a", "HELD": str(tmp_path / "held"), "FOR_S": "999",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }  # fmt: skip
    first, second = Study(tmp_path / "one", **common), Study(tmp_path / "other", **common | {"FOR_S": "0"})
    for study in (first, second):
        (study.folder / "train.py").write_text(HOLDS)
        study.ok("enqueue", "train.py:objective", "--trials", "1", "--gpu", "1")
    worker = first.start("worker", "--slots", "1")
    wait_until(lambda: (tmp_path / "held" / "GPU-a").exists())
    other = second.start("worker", "--until-empty", "--slots", "1")
    wait_until(lambda: second.query("SELECT message FROM event WHERE message LIKE '%waits%GPU%'"))
    assert second.query("SELECT * FROM trial WHERE status = 'complete'") == []
    worker.kill()
    worker.wait()
    (tmp_path / "held" / "GPU-a").rmdir()
    assert other.wait(120) == 0
    assert second.one("SELECT status FROM trial") == "complete"
