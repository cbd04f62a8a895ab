"""`fts worker --executor command --launch srun` on real Slurm daemons; `make test-cluster` runs these."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Slurm, why_not
from tests.executors.crew import Crew, undisturbed
from tests.fts_process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]
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


def start(crew: Crew) -> object:
    return crew.study.start("worker", "--until-empty", "--slots", "2", "--executor", "command", "--launch", LAUNCH)


def ends(crew: Crew) -> list[str]:
    return [str(row["how"]) for row in crew.study.query("SELECT how FROM attempt")]


def equal(crew: Crew, peace: Crew, worker: object) -> None:
    assert worker.wait(240) == 0, crew.said()  # type: ignore[attr-defined]
    assert crew.record() == peace.record(), crew.said()
    assert crew.files() == peace.files()
    assert crew.leftovers() == []


def test_undisturbed(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path, 0.02)
    equal(crew, peace, start(crew))
    assert {row["host"] for row in crew.study.query("SELECT host FROM attempt")} <= {"n1", "n2"}


def test_a_cancelled_and_a_preempted_job_bring_their_checkpoint_home(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path)
    worker = start(crew)
    wait_until(lambda: crew.epochs() >= 2)
    slurm.run("scancel", slurm.run("squeue", "-h", "-t", "R", "-o", "%i").split()[0])
    wait_until(lambda: "preempted" in ends(crew))
    wait_until(lambda: crew.study.query("SELECT 1 FROM attempt WHERE ended_at IS NULL AND host IS NOT NULL"))
    for _ in range(2):
        slurm.run("sbatch", "-p", "high", "-n1", "--mem=500M", "-o", "/dev/null", "--wrap", "sleep 6")
    wait_until(lambda: crew.study.query("SELECT 1 FROM event WHERE message LIKE '%queued and waiting for resources%'"))
    assert "queued and waiting" in crew.study.ok("why", "1") + crew.study.ok("why", "2")
    equal(crew, peace, worker)
    assert ends(crew).count("preempted") >= 2


def test_a_node_that_goes_away_is_lost_and_the_other_goes_on(slurm: Slurm, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(slurm, tmp_path)
    worker = start(crew)
    on_n1 = "SELECT 1 FROM attempt a JOIN epoch e ON e.trial_id = a.trial_id WHERE a.host = 'n1' AND a.ended_at IS NULL"
    wait_until(lambda: crew.study.query(on_n1))
    slurm.kill_node("n1")
    wait_until(lambda: "node lost" in ends(crew))
    slurm.start_node("n1")
    equal(crew, peace, worker)
