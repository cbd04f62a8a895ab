"""From the key `a` to the words on every first line, through the database: the finish has slipped since."""

from __future__ import annotations

import json

import pytest

from fts.jobs.actions import by_id
from fts.state.db import open_database
from fts.tui import pictures
from tests.tui import study
from tests.tui.values import HOUR, NOW


@pytest.fixture
def slipped(db_path):
    """Acknowledged two hours ago, when the same work would have taken half as long as it looks now."""
    clock = study.Clock(NOW - 2 * HOUR)
    db = study.open_at(db_path, clock)
    by_id("ack").run(db, (), study.USER)
    event = _latest(db)
    data = json.loads(event[1])
    told = data["forecast"]
    told["finish_at"] = told["taken_at"] + (told["finish_at"] - told["taken_at"]) / 2
    db.execute_sql("UPDATE event SET data = ? WHERE id = ?", (json.dumps(data), event[0]))
    db.close()
    return db_path


def _latest(db):
    return db.execute_sql("SELECT id, data FROM event ORDER BY id DESC LIMIT 1").fetchone()


def first_lines(path, size, **options):
    text = pictures.render(path, "queue", size, user=options.pop("user", study.USER), **options).text
    return "\n".join(text.split("\n")[:3])


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_the_first_lines_say_that_the_finish_slipped(slipped, size):
    text = first_lines(slipped, size, now=NOW)
    assert "LOOK" in text
    assert "finish slipped" in text


def test_the_reason_names_both_dates_and_the_key(slipped):
    text = first_lines(slipped, (120, 40), now=NOW)
    assert "→" in text
    assert "since seen 06:14" in text
    assert "(a = seen)" in text


def test_another_user_who_saw_nothing_is_told_of_no_slip(slipped):
    assert "slipped" not in first_lines(slipped, (120, 40), now=NOW, user="eve@spark")


def test_a_replay_of_the_time_before_the_key_knows_no_slip(slipped):
    assert "slipped" not in first_lines(slipped, (120, 40), at=NOW - 3 * HOUR)


def test_acknowledging_again_ends_it(slipped):
    db = study.open_at(slipped, study.Clock(NOW))
    by_id("ack").run(db, (), study.USER)
    db.close()
    assert "slipped" not in first_lines(slipped, (120, 40), now=NOW)


def test_the_event_says_what_was_told(slipped):
    db = open_database(slipped, readonly=True)
    data = json.loads(_latest(db)[1])
    db.close()
    assert set(data["forecast"]) == {"taken_at", "finish_at", "jobs", "paces", "slots", "trials"}
