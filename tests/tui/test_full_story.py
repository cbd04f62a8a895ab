"""The whole day in tmux at 80x24 with a real worker: enqueue, start it from the monitor, look, leave, drain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fts.state import queries
from fts.state.db import open_database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="the story is told in tmux"),
]
PATIENCE_S = 240.0


class Tmux:
    """A tmux server of our own, so that nobody's sessions are touched."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.socket = str(folder / "tmux")
        self.environment = environment

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self.socket, *words], capture_output=True, text=True, env=self.environment, check=False
        )
        return done.stdout

    def start(self, command: str) -> None:
        self("new-session", "-d", "-s", "story", "-x", "80", "-y", "24", command)

    def keys(self, *names: str) -> None:
        for name in names:
            self("send-keys", "-t", "story", name)
            time.sleep(0.4)

    def screen(self) -> str:
        return self("capture-pane", "-t", "story", "-p")

    def wait_for(self, text: str) -> str:
        end = time.monotonic() + PATIENCE_S
        while text not in (shown := self.screen()):
            assert time.monotonic() < end, f"{text!r} is not on the screen:\n{shown}"
            time.sleep(0.2)
        return shown


def fts(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fts.jobs.cli", *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environment(tmp_path):
    found = dict(os.environ, FTS_DB=str(tmp_path / "study" / "outputs" / "fts.db"), FTS_DATA=str(tmp_path / "data"))
    found |= {"OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    fts(found, "data", "build", "--tier", "a25")
    fts(found, "enqueue", "--budgets", "tiny", "--horizons", "1,3", "--trials", "3", "--epochs", "3")
    return found


@pytest.fixture
def tmux(tmp_path, environment):
    made = Tmux(tmp_path, environment)
    yield made
    made("kill-server")


def statuses(environment) -> list[str]:
    db = open_database(environment["FTS_DB"], readonly=True)
    try:
        return [str(worker.status) for worker in queries.workers(db)]
    finally:
        db.close()


def test_a_day_at_the_monitor(tmux, environment):
    tmux.start(f"{sys.executable} -m tui")
    assert "no worker" in tmux.wait_for("LOOK")
    tmux.keys("W")
    tmux.wait_for("start a worker?")
    tmux.keys("y")
    tmux.wait_for("WELL")
    tmux.wait_for("running")
    tmux.keys("j", "Enter")
    tmux.wait_for("2 Trials")
    tmux.keys("q")
    time.sleep(2)
    assert statuses(environment) == ["running"]  # leaving the monitor stops nothing
    tmux.start(f"{sys.executable} -m tui")
    tmux.wait_for("1 Queue")
    tmux.keys("D")
    tmux.wait_for("the queue stays")
    tmux.keys("y")
    end = time.monotonic() + PATIENCE_S
    while statuses(environment) != ["stopped"]:
        assert time.monotonic() < end, tmux.screen()
        time.sleep(0.5)
    tmux.wait_for("drained")
    tmux.keys("q")
