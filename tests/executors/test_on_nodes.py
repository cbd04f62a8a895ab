"""Trials on nodes: whatever befalls these, the study ends as one that ran undisturbed on this machine."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.executors.crew import Crew, undisturbed
from tests.fts_process import ROOT, wait_until
from tests.namespaces import IN_NAMESPACE, can_mount

STUDY = """\
[study]
objective = "train.py:objective"
data = ["data"]

[budget]
trials = 1

[resources]
gpu = 1
memory = "200MB"

[metrics]
loss = { goal = "minimize" }
"""


NEVER_STILL = """\
import json, os, threading, time
from pathlib import Path

folder = Path(os.environ["FTS_CHECKPOINT_DIR"])
state, part, pause_s = folder / "state", folder / "state.part", float(os.environ["PAUSE_S"])
begun = int(state.read_text()) if state.exists() else 0
print("begins after", begun, flush=True)

def write():
    with (folder / "noise").open("wb", buffering=0) as noise:
        noise.truncate(8_000_000)  # its reading takes several milliseconds
        while True:
            noise.write(b"x")
            time.sleep(0.0002)

threading.Thread(target=write, daemon=True).start()
for step in range(begun + 1, 17):
    time.sleep(pause_s)
    with open(os.environ["FTS_REPORT"], "a") as report:
        report.write(json.dumps({"epoch": step, "loss": 1 / step}) + "\\n")
    part.write_text(str(step))
    part.replace(state)
