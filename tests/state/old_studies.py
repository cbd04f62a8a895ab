"""Databases that the fts of schema 1 wrote, as SQL, and what its read commands answered on them."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

OLD = Path(__file__).parent / "old"
APPLICATION_ID = 0x66747331
NAMES = ("search", "odd")  # a half-finished search beside finished ones of every kind; rows that no fts writes


def old_database(name: str, folder: Path) -> Path:
    """The database as schema 1 left it, at its place below `folder`."""
    path = folder / "outputs" / "fts.db"
    path.parent.mkdir(parents=True, mode=0o700)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA ignore_check_constraints = 1")
        db.executescript((OLD / f"{name}.sql").read_text())
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    return path


def reads(path: Path) -> list[tuple[str, ...]]:
    """The read commands of the command line, for every job and trial there is, and for a time in between."""
    with closing(sqlite3.connect(path)) as db:
        jobs = [row[0] for row in db.execute("SELECT id FROM job ORDER BY id")]
        trials = db.execute("SELECT job_id, number FROM trial WHERE epochs > 0 ORDER BY 1, 2").fetchall()
        times = sorted(row[0] for row in db.execute("SELECT at FROM event WHERE at < 1e10"))
    middle = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(times[len(times) * 2 // 3])))
    found: list[tuple[str, ...]] = [
        ("queue",),
        ("results",),
        ("events", "--since", "90000d"),
        ("status", "--at", middle),
    ]
    found += [("trials", str(job)) for job in jobs]
    return found + [("curve", f"{job}:t{number}") for job, number in trials]


def key(words: tuple[str, ...]) -> str:
    return "status" if words[0] == "status" else " ".join(words)


def answers(name: str) -> dict[str, Any]:
    """What schema 1 answered, by command."""
    found: dict[str, Any] = json.loads((OLD / f"{name}.json").read_text())
    return found
