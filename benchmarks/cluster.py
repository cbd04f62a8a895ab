"""Measures the load of one head and the cost of lost nodes: 1,000 slots that write, 20 nodes for a week.

python -m benchmarks cluster [--full]

The slots are threads that write the facts of trials through the group-committing writer. The nodes are agents that a
command starts on this machine; a day lasts as long as the tiny trials need for five losses. Quick: one day, full: a
week. Each study is compared with an undisturbed one on local slots. The time until a loss is noticed is measured on a
study of one node with the default lease of a worker.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import Row
from benchmarks.writers import write
from tests.executors.crew import Crew

SLOTS, RATE = 1000, 100
NODES, LOSSES_A_DAY = 20, 5
KINDS = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP, "preempted": signal.SIGTERM}
PATIENCE_S = 600.0
OPEN = "SELECT max(n) FROM attempt WHERE ended_at IS NULL"


def rows(quick: bool = True) -> list[Row]:
    return [*many_slots(6.0 if quick else 60.0), *notices(), *week(1 if quick else 7, 1 if quick else 7)]


def many_slots(seconds: float) -> list[Row]:
    found = write(RATE, seconds, SLOTS)
    where = f"{SLOTS} slots, {RATE} facts/s"
    return [
        Row(f"{where}: p99 until durable", 1000 * found.p99, "ms", 250.0, "at most", True, repeats=found.facts),
        Row(f"{where}: longest beat", 1000 * found.beat, "ms", 1000.0, "at most", True),
        Row(f"{where}: head", found.cores, "cores", 1.0, "at most", True, note="with what makes the facts"),
        Row(f"{where}: head", found.resident / 1e6, "MB", 1000.0, "at most", True, note=f"{found.rate:.0f}/s reached"),
    ]


def notices() -> list[Row]:
    """Returns seconds from a loss until its attempt is closed."""
    silent, ended = noticed(signal.SIGSTOP), noticed(signal.SIGKILL)
    return [
        Row("a silent node noticed after", silent, "s", 15.0, "at most", True),
        Row("an ended channel noticed after", ended, "s", 2.0, "at most", True),
    ]


def noticed(how: signal.Signals) -> float:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        crew = Crew(Path(folder), pause_s=0.5, trials=1)
        enqueue(crew, 1)
        worker = crew.start("a:1")
        try:
            until = time.monotonic() + PATIENCE_S
            while not crew.epochs():
                await_until(until)
            struck, attempt = time.time(), crew.study.one(OPEN)
            assert crew.strike(how), "an agent works on the trial"
            while (at := crew.study.one(f"SELECT ended_at FROM attempt WHERE n = {attempt}")) is None:
                await_until(until)
            return float(at) - struck
        finally:
            end(crew, worker)


def week(days: int, trials: int) -> list[Row]:
    """Runs twenty nodes, a cell each, loses nodes at random moments, and compares the results."""
    wanted, struck = days * LOSSES_A_DAY, Counter[str]()
    with tempfile.TemporaryDirectory() as calm, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        peace = Crew(Path(calm), pause_s=0.0, trials=trials)
        enqueue(peace, NODES)
        peace.study.ok("worker", "--until-empty", "--slots", "2", "--threads", "1")
        crew = Crew(Path(folder), pause_s=1.0, trials=trials)
        enqueue(crew, NODES)
        nodes = ",".join(f"n{n}:1" for n in range(NODES))
        rng, began, worker = random.Random(7), time.monotonic(), crew.start(nodes)
        try:
            while worker.poll() is None:
                release(crew)
                time.sleep(rng.uniform(0.3, 1.0))
                kind = list(KINDS)[struck.total() % len(KINDS)]
                if struck.total() < wanted and crew.strike(KINDS[kind]):
                    struck[kind] += 1
                assert time.monotonic() - began < PATIENCE_S * days, crew.said()
            seconds = time.monotonic() - began
            there, here = peace.record(), crew.record()
            different = len(set(there) ^ set(here)) + (peace.files() != crew.files())
            done = int(crew.study.one("SELECT count(*) FROM trial WHERE status IN ('complete', 'pruned')"))
        finally:
            end(crew, worker)
    name = f"{NODES} nodes, {days} day{'s' * (days > 1)} of {LOSSES_A_DAY} losses"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(struck.items()))
    return [
        Row(f"{name}: nodes lost", struck.total(), "", note=f"{kinds}; of {wanted} planned; {seconds:.0f} s"),
        Row(f"{name}: mismatches", different, "", note="rows and files unlike the undisturbed study"),
        Row(f"{name}: trials missing", NODES * trials - done, "", note=f"of {NODES * trials}"),
    ]


def enqueue(crew: Crew, cells: int) -> None:
    crew.study.environ.pop("FTS_NODE_LEASE_S", None)  # the default lease of a worker
    sizes = ",".join(f"s{n}" for n in range(cells))
    crew.study.ok("enqueue", "train.py:objective", "--trials", str(crew.trials), "-m", f"size={sizes}")


def release(crew: Crew) -> None:
    for row in crew.study.query("SELECT name FROM flag WHERE value LIKE '%quarantined%'"):
        crew.study.fts("nodes", "release", row["name"].removeprefix("node:"))


def await_until(until: float) -> None:
    assert time.monotonic() < until, "the study does not continue"
    time.sleep(0.05)


def end(crew: Crew, worker: subprocess.Popen[str]) -> None:
    if worker.poll() is None:
        worker.kill()
    worker.wait()
    for pid in crew.agents():
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
