"""The monitor says `live` only after a look that proved it, and no key of it opens the database past SQLite."""

from __future__ import annotations

import os
import sqlite3
import sys

import pytest
from textual import events

from fts.jobs.status import summary as glances
from fts.state import queries
from fts.state.db import open_database
from fts.tui import bindings
from fts.tui.data.reader import Reader, ReadRequest
from fts.tui.data.view import LOGS
from tests.tui.stories import monitor, shown, until
from tests.tui.values import NOW, make_snapshot
from tests.watched import locks_on, watched

LEAVE = {"q", "ctrl+c"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists locks")


async def test_no_key_opens_the_database_by_hand_or_loses_a_lock(db_path):
    async with monitor(db_path) as (app, pilot):
        with watched(db_path) as opened:
            for key in [*sorted(bindings.ACTION_KEYS), *sorted(set(bindings.BY_KEY) - LEAVE)]:
                app.navigation.moved_at = app.navigation.jumped_at = app.appeared_at = -1e9  # as for a slow reader
                app.navigation.job_id = 8  # one that waits
                answers = ["y", "escape"] if key in "xPD" else [key, "escape"] if key in "apJKtu" else ["escape"]
                await pilot.press(key, *answers)
                await until(lambda: not app.action_runner.open, pilot)
                assert opened == [], key
                assert locks_on(db_path, os.getpid()), f"{key} has lost the reader's locks"
    assert {event.verb for event in journal(db_path)} >= {"acknowledged", "moved", "paused", "queue_paused", "undone"}


def journal(path):
    db = open_database(path, readonly=True)
    try:
        return queries.events(db, since=0, limit=1000)
    finally:
        db.close()


@pytest.mark.parametrize("name", ["fts.db", "fts.db-wal", "logs/link.log", "logs/second.log"])
def test_a_row_cannot_have_the_database_opened_as_a_log(db_path, name):
    logs = db_path.parent / "logs"
    (logs / "link.log").symlink_to(db_path)
    (logs / "second.log").hardlink_to(db_path)
    connection = sqlite3.connect(db_path)
    connection.execute("UPDATE trial SET log_path = ?", (f"outputs/{name}",))
    connection.commit()
    connection.close()
    reader = Reader(db_path)
    with watched(db_path) as opened:
        found = reader.read(ReadRequest(screen=LOGS, job_id=6, with_log=True, words_of=5))
        assert locks_on(db_path, os.getpid())
    assert found is not None and found.details.log == ()
    assert opened == []
    reader.close()


async def test_the_header_is_not_live_once_a_look_has_failed(db_path):
    async with monitor(db_path, size=(120, 40)) as (app, pilot):
        assert "live 1 s" in shown(app).splitlines()[0]
        away = db_path.rename(db_path.with_name("away.db"))
        app.look(now=True)
        await until(lambda: app.readings.problem, pilot)
        assert "live" not in shown(app).splitlines()[0]
        assert "stale" in shown(app).splitlines()[0]
        away.rename(db_path)
        app.look(now=True)
        await until(lambda: "live 1 s" in shown(app).splitlines()[0], pilot)


async def test_a_terminal_that_is_not_in_front_is_looked_at_less_often_and_says_so(db_path):
    async with monitor(db_path, size=(120, 40)) as (app, pilot):
        app.post_message(events.AppBlur())
        await until(lambda: not app.app_focus, pilot)
        app.tick()
        assert "live 5 s" in shown(app).splitlines()[0]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "live 1 s"),
        ({"checked": False}, "stale 1 s"),
        ({"checked": False, "read_age_s": 2.4}, "stale 2 s"),
        ({"read_age_s": 40.0}, "stale 40 s"),
        ({"every_s": 5.0}, "live 5 s"),
        ({"checked": False, "mode": "REPLAY 03:12"}, "REPLAY 03:12"),
    ],
)
def test_live_is_said_of_a_look_that_succeeded(facts, expected):
    assert glances.look(make_snapshot(), NOW, title="spark", **facts).fresh == expected


def test_what_is_remembered_of_another_study_is_forgotten(db_path):
    """Written over in place: the file is the same one, its events are others."""
    reader = Reader(db_path)
    before = reader.read(ReadRequest(job_id=6))
    other = db_path.with_name("other.db")
    db = open_database(other)
    db.close()
    db_path.write_bytes(other.read_bytes())
    after = reader.read(ReadRequest(job_id=6))
    assert before.details.events
    assert after.details.events == ()
    assert "written over" in after.reopened
    reader.close()


def test_a_log_that_goes_away_is_not_shown_as_if_it_were_there(db_path):
    reader = Reader(db_path)
    request = ReadRequest(job_id=6, screen=LOGS, with_log=True)
    assert reader.read(request).details.log
    next((db_path.parent / "logs").glob("*_6_*.log")).unlink()
    found = reader.read(request)
    assert "No such file" in found.details.log_problem
    assert reader.read(request) is None
    reader.close()


def test_a_clock_that_is_set_back_does_not_keep_the_old_samples(db_path):
    reader = Reader(db_path)
    found = [reader.read(ReadRequest(with_day=True, now=NOW - hours * 3600.0)) for hours in (0, 7)]
    assert all(sample.at <= NOW - 7 * 3600.0 for sample in found[1].details.samples)
    assert len(found[1].details.samples) < len(found[0].details.samples)
    reader.close()
