"""`fts worker --executor command --launch srun` on real Slurm daemons; `make test-cluster` runs these."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cluster.noticed import measure
from tests.cluster.slurm import Slurm, node_of, why_not
from tests.executors.crew import Crew, undisturbed
from tests.executors.page import commands
from tests.fts_process import ROOT, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]
ON_N1 = "SELECT 1 FROM attempt a JOIN epoch e ON e.trial_id = a.trial_id WHERE a.host = 'n1' AND a.ended_at IS NULL"
LAUNCH = "srun -n1 -c{threads} --mem=1000M"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    found = Slurm(tmp_path_factory.mktemp("slurm"))
    yield found
    found.end()


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Crew:
    return undisturbed(tmp_path_factory.mktemp("peace"))


def crew_on(slurm: Slurm, folder: Path, pause_s: float = 0.3) -> Crew:
    crew = Crew(folder, pause_s=pause_s)
    crew.study.environ |= {"SLURM_CONF": str(slurm.conf), "FTS_NODE_LEASE_S": "10"}
    crew.put_in_line()
    return crew


def start(crew: Crew, launch: str = LAUNCH) -> subprocess.Popen[str]:
    return crew.study.start("worker", "--until-empty", "--slots", "2", "--executor", "command", "--launch", launch)


def ends(crew: Crew) -> list[str]:
    return [str(row["how"]) for row in crew.study.query("SELECT how FROM attempt")]


def equal(crew: Crew, peace: Crew, worker: subprocess.Popen[str]) -> None:
    assert worker.wait(240) == 0, crew.said()
    assert crew.record() == peace.record(), crew.said()
    assert crew.files() == peace.files()
    assert crew.leftovers() == []


def test_undisturbed(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path, 0.02)
    equal(crew, peace, start(crew))
    assert {row["host"] for row in crew.study.query("SELECT host FROM attempt")} <= {"n1", "n2"}


def test_the_page_as_it_stands(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    """The doctor and the worker of docs/cluster.md, with the memory that these nodes have."""
    crew = crew_on(slurm, tmp_path, 0.02)
    doctor = next(line for line in commands("Before the first trial") if "srun" in line)
    said = crew.study.ok(*shlex.split(doctor)[1:])
    assert all(f"ok      {node}: " in said for node in ("n1", "n2")), said
    worker = shlex.split(commands("Slurm")[0].replace("12GB", "1GB"))
    assert worker[:2] == ["fts", "worker"] and "-p gpu" in worker[-1] and "--gres" in worker[-1]
    equal(crew, peace, crew.study.start(*worker[1:], "--until-empty"))


def test_a_cancelled_and_a_preempted_job_bring_their_checkpoint_home(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path, 1.0)
    worker = start(crew)
    wait_until(lambda: crew.epochs() >= 2)
    slurm.run("scancel", slurm.run("squeue", "-h", "-t", "R", "-o", "%i").split()[0])
    wait_until(lambda: "preempted" in ends(crew))
    wait_until(lambda: crew.study.query("SELECT 1 FROM attempt WHERE ended_at IS NULL AND host IS NOT NULL"))
    began = time.time()
    for _ in range(2):
        slurm.run("sbatch", "-p", "high", "-n1", "--mem=500M", "-o", "/dev/null", "--wrap", "sleep 6")
    wait_until(lambda: crew.study.query("SELECT 1 FROM event WHERE message LIKE '%waits in Slurm: %'"))
    assert "waits in Slurm: " in crew.study.ok("why", "1") + crew.study.ok("why", "2")
    measure(crew, "Slurm: both nodes preempted", began, "preempted")
    equal(crew, peace, worker)
    assert ends(crew).count("preempted") >= 2


def test_a_worker_that_stops_gives_back_what_it_has_and_what_it_waits_for(slurm: Slurm, tmp_path: Path) -> None:
    """A killed srun would leave its job in the queue, or on the node, until somebody cancels it."""
    crew = crew_on(slurm, tmp_path, 1.0)
    hog = subprocess.Popen(["srun", "-n1", "--mem=100M", "sleep", "100"], env=slurm.environ)
    worker = start(crew)
    wait_until(lambda: crew.epochs() and "PD" in slurm.run("squeue", "-h", "-o", "%t"))
    for pid in [one.pid for one in psutil.process_iter() if node_of(one) in ("n1", "n2")]:
        with suppress(OSError):
            os.kill(pid, signal.SIGSTOP)  # an agent that leaves late
    worker.terminate()
    assert worker.wait(60) == 0, crew.said()
    slurm.wait_for("squeue", "-h", "-o", "%j|", words="sleep|\n")
    assert slurm.run("squeue", "-h", "-o", "%j").split() == ["sleep"]
    hog.terminate()
    hog.wait()


def test_a_node_that_goes_away_is_lost_and_the_other_goes_on(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path)
    worker = start(crew)
    wait_until(lambda: crew.study.query(ON_N1))
    began = time.time()
    slurm.kill_node("n1")
    wait_until(lambda: "node lost" in ends(crew))
    slurm.start_node("n1")
    measure(crew, "Slurm: node killed", began)
    equal(crew, peace, worker)


def test_a_time_limit_is_a_checkpoint_and_another_job(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    """Slurm looks at limits every 30 s, and warns by so much earlier."""
    crew = crew_on(slurm, tmp_path, 3.0)
    worker = start(crew, f"{LAUNCH} --time=1 --signal=USR1@20")
    equal(crew, peace, worker)
    assert "preempted" in ends(crew) and "node lost" not in ends(crew), ends(crew)
    during = "e.trial_id = a.trial_id AND e.at BETWEEN a.began_at AND a.ended_at"
    trained = crew.study.query(f"SELECT e.at FROM attempt a JOIN epoch e ON {during} WHERE a.how = 'preempted'")
    if trained:  # else the warning came between two trials
        told = "the warning, which comes to all of its processes, leaves it a checkpoint"
        assert " stopped\n" in crew.printed(), told


def test_a_drained_node_ends_its_trial_and_is_left(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path, 1.0)
    worker = start(crew)
    wait_until(lambda: crew.study.query(ON_N1))
    slurm.run("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=repair")
    try:
        slurm.wait_for("sinfo", "-h", "-n", "n1", "-o", "%T", words="drained")
        assert worker.poll() is None, "the node is empty while the study goes on"
        assert not crew.study.query("SELECT 1 FROM attempt WHERE ended_at IS NULL AND host = 'n1'")
    finally:
        slurm.run("scontrol", "update", "NodeName=n1", "State=RESUME")
    equal(crew, peace, worker)
    assert "preempted" not in ends(crew) and "node lost" not in ends(crew)


LATE = """\
#!/bin/sh
[ "$1" = worker ] || exec "$FTS" "$@"
trap '' TERM
"$FTS" "$@"
touch ended
while [ ! -e warned ]; do sleep 0.05; done
"""


def script(folder: Path) -> Path:
    """That of docs/cluster.md, and beside it an `fts` for its PATH: the environment with Ray has no command."""
    (folder / "bin").mkdir()
    (folder / "bin" / "fts").write_text(f'#!/bin/sh\nexec {sys.executable} -m fts.jobs.cli "$@"\n')
    (folder / "bin" / "fts").chmod(0o700)
    text = (ROOT / "docs" / "cluster.md").read_text()
    path = folder / "worker.sh"
    path.write_text(text.partition("```bash\n")[2].partition("```")[0])
    return path


def test_a_warning_that_comes_as_the_worker_ends_does_not_bring_it_back(slurm: Slurm, tmp_path: Path) -> None:
    crew = Crew(tmp_path, pause_s=0.0, trials=1)
    crew.put_in_line()
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "fts").write_text(LATE)
    (tmp_path / "late" / "fts").chmod(0o700)
    worker = script(tmp_path)
    path = f"{tmp_path / 'late'}:{os.environ['PATH']}"
    fts = str(tmp_path / "bin" / "fts")
    environ = {**crew.study.environ, "PATH": path, "FTS": fts, "SLURM_CONF": str(slurm.conf)}
    words = ["sbatch", "--parsable", "--requeue", "-o", tmp_path / "said.txt", "-D", tmp_path, worker]
    job = subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stdout.strip()
    wait_until(lambda: (tmp_path / "ended").exists())
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    (tmp_path / "warned").touch()
    slurm.wait_for("scontrol", "show", "job", job, words="JobState=COMPLETED")
    assert "Restarts=0" in slurm.run("scontrol", "show", "job", job)
    assert crew.study.one("SELECT count(*) FROM job WHERE status = 'done'") == 2


def test_a_worker_in_an_allocation_goes_on_in_the_next_one(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path, 2.5)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    here = {"-c4": "-c1", "--time=24:00:00": "--time=1", "worker.sh": str(script(tmp_path))}
    batch = [here.get(word, word) for word in shlex.split(commands("Slurm")[-1].removesuffix("--threads 2"))]
    words = ["--parsable", "--signal=B:USR1@20", "-o", tmp_path / "said.txt", "-D", tmp_path, *batch[1:]]
    environ = {**crew.study.environ, "PATH": path}
    said = subprocess.run([batch[0], *words], env=environ, capture_output=True, text=True, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    job = said.stdout.strip()

    since: dict[str, float] = {}  # its n-th restart was seen

    def is_over() -> bool:
        told = slurm.run("scontrol", "show", "job", job)
        assert "JobState=FAILED" not in told, told
        restarts = told.partition("Restarts=")[2].split()[0]
        waited_s = time.monotonic() - since.setdefault(restarts, time.monotonic())
        if "JobState=PENDING" in told and restarts != "0" and waited_s > 3.0:  # earlier, Slurm revokes what it grants
            with suppress(AssertionError):  # it has just begun
                slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm waits two minutes by itself
        return "JobState=COMPLETED" in told

    wait_until(is_over, 400)
    assert crew.record() == peace.record(), crew.said()
    assert crew.files() == peace.files() and crew.leftovers() == []
    assert crew.study.one("SELECT count(*) FROM worker") >= 2
