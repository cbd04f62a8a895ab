"""Writes of many threads go to disk together, and each caller sees one change, one transaction, one answer."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import peewee
import pytest

from fts.jobs.python import python
from fts.state import group_commit, queries, transitions
from fts.state.db import Database, open_database
from fts.state.errors import DatabaseBusy, DiskFull
from tests.state.helpers import new_db


@pytest.fixture
def together(tmp_path: Path) -> Database:
    new_db(tmp_path).close()
    db = open_database(tmp_path / "outputs" / "fts.db")
    db.commit_together()
    return db


def at_once(acts: list[Callable[[], object]]) -> list[BaseException | None]:
    """Runs each in a thread of its own; what each raised."""
    raised: list[BaseException | None] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(n: int) -> None:
        start.wait()
        try:
            acts[n]()
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            raised[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def notes(db: Database) -> set[str]:
    return {event.message for event in queries.events(db, limit=10_000)}


def test_one_that_fails_takes_no_other_along(together: Database) -> None:
    def fails(n: int) -> None:
        with together.write():
            transitions.note(together, f"half {n}")
            raise ValueError(n)

    good = [lambda n=n: transitions.note(together, f"whole {n}") for n in range(12)]
    bad = [lambda n=n: fails(n) for n in range(12)]
    raised = at_once([*good, *bad])
    assert raised[:12] == [None] * 12
    assert [str(error) for error in raised[12:]] == [str(n) for n in range(12)]
    assert notes(together) == {f"whole {n}" for n in range(12)}


def test_a_full_disk_is_told_to_each_and_what_was_told_as_written_is_there(together: Database) -> None:
    with together.write():
        pages = int(together.execute_sql("PRAGMA page_count").fetchone()[0])
        together.execute_sql(f"PRAGMA max_page_count = {pages + 6}")
    raised = at_once([lambda n=n: transitions.note(together, f"{n} " + "x" * 3000) for n in range(24)])
    failed = [error for error in raised if error is not None]
    assert failed and all(isinstance(error, DiskFull) for error in failed)
    assert {text.split()[0] for text in notes(together)} == {str(n) for n in range(24) if raised[n] is None}
    with together.write():
        together.execute_sql("PRAGMA max_page_count = 100000")
    transitions.note(together, "on")
    assert "on" in notes(together)


def test_a_commit_that_fails_is_told_to_all_of_its_group_and_the_next_one_works(
    together: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_OPEN_S", 60.0)
    begun, queued = threading.Event(), threading.Event()

    def breaks() -> None:
        with together.write():
            begun.set()
            queued.wait()
            together.execute_sql("PRAGMA defer_foreign_keys = ON")
            together.execute_sql(BAD_EPOCH)

    def follows(n: int) -> None:
        begun.wait()
        threading.Timer(0.2, queued.set).start()
        transitions.note(together, f"with it {n}")

    raised = at_once([breaks, lambda: follows(0), lambda: follows(1)])
    assert all(isinstance(error, peewee.IntegrityError) for error in raised)
    assert notes(together) == set()
    transitions.note(together, "after")
    assert notes(together) == {"after"}


@pytest.mark.parametrize("rolled_back", [False, True], ids=["", "SQLite rolls back everything"])
@pytest.mark.parametrize("statement", ["SAVEPOINT", "RELEASE", "INSERT", "ROLLBACK TO"])
def test_a_statement_that_fails_is_told_as_it_was_and_takes_no_change_along_that_is_told_as_written(
    statement: str, rolled_back: bool, together: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_OPEN_S", 60.0)
    execute, failed = peewee.SqliteDatabase.execute_sql, []

    def fails_once(db: Database, sql: str, params: object = None) -> object:
        if sql.startswith(statement) and together._groups._group.changes and not failed:
            failed.append(sql)
            if rolled_back:
                db.connection().rollback()
            raise peewee.OperationalError("database or disk is full")
        return execute(db, sql, params)

    monkeypatch.setattr(peewee.SqliteDatabase, "execute_sql", fails_once)

    def act(n: int) -> None:
        with together.write():
            transitions.note(together, f"{n}")
            if statement == "ROLLBACK TO" and together._groups._group.changes == 2:
                raise ValueError(n)

    raised = at_once([lambda n=n: act(n) for n in range(12)])
    assert failed
    assert {str(type(error)) for error in raised if error} <= {str(DiskFull), str(ValueError)}
    assert all(error.__cause__ is not error for error in raised if error)
    assert notes(together) == {str(n) for n in range(12) if raised[n] is None}
    if statement != "ROLLBACK TO" and not rolled_back:
        assert sum(error is not None for error in raised) == 1, "the others stay"


BAD_EPOCH = "INSERT INTO epoch (trial_id, epoch, step, at) VALUES (77, 0, 0, 0)"  # of no trial


def test_a_beat_goes_before_what_waits(together: Database) -> None:
    order: list[str] = []
    begun, queued = threading.Event(), threading.Event()

    def first() -> None:
        with together.write():
            begun.set()
            queued.wait()

    def later(name: str, urgent: bool, after: float) -> None:
        begun.wait()
        time.sleep(after)  # one behind the other in line
        if urgent:
            threading.Timer(0.2, queued.set).start()
        with together.write(urgent):
            order.append(name)

    waiting = [lambda n=n: later(f"fact {n}", False, 0.1 + n / 20) for n in range(4)]
    at_once([first, *waiting, lambda: later("beat", True, 0.6)])
    assert order == ["beat", "fact 0", "fact 1", "fact 2", "fact 3"]


def test_another_process_that_holds_the_lock_is_named_as_ever(tmp_path: Path) -> None:
    new_db(tmp_path).close()
    path = tmp_path / "outputs" / "fts.db"
    said = []
    for together in (False, True):
        db = open_database(path, busy_timeout_s=0.1)
        if together:
            db.commit_together()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseBusy) as busy:
                transitions.note(db, "never")
            said.append(str(busy.value))
        transitions.note(db, "then")
    assert said[0] == said[1]


def test_who_waits_behind_one_that_is_stuck_gives_up_as_one_that_waits_for_another_process(together: Database) -> None:
    together.timeout, together.patience_s = 0.2, 0.3
    begun, over = threading.Event(), threading.Event()

    def stuck() -> None:
        with together.write():
            begun.set()
            over.wait()

    def waits() -> None:
        begun.wait()
        try:
            transitions.note(together, "late")
        finally:
            over.set()

    raised = at_once([stuck, waits])
    assert raised[0] is None and isinstance(raised[1], DatabaseBusy)
    transitions.note(together, "after")
    assert notes(together) == {"after"}


WRITER = """
import sys, threading
from pathlib import Path
from fts.state import transitions
from fts.state.db import open_database

db = open_database(Path(sys.argv[1]))
db.commit_together()

def write(n):
    for k in range(100_000):
        transitions.note(db, f"{n}.{k}")
        sys.stdout.write(f"{n}.{k}\\n")
        sys.stdout.flush()

for n in range(12):
    threading.Thread(target=write, args=(n,)).start()
"""


def test_what_was_told_as_written_survives_kill_9(tmp_path: Path) -> None:
    new_db(tmp_path).close()
    path = tmp_path / "outputs" / "fts.db"
    told = tmp_path / "told.txt"
    rng = random.Random(0)
    for _ in range(2):
        with told.open("a") as out:
            child = subprocess.Popen([*python("-c"), WRITER, str(path)], stdout=out)
            before = told.stat().st_size
            while told.stat().st_size < before + rng.randint(200, 900):
                time.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
    words = told.read_text().split("\n")[:-1]
    db = open_database(path)
    assert len(words) > 40 and set(words) <= notes(db)
    db.close()