"""


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Crew:
    return undisturbed(tmp_path_factory.mktemp("peace"))


def finished(crew: Crew, worker: object) -> None:
    assert worker.wait(120) == 0, crew.said()  # type: ignore[attr-defined]


def equal(crew: Crew, peace: Crew) -> None:
    assert crew.record() == peace.record(), crew.said()
    assert crew.files() == peace.files()
    assert crew.leftovers() == []


def test_lost_silent_cut_and_preempted_nodes_change_nothing(tmp_path: Path, peace: Crew) -> None:
    """A cut frame, a kill, a SIGTERM of the engine, silence; clocks two days apart.

    Three nodes run nothing: one starts no agent, one has no optuna, one no place for a scratch folder.
    """
    crew = Crew(tmp_path, pause_s=0.1)
    (tmp_path / "cut-b").write_text("9000")
    (tmp_path / "fail-c").touch()
    (tmp_path / "lacks-e").write_text("optuna")
    (tmp_path / "scratch-f").write_text("/dev/null/fts")
    (tmp_path / "clock-a").write_text("86400")
    (tmp_path / "clock-b").write_text("-86400")
    crew.put_in_line()
    worker = crew.start("e:1,c:1,f:1,a:1,b:1,d:1")
    wait_until(lambda: (tmp_path / "was-cut-b").exists())
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
        wait_until(lambda number=number: worker.poll() is not None or crew.strike(number))
    finished(crew, worker)
    assert crew.agents() == [], "a frozen one ends with its worker at the latest"
    equal(crew, peace)
    ends = [row["how"] for row in crew.study.query("SELECT how FROM attempt")]
    assert "node lost" in ends, ends  # by the cut at the least
    assert "no scratch folder can be made" in crew.said_of("f")
    assert "no route to host" in crew.said_of("c") and "No module named 'optuna'" in crew.said_of("e")
    assert crew.study.one("SELECT count(*) FROM job WHERE status = 'done'") == 2


@pytest.mark.slow
def test_a_killed_worker_loses_what_is_not_at_home_and_the_next_goes_on(tmp_path: Path, peace: Crew) -> None:
    crew = Crew(tmp_path, pause_s=0.05)
    crew.put_in_line()
    worker = crew.start("a:1,b:1", "--sync", ".")
    wait_until(lambda: crew.epochs() >= 4)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not crew.agents())  # each has seen the end of its connection
    assert crew.epochs() < 50
    finished(crew, crew.start("a:1,b:1", "--sync", "."))
    equal(crew, peace)
    assert f"{tmp_path / 'scratch'}/fts-agent-" in crew.printed(), "not the folder beside it ran"


READS = 'Path("data/x.txt").read_text(), Path("data/x.txt").resolve()'


def test_a_command_that_never_stops_writing_continues_from_files_that_came_home(tmp_path: Path) -> None:
    """They are sent while it stands still: each scan of its folder finds another file size."""
    crew = Crew(tmp_path, trials=1)
    (tmp_path / "run.py").write_text(NEVER_STILL)
    crew.study.environ["PAUSE_S"] = "0.15"
    crew.study.ok("enqueue", "--metric", "loss", "--trials", "1", "--", sys.executable, "run.py", "{lr:0.1..1.0}")
    worker = crew.start("a:1,b:1")
    came = crew.study.outputs / "trials"
    wait_until(lambda: any(came.rglob("checkpoint/state")) and crew.strike(signal.SIGKILL))
    finished(crew, worker)
    begun = [int(line.rpartition(" ")[2]) for line in crew.printed().splitlines() if line.startswith("begins after")]
    assert begun[0] == 0 and begun[-1] > 0 and len(begun) == 2
    assert crew.study.query("SELECT status, epochs, value FROM trial") == [
        {"status": "complete", "epochs": 16, "value": 1 / 16}
    ]


def test_code_data_and_gpus_that_a_study_file_names_are_on_the_node(tmp_path: Path) -> None:
    """No option of the worker is needed. No GPU is here, none on node a; that of c is too small, that of b is not."""
    crew = Crew(tmp_path, trials=1)
    (tmp_path / "train.py").write_text((tmp_path / "train.py").read_text().replace("print(", f"print({READS}, "))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("nine lives")
    crew.study.environ["FTS_GPUS"] = "none"
    (tmp_path / "gpus-b").write_text("GPU-b=1GB")
    (tmp_path / "gpus-c").write_text("GPU-c=100MB")
    (tmp_path / "study.toml").write_text(STUDY)
    said = crew.study.fts("enqueue", "study.toml")
    assert said.code == 0 and "only a worker with nodes that have more can run it" in said.err
    finished(crew, crew.start("a:1,c:1,b:1"))
    assert f"nine lives {tmp_path / 'scratch'}/fts-agent-" in crew.printed()
    (kept,) = (tmp_path / "scratch").glob(".fts-data-*/" + "?" * 32)
    assert hashlib.md5(kept.read_bytes()).hexdigest() == kept.name
    assert crew.study.query("SELECT host FROM attempt") == [{"host": "b"}]
    assert crew.study.one("SELECT json_extract(facts, '$.gpus') FROM trial") == '["GPU-b"]'
    assert "/fts-agent-" in crew.printed(), "the code that was sent ran, not the folder beside it"


@pytest.mark.slow
def test_a_killed_agent_and_a_killed_worker_in_the_middle_of_a_data_set_leave_nothing_that_counts(
    tmp_path: Path,
) -> None:
    """The scratch folder lies in the folder whose code is sent, as on a shared file system."""
    crew = Crew(tmp_path, trials=1)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "large.bin").write_bytes(os.urandom(1 << 20) * 300)
    (tmp_path / "study.toml").write_text(STUDY.replace('gpu = 1\nmemory = "200MB"\n', ""))
    crew.study.ok("enqueue", "study.toml")

    def is_half() -> bool:
        return any(path.stat().st_size > 0 for path in (tmp_path / "scratch").glob(".fts-data-*/*.part"))

    worker = crew.start("a:2")
    wait_until(is_half, every_s=0.005)
    for pid in crew.agents("a"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "node lost" in str(crew.study.query("SELECT how FROM attempt")))
    wait_until(is_half, every_s=0.005)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not crew.agents())
    finished(crew, crew.start("a:2"))
    (kept,) = (path for path in (tmp_path / "scratch").glob(".fts-data-*/*") if path.suffix not in (".lock", ".seen"))
    assert kept.stat().st_size == 300 << 20 and kept.name == hashlib.md5(kept.read_bytes()).hexdigest()
    assert crew.study.one("SELECT status FROM job") == "done" and crew.leftovers() == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="no user and mount namespaces here")
def test_a_full_disk_at_home_pauses_the_queue_and_blames_no_node(tmp_path: Path) -> None:
    """Runs full_home.py, which fills it twice while files arrive, and ends with the comparison."""
    words = [*IN_NAMESPACE, sys.executable, "-m", "tests.executors.full_home", str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0 and "identical" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]


SIDE_BY_SIDE = """\
[study]
objective = "train.py:objective"
[budget]
trials = 9
[search]
sampler = "SAMPLER"
parallel = 3
[metrics]
loss = { goal = "minimize" }
[space]
x = { low = -4.0, high = 4.0, step = 4.0 }
y = { low = -1.0, high = 1.0, step = 1.0 }
"""
STEPS = """\
import random, time, fts

