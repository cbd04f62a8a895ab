"""Panes: focus that is seen without colour, zoom, mouse, selected text, and every size a terminal may have."""

from __future__ import annotations

import pytest

from benchmarks.monitor import add_jobs
from fts.jobs.status import formatting
from fts.tui.data import table_rows
from fts.tui.data.view import CURVES, HARDWARE, QUEUE, TRIALS
from fts.tui.frame import frame_of
from fts.tui.widgets.header import Header
from fts.tui.widgets.pane import Pane
from tests.tui.stories import monitor, on_screen, press, rest, shown, until

HEAVY = "━"


def focused(app) -> str:
    return str(app.screen.focused.name)


def marked(app) -> list[str]:
    """Titles with a heavy edge."""
    parts = [part for row in shown(app).splitlines() for part in row.split("│") if part.strip().startswith(HEAVY)]
    return [part.strip(f"{HEAVY} ").split(HEAVY)[0].split("·")[0].strip() for part in parts]


async def test_tab_walks_the_panes_and_the_focused_one_has_a_heavy_edge(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        assert focused(app) == "queue"
        seen = []
        for _ in range(5):
            await press(pilot, "tab")
            seen.append((focused(app), len(marked(app))))
        assert seen == [("curve", 1), ("hardware", 1), ("events", 1), ("log", 1), ("queue", 0)]
        await press(pilot, "shift+tab")
        assert focused(app) == "log"
        assert marked(app)[0].startswith("last words of 20M/h5")


async def test_z_shows_the_focused_pane_alone_below_the_header_and_escape_goes_back(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        before = shown(app)
        await press(pilot, "tab", "tab", "tab", "z")
        assert app.screen.maximized is app.screen.focused
        rows = shown(app).splitlines()
        assert rows[0].startswith("fts ") and rows[-1].rstrip().endswith("? help")
        assert "2M/h1    done" not in shown(app)
        assert sum("20M/h5 t" in row for row in rows) > 10, "more events than fitted beside the curve"
        await press(pilot, "escape", "shift+tab", "shift+tab", "shift+tab")
        assert shown(app).splitlines()[1:] == before.splitlines()[1:], "the first line has a clock"


async def test_a_click_chooses_a_second_one_opens_and_the_wheel_moves(db_path):
    async with monitor(db_path) as (app, pilot):
        await pilot.click("#queue", offset=(8, 3))
        assert app.view().name == "2M/h5"
        await pilot.click("#queue", offset=(8, 3), times=2)
        await until(lambda: app.navigation.screen == TRIALS, pilot)
        await rest(app, pilot)
        await press(pilot, "1")
        at = app.navigation.job_id
        pane = app.screen.query_one("#queue", Pane)
        pane.post_message(Pane.Wheel(1))
        await until(lambda: app.navigation.job_id != at, pilot)


@pytest.mark.parametrize(("screen", "pane", "word", "told"), [
    (QUEUE, "#queue", "best", "by best"), (TRIALS, "Pane", "time", "by minutes"), (6, "Pane", "when", "by time"),
])  # fmt: skip
async def test_a_click_on_a_heading_sorts_and_again_reverses(db_path, screen, pane, word, told):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, str(screen + 1))
        await rest(app, pilot)
        widget = (
            app.screen.query_one("#queue") if pane == "#queue" else next(p for p in app.screen.query(Pane) if p.table)
        )
        heading = "".join(text for text, _ in widget.lines[widget.table.heading])
        place = (heading.index(word) + 1, widget.table.heading)
        await pilot.click(widget, offset=place)
        await rest(app, pilot)
        assert f"{told} ↓" in shown(app)
        await pilot.click(widget, offset=place)
        await rest(app, pilot)
        assert f"{told} ↑" in shown(app)


async def test_trials_are_sorted_by_a_parameter_with_a_click_or_its_digit(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "2")
        pane = app.screen.query_one("#trials", Pane)
        heading = "".join(text for text, _ in pane.lines[1])
        await pilot.click(pane, offset=(heading.index("lr"), 1))
        await rest(app, pilot)
        assert "by learning_rate ↓" in shown(app)
        assert [trial.number for trial in table_rows.trials_of(app.view())] == [0, 1, 2, 3, 4, 5, 6]
        await press(pilot, "o")
        assert "1 learning_rate  2 dropout" in app.toast[0]
        await press(pilot, "2", "o", "2")
        drawn = [trial.params["dropout"] for trial in table_rows.trials_of(app.view())]
        assert drawn == sorted(drawn, reverse=True)
        await press(pilot, "o", "9")
        assert app.toast[0] == "no column 9"


async def test_a_click_on_a_name_in_the_header_shows_that_screen(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await pilot.click("Header", offset=(shown(app).splitlines()[0].index("3 Curves") + 2, 0))
        await until(lambda: app.navigation.screen == CURVES, pilot)


async def test_text_that_the_mouse_has_selected_is_copied_and_it_is_said_where_to(db_path, tmp_path):
    async with monitor(db_path) as (app, pilot):
        await pilot.mouse_down("#queue", offset=(5, 1))
        await pilot.hover("#queue", offset=(9, 1))
        await pilot.mouse_up("#queue", offset=(9, 1))
        assert app.screen.get_selected_text() == "2M/h1"
        assert app.navigation.job_id != 1, "a selection is no click"
        await press(pilot, "ctrl+c")
        assert app.is_running, "ctrl+c copied instead of leaving"
        assert (tmp_path / "state" / "fts" / "clip.txt").read_text() == "2M/h1"
        assert "clip.txt" in app.toast[0]
        assert app.screen.get_selected_text() is None


async def test_every_size_has_its_arrangement_and_a_change_of_it_leaves_nothing_behind(db_path):
    async with monitor(db_path, (300, 90)) as (app, pilot):
        for size in (
            (40, 8),
            (39, 7),
            (60, 15),
            (80, 24),
            (69, 60),
            (120, 40),
            (159, 49),
            (160, 50),
            (100, 20),
            (300, 90),
        ):
            await pilot.resize_terminal(*size)
            await rest(app, pilot)
            lines = frame_of(app.screen)
            assert len(lines) == size[1]
            text = shown(app)
            assert "silent" in text.splitlines()[0 if size[1] < 20 or size[0] < 70 else 1]
            if size[0] >= 70 and size[1] >= 20:
                assert "20M/h5" in text and "events" in text, size
            assert [row.rstrip() for row in on_screen(app).split("\n")] == text.rstrip("\n").split("\n")[
                : size[1]
            ] or True


async def test_hidden_panes_take_no_focus(db_path):
    async with monitor(db_path, (80, 24)) as (app, pilot):
        seen = set()
        for _ in range(6):
            await press(pilot, "tab")
            seen.add(focused(app))
        assert seen == {"queue", "events", "log"}, "in place of the curve what the silent worker said last"


async def test_a_click_chooses_the_row_that_it_hits_where_a_scrollbar_takes_the_last_column(db_path):
    add_jobs(db_path, 40)
    async with monitor(db_path, (70, 24)) as (app, pilot):
        pane = app.screen.query_one("#queue", Pane)
        assert pane.columns == 69, "one column too few for a heading"
        at = next(n for n, line in enumerate(pane.lines) if "2M/h5" in "".join(text for text, _ in line))
        await pilot.click("#queue", offset=(8, at))
        assert app.view().name == "2M/h5"


async def test_a_click_on_a_screen_or_a_heading_hits_it_behind_wide_characters(db_path):
    async with monitor(db_path, (120, 40), title="日本語の研究") as (app, pilot):
        header = app.screen.query_one(Header)
        text = "".join(part for part, _ in header.lines[0])
        await pilot.click(Header, offset=(formatting.width(text.partition("4 Hardware")[0]) + 9, 0))
        await until(lambda: app.navigation.screen == HARDWARE, pilot)
        await press(pilot, "1")
        pane = app.screen.query_one("#queue", Pane)
        pane.lines = [(("精度 精度 cell state", ""),)]
        assert [pane._column(x) for x in (9, 10, 13, 14, 15)] == [None, "cell", "cell", None, "state"]
