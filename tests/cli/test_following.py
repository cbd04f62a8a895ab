"""`fts watch` and `fts logs -f` follow what lies at the path, also when it is another file than a moment ago."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fts.jobs.cli import logs
from fts.jobs.cli.logs import follow_lines
from fts.jobs.cli.watch import WorkerWatch, follow
from fts.state import queries, transitions
from fts.state.backup import backup
from fts.state.db import Database, open_database
from fts.state.errors import NoDatabase
from fts.state.restore import restore
from tests.cli.study import places_of


@pytest.mark.parametrize("more", [[], ["--grep", "line"], ["--json"]])
def test_a_line_that_is_written_while_the_first_are_shown_follows_them(fts, tmp_path: Path, monkeypatch, more):
    path = places_of(tmp_path).logs / "a.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("line 1\n")

    def following(*args: Any, **more: Any) -> Any:
        assert more  # else it begins after the line that is written here, and waits for ever
        with path.open("a") as log:
            log.write("line 2\n")
        yield next(follow_lines(*args, **more))

    monkeypatch.setattr(logs, "follow_lines", following)
    said = fts("logs", "-f", *more)
    assert [re.findall(r"line \d", line) for line in said.out.splitlines()] == [["line 1"], ["line 2"]], said


def note(path: Path, text: str) -> None:
    db = open_database(path)
    transitions.operator.note(db, text)
    db.close()


def test_watch_goes_on_in_the_copy_that_was_put_back(db: Database, tmp_path: Path, capsys: Any) -> None:
    path = places_of(tmp_path).db
    copy = backup(db)
    for n in range(5):
        note(path, f"forgotten {n}")
    db.close()
    reader = open_database(path, readonly=True)
    events = follow(reader, queries.events(reader)[-1].id, False, 0.01)
    note(path, "before")
    assert next(events).message == "before"
    restore(copy, path)
    note(path, "after")
    assert next(events).message == "after"
    assert "was replaced" in capsys.readouterr().err
    for file in path.parent.glob("fts.db*"):
        file.unlink()
    with pytest.raises(NoDatabase):
        next(events)
    reader.close()


def test_watch_of_another_database_begins_with_what_comes(db: Database, tmp_path: Path) -> None:
    path = places_of(tmp_path).db
    db.close()
    reader = open_database(path, readonly=True)
    events = follow(reader, queries.events(reader)[-1].id, False, 0.01)
    note(path, "before")
    assert next(events).message == "before"
    for file in path.parent.glob("fts.db*"):
        file.unlink()
    note(path, "the first of another")
    found: list[str] = []
    waiting = Thread(target=lambda: found.append(next(events).message))
    reader.close()  # a connection belongs to its thread
    waiting.start()
    while not found and waiting.is_alive():
        note(path, "later")
        waiting.join(0.05)
    assert found == ["later"]


def test_watch_says_once_that_a_worker_has_died(tmp_path: Path, capsys: Any) -> None:
    db = open_database(tmp_path / "fts.db")
    ended = subprocess.Popen(["true"])
    ended.wait()
    transitions.register_worker(db, os.uname().nodename, ended.pid, time.time(), 1)
    transitions.register_worker(db, "elsewhere", 7, time.time(), 1)
    assert len(list(follow(db, 0, True, 0.01))) == len(queries.events(db))
    crew = WorkerWatch(db)
    crew.read()
    crew.look()
    crew.look()
    said = capsys.readouterr().err
    db.close()
    assert said.count("has died") == 2, "once each"
    assert f"Worker 1 on {os.uname().nodename} has died; its last heartbeat was at " in " ".join(said.split())


def next_line(lines: Iterator[str]) -> Iterator[list[str]]:
    """The next line as it comes; the list is empty until then."""
    found: list[str] = []
    thread = Thread(target=lambda: found.append(next(lines)), daemon=True)
    thread.start()
    while thread.is_alive():
        yield found
        thread.join(0.02)
    yield found


def test_a_log_that_was_replaced_is_followed_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old " * 100 + "\n")
    lines = follow_lines(log, poll_s=0.01)
    for n, found in enumerate(next_line(lines)):  # noqa: B007 the last one has the line
        if n == 5:
            fresh = tmp_path / "fresh"
            fresh.write_text("new " * 200 + "\n")  # longer: its size does not tell it apart
            fresh.rename(log)
    assert found[0].strip() == ("new " * 200).strip()
