"""Finding one's way: filters, sorting, the seven screens, logs, time travel, freezing."""

from __future__ import annotations

import pytest

from fts.state import transitions
from fts.state.db import open_database
from fts.tui.data.view import SCREENS
from fts.tui.replay import neighbour
from tests.tui import study
from tests.tui.stories import monitor, press, shown, until


@pytest.mark.parametrize(
    ("query", "kept"),
    [("2b", 3), ("!2b", 9), ("state:failed", 1), ("state:paused 2b", 2), ("h3", 4), ("nothing", 0)],
)
async def test_filters(db_path, query, kept):
    async with monitor(db_path) as (app, pilot):
        app.navigation.filters[0] = query
        app.paint()
        assert len(app.navigation.rows(app.view())) == kept
        if not kept:
            assert "0 of 12 match `nothing`. Esc clears." in shown(app)
            await press(pilot, "escape")
            assert len(app.navigation.rows(app.view())) == 12


async def test_the_filter_is_typed_after_a_slash(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "/", *"2b", "enter")
        assert app.navigation.filters[0] == "2b"
        assert "/2b" in shown(app)


async def test_o_and_a_letter_sort_and_the_same_again_reverses(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "2")
        await until(lambda: len(app.view().trials) == 7, pilot)
        await press(pilot, "o", "v")
        best = app.navigation.rows(app.view())[0]
        assert next(t for t in app.view().trials if t.id == best).number == app.view().job.best_trial
        await press(pilot, "o", "v")
        assert app.navigation.rows(app.view())[-2] == best
        assert app.navigation.rows(app.view())[-1] == app.view().live_trial.id, (
            "without a value: last in both directions"
        )


async def test_every_screen_has_its_number_and_enter_goes_in_and_escape_out(db_path):
    async with monitor(db_path) as (app, pilot):
        for number, name in enumerate(SCREENS):
            await press(pilot, str(number + 1))
            assert f"{number + 1} {name}" in shown(app).split("\n")[0]
        await press(pilot, "1", "enter")
        assert app.navigation.screen == 1
        await press(pilot, "enter")
        assert app.navigation.screen == 2
        await press(pilot, "escape", "escape")
        assert app.navigation.screen == 0


async def test_the_race_view_shows_best_and_middle_half(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "3")
        await until(lambda: "middle half of 6 trials" in shown(app), pilot)
        assert "best t5" in shown(app)
        await press(pilot, "s")
        assert "middle half" not in shown(app)
        await press(pilot, "+", "y")
        assert "1/2" in shown(app)
        assert "y log" in shown(app)


async def test_logs_follow_search_and_levels(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "5")
        await until(lambda: "best of trial" in shown(app), pilot)
        await press(pilot, "/", *"warning", "enter")
        assert app.navigation.scroll == 2
        assert not app.navigation.follow
        await press(pilot, "f")
        assert app.navigation.scroll == 0
        await press(pilot, "escape", "s")
        assert "3.1x" in shown(app)
        assert "best of trial" not in shown(app)
        await press(pilot, "s")
        empty = "no line of level error among 5 lines. s changes the level."
        assert empty in shown(app)
        await press(pilot, "s")
        assert "best of trial" in shown(app)


async def test_a_growing_log_is_followed(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "5")
        await until(lambda: "best of trial" in shown(app), pilot)
        trial = app.view().trial
        log = db_path.parent / "logs" / trial.log_path.rsplit("/", 1)[1]
        with log.open("a") as file:
            file.write("08:14:01 one more line\n")
        app.look()
        await until(lambda: "one more line" in shown(app), pilot)


async def test_time_travel_shows_every_screen_as_it_was_and_writes_nothing(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, ",")
        await until(lambda: "REPLAY" in shown(app), pilot)
        app.navigation.at = study.NOW - 4 * 3600
        app.look(now=True)
        await until(
            lambda: app.readings.reading.snapshot.taken_at == app.navigation.at or "20M/h5" in shown(app), pilot
        )
        for number in range(1, 8):
            await press(pilot, str(number))
            await until(lambda: "REPLAY" in shown(app), pilot)
        await press(pilot, "1", "p")
        assert "replay" in app.toast[0]
        await press(pilot, "escape")
        await until(lambda: "REPLAY" not in shown(app), pilot)


async def test_replay_knows_what_was_running_then(db_path):
    async with monitor(db_path, at=study.NOW - 15 * 3600) as (app, pilot):
        await until(lambda: "REPLAY" in shown(app), pilot)
        running = [f"{j.budget}/h{j.horizon}" for j in app.readings.snapshot.jobs if j.status == "running"]
        assert running == [] or running[0].startswith("2M")
        assert not any(j.status == "failed" for j in app.readings.snapshot.jobs)


async def test_freeze_keeps_the_body_and_the_header_lives(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "f")
        assert "FROZEN" in shown(app)
        db = open_database(db_path)
        transitions.operator.pause(db, [7])
        db.close()
        app.look(now=True)
        await until(lambda: any(j.id == 7 and j.status == "paused" for j in app.readings.snapshot.jobs), pilot)
        assert next(j for j in app.view().snapshot.jobs if j.id == 7).status == "queued"
        await press(pilot, "f")
        assert next(j for j in app.view().snapshot.jobs if j.id == 7).status == "paused"


def test_a_replay_goes_through_all_moments_though_the_clock_was_set_back():
    times, at, seen = [10.0, 20.0, 5.0, 15.0], None, []
    for step in (-1, -1, -1, -1, -1, 1, 1, 1, 1):
        at = neighbour(times, at, step)
        seen.append(at)
    assert seen == [20.0, 15.0, 10.0, 5.0, 5.0, 10.0, 15.0, 20.0, None]
