"""Where a pane has more rows than lines there is a scrollbar: what it says, and what the mouse does with it."""

from __future__ import annotations

import pytest
from textual.events import MouseScrollDown
from textual.scrollbar import ScrollBar

from fts.state import transitions
from fts.state.db import open_database
from fts.tui.widgets.pane import Pane
from tests.tui import study
from tests.tui.stories import monitor, on_screen, press, rest, shown, until


def bars(app) -> list[ScrollBar]:
    return [bar for bar in app.screen.query(ScrollBar) if bar.display]


async def test_only_a_pane_that_has_more_rows_than_lines_has_a_scrollbar(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        assert bars(app) == []
        await press(pilot, "7")
        (bar,) = bars(app)
        assert (bar.position, bar.window_size, bar.window_virtual_size) == (0, 27, 215)
        rows = [row for row in shown(app).splitlines() if row.endswith("█")]
        assert rows[0].startswith("━ events (215)"), "at the top of the pane"
        assert len(rows) < 10
        await press(pilot, "G")
        assert bar.position == 215 - 27
        await press(pilot, "/", *"guard", "enter")
        assert bars(app) == [], "few rows match"


@pytest.mark.parametrize("screen", ["7", "5"])
async def test_dragging_the_thumb_scrolls_from_end_to_end(db_path, screen):
    log = next((db_path.parent / "logs").glob("*_6_*.log"))
    log.write_text("".join(f"08:00:00 step {n}\n" for n in range(500)))
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, screen)
        await until(lambda: bars(app), pilot)
        (bar,) = bars(app)
        pane = bar.parent
        await press(pilot, "g") if screen == "7" else await press(pilot, "f", "G", *["ctrl+d"] * 4)
        before = bar.position
        y = next(n for n, row in enumerate(on_screen(app).split("\n")) if row.rstrip().endswith("█")) - bar.region.y
        await pilot.mouse_down(bar, offset=(0, y))
        await pilot.hover(bar, offset=(0, y + 9 if screen == "7" else 3))
        await until(lambda: bar.position != before, pilot)
        await pilot.hover(bar, offset=(0, bar.region.height - 1 if screen == "7" else 0))
        await pilot.mouse_up(bar, offset=(0, bar.region.height - 1 if screen == "7" else 0))
        await rest(app, pilot)
        extent = pane.extent
        assert extent.first == (extent.rows - extent.shown if screen == "7" else 0)
        assert app.navigation.follow is (screen == "7"), "a log that is scrolled up does not jump to its end"


async def test_a_click_beside_the_thumb_goes_a_page(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "7")
        (bar,) = bars(app)
        await pilot.click(bar, offset=(0, bar.region.height - 2))
        await until(lambda: bar.position > 0, pilot)
        first = bar.position
        await pilot.click(bar, offset=(0, 0))
        await until(lambda: bar.position < first, pilot)


async def test_a_long_queue_has_one_beside_its_own_rows(db_path):
    async with monitor(db_path, (60, 12)) as (app, pilot):
        (bar,) = bars(app)
        assert bar.parent is app.screen.query_one("#queue", Pane)
        assert bar.window_virtual_size == 12
        await pilot.resize_terminal(60, 30)
        await rest(app, pilot)
        assert bars(app) == []


def text_of(pane: Pane) -> list[str]:
    return ["".join(part for part, _ in line).rstrip("█ ") for line in pane.lines]


@pytest.mark.parametrize(("screen", "pane"), [("2", "#detail"), ("7", "#full")])
async def test_a_text_that_is_longer_than_its_pane_is_read_to_its_end_with_keys_and_wheel(db_path, screen, pane):
    async with monitor(db_path, (80, 24)) as (app, pilot):
        await press(pilot, screen)
        text = app.screen.query_one(pane, Pane)
        await until(lambda: bars(app) and text.extent.scrolls, pilot)
        title, rows, chosen = text_of(text)[0], text.extent.rows, app.navigation.trial_id
        seen = text_of(text)
        while app.focused is not text:
            await press(pilot, "tab")
        for _ in range(rows):
            await press(pilot, "j")
            assert text_of(text)[0].replace("━", "─") == title.replace("━", "─"), "its title stays"
            seen += [row for row in text_of(text) if row not in seen]
        assert text.extent.first == rows - text.extent.shown
        assert len(set(seen)) >= len(text_of(text)) + 1
        assert app.navigation.trial_id == chosen, "the cursor stays on its row"
        await press(pilot, "g")
        assert text.extent.first == 0
        await pilot._post_mouse_events([MouseScrollDown], text, offset=(2, 2), button=0)
        await until(lambda: text.extent.first == 1, pilot)
        await press(pilot, "shift+tab")
        await press(pilot, "j")
        assert text_of(text)[0] != title
        assert text.extent.first == 0, "keys go to the pane that has the focus; another row is read from its beginning"


async def test_the_matrix_of_many_rows_scrolls_to_the_selected_cell(tmp_path):
    path = tmp_path / "study" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    study.build(path)
    db = open_database(path)
    transitions.enqueue(db, study.specs(budgets=[f"{n}M" for n in range(300, 330)]), who="you@spark")
    db.close()
    async with monitor(path, (100, 24)) as (app, pilot):
        await press(pilot, "6")
        matrix = app.screen.query_one("#matrix", Pane)
        assert matrix.extent.scrolls
        heading = text_of(matrix)[1]
        await press(pilot, "G")
        assert "►" in "".join(text_of(matrix)[2:])
        assert text_of(matrix)[1] == heading, "the heading stays"
        assert "from the worst to the best" in text_of(matrix)[-1] or "sealed" in text_of(matrix)[-1]
        assert matrix.extent.first > 0
        await press(pilot, "g")
        assert "►" in "".join(text_of(matrix)[2:])
