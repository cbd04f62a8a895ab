"""`fts doctor --executor`: what it says of each node, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.jobs.devices import BadSetting
from fts.jobs.executors import node_checks
from fts.jobs.executors.launch import Launch
from fts.jobs.executors.node_checks import NodeCheck
from fts.jobs.settings import Places, Where, WorkerSettings
from tests.executors.crew import NODE
from tests.fts_process import Study, wait_until

SRUN = "#!/bin/sh\necho 'srun: job 4711 queued and waiting for resources' >&2\nexec sleep 300\n"


def asked(tmp_path: Path, where: Where, slots: int = 1, launch_s: float = 60.0) -> tuple[list[NodeCheck], list[str]]:
    waits: list[str] = []
    settings = WorkerSettings(slots=slots, where=where, launch_s=launch_s)
    return node_checks.examine(
        Places(tmp_path / "outputs" / "fts.db", tmp_path / "data"), settings, waits.append
    ), waits


def test_each_node_says_what_is_wrong_there_and_what_to_do(tmp_path: Path) -> None:
    for name in ("fail-a", "other-b"):
        (tmp_path / name).touch()
    launch = f"{sys.executable} {NODE} {tmp_path} {{name}} {{agent}}"
    (tmp_path / "sensors-d").write_text('{"disk_free": 1000}')
    (tmp_path / "scratch-e").write_text("/dev/null/fts")
    (a, b, c, d, e, *more), _ = asked(tmp_path, Where("ssh", launch, "a:1,b:1,c:2,d:1,e:1"))
    assert (a.node, a.state) == ("a", "bad") and "a: no route to host" in a.text and "try it by hand" in a.cure
    assert (b.node, b.state, b.cure) == ("b", "bad", "install the same there") and "it runs another fts" in b.text
    assert (c.node, c.state) == ("c", "ok") and "equal to this machine" in c.text
    assert (d.node, d.state) == ("d", "bad") and "1000 B of disk free" in d.text and "FTS_SCRATCH" in d.cure
    assert "no scratch folder can be made at /dev/null/fts: Not a directory; FTS_SCRATCH names another" in e.text
    assert [one.node for one in more] == ["nodes"], "b has another fingerprint"


def test_the_cure_fits_what_the_launch_said() -> None:
    for said, words in {
        "/usr/bin/python3: No module named fts": "install the same fts there",
        "bash: line 1: /opt/venv/bin/python: No such file or directory": "--node-python",
        "Permission denied (publickey).": "try it by hand: ssh gpu1 'a b'",
    }.items():
        assert node_checks.cure(said, ["ssh", "gpu1", "a b"]).startswith(words)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("srn -n1", "srn is no command on this machine"),
        ("env {gpu}", "has {gpu}, expected only {threads}"),
        ("env {memory_mb}", "add --memory-limit"),
        ("env 'a", "cannot be read"),
    ],
)
def test_a_launch_command_that_cannot_work_is_refused_before_anything_starts(template: str, words: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(words)):
        Launch(template).check(None)


def test_an_engine_that_chooses_the_nodes_is_asked_for_as_many_as_there_are_slots(tmp_path: Path) -> None:
    (one,), _ = asked(tmp_path, Where("command", "env"), slots=2)
    assert (one.node, one.state) == (os.uname().nodename, "ok"), "two agents of one machine are one line"
    srun = tmp_path / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    node_checks.SAY_S, before = 0.0, node_checks.SAY_S
    try:
        (one,), waits = asked(tmp_path, Where("command", str(srun)), slots=2, launch_s=2.0)
    finally:
        node_checks.SAY_S = before
    assert one.state == "warn" and "no node within 2 s: srun: job 4711 queued" in one.text
    assert waits == ["waiting for a node: srun says: job 4711 queued and waiting for resources"]


def test_its_options_are_those_of_the_worker_and_ctrl_c_ends_what_it_has_started(tmp_path: Path) -> None:
    study, srun = Study(tmp_path), tmp_path / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    assert "for slurm it is --executor command --launch 'srun" in study.fts("worker", "--executor", "slurm").err
    assert "means nothing without --executor" in study.fts("doctor", "--memory-limit", "4GB").err
    words = ("doctor", "--executor", "command", "--slots", "3", "--memory-limit", "4GB")
    doctor = subprocess.Popen(
        [sys.executable, "-m", "fts.jobs.cli", *words, "--launch", f"{srun} --mem={{memory_mb}}M"],
        env=study.environ, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    assert doctor.stderr is not None and "4711 queued" in doctor.stderr.readline()
    wait_until(lambda: len(psutil.Process(doctor.pid).children(recursive=True)) == 3)
    began = psutil.Process(doctor.pid).children(recursive=True)
    doctor.send_signal(signal.SIGINT)
    assert doctor.wait(60) == 130 and "interrupted" in doctor.stderr.read()
    assert psutil.wait_procs(began, 0)[1] == []


def test_ctrl_c_while_agents_are_being_started_ends_those_that_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, begun = ThreadPoolExecutor.submit, []

    def interrupted(pool: ThreadPoolExecutor, *given: Any) -> Any:
        begun.append(submit(pool, *given))
        if len(begun) == 2:
            wait_until(lambda: len(sleeping()) == 2)
            raise KeyboardInterrupt
        return begun[-1]

    def sleeping() -> list[psutil.Process]:
        found = []
        for one in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # a process of an earlier test that has ended
                if one.environ().get("SRUN") == str(srun):
                    found.append(one)
        return found

    srun = tmp_path / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    monkeypatch.setenv("SRUN", str(srun))
    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asked(tmp_path, Where("command", str(srun)), slots=3, launch_s=600.0)
    assert sleeping() == []
