"""A study with a row in every table, the values nobody should have written into it, and every way to read it."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fts.jobs.cli import main
from fts.jobs.cli.output import plain
from fts.jobs.cli.watch import sentence
from fts.jobs.settings import Places
from fts.jobs.worker.startup import clean_up_after_dead_workers
from fts.state import queries, tickets, transitions
from fts.state.db import open_database
from fts.state.transitions.operator import set_flag
from fts.state.values import Cause, Margin
from fts.tui import pictures
from fts.tui.render.text import as_text
from tests.cli import study

TABLES = ("job", "trial", "epoch", "event", "worker", "sample", "checkpoint", "flag", "study", "draw", "attempt",
          "huey_task", "huey_quarantine")  # fmt: skip
KEYS = {
    "flag": "name", "study": "name", "epoch": "trial_id, epoch", "draw": "trial_id, k", "attempt": "trial_id, n",
}  # fmt: skip
DEEP = '{"a":' * 900 + "1" + "}" * 900
NUMBERS = (1e308, -1e308, float("inf"), float("-inf"), 1e20, 4e11, 0, -1, 1, 2**63 - 1, -(2**63), 2**31, 0.5)
TEXTS = (
    "",
    "x" * 10_000,
    "\x1b]52;c;ZXZpbA==\x07\x1b[2J",
    "[@click=app.quit]\u202e",
    "no such word",
    "-1",
    "a\0b",
    "..",
)
JSONS = (
    "5", "[]", "{}", "null", '"x"', DEEP, "[1]", "1e999", "9" * 400, '{"x": 9' + "9" * 400 + "}", '{"x": 1e999}',
    '{"epochs": "x", "trials": [], "objective": 5, "pruner": [], "halving": 3, "dataset": 7, "space": 1, "origin": 2}',
    '{"architecture": 5, "learning_rate": "x", "dropout": null, "weight_decay": true, "warmup_steps": [1]}',
    '{"learning_rate": 1e308, "dropout": -1, "warmup_steps": 0, "weight_decay": 0, "architecture": ""}',
    '{"old": 5, "new": 5, "changes": 3, "ranks": [1], "flags": 7, "value": "x", "before": [], "forecast": 1}',
    '{"jobs": 1, "reason": 5, "log_tail": {}, "cause": [], "memory_soft": "x", "memory_hard": 1}',
    '{"old": {"status": "x", "rank": "y", "ended_at": 1e308}, "changes": [1], "ranks": {"a": 1}, "flags": [{}]}',
    '{"value": 9' + "9" * 400 + ', "number": 1e999, "before": -1e999, "epochs": 1' + "0" * 400 + "}",
    '{"jobs": 5}', '{"jobs": [1]}', '{"jobs": [{"id": "x", "expect": 1, "set": 2}]}',
    '{"job_id": 1, "trial": 0, "auc": "x", "worker_id": {}, "number": [], "epochs": "y", "log_tail": 5, "message": 1}',
)  # fmt: skip
HOSTILE: tuple[Any, ...] = (None, *NUMBERS, *TEXTS, *JSONS, b"\xff\xfe")
SCREENS = ("queue", "trials", "curves", "hardware", "logs", "results", "events")


@dataclass(frozen=True)
class Case:
    """One value in one column of one row."""

    table: str
    column: str
    row: int  # the n-th of the table
    value: Any
    unchecked: bool = False  # past the CHECKs of the schema

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of row {self.row} = {repr(self.value)[:60]}"


def build(folder: Path) -> Path:
    """Jobs done, failed, running, paused, held and waiting; every table has rows."""
    db = study.make_study(folder, budgets=("2M", "20M", "200M"))
    first = study.finished_cell(db, 0.5)
    study.finished_cell(db, 0.4)
    study.failed_cell(db)
    running = study.claim(db)
    trial = study.start_trial(db, running, log_path=str(folder / "outputs/logs/x.log"))
    study.add_epoch(db, running, trial, 1, 0.5)
    transitions.record_epoch(db, running, trial, {"epoch": 2, "value": 0.5, "metrics": {"f1": 0.5, "odd": None}})
    transitions.record_progress(db, running, trial, {"gates": 3, "pid": 4243, "host": "elsewhere"})
    transitions.record_draw(db, running, trial, 0, "layers", 2, {"kind": "int", "low": 1, "high": 4})
    transitions.record_checkpoint(
        db, running, trial, step=5, epoch=1, path=str(folder / "c"), bytes=5, md5="0" * 32, seconds=1.0
    )
    transitions.add_sample(db, running.worker_id, available=5 << 30, total=9 << 30, temperature=50.0, disk_free=5 << 30)
    margin = Margin(first.job_id, 0, "random forest", 2, 0, 40, 0.01, -0.1, 0.1, 0.1, 0.0, 0.2, 0.0)
    transitions.record_margin(db, margin, "worker 1")
    transitions.unseal(db, first.job_id, 0, who="test")
    transitions.record_test(db, "phase6a_2M_h1_threshold_1pct", {"auc": 0.6, "log_loss": 0.5}, "worker 1")
    transitions.pause(db, [5], who="test")
    transitions.undo(db, who="test")
    transitions.pause(db, [5], who="test")
    told = {"taken_at": 1.0, "finish_at": 2.0, "jobs": [6], "paces": {"2M": 5.0}, "slots": 1}
    transitions.acknowledge(db, "me@here", forecast=told)
    set_flag(db, "queue_paused", "1", "disk", "test")
    db.execute_sql("INSERT INTO huey_quarantine (at, data, reason) VALUES (1.0, x'00', 'odd')")
    path = db.path
    db.close()
    with contextlib.closing(sqlite3.connect(path)) as plainly:
        plainly.execute("PRAGMA journal_mode = delete")
    return path


def cases(path: Path) -> Iterator[Case]:
    """Every value in every column of every table, in the first rows of it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table in TABLES:
            rows = db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for column in db.execute(f"PRAGMA table_info({table})").fetchall():
                for row in range(min(rows, 6)):
                    for value in HOSTILE:
                        yield Case(table, column[1], row, value)
                        if value in ("no such word", "", "[]"):
                            yield Case(table, column[1], row, value, unchecked=True)


