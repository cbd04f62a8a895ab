"""Trials on a node behind a real sshd, which the test starts on the loopback address."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.executors.crew import Crew
from tests.executors.page import commands
from tests.fts_process import wait_until

pytestmark = pytest.mark.slow
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of an sshd that takes one key, for this user alone."""
    if SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd, ssh and ssh-keygen are installed")
    with contextlib.suppress(OSError):
        if os.getuid() == 0:  # where sshd of root puts its empty folder
            Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "authorized").chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile {folder / 'pid'}\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=(folder / "said").open("w"))
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until and "listening" not in (folder / "said").read_text():
            assert server.poll() is None, (folder / "said").read_text()
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


def words(crew: Crew, port: int, key: str = "user") -> list[str]:
    ssh = (
        f"ssh -T -p {port} -i {crew.folder / 'ssh' / key} -o IdentitiesOnly=yes -o BatchMode=yes "
        f"-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR {getpass.getuser()}@{{name}} "
        f"FTS_SCRATCH={crew.folder / 'scratch'} {{agent}}"
    )
    return ["worker", "--until-empty", "--executor", "ssh", "--nodes", "127.0.0.1:2", "--launch", ssh]


def test_a_study_over_ssh_goes_on_when_a_connection_dies(tmp_path: Path, port: int) -> None:
    crew = Crew(tmp_path, pause_s=0.05, trials=2)
    crew.put_in_line()
    worker = crew.study.start(*words(crew, port))
    wait_until(lambda: crew.epochs() >= 2)
    ssh = next(one.pid for one in psutil.Process(worker.pid).children() if one.name() == "ssh")
    os.kill(ssh, signal.SIGKILL)
    assert worker.wait(120) == 0, crew.said()
    here = Crew(tmp_path / "here", trials=2) if (tmp_path / "here").mkdir() is None else None
    assert here is not None
    here.put_in_line()
    here.study.ok("worker", "--until-empty", "--slots", "2", "--threads", "1")
    assert crew.record() == here.record()
    assert crew.files() == here.files()
    assert crew.study.query("SELECT 1 FROM attempt WHERE how = 'node lost' AND host = '127.0.0.1'")


def test_a_key_that_is_refused_is_said_in_words_and_costs_no_trial(tmp_path: Path, port: int) -> None:
    crew = Crew(tmp_path, trials=1)
    crew.put_in_line()
    worker = crew.study.start(*words(crew, port, "host"))
    try:
        known = "SELECT value FROM flag WHERE name = 'node:127.0.0.1'"
        wait_until(lambda: "quarantined" in str(crew.study.query(known)))
        assert "Permission denied" in crew.study.ok("nodes")
    finally:
        os.kill(worker.pid, signal.SIGTERM)
        worker.wait(60)
    assert crew.study.query("SELECT 1 FROM attempt WHERE how NOT IN ('drained', 'launch failed')") == []
    assert crew.study.one("SELECT count(*) FROM trial WHERE status = 'failed'") == 0


HOSTS = """\
Host gpu1 gpu2
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {key}
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


def test_the_page_as_it_stands(tmp_path: Path, port: int) -> None:
    """Every command of docs/cluster.md for ssh; gpu1 and gpu2 are names of this machine in the file of ssh.

    Neither the worker nor its agents listen anywhere.
    """
    crew = Crew(tmp_path, trials=1)
    (tmp_path / "bin").mkdir()
    (tmp_path / "shared").mkdir()
    hosts = HOSTS.format(port=port, user=getpass.getuser(), key=tmp_path / "ssh" / "user")
    (tmp_path / "ssh" / "hosts").write_text(hosts)
    (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/ssh/hosts "$@"\n')
    (tmp_path / "bin" / "ssh").chmod(0o700)
    crew.study.environ["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    ran = []
    for heading in ("Before the first trial", "ssh", "Large checkpoints"):
        for line in commands(heading):
            argv = shlex.split(line.replace("2222", str(port)).replace("/shared/fts", f"{tmp_path}/shared"))
            if "command" in argv:  # tests/cluster/test_slurm.py
                continue
            if argv[1] == "worker":
                crew.study.ok("enqueue", "train.py:objective", "--trials", "1", "--name", f"study{len(ran)}")
                argv.append("--until-empty")
            said = crew.study.ok(*argv[1:])
            assert argv[1] != "doctor" or said.count("equal to this machine") == 2, said
            ran.append(argv[1])
    assert ran == ["doctor", "worker", "worker", "worker"]
    assert crew.study.query("SELECT 1 FROM trial WHERE status != 'complete'") == []
    assert {row["host"] for row in crew.study.query("SELECT host FROM attempt")} <= {"gpu1", "gpu2"}
    crew.study.ok("enqueue", "train.py:objective", "--trials", "2", "-m", "size=S,M", "--name", "last")
    worker = crew.study.start("worker", "--executor", "ssh", "--nodes", "gpu1:1,gpu2:1")
    wait_until(lambda: crew.study.ok("nodes").count(" up ") == 2)
    started = psutil.Process(worker.pid).children(recursive=True)
    agents = [
        one for one in psutil.process_iter(["cmdline"]) if "fts.jobs.executors.agent" in (one.info["cmdline"] or [])
    ]
    connections = [link for one in (psutil.Process(worker.pid), *started, *agents) for link in connections_of(one)]
    assert agents and connections and not [link for link in connections if link.status == psutil.CONN_LISTEN]
    told = [crew.study.ok(*shlex.split(line)[1:]) for line in commands("Looking after nodes")]
    assert "gpu2" in told[0] and "takes no further trial" in told[1] and "may run trials again" in told[2]
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(60) == 0, crew.said()


def connections_of(process: psutil.Process) -> list[Any]:
    with contextlib.suppress(psutil.Error):
        return list(process.net_connections("inet"))
    return []
