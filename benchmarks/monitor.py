"""Measures the monitor on a real pseudo terminal: idle, live at a real cadence, per key, at start, in memory.

python -m benchmarks.monitor [--full]

Goals: idle 0 B/s and 0.5 % of a core, live at 120x40 1 % and 2 KB/s, key to paint p95 30 ms (12 jobs and 10,000
trials; 2,000 jobs have none), start 0.6 s, 60 MB, `fts status` 0.15 s. Each row's other half is its goal. Wall-clock
seconds need a quiet machine; processor seconds are also shown, because they are comparable on a busy one.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import Row
from fts.state import transitions
from fts.state.db import Database, open_database
from fts.state.values import Claim
from tests.tui import study
from tests.tui.terminal import Terminal, key_to_paint

MANY = 10_000
LINE = 2_000


def rows(quick: bool = True) -> list[Row]:
    """Returns all figures; about a minute, or five in full."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start would compile all our modules
    idle_s, live_s, keys = (10.0, 30.0, 40) if quick else (60.0, 120.0, 200)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study" / "outputs" / "fts.db"
        path.parent.mkdir(parents=True)
        study.build(path, now=time.time())
        study.write_log(path)
        found = start(path, 5 if quick else 15)
        for words in (("status",), ("--help",), ("queue",), ("why", "20M/h5")):
            found += command(path, words, 5 if quick else 15)
        still = Path(folder) / "old" / "outputs" / "fts.db"
        still.parent.mkdir(parents=True)
        study.build(still, now=time.time() - 3 * 86400)  # nothing in it changes by time alone any more
        for size in ((80, 24), (120, 40), (200, 60)):
            found += idle(still, size, idle_s)
        for size in ((80, 24), (120, 40), (200, 60)):
            found += live(path, size, live_s)
        found += keyboard(path, "12 jobs", ["j"] * 4 + ["k"] * 4, keys)
        add_trials(path, MANY)
        found += keyboard(path, f"{MANY} trials", ["j"] * 6 + ["k"] * 3 + ["G", "g"], keys, enter="2")
        add_jobs(still, LINE)
        found += idle(still, (120, 40), idle_s, f", {LINE} jobs")
        found += keyboard(still, f"{LINE} jobs", ["j"] * 6 + ["k"] * 3, keys, goal=None)
    return found


def start(path: Path, repeats: int) -> list[Row]:
    """Measures from the start of the process to the first frame with data, and until the app takes keys."""
    first, ready, spent = [], [], []
    for _ in range(repeats):
        with Terminal(path, (120, 40)) as terminal:
            first.append(terminal.wait_for("20M/h5"))
            spent.append(terminal.cpu_s())
            ready.append(terminal.wait_for("\x1b[?2004h"))
    return [
        Row("start to the first frame, 120x40", middle(first), "s", 0.6, "goal", True, repeats=repeats),
        Row("start to the first frame, processor", middle(spent), "s", repeats=repeats),
        Row("start to the first key, 120x40", middle(ready), "s", repeats=repeats),
    ]


def command(path: Path, words: Sequence[str], repeats: int) -> list[Row]:
    """Measures a whole `fts` process, as tmux starts one every few seconds."""
    waited, spent = [], []
    for _ in range(repeats):
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "fts.jobs.cli", "--db", str(path), *words], check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        waited.append(time.monotonic() - began)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    name = f"fts {' '.join(words)}"
    goal = words == ("status",)
    return [
        Row(name, middle(waited), "s", 0.15 if goal else None, "goal" if goal else "", True, repeats=repeats),
        Row(f"{name}, processor", middle(spent), "s", repeats=repeats),
    ]


def middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def idle(path: Path, size: tuple[int, int], seconds: float, where: str = "") -> list[Row]:
    """Measures without changes in the database. The clock's minute may turn meanwhile: a few bytes."""
    with Terminal(path, size) as terminal:
        cpu, sent, rss = _watch(terminal, seconds)
    name = f"idle {size[0]}x{size[1]}{where}"
    return [
        Row(f"{name}, processor", cpu, "% of a core", 0.5, "goal", True),
        Row(f"{name}, sent", sent, "B/s", note="goal 0; a turning minute sends its few digits"),
        Row(f"{name}, memory", rss, "MB", 60, "goal", True),
    ]


def live(path: Path, size: tuple[int, int], seconds: float) -> list[Row]:
    """Measures at a worker's cadence: heartbeat each 5 s, sample each 10 s, log line each 2 s, epoch each 30 s."""
    with Terminal(path, size) as terminal, worker_at_work(path):
        cpu, sent, rss = _watch(terminal, seconds)
    name = f"live {size[0]}x{size[1]}"
    goal = size == (120, 40)
    return [
        Row(f"{name}, processor", cpu, "% of a core", 1.0 if goal else None, "goal" if goal else "", True),
        Row(f"{name}, sent", sent / 1000, "KB/s", 2.0 if goal else None, "goal" if goal else "", True),
        Row(f"{name}, memory", rss, "MB", 60, "goal", True),
    ]