def sample(found: list[Case], count: int, seed: int) -> list[Case]:
    return random.Random(seed).sample(found, count)


def plant(built: Path, path: Path, case: Case) -> bool:
    """A copy with that value in it; False where the schema refuses it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(built, path)
    key = KEYS.get(case.table, "rowid")
    chosen = f"({key}) = (SELECT {key} FROM {case.table} ORDER BY {key} LIMIT 1 OFFSET {case.row})"
    with contextlib.closing(sqlite3.connect(path)) as db:
        if case.unchecked:
            db.execute("PRAGMA ignore_check_constraints = 1")
        try:
            value = "CAST(x'fffe' AS TEXT)" if case.value == b"\xff\xfe" and "huey" not in case.table else "?"
            words = (case.value,) if value == "?" else ()
            db.execute(f"UPDATE {case.table} SET {case.column} = {value} WHERE {chosen}", words)
            db.commit()
        except (sqlite3.IntegrityError, OverflowError):
            return False
    return True


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status",), ("status", "--json"), ("status", "--plain"), ("status", "--line"), ("status", "--since", "9d"),
    ("status", "--at", "1s"), ("queue",), ("queue", "--json"), ("trials", "1"), ("trials", "1", "--json"),
    ("trials", "2", "--csv"), ("trials", "4"), ("curve", "1"), ("curve", "4:t0", "--plot"), ("curve", "2", "--json"),
    ("logs", "4"), ("events",), ("events", "--json", "--since", "9d"), ("plan",), ("plan", "--json"),
    *(("why", str(n)) for n in range(1, 7)), ("hardware",), ("hardware", "--json", "--since", "30d"), ("results",),
    ("results", "--csv"), ("results", "--json"), ("results", "--md"), ("doctor",), ("doctor", "--json"),
    ("script", "1"), ("export",), ("gc", "-n"),
    *(("db", "query", f"select * from {name}") for name in ("v_queue", "v_trials", "event", "sample", "flag")),
    ("db", "query", "--json", "select * from trial"), ("db", "query", "--csv", "select * from job"),
    ("undo", "-n"), ("redo", "-n"), ("ack", "-n"), ("ack", "1", "-n"), ("pause", "6", "-n"), ("resume", "5", "-n"),
    ("cancel", "6", "-n"), ("retry", "3", "-n"), ("move", "6", "top", "-n"), ("next", "6", "-n"), ("drain", "-n"),
    ("stop", "-n"), ("unseal", "2", "-n"), ("note", "seen", "-n"), ("pause", "--queue", "-n"),
    ("resume", "--queue", "-n"),
)  # fmt: skip
MUST_ANSWER = ("status", "queue", "events", "results", "hardware", "db")  # whatever a row holds


def run(path: Path, words: tuple[str, ...]) -> tuple[int, str]:
    """Exit code and all that was said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["--db", str(path), *words])
    return code, out.getvalue() + err.getvalue()


