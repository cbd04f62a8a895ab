"""What a person meets with Ray: the commands of docs/cluster.md, refused clusters, a node without fts."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cluster.ray_nodes import Ray, can_cut, why_not
from tests.cluster.slurm import free_port
from tests.executors.crew import Crew
from tests.executors.page import commands
from tests.fts_process import Said, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]
ADDRESS = "10.0.0.5:6379"  # in the page
SMALL = "--object-store-memory=80000000 --disable-usage-stats --min-worker-port=0 --max-worker-port=0"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Ends what `ray start` leaves behind."""
    with tempfile.TemporaryDirectory(prefix="fts-ray-", ignore_cleanup_errors=True) as name:
        yield Path(name)
        left = [one for one in psutil.process_iter() if any(name in word for word in words_of(one))]
        for one in [*left, *(child for parent in left for child in children(parent))]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def words_of(one: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(one.cmdline())
    return []


def children(one: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(one.children(recursive=True))
    return []


def test_the_page_as_it_stands(folder: Path, tmp_path: Path) -> None:
    crew = Crew(tmp_path, trials=2)
    crew.put_in_line()
    port = free_port()
    clean = {name: value for name, value in crew.study.environ.items() if not name.startswith("RAY_")}
    environ = clean | {"HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = []
    for line in commands("Ray"):
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            environ[name] = value
            continue
        if line.startswith("pip "):  # `make test-cluster` did
            continue
        words = line.replace(ADDRESS, f"127.0.0.1:{port}").replace("--port 6379", f"--port {port}")
        if line.startswith("ray start"):
            words += f" {SMALL}" + (f" --temp-dir={folder}/t" if "--head" in line else " --num-cpus=2")
        if line.startswith("fts worker"):
            words += " --until-empty"
        umask, _, words = words.rpartition("; ")
        argv = shlex.split(words)
        if argv[0] == "fts":
            argv = [sys.executable, "-m", "fts.jobs.cli", *argv[1:]]
        done = subprocess.run(
            argv, env=environ, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180,
            umask=int(umask.split()[-1], 8) if umask else -1,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stdout} {done.stderr}"
        ran.append(argv[-1])
    assert len(ran) == 5 and crew.study.one("SELECT count(*) FROM job WHERE status = 'done'") == 2
    assert (folder / ".ray" / "auth_token").stat().st_mode & 0o077 == 0


def refused(crew: Crew, address: str, *before: str) -> Said:
    words = [*before, sys.executable, "-m", "fts.jobs.cli", "worker", "--executor", "ray", "--address", address]
    done = subprocess.run(words, env=crew.study.environ, cwd=crew.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert crew.study.query("SELECT 1 FROM worker") == []
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(not can_cut(), reason="only root can give this machine an address that is no loopback one")
def test_a_cluster_without_a_token_and_one_of_other_machines_are_refused(tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    crew.put_in_line()
    for asks, words, before in (
        (True, "this machine is no node of the Ray cluster", ["unshare", "--pid", "--fork", "--mount-proc"]),
        (False, "runs code from anybody who reaches", []),
    ):
        ray = Ray((), asks=asks)
        try:
            crew.study.environ |= ray.tells
            assert words in refused(crew, ray.address, *before).err
            if not asks:  # the same by the address that nobody else reaches
                crew.study.environ.pop("RAY_AUTH_MODE")
                assert words in refused(crew, f"127.0.0.1:{ray.port}").err
        finally:
            ray.end()


def test_a_worker_is_ended_while_it_waits_for_a_node(tmp_path: Path) -> None:
    """No node has a processor: nothing of it stays, neither here nor in Ray."""
    crew = Crew(tmp_path)
    crew.put_in_line()
    ray = Ray(())
    try:
        crew.study.environ |= ray.tells
        worker = crew.study.start("worker", "--executor", "ray", "--address", ray.address, "--slots", "2")
        while "Ray has no node with 1 CPU" not in crew.said():
            assert worker.poll() is None, crew.said()
        begun = psutil.Process(worker.pid).children(recursive=True)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(60) == 0
        assert psutil.wait_procs(begun, 30)[1] == []
    finally:
        ray.end()


def test_a_node_that_starts_no_agent_is_quarantined_by_name_and_another_goes_on(tmp_path: Path) -> None:
    """It is free at all times, so Ray would choose it again and again."""
    crew = Crew(tmp_path)
    crew.put_in_line()
    broken = tmp_path / "python"  # on one node it finds no fts
    broken.write_text(f'#!/bin/sh\n[ "$FTS_BROKEN" ] && exec {sys.executable} -I -S "$@"\nexec {sys.executable} "$@"\n')
    broken.chmod(0o755)
    ray = Ray(())
    try:
        ray.start_node("n7", FTS_BROKEN="1")
        ray.wait_for(2)
        (name,) = ray.look()[1:]
        crew.study.environ |= ray.tells
        words = ("--executor", "ray", "--address", ray.address, "--node-python", str(broken), "--slots", "2")
        worker = crew.study.start("worker", "--until-empty", *words)
        known = f"SELECT value FROM flag WHERE name = 'node:{name}'"
        wait_until(lambda: "quarantined" in str(crew.study.query(known)))
        assert "No module named" in crew.study.ok("nodes")
        wait_until(lambda: f"none is open for trials, {name} closed" in crew.study.ok("why", "1"))
        ray.start_node("n8")
        assert worker.wait(120) == 0, crew.said()
        assert {row["how"] for row in crew.study.query("SELECT how FROM attempt")} == {"complete"}
    finally:
        ray.end()