def keyboard(path: Path, name: str, keys: list[str], count: int, enter: str = "", goal: float | None = 30) -> list[Row]:
    """Measures from a key to the first byte of the answer."""
    with Terminal(path, (120, 40)) as terminal:
        terminal.wait_ready()
        if enter:
            terminal.key(enter)
            terminal.wait_for(f"{MANY + 4}", 60.0)  # all of them have been read
            terminal.wait_quiet(1.0, 10.0)
        cpu, sent = terminal.cpu_s(), float(terminal.bytes_since(0.0))
        waits = sorted(key_to_paint(terminal, (keys * count)[:count]))
        cpu, sent = (terminal.cpu_s() - cpu) / count, (terminal.bytes_since(0.0) - sent) / count
        memory = f"{terminal.rss() / 1e6:.0f} MB"
    p50, p95 = waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.95)] * 1000
    return [
        Row(f"key to paint p50, {name}", p50, "ms", repeats=len(waits)),
        Row(
            f"key to paint p95, {name}", p95, "ms", goal, "goal" if goal else "", True, repeats=len(waits), note=memory
        ),
        Row(f"processor per key, {name}", cpu * 1000, "ms", repeats=len(waits), note=f"{sent / 1000:.1f} KB sent"),
    ]


def _watch(terminal: Terminal, seconds: float) -> tuple[float, float, float]:
    """Returns (percent of a core, bytes per second, megabytes) after the first frame has settled."""
    terminal.wait_ready()
    terminal.wait_quiet(2.0)
    began, cpu = time.monotonic(), terminal.cpu_s()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    used = 100 * (terminal.cpu_s() - cpu) / elapsed
    return used, terminal.bytes_since(began) / elapsed, terminal.rss() / 1e6


@contextmanager
def worker_at_work(path: Path) -> Iterator[None]:
    """Writes like a worker with one running trial until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=_work, args=(path, stop), daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def _work(path: Path, stop: threading.Event) -> None:
    db = open_database(path)
    claim, trial = running(db)
    log = next((path.parent / "logs").glob("*_6_*.log"))
    second = 0
    while not stop.wait(1.0):
        second += 1
        if second % 2 == 0:
            with log.open("a") as file:
                file.write(f"08:{second // 60:02d}:{second % 60:02d} step {second} loss .59 lr 2e-4 875 samples/s\n")
        if second % 5 == 0:
            transitions.record_heartbeat(db, claim.worker_id, 60.0, [claim])
        if second % 10 == 0:
            transitions.add_sample(
                db, claim.worker_id, available=60 * 10**9, total=128 * 10**9, temperature=60.0 + second % 7,
                gpu_percent=70.0 + second % 9, disk_free=500 * 10**9,
            )  # fmt: skip
        if second % 30 == 0 and trial.epochs + second // 30 <= 40:
            epoch = trial.epochs + second // 30
            transitions.record_epoch(db, claim, trial.id, study.epoch_of(epoch, 0.68, 30.0))
    db.close()


def running(db: Database) -> tuple[Claim, study.Trial]:
    """Returns the running trial of the study, and the claim to write about it."""
    from fts.state import queries

    job = next(job for job in queries.jobs(db) if job.status == "running")
    assert job.worker_id is not None
    trial = next(trial for trial in queries.trials(db, job.id) if trial.status in ("running", "interrupted"))
    return Claim(job, job.token, job.attempt, job.worker_id), trial


def add_trials(path: Path, count: int) -> None:
    """Adds rows of ended trials to the running cell directly: the transitions would take minutes."""
    db = open_database(path)
    claim, trial = running(db)
    with db.write():
        db.execute_sql("UPDATE trial SET number = number + ? WHERE id = ?", (count, trial.id))
        db.execute_sql(
            """
            WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO trial (job_id, number, status, params, effective, effective_md5, architecture, objective,
              direction, value, best_epoch, last_value, epochs, val_auc, seed, started_at, ended_at, train_seconds,
              badges)
            SELECT job_id, n.i, 'complete', params, effective, printf('%032x', 900000 + n.i), architecture, objective,
              direction, 0.6 + n.i * 1e-6, 3, 0.6, 6, 0.6, n.i, started_at - 1000, started_at - 900, 100.0, '[]'
            FROM trial, n WHERE trial.id = ?""",
            (trial.number, trial.number + count - 1, trial.id),
        )
        db.execute_sql("UPDATE job SET trials_complete = trials_complete + ? WHERE id = ?", (count, claim.job_id))
    db.close()


def add_jobs(path: Path, count: int) -> None:
    """Adds `count` queued jobs, each like the first queued one."""
    db = open_database(path)
    with db.write():
        db.execute_sql(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO job (experiment, kind, study, cell, labels, metric, direction, status, rank, trials_wanted,
              spec, spec_md5, created_at)
            SELECT printf('%s_%d', experiment, n.i), kind, study, cell, labels, metric, direction, status, rank + n.i,
              trials_wanted, spec, printf('%032x', 900000 + n.i), created_at
            FROM (SELECT * FROM job WHERE status = 'queued' ORDER BY rank LIMIT 1), n""",
            (count,),
        )
    db.close()


if __name__ == "__main__":
    for row in rows(quick="--full" not in sys.argv):
        print(row.line())
