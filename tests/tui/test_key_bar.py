"""The bar of keys takes clicks: each hint does what its key does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fts.tui.data.view import TRIALS, Hint, View
from fts.tui.render.text import as_text
from fts.tui.screens.help import Help
from fts.tui.widgets import footer
from tests.tui.stories import dialog_text, monitor, rest, rows, shown, until
from tests.tui.test_selection import seen


def bar(app) -> str:
    return shown(app).splitlines()[-1]


async def click(app, pilot, word: str) -> None:
    await pilot.click("KeyBar", offset=(bar(app).index(word) + 1, 0))
    await rest(app, pilot)


async def test_a_click_on_a_hint_does_what_its_key_does(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await click(app, pilot, "↵ open")
        await until(lambda: app.navigation.screen == TRIALS, pilot)
        await rest(app, pilot)
        await click(app, pilot, "o sort")
        assert app.toast[0].startswith("sort by: t number")
        await click(app, pilot, "sort by")
        assert app.toast[0] == "", "a click on a message takes it away"
        await click(app, pilot, "? help")
        await until(lambda: isinstance(app.screen, Help), pilot)


async def test_a_click_asks_as_the_key_does(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await click(app, pilot, "D drain")
        await until(lambda: len(app.screen_stack) > 1, pilot)
        assert "drain" in dialog_text(app)
        assert rows(db_path)["20M/h5"] == "running"


@pytest.mark.parametrize(("x", "id"), [(0, ""), (1, "next"), (10, "next"), (11, ""), (13, "move_down"),
                                       (15, "move_up"), (18, "move_up"), (30, ""), (55, "help")])  # fmt: skip
def test_of_a_pair_the_letter_that_is_clicked(x, id):
    view: View = seen((), hints=(Hint("t", "run next", "next"), Hint("J/K", "reorder", "move_up")))
    assert footer.clicked(view, 60, x) == id


def test_a_message_without_room_ends_with_a_mark():
    for words in (20, 60):
        view = replace(seen([]), toast=" ".join(f"word{n}" for n in range(words)))
        painted = [as_text([line]).rstrip() for line in footer.rows(view, 60)]
        text = " ".join(painted).removesuffix("? help").rstrip()
        assert len(painted) <= footer.MOST
        assert text.endswith("…") == (f"word{words - 1}" not in text)
