"""Every command, in a process that has the database open: none opens it by hand, and no lock is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from fts.jobs.cli.app import entries
from fts.state.db import Database
from tests.cli.study import Said, failed_cell, finished_cell, places_of, store_data
from tests.watched import locks_on, watched

COMMANDS: dict[str, tuple[str, ...]] = {  # each as far as it goes on a study of four cells without real data
    "init": (), "check": ("none.py:objective",), "data": ("list",), "budgets": (), "enqueue": ("tiny/h1", "--no-check"),
    "status": (), "queue": (),
    "trials": ("1",), "curve": ("1:t0",), "logs": (), "events": (), "watch": ("--until-idle", "--from", "0"),
    "plan": (), "why": ("3",), "hardware": (), "nodes": (), "results": (), "best": ("1",),
    "import": ("sqlite:///none.db", "--study", "old"), "move": ("3", "top"), "next": ("4",), "pause": ("3",),
    "resume": ("3",), "cancel": ("4",), "retry": ("2",), "note": ("hello",), "ack": (), "undo": (), "redo": (),
    "drain": (), "stop": (), "report": (), "train": ("1",), "predict": ("nowhere", "nothing.csv"),
    "replicate": ("1", "--dry-run"), "final": ("1", "--dry-run"), "unseal": ("1", "--dry-run"), "script": ("1",),
    "completion": ("bash",), "export": (), "snapshot": (), "service": ("status",), "notify": ("list",),
    "mirror": ("tensorboard", "mirror"), "doctor": ("--fix",), "backup": (), "gc": ("--dry-run",),
    "db": ("query", "select count(*) from job"), "restore": ("-y",),
}  # fmt: skip
ELSEWHERE = {  # they run until they are stopped: with two monitors and a worker in tests/tui/test_two_monitors.py
    "worker", "tui", "serve", "metrics", "run", "demo", "log",  # and one opens no database
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists locks")
def test_no_command_opens_the_database_by_hand(fts: Callable[..., Said], db: Database, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    store_data(tmp_path)
    finished_cell(db)
    failed_cell(db)
    path = places_of(tmp_path).db
    assert set(COMMANDS) | ELSEWHERE == set(entries()), "a new command belongs into the table"
    db.execute_sql("UPDATE worker SET status = 'stopped'")
    with watched(path) as opened:
        for name, words in COMMANDS.items():
            if name == "watch":
                fts("pause", "--queue")
            said = fts(name, *words)
            assert "a fault in fts itself" not in said.err, said
            assert opened == [], name
            if name != "restore":
                assert locks_on(path, os.getpid()), f"{name} has lost the locks of this process"
