"""What a person reads of nodes."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fts.jobs.executors.base import Want
from fts.jobs.executors.launch import Launch
from fts.jobs.status.nodes import line, ran_on, state_of
from fts.state.values import Node, NodeState


def test_all_nodes_in_one_line() -> None:
    now = 1000.0
    nodes = [
        Node("a", NodeState.UP, now, slots=4, heard_at=now, trials=("x t1", "x t2")),
        Node("b", NodeState.SILENT, now, slots=4, heard_at=now - 40, trials=("x t3",)),
        Node("c", NodeState.QUARANTINED, now, slots=8, reason="it runs another fts"),
        Node("d", NodeState.UP, now - 500, slots=1, heard_at=now - 500),
    ]
    assert line(nodes, now) == ("4 nodes, 3/9 slots, 1 silent 40 s, 1 silent 8 min, 1 quarantined: it runs another fts")
    assert line([], now) == "" and state_of(nodes[0], now) == "up"
    ahead = Node("e", NodeState.UP, now + 3600, heard_at=now + 3600)
    assert state_of(ahead, now) == "silent since the clock was set back"
    assert state_of(Node("f", NodeState.SILENT, now + 9, heard_at=now + 9), now).startswith("silent since")


def test_where_a_trial_ran_with_its_epochs() -> None:
    def attempt(host: str | None, began: float, ended: float | None) -> Any:
        return SimpleNamespace(host=host, began_at=began, ended_at=ended)

    epochs: Any = [SimpleNamespace(epoch=n, at=float(n)) for n in range(1, 6)]
    attempts = [attempt("gpu2", 0, 2.5), attempt(None, 2.5, 2.6), attempt("gpu1", 2.6, 4.5), attempt("gpu1", 4.6, None)]
    assert ran_on(attempts, epochs, "epoch") == "ran on gpu2 (epoch 1-2), gpu1 (epoch 3-5)"
    assert ran_on([attempt(None, 0, 1)], epochs, "epoch") == ""


SHELLS = ["sh -c {agent}", "sh -c '{agent}'", "sh -c 'exec {agent}'", "env A=1 bash -ec {agent}"]


@pytest.mark.parametrize("template", SHELLS)
@pytest.mark.parametrize("quotes", [False, True])
def test_a_shell_gets_the_agent_as_one_line(template: str, quotes: bool) -> None:
    argv = Launch(template, "/bin/echo", quotes).argv(Want(), "gpu1", None)
    if quotes:  # a shell on the node reads them, as sshd has it
        if template.endswith("exec {agent}'"):
            return  # a shell here, which the next test has
        argv = ["sh", "-c", " ".join(argv)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.endswith("--name gpu1\n"), argv


@pytest.mark.parametrize(
    "template",
    ["ssh {agent}", "ssh 'cd / && exec {agent}'", "ssh sh -c 'cd / && exec {agent}'", "sh -c 'ssh {agent} 2>&1'"],
)
@pytest.mark.parametrize("python", ["~/my env/echo", "/bin/echo"])
def test_a_shell_on_the_node_reads_the_agent_once(template: str, python: str, tmp_path: Path) -> None:
    (tmp_path / "my env").mkdir()
    (tmp_path / "my env" / "echo").symlink_to("/bin/echo")
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nHOME={shlex.quote(str(tmp_path))} exec sh -c "$*"\n')
    (tmp_path / "ssh").chmod(0o755)
    argv = Launch(template, python, quotes=True).argv(Want(), "gpu1", None)
    here = {"HOME": "/nowhere", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(argv, capture_output=True, text=True, check=True, env=here).stdout
    assert said == "-Pm fts.jobs.executors.agent --name gpu1\n", argv
