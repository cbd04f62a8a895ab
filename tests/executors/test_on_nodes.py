"""Trials on nodes: whatever befalls these, the study ends as one that ran undisturbed on this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.executors.crew import Crew, undisturbed
from tests.fts_process import wait_until

STUDY = """\
[study]
objective = "train.py:objective"
sync = ["."]

[budget]
trials = 1

[resources]
gpu = 1
memory = "200MB"

[metrics]
loss = { goal = "minimize" }
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
    """One after another: a cut frame, a kill, a SIGTERM of the engine, silence; and a node that starts nothing."""
    crew = Crew(tmp_path, pause_s=0.1)
    (tmp_path / "cut-b").write_text("9000")
    (tmp_path / "fail-c").touch()
    crew.put_in_line()
    worker = crew.start("c:1,a:1,b:1,d:1")
    wait_until(lambda: (tmp_path / "was-cut-b").exists())
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
        wait_until(lambda number=number: worker.poll() is not None or crew.strike(number))
    finished(crew, worker)
    equal(crew, peace)
    ends = [row["how"] for row in crew.study.query("SELECT how FROM attempt")]
    assert "node lost" in ends, ends  # by the cut at the least
    assert "no route to host" in crew.said_of("c")
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


def test_the_code_and_the_gpus_that_a_study_file_names_are_on_the_node(tmp_path: Path) -> None:
    """`sync` of [study]: no option of the worker is needed. No GPU here, none on the first node, one on the second."""
    crew = Crew(tmp_path, trials=1)
    crew.study.environ["FTS_GPUS"] = "none"
    (tmp_path / "gpus-b").write_text("GPU-b=1GB")
    (tmp_path / "study.toml").write_text(STUDY)
    said = crew.study.fts("enqueue", "study.toml")
    assert said.code == 0 and "only a worker with nodes that have more can run it" in said.err
    finished(crew, crew.start("a:1,b:1"))
    assert crew.study.query("SELECT host FROM attempt") == [{"host": "b"}]
    assert crew.study.one("SELECT json_extract(facts, '$.gpus') FROM trial") == '["GPU-b"]'
    assert "/fts-agent-" in crew.printed(), "the code that was sent ran, not the folder beside it"
