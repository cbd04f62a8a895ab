"""Keys act on what is seen: never on a row a filter hides; marks and the range from `v` are shown and counted."""

from __future__ import annotations

import math

from fts.tui.screens.dialogs import Ask, Confirm
from tests.tui.stories import monitor, opened, press, rows, settled, shown, until


async def narrow(app, pilot, words):
    """A filter as typed."""
    await press(pilot, "/")
    await until(lambda: opened(app, Ask), pilot)
    await press(pilot, *words, "enter")
    await until(lambda: not isinstance(app.screen, Ask), pilot)
    await settled(app, pilot)


def chosen(app):
    return [f"{job.budget}/h{job.horizon}" for job in app.chosen()]


def bar(app):
    return shown(app).rstrip("\n").split("\n")[-1]


async def test_a_filter_moves_the_cursor_to_the_first_row_it_shows(db_path):
    async with monitor(db_path) as (app, pilot):
        assert chosen(app) == ["20M/h5"]
        await narrow(app, pilot, "2b")
        assert chosen(app) == ["2B/h1"]
        assert "►◌10 2B/h1" in shown(app)
        await press(pilot, "j")
        assert chosen(app) == ["2B/h3"]
        await press(pilot, "escape")
        assert chosen(app) == ["2B/h3"]


async def test_a_cursor_in_sight_stays_where_it_is(db_path):
    async with monitor(db_path) as (app, pilot):
        await narrow(app, pilot, "20m")
        assert chosen(app) == ["20M/h5"]


async def test_where_a_filter_shows_no_row_every_key_refuses_with_the_reason(db_path):
    async with monitor(db_path) as (app, pilot):
        before = rows(db_path)
        await narrow(app, pilot, "nothing like it")
        for key in "xprtJK":
            await press(pilot, key)
            assert "no row matches `nothing like it`" in app.toast[0], key
            assert "Esc clears" in app.toast[0]
        await press(pilot, "enter")
        assert app.navigation.screen == 0
        assert rows(db_path) == before


async def test_a_row_that_leaves_the_filter_takes_no_key_with_it(db_path, monkeypatch):
    async with monitor(db_path) as (app, pilot):
        await narrow(app, pilot, "state:queued")
        assert chosen(app) == ["200M/h1"]
        await press(pilot, "p")
        await until(lambda: rows(db_path)["200M/h1"] == "paused", pilot)
        await until(lambda: chosen(app) == ["200M/h3"], pilot)
        monkeypatch.setattr("fts.tui.action_runner.MOVED_S", math.inf)
        await press(pilot, "x")
        assert "moved to another row" in app.toast[0]
        assert rows(db_path)["200M/h3"] == "queued"


async def test_marks_that_a_filter_hides_are_left_alone_and_counted(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "G", "space", "k", "k", "k", "space")
        assert "2 marked" in bar(app)
        assert chosen(app) == ["200M/h5", "2B/h5"]
        await narrow(app, pilot, "200m")
        assert chosen(app) == ["200M/h5"]
        assert "1 marked, 1 hidden" in bar(app)
        await press(pilot, "escape")
        await narrow(app, pilot, "20M/h3")
        assert chosen(app) == ["20M/h3"]
        assert "0 marked, 2 hidden" in bar(app)


async def test_the_trials_table_keeps_its_cursor_in_sight_too(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "g", "enter")
        await until(lambda: len(app.view().trials) == 10, pilot)
        await press(pilot, "g")
        assert app.view().trial.number == 9
        await narrow(app, pilot, "state:complete")
        assert app.view().trial.number == 8
        await narrow(app, pilot, "nothing like it")
        await press(pilot, "x")
        assert "no row matches" in app.toast[0]
        await press(pilot, "enter")
        assert app.navigation.screen == 1


async def test_screens_without_a_table_have_nothing_to_filter(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "6", "/")
        assert not isinstance(app.screen, Ask)
        assert "nothing to filter" in app.toast[0]


async def test_a_range_follows_the_cursor_and_is_what_an_action_concerns(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "v", "j", "j")
        assert chosen(app) == ["200M/h1", "200M/h3", "200M/h5"]
        assert shown(app).count("•") == 3
        assert "3 marked" in bar(app)
        await press(pilot, "k")
        assert chosen(app) == ["200M/h1", "200M/h3"]
        await press(pilot, "p")
        await until(lambda: list(rows(db_path).values()).count("paused") == 4, pilot)


async def test_v_again_or_escape_ends_the_range(db_path):
    for key in ("v", "escape"):
        async with monitor(db_path) as (app, pilot):
            await press(pilot, "j", "v", "j", key)
            assert chosen(app) == ["200M/h3"]
            assert "•" not in shown(app)
            await press(pilot, "j")
            assert chosen(app) == ["200M/h5"]


async def test_a_range_joins_the_marks_and_space_keeps_it(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "space", "j", "v", "j")
        assert chosen(app) == ["200M/h1", "200M/h5", "2B/h1"]
        await press(pilot, "space", "G")
        assert chosen(app) == ["200M/h1", "200M/h5", "2B/h1"]
        assert "3 marked" in bar(app)


async def test_a_range_ends_where_rows_change_their_places(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "v", "j", "o", "b")
        assert chosen(app) == ["200M/h3"]
        await press(pilot, "v", "j", "2", "1")
        assert len(chosen(app)) == 1


async def test_many_jobs_of_a_range_are_listed_first(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "v", "j", "j", "j", "p")
        await until(lambda: opened(app, Confirm), pilot)
        await press(pilot, "escape")
        await until(lambda: not isinstance(app.screen, Confirm), pilot)
        assert len(chosen(app)) == 4
