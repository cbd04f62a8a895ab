"""Whatever is typed, clicked and resized: the monitor goes on, rests after it, and Esc and 1 lead to the queue."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from textual import events
from textual.geometry import Size
from textual.screen import Screen

from fts.state.db import open_database
from fts.tui.command_palette import Palette
from fts.tui.screens.chooser import Chooser
from fts.tui.screens.dialogs import Ask
from fts.tui.screens.enqueue import EnqueueForm
from tests.tui import random_keys
from tests.tui.stories import monitor, opened, press, rest, until

WALKS = int(os.environ.get("FTS_WALKS", "12"))
KEYS = int(os.environ.get("FTS_WALK_KEYS", "2500"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "study"


@pytest.mark.parametrize("seed", [1])
def test_random_keys_and_sizes_end_nothing_and_esc_leads_home(built, tmp_path, seed):
    random_keys.run(random_keys.place(tmp_path, built), seed, 200)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 100 + WALKS))
def test_long_walks_of_random_keys(built, tmp_path, seed):
    random_keys.run(random_keys.place(tmp_path, built), seed, KEYS)


def test_a_walk_is_the_same_each_time():
    assert list(random_keys.steps(7, 300)) == list(random_keys.steps(7, 300))


@pytest.mark.parametrize(("key", "kind"), [("colon", Palette), ("question_mark", Chooser), ("m", Ask)])
async def test_a_click_beside_a_terminal_that_has_just_shrunk_ends_nothing(db_path, key, kind):
    """The terminal was larger when the mouse was pressed."""
    async with monitor(db_path, (60, 15)) as (app, pilot):
        await press(pilot, key)
        await until(lambda: opened(app, kind) and app.screen.focused, pilot)
        focused = app.screen.focused
        for made in (events.MouseDown, events.MouseUp):
            app.post_message(made(None, 80, 30, 0, 0, 1, False, False, False, 80, 30))
        await rest(app, pilot)
        assert app.is_running
        if isinstance(app.screen, kind):
            assert app.screen.focused is focused


@pytest.mark.parametrize(("key", "kind"), [("colon", Palette), ("question_mark", Chooser), ("m", Ask)])
async def test_esc_leaves_a_dialog_that_has_lost_the_focus(db_path, key, kind):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, key)
        await until(lambda: opened(app, kind) and app.screen.focused, pilot)
        app.screen.set_focus(None)
        await press(pilot, "escape")
        await until(lambda: len(app.screen_stack) == 1, pilot)


@pytest.mark.parametrize(("key", "kind"), [("colon", Palette), ("m", Ask)])
async def test_a_dialog_that_opens_behind_another_window_takes_keys_when_it_is_in_front_again(db_path, key, kind):
    async with monitor(db_path) as (app, pilot):
        app.post_message(events.Key(key, ":" if key == "colon" else key))
        app.post_message(events.AppBlur())
        await until(lambda: opened(app, kind), pilot)
        await rest(app, pilot)
        assert app.screen.focused is None
        app.post_message(events.AppFocus())
        await until(lambda: app.screen.focused is not None, pilot)
        await press(pilot, "escape")
        await until(lambda: len(app.screen_stack) == 1, pilot)


async def test_a_key_that_reaches_a_dialog_behind_another_window_is_taken(db_path):
    """Some terminals say that they are in front only after the key, or never."""
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "m")
        await until(lambda: opened(app, Ask) and app.screen.focused, pilot)
        app.post_message(events.AppBlur())
        await until(lambda: app.screen.focused is None, pilot)
        await press(pilot, "x", "y")
        await until(lambda: app.screen.query_one("Input").value == "xy", pilot)
        await press(pilot, "escape")
        await until(lambda: len(app.screen_stack) == 1, pilot)


async def test_the_form_rests_in_a_few_columns(tmp_path, monkeypatch):
    """A scrollbar that takes the last columns from lines, which then need none, would be laid out for ever."""
    home = tmp_path / "home"
    shutil.copytree(EXAMPLE, home, ignore=shutil.ignore_patterns("__pycache__", "outputs"))
    path = home / "outputs" / "fts.db"
    path.parent.mkdir()
    open_database(path, create=True).close()
    monkeypatch.chdir(home)
    layouts = 0
    lay_out = Screen._refresh_layout

    def counted(self, *given, **more):
        nonlocal layouts
        layouts += 1
        return lay_out(self, *given, **more)

    monkeypatch.setattr(Screen, "_refresh_layout", counted)

    async def is_at_rest() -> bool:
        for _ in range(40):
            before = layouts
            await asyncio.sleep(0.25)  # a livelock lays out sixty times in it, a clock that ticks once
            if layouts - before <= 1:
                return True
        return False

    async with monitor(path, (120, 40)) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened_form(app) and app.screen.studies, pilot, 60.0)
        await press(pilot, "enter")
        await until(lambda: app.screen.seen is not None and list(app.screen.query("FieldRow")), pilot, 60.0)
        for tab in "34":
            await press(pilot, tab)
            for columns, rows in ((1, 1), (2, 24), (3, 40), (4, 40), (5, 24), (15, 24), (16, 24), (40, 8)):
                app.post_message(events.Resize(Size(columns, rows), Size(columns, rows)))
                await asyncio.sleep(0.05)
                assert await is_at_rest(), f"tab {tab} at {columns}x{rows}"
            app.post_message(events.Resize(Size(120, 40), Size(120, 40)))
            await rest(app, pilot)


def opened_form(app) -> bool:
    return isinstance(app.screen, EnqueueForm)
