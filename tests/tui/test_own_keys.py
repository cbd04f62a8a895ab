"""Keys of the user's file: they work, the old ones do not, and bar, help, palette and messages show them."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from fts.tui import keymap
from fts.tui.command_palette import Palette
from fts.tui.screens.dialogs import Confirm
from fts.tui.screens.help import Help
from fts.tui.widgets.pane import Pane
from tests.tui.stories import dialog_text, monitor, on_screen, opened, press, rows, settled, shown, until, verbs

OWN = keymap.checked(
    {"pause": ["x", "f5"], "cancel": ["X"], "move_to": ["ctrl+t"], "help": ["f2"], "undo": [], "palette": [";"],
     "down": ["n"], "up": ["p"], "next_match": [], "show_events": ["f7"], "retry": ["f6"]}
)  # fmt: skip


async def test_own_keys_work_and_the_old_ones_do_nothing(db_path):
    async with monitor(db_path, keymap=OWN) as (app, pilot):
        await settled(app, pilot)
        await press(pilot, "j", "k", "u", "?")
        assert app.view().name == "20M/h5" and app.screen is app.screen_stack[0]
        await press(pilot, "n")
        assert app.view().name == "200M/h1"
        await press(pilot, "p", "n", "f5")
        await until(lambda: rows(db_path)["200M/h1"] == "paused", pilot)
        await press(pilot, "x")
        await until(lambda: rows(db_path)["200M/h1"] == "queued", pilot)
        await settled(app, pilot)
        await press(pilot, "p", "X")
        await until(lambda: opened(app, Confirm), pilot)
        await press(pilot, "escape", "f7")
        assert app.navigation.screen == 6
        await press(pilot, "q")


async def test_an_action_without_a_key_may_get_one(db_path):
    async with monitor(db_path, keymap=OWN) as (_app, pilot):
        await press(pilot, "n", "n", "n", "ctrl+t", *"top", "enter")
        await until(lambda: verbs(db_path) == ["moved"], pilot)


async def test_bar_help_palette_and_messages_show_own_keys(db_path):
    async with monitor(db_path, (120, 40), keymap=OWN) as (app, pilot):
        bar = shown(app).rstrip("\n").split("\n")[-1]
        assert "x pause" in bar and "X cancel" in bar and "F2 help" in bar and "u undo" not in bar
        await until(lambda: "F6 retries" in on_screen(app), pilot)
        await press(pilot, "f2")
        await until(lambda: opened(app, Help), pilot)
        assert "x F5" in dialog_text(app)
        await press(pilot, "escape", ";")
        await until(lambda: opened(app, Palette) and "X       cancel" in dialog_text(app), pilot)
        await press(pilot, "escape", "n", "x")
        await until(lambda: ":undo undoes" in app.toast[0], pilot)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("alt+k", "\x1bk"),
        ("alt+K", "\x1bK"),
        ("alt+shift+k", "\x1bK"),
        ("ctrl+\\", "\x1c"),
        ("^]", "\x1d"),
        ("ctrl+X", "\x18"),
    ],
)
def test_a_key_is_called_as_textual_calls_what_a_terminal_sends(typed, sent):
    parser = XTermParser()
    (event,) = [one for one in (*parser.feed(sent), *parser.feed("")) if isinstance(one, events.Key)]
    assert keymap.checked({"retry": [typed]}).changed["retry"] == (event.key,)
    assert keymap.checked({"retry": [keymap.shown_key(event.key)]}).changed["retry"] == (event.key,)


@pytest.mark.parametrize("key", ["alt+,", "alt+/", "alt+1", "alt++", "ctrl+/", "ctrl+1", "ctrl+alt+x", "ctrl+é"])
def test_a_key_that_no_terminal_sends_is_refused(key):
    with pytest.raises(keymap.BadKeys, match="do not send"):
        keymap.checked({"retry": [key]})


async def test_what_stands_behind_an_own_key_of_another_width_is_repainted(db_path):
    async with monitor(db_path, keymap=OWN) as (app, pilot):
        pane = app.screen.query_one("#queue", Pane)
        pane.show([(("r retries  1", ""),)])
        sent = []
        pane.refresh = lambda *regions, **_: sent.extend(regions)
        pane.show([(("r retries  2", ""),)])
        assert [(region.x, region.right) for region in sent] == [(0, pane.size.width)]
        del pane.refresh
        await pilot.pause()
