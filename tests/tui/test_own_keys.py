"""Keys of the user's file: they work, the old ones do not, and bar, help, palette and messages show them."""

from __future__ import annotations

from fts.tui import keymap
from fts.tui.command_palette import Palette
from fts.tui.screens.dialogs import Confirm
from fts.tui.screens.help import Help
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