def fault_of_command(path: Path, words: tuple[str, ...]) -> str | None:
    """What is wrong with the answer of a command; None: nothing."""
    code, said = run(path, words)
    if "a fault in fts itself" in said or "\x1b]" in said or "\u202e" in said:
        return said[-300:]
    if code and words[0] in MUST_ANSWER:
        return f"exit {code}: {said[-300:]}"
    return None


def fault_of_screen(path: Path, screen: str, size: tuple[int, int], replay: bool = False) -> str | None:
    at = half_way(path) if replay else None
    for job_id in (None, 1, 4) if screen in ("trials", "curves", "logs") else (None,):
        view = pictures.look(path, screen, size, at, user="me@here", job_id=job_id)
        said = as_text(pictures.frame(view, *size))
        if "\x1b" in said or "\u202e" in said:
            return "an escape character on the screen"
    return None


def half_way(path: Path) -> float:
    """A time at which half of the events had happened."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return float(sorted(row[0] for row in db.execute("SELECT at FROM event"))[-8])


def fault_of_watch(path: Path) -> str | None:
    db = open_database(path, readonly=True, check=False)
    try:
        for event in queries.events(db, since=0, limit=1000):
            plain(event), sentence(event)
    finally:
        db.close()
    return None


def fault_of_worker(path: Path) -> str | None:
    """What a worker does before its first trial: order after a dead one, beat, sweep, and job after job."""
    db = open_database(path)
    try:
        clean_up_after_dead_workers(db, Places(path, path.parent.parent / "data"))
        worker = transitions.register_worker(db, "elsewhere", 4244, 1.0, 1)
        transitions.resume_queue(db)
        transitions.sweep(db, transitions.LeaseObserver(60.0))
        claims = []
        while (claim := transitions.claim(db, worker, 60.0)) is not None:
            claims.append(claim)
            transitions.record_heartbeat(db, worker, 60.0, claims)
        for claim in claims:
            transitions.release_job(db, claim, Cause.DRAINED)
        transitions.stop_worker(db, worker)
        huey = tickets.make_huey(db)
        huey.task(name=tickets.LOOK)(lambda: None)
        huey.dequeue()
    finally:
        db.close()
    return None


READS: dict[str, Callable[[Path], str | None]] = {
    **{f"fts {' '.join(words)}": partial(fault_of_command, words=words) for words in COMMANDS},
    **{
        f"screen {screen} {size[0]}x{size[1]}": partial(fault_of_screen, screen=screen, size=size)
        for screen in SCREENS
        for size in ((80, 24), (160, 50))
    },
    **{f"replay {screen}": partial(fault_of_screen, screen=screen, size=(120, 40), replay=True) for screen in SCREENS},
    "fts watch": fault_of_watch,
    "worker": fault_of_worker,
}  # fmt: skip


def faults(path: Path, names: list[str] | None = None) -> dict[str, str]:
    """Each read that failed on the database at `path`, with what it said."""
    found = {}
    for name in names or READS:
        try:
            said = READS[name](path)
        except Exception as error:  # noqa: BLE001  # the reads of this list never raise
            said = f"{type(error).__name__}: {error}"
        if said is not None:
            found[name] = said
    return found
