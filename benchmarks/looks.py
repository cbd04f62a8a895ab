"""Measures the monitor on a large queue: the thread that reads, the thread that paints, a step of a replay.

Processor seconds of a thread, which are comparable on a busy machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import Row
from benchmarks.monitor import add_jobs, add_trials
from fts.jobs.status import memoize
from fts.jobs.status import summary as glances
from fts.state.db import open_database
from fts.state.transitions.operator import note
from fts.tui.data.reader import Reader, ReadRequest
from fts.tui.data.view import View
from fts.tui.navigation import Navigation
from fts.tui.widgets import queue_table
from tests.tui import study

SIZES = ((2_000, 20_000), (10_000, 100_000))  # jobs, trials
REPEATS = 5
MS = 1000.0


def rows(quick: bool = True) -> list[Row]:
    """Two sizes; about a minute."""
    found = []
    for jobs, trials in SIZES[:1] if quick else SIZES:
        with tempfile.TemporaryDirectory(prefix="looks-") as folder:
            path = Path(folder) / "study" / "outputs" / "fts.db"
            path.parent.mkdir(parents=True)
            build(path, jobs, trials)
            found += measured(path, f"{jobs} jobs, {trials} trials")
    return found


def measured(path: Path, name: str) -> list[Row]:
    """Measures after each change that concerns no job: an event of the journal."""
    reader, request, navigation = Reader(path), ReadRequest(user="bench", job_id=6), Navigation(job_id=6)
    reader.read(request)
    db = open_database(path)
    reads, glance, paints = [], [], []
    for n in range(REPEATS + 1):
        note(db, f"note {n}", who="bench")
        began = time.thread_time()
        reading = reader.read(request)
        reads.append(time.thread_time() - began)
        assert reading is not None and reading.forecast is not None, "a note was written"
        memoize.expect()
        _, known_forecast = reading.forecast
        began = time.thread_time()
        look = glances.look(
            reading.snapshot, time.time(), events=reading.details.events, foresee=lambda *_, known=known_forecast: known
        )
        glance.append(time.thread_time() - began)
        began = time.thread_time()
        navigation.settle(reading.snapshot, time.monotonic())
        queue_table.paint(View(look, reading.details, job_id=6), 120, 14)
        paints.append(time.thread_time() - began)
    events = reading.details.events
    steps = [
        spent(lambda at=event.at: reader.read(replace(request, at=at - 0.0005))) for event in events[-REPEATS - 1 :]
    ]
    db.close()
    reader.close()
    return [
        Row(f"a look, {name}: read", middle(reads), "ms", repeats=REPEATS),
        Row(f"a look, {name}: first lines", middle(glance), "ms", repeats=REPEATS),
        Row(f"a look, {name}: queue", middle(paints), "ms", repeats=REPEATS),
        Row(f"a step of a replay, {name}", middle(steps), "ms", repeats=REPEATS),
    ]


def spent(do: Callable[[], object]) -> float:
    """Returns processor seconds of this thread."""
    began = time.thread_time()
    do()
    return time.thread_time() - began


def middle(values: list[float]) -> float:
    """Returns the median in milliseconds, without the first one, which runs with empty caches."""
    return sorted(values[1:])[len(values[1:]) // 2] * MS


def build(path: Path, jobs: int, trials: int) -> None:
    """Builds the study of the tests with more jobs: nine of ten are done, with ten trials each, the others wait."""
    study.build(path, now=time.time())
    study.write_log(path)
    done = jobs * 9 // 10
    db = open_database(path)
    with db.write():
        columns = [row[1] for row in db.execute_sql("PRAGMA table_info(job)").fetchall() if row[1] != "id"]
        changed = {"experiment": "printf('%s_%d', experiment, n.i)", "spec_md5": "printf('%032x', 500000 + n.i)"}
        changed |= {"ended_at": "ended_at + n.i * 0.01"}
        db.execute_sql(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            f"INSERT INTO job ({', '.join(columns)}) SELECT {', '.join(changed.get(c, c) for c in columns)} "
            f"FROM (SELECT * FROM job WHERE status = 'done' ORDER BY id LIMIT 1), n",
            (done,),
        )
        first, last = db.execute_sql("SELECT min(id), max(id) FROM job WHERE status = 'done'").fetchone()
        names = [row[1] for row in db.execute_sql("PRAGMA table_info(trial)").fetchall()]
        names = [name for name in names if name not in ("id", "job_id")]
        db.execute_sql(
            f"INSERT INTO trial (job_id, {', '.join(names)}) SELECT job.id, {', '.join(f'trial.{n}' for n in names)} "
            f"FROM job, trial WHERE job.id > ? AND trial.job_id = ?",
            (last - done, first),
        )
        (there,) = db.execute_sql("SELECT count(*) FROM trial").fetchone()
    db.close()
    add_jobs(path, jobs - done)
    add_trials(path, max(trials - there, 1))


if __name__ == "__main__":
    for row in rows(quick=False):
        print(row.line())