def objective(trial):
    x, y = trial.suggest_float("x", -4.0, 4.0, step=4.0), trial.suggest_float("y", -1.0, 1.0, step=1.0)
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"loss": x * x + y, "step": 0}
    for step in range(state["step"] + 1, 4):
        time.sleep(PAUSE)
        state = {"loss": state["loss"] * (0.8 + 0.1 * random.random()), "step": step}
        fts.report(trial, step, loss=state["loss"])
        checkpoint.save(state)
    return state["loss"]
"""


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["grid", "cmaes"])
def test_trials_side_by_side_end_the_same_whatever_node_is_lost(sampler: str, tmp_path: Path) -> None:
    """Three of one cell at a time on four nodes, of which six are killed, frozen or preempted; and here, in order."""
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    crews = []
    for name, pause_s in (("peace", 0.0), ("storm", 0.25)):
        (tmp_path / name).mkdir()
        crew = Crew(tmp_path / name)
        (crew.folder / "train.py").write_text(STEPS.replace("PAUSE", str(pause_s)))
        (crew.folder / "study.toml").write_text(SIDE_BY_SIDE.replace("SAMPLER", sampler))
        crew.study.ok("enqueue", "study.toml")
        crews.append(crew)
    peace, crew = crews
    peace.study.ok("worker", "--until-empty", "--slots", "1", "--threads", "1")
    worker = crew.start("a:1,b:1,c:1,d:1")
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP) * 2:
        wait_until(lambda number=number: worker.poll() is not None or crew.strike(number))
    finished(crew, worker)
    equal(crew, peace)
    assert len(crew.struck) >= 3 and crew.study.one("SELECT count(*) FROM trial") == 9


def test_what_the_workers_own_limit_rules_out_waits_for_no_node(tmp_path: Path) -> None:
    """The limit is 2 GB on every node; b, which cannot be reached, has no more."""
    crew = Crew(tmp_path)
    (tmp_path / "fail-b").write_text("")
    crew.study.ok("enqueue", "train.py:objective", "--trials", "1", "--memory", "3GB")
    assert crew.start("a:1,b:1").wait(60) == 0, crew.said()
    held = crew.study.one("SELECT hold_reason FROM job")
    assert held == "t0 needs 3.0 GB of memory, as promised; 2.0 GB allowed on node a"


def test_a_trial_that_no_node_takes_fails_its_job_once_and_goes_on_here(tmp_path: Path) -> None:
    """Its folder has a name that may not travel. No node is blamed, and no work is lost."""
    for name in ("peace", "crew"):
        (tmp_path / name).mkdir()
    peace, crew = Crew(tmp_path / "peace", trials=1), Crew(tmp_path / "crew", pause_s=0.3, trials=1)
    for one in (peace, crew):
        train = (one.folder / "train.py").read_text()
        (one.folder / "train.py").write_text(
            train.replace("weights = ", "(checkpoint.dir / 'a b\\n').touch(); weights = ")
        )
        one.study.ok("enqueue", "train.py:objective", "--trials", "1", "-m", "size=S")
    peace.study.ok("worker", "--until-empty", "--threads", "1")
    here = ("worker", "--until-empty", "--threads", "1")
    worker = crew.study.start(*here)
    wait_until(lambda: crew.epochs() >= 2)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(60) == 0, crew.said()
    before = crew.study.one("SELECT count(*) FROM attempt")
    assert crew.start("a:1,b:1").wait(60) == 0, crew.said()
    assert crew.study.one("SELECT count(*) FROM attempt") == before + 1
    assert "t0 cannot run: its folder can" in crew.study.fts("status").out
    said = crew.said_of("a node")
    assert said.count("t0 cannot run: its folder cannot be sent to a node") == 1, said
    assert "printable characters" in said and "`fts retry 1` continues the same trials" in said, said
    assert crew.study.one("SELECT status FROM trial") == "interrupted"
    assert "quarantine" not in crew.said() and not [
        row for row in crew.study.query("SELECT how FROM attempt") if row["how"] == "node lost"
    ]
    crew.study.ok("retry", "1")
    crew.study.ok(*here)
    assert crew.record() == peace.record() and crew.files() == peace.files(), crew.said()
    assert "resumed from" in crew.printed() and crew.leftovers() == []
