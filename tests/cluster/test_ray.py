"""`fts worker --executor ray` on a real Ray cluster with a token; `make test-cluster` runs these."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.noticed import measure
from tests.cluster.ray_nodes import Ray, can_cut, why_not
from tests.executors.crew import Crew, undisturbed
from tests.fts_process import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]
PAUSE_S = 0.3


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    found = Ray(("n1", "n2", "n4"))
    yield found
    found.end()


@pytest.fixture
def ray(cluster: Ray) -> Iterator[Ray]:
    """With all its nodes, for the next test as well."""
    yield cluster
    cluster.mend()


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Crew:
    return undisturbed(tmp_path_factory.mktemp("peace"))


def crew_on(ray: Ray, folder: Path, pause_s: float = PAUSE_S) -> Crew:
    crew = Crew(folder, pause_s=pause_s)
    crew.study.environ |= {**ray.tells, "FTS_NODE_LEASE_S": "10", "FTS_SCRATCH": str(folder / "scratch")}
    crew.put_in_line()
    return crew


def start(crew: Crew, ray: Ray, *more: str) -> subprocess.Popen[str]:
    return crew.study.start(
        "worker", "--until-empty", "--slots", "2", "--executor", "ray", "--address", ray.address, *more
    )


def ends(crew: Crew) -> list[str]:
    return [str(row["how"]) for row in crew.study.query("SELECT how FROM attempt")]


def equal(crew: Crew, peace: Crew, worker: subprocess.Popen[str]) -> None:
    assert worker.wait(240) == 0, crew.said()
    assert crew.record() == peace.record(), crew.said()
    assert crew.files() == peace.files()
    assert crew.leftovers() == []


def working(crew: Crew) -> list[str]:
    """Nodes whose trial has told of an epoch."""
    return sorted(
        str(row["host"])
        for row in crew.study.query(
            "SELECT DISTINCT a.host FROM attempt a JOIN epoch e ON e.trial_id = a.trial_id AND e.at > a.began_at "
            "WHERE a.ended_at IS NULL"
        )
    )


def agents(ray: Ray, node: str) -> list[list[str]]:
    """The words of those that live there."""
    found = []
    for one in ray.processes(node):
        with contextlib.suppress(psutil.Error):
            if "fts.jobs.executors.agent" in (words := one.cmdline()):
                found.append(words)
    return found


def node_of(ray: Ray, name: str) -> str:
    """Which of our nodes Ray calls by that name."""
    (node,) = (node for node in ray.daemons if any(name in words for words in agents(ray, node)))
    return node


def strikes(crew: Crew, ray: Ray, strike: Callable[[str], None]) -> str:
    """Disturbs a node that works; says which."""
    name = wait_until(lambda: working(crew))[0]
    node = node_of(ray, name)
    began = time.time()
    strike(node)
    measure(crew, f"Ray: {strike.__name__.replace('_', ' ')}", began, host=name)
    return node


def test_undisturbed(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path, 0.02)
    equal(crew, peace, start(crew, ray))
    hosts = {row["host"] for row in crew.study.query("SELECT host FROM attempt")}
    assert hosts <= set(ray.look()[1:]) and len(hosts) == 2


def test_the_doctor_compares_every_node(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path)
    said = crew.study.ok("doctor", "--executor", "ray", "--address", ray.address)
    assert all(name in said for name in ray.look()[1:]) and said.count("equal to this machine") == 3, said


def test_a_gpu_is_asked_for_by_name_and_stands_in_the_record(ray: Ray, tmp_path: Path) -> None:
    """Ray counts the GPUs that it is given; it is not asked whether they are there."""
    ray.start_node("n5", "--num-gpus=2", FTS_GPUS="0=24GB,1=24GB")
    ray.wait_for(5)
    crew = Crew(tmp_path, pause_s=0.1, trials=1)
    crew.study.environ |= ray.tells
    (tmp_path / "study.toml").write_text(
        '[study]\nobjective = "train.py:objective"\n[budget]\ntrials = 1\n[resources]\ngpu = 1\nmemory = "200MB"\n'
    )
    crew.study.environ["FTS_GPUS"] = "none"
    crew.study.ok("enqueue", "study.toml")
    assert start(crew, ray).wait(120) == 0, crew.said()
    assert crew.study.one("SELECT json_extract(facts, '$.gpus') FROM trial") in ('["0"]', '["1"]')


def test_what_no_node_has_is_said_by_name(ray: Ray, tmp_path: Path) -> None:
    crew = crew_on(ray, tmp_path)
    worker = start(crew, ray, "--threads", "64")
    wait_until(lambda: "Ray has no node with 64 CPU" in crew.study.ok("why", "1"))
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(60) == 0


def test_a_token_of_another_cluster_is_refused(ray: Ray, tmp_path: Path) -> None:
    crew = crew_on(ray, tmp_path)
    crew.study.environ |= {"RAY_AUTH_TOKEN": "0" * 64}
    said = crew.study.fts("worker", "--executor", "ray", "--address", ray.address)
    assert said.code == 2 and "refuses this token" in said.err and len(said.err.splitlines()) == 1
    assert crew.study.query("SELECT 1 FROM worker") == []


def test_a_killed_node_is_lost_and_the_other_goes_on(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path)
    worker = start(crew, ray)

    def node_killed(node: str) -> None:
        ray.kill_node(node)

    strikes(crew, ray, node_killed)
    equal(crew, peace, worker)


def test_a_killed_raylet_alone_takes_its_trial_with_it(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path)
    worker = start(crew, ray)

    def raylet_killed(node: str) -> None:
        (raylet,) = (one for one in ray.processes(node) if one.name() == "raylet")
        raylet.kill()

    strikes(crew, ray, raylet_killed)
    equal(crew, peace, worker)


def test_a_frozen_node_that_wakes_up_late_changes_nothing(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path)
    worker = start(crew, ray)

    def node_frozen(node: str) -> None:
        ray.signal(node, signal.SIGSTOP)

    node = strikes(crew, ray, node_frozen)
    assert agents(ray, node), "it is there, with all that it had to say"
    ray.signal(node, signal.SIGCONT)
    equal(crew, peace, worker)


@pytest.mark.skipif(not can_cut(), reason="only root can cut a network")
def test_a_node_that_is_cut_off_changes_nothing_and_leaves(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path)
    worker = start(crew, ray)

    def network_cut(node: str) -> None:
        ray.cut(node)

    node = strikes(crew, ray, network_cut)
    ray.cut(node, whole=True)
    equal(crew, peace, worker)
    wait_until(lambda: not agents(ray, node))  # it heard nobody for a lease, and left by itself


def test_a_worker_that_is_killed_goes_on_from_what_is_at_home(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path)
    worker = start(crew, ray)
    wait_until(lambda: crew.epochs() >= 3)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not any(agents(ray, node) for node in ray.daemons))
    equal(crew, peace, start(crew, ray))


def test_a_node_that_ray_takes_back_sends_its_checkpoint_home_first(ray: Ray, tmp_path: Path, peace: Crew) -> None:
    crew = crew_on(ray, tmp_path)
    worker = start(crew, ray)
    name = wait_until(lambda: working(crew))[0]
    node = node_of(ray, name)
    ray.drain(name)
    wait_until(lambda: "preempted" in ends(crew))
    ray.kill_node(node)
    ray.start_node(node)
    equal(crew, peace, worker)
    assert "node lost" not in ends(crew)
    ray.wait_for(4)


def test_the_head_of_ray_dies_and_a_new_one_goes_on(tmp_path: Path, peace: Crew) -> None:
    ray = Ray(("n3",))
    try:
        crew = crew_on(ray, tmp_path)
        worker = start(crew, ray)
        wait_until(lambda: crew.epochs() >= 3)
        for node in ("head", "n3"):
            ray.kill_node(node)
        wait_until(lambda: "node lost" in ends(crew))
        ray.start_head()
        ray.start_node("n3")
        equal(crew, peace, worker)
    finally:
        ray.end()
