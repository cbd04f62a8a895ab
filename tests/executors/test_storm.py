"""A hundred losses: agents killed, frozen, preempted, their connections cut, and workers killed; nothing differs."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.executors.crew import WORKING, Crew

LOSSES = 100
KINDS = {"kill": 5, "term": 3, "freeze": 2, "cut": 3, "worker": 1}


def release(crew: Crew) -> None:
    for row in crew.study.query("SELECT name FROM flag WHERE value LIKE '%quarantined%'"):
        crew.study.fts("nodes", "release", row["name"].removeprefix("node:"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_losses_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "peace").mkdir()
    peace = Crew(tmp_path / "peace", pause_s=0.0, trials=30)
    peace.put_in_line()
    peace.study.ok("worker", "--until-empty", "--slots", "2", "--threads", "1")
    (tmp_path / "storm").mkdir()
    crew = Crew(tmp_path / "storm", pause_s=0.25, trials=30)
    crew.put_in_line()
    rng, struck = random.Random(20), Counter[str]()
    worker = crew.start("a:1,b:1,c:1,d:1")
    epochs = 0
    while struck.total() < LOSSES and worker.poll() != 0:
        if worker.poll() is not None:
            worker = crew.start("a:1,b:1,c:1,d:1")
        release(crew)
        for was_cut in crew.folder.glob("was-cut-*"):
            was_cut.unlink()
            struck["cut"] += 1
        if crew.epochs() == epochs or not crew.study.query(WORKING):  # each loss costs a trial that has gone on
            time.sleep(0.1)
            continue
        epochs = crew.epochs()
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        time.sleep(rng.uniform(0.0, 0.3))
        if kind == "worker":
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
            struck[kind] += 1
        elif kind == "cut":
            (crew.folder / f"cut-{rng.choice('abcd')}").write_text(str(rng.randrange(200, 40_000)))
        else:
            number = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "freeze": signal.SIGSTOP}[kind]
            struck[kind] += crew.strike(number)
    print(dict(struck), crew.epochs())
    for name in "abcd":
        (crew.folder / f"cut-{name}").unlink(missing_ok=True)
    for _ in range(20):
        release(crew)
        if worker.poll() is None:
            worker.wait(600)
        if worker.poll() == 0:
            break
        worker = crew.start("a:1,b:1,c:1,d:1")
    for pid in crew.agents():  # frozen ones
        os.kill(pid, signal.SIGKILL)
    assert struck.total() >= LOSSES, struck
    assert crew.record() == peace.record(), crew.said()
    assert crew.files() == peace.files()
    assert crew.leftovers() == []
