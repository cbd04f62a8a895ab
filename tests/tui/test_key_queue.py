"""Many keys that arrive at once, as over a slow link, do what they do one by one."""

from __future__ import annotations

from textual import events

from tests.tui.stories import monitor, rest, shown, until


def burst(app, text: str) -> None:
    names = {"\r": "enter", "/": "slash", "\x1b": "escape", ":": "colon"}
    for char in text:
        app.post_message(events.Key(names.get(char, char), None if char in "\r\x1b" else char))


async def test_what_follows_the_answer_of_a_dialog_is_no_part_of_it(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        burst(app, "/20M\rG2")
        await until(lambda: app.navigation.screen == 1, pilot)
        assert app.navigation.filters[0] == "20M"
        assert app.view().name == "20M/h5", "the last of the rows that match"
        await rest(app, pilot)
        burst(app, "1/\r")
        await until(lambda: app.navigation.screen == 0 and len(app.screen_stack) == 1 and not app.key_queue.held, pilot)
        await rest(app, pilot)
        burst(app, "x\rj\rj")
        await until(lambda: not app.key_queue.held and len(app.screen_stack) == 1, pilot)
        await rest(app, pilot)
        assert "cancelled" not in shown(app), "Enter answers a question with no"
