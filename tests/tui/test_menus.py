"""Help, palette, copying, writing, About, the enqueue dialog, and what a read-only monitor refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fts.jobs.actions import ACTIONS
from fts.jobs.status.formatting import GB
from fts.study.choices import HORIZONS, SIZES
from fts.study.order import Order
from fts.study.preview import CellCost, Preview, SearchSettings, Standing
from fts.study.screens.enqueue import Enqueue
from fts.study.screens.messages import Planned, Tried
from fts.tui import bindings
from fts.tui.render import export
from fts.tui.screens.dialogs import Ask, Chooser, Confirm, Notice
from fts.tui.widgets import meters
from tests.tui.stories import (
    dialog_text,
    monitor,
    opened,
    press,
    rows,
    settled,
    shown,
    until,
    verbs,
)


async def test_help_lists_every_key_and_every_action(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "?")
        await until(lambda: opened(app, Chooser), pilot)
        listed = {choice.id for choice in app.screen.choices}
        assert {key.id for key in bindings.KEYS} <= listed
        assert {f"do {action.id}" for action in ACTIONS} <= listed
        await press(pilot, *"drain after", "escape")


async def test_a_help_line_that_is_too_long_stands_in_full_below(db_path):
    async with monitor(db_path, (80, 24)) as (app, pilot):
        await press(pilot, "question_mark")
        await until(lambda: opened(app, Chooser), pilot)
        assert "Open the selected row: cell, trials, curve." not in dialog_text(app)
        assert "below" in dialog_text(app), "a list that goes on says so"
        await press(pilot, *"open the selected")
        assert "Open the selected row: cell, trials, curve." in dialog_text(app)


async def test_the_palette_finds_and_does_and_shows_the_command(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "j", ":", *"pause")
        await until(lambda: opened(app, Chooser) and len(app.screen.shown) < 8, pilot)
        assert "fts pause 7" in dialog_text(app)
        await press(pilot, "enter")
        await until(lambda: rows(db_path)["200M/h1"] == "paused", pilot)


async def test_stop_now_is_only_in_the_palette_and_wants_its_word(db_path):
    async with monitor(db_path) as (app, pilot):
        await settled(app, pilot)
        app.acting.by_id("stop")
        await until(lambda: opened(app, Ask), pilot)
        await press(pilot, *"yes", "enter")
        assert isinstance(app.screen, Ask)
        await press(pilot, "escape")
        app.acting.by_id("stop")
        await until(lambda: opened(app, Ask), pilot)
        await press(pilot, *"stop", "enter")
        await until(lambda: verbs(db_path) == ["worker_asked"], pilot)


async def test_copying_keeps_a_file_too(db_path, tmp_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "y")
        assert "clip.txt" in app.toast[0]
        assert "20M/h5" in (tmp_path / "state" / "fts" / "clip.txt").read_text()
        await press(pilot, "Y")
        await until(lambda: opened(app, Chooser), pilot)
        assert any("fts pause" in choice.note for choice in app.screen.choices)
        assert any(choice.label == "parameters as YAML" for choice in app.screen.choices)
        await press(pilot, "escape")


@pytest.mark.parametrize("kind", ["txt", "svg", "png", "csv", "json"])
async def test_the_view_is_written_beside_the_database(db_path, kind):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "w", *kind, "enter")
        await until(lambda: "written" in app.toast[0], pilot)
        (path,) = (db_path.parent / "frames").iterdir()
        assert path.suffix == f".{kind}"
        assert path.stat().st_size > 500


async def test_readonly_has_no_writing_key(db_path):
    async with monitor(db_path, (200, 60), readonly=True) as (app, pilot):
        before = db_path.read_bytes(), rows(db_path)
        bar = shown(app).rstrip("\n").split("\n")[-1]
        for word in ("pause", "cancel", "drain", "enqueue", "undo"):
            assert word not in bar
        for action in ACTIONS:
            if action.key:
                await press(pilot, action.key)
                assert app.screen is app.screen_stack[0]
        assert "only reads" in app.toast[0]
        assert (db_path.read_bytes(), rows(db_path)) == before


async def test_a_served_monitor_cannot_be_made_writable(db_path):
    async with monitor(db_path, readonly=True, locked=True) as (app, _pilot):
        app.menus._writable()
        assert app.readonly


async def test_a_readonly_monitor_asks_once_before_it_may_write(db_path):
    async with monitor(db_path, readonly=True) as (app, pilot):
        for answer, readonly in (("enter", True), ("y", False)):
            app.menus._writable()
            await until(lambda: opened(app, Confirm), pilot)
            await press(pilot, answer)
            assert app.readonly is readonly
        app.menus._writable()
        assert not isinstance(app.screen, Confirm)


async def test_a_part_that_fails_shows_its_error_and_the_rest_lives(db_path, monkeypatch):
    def broken(*_):
        raise KeyError("no such meter")

    async with monitor(db_path, (120, 40)) as (app, pilot):
        monkeypatch.setattr(meters, "rows", broken)
        app.paint()
        assert "KeyError: 'no such meter'" in shown(app)
        assert "200M/h1  queued" in shown(app)
        app.paint()
        assert "a part of this screen failed" in shown(app)
        assert export.clip_file().with_name("monitor.log").read_text().count("Traceback") == 1
        monkeypatch.undo()
        await press(pilot, "ctrl+r")
        assert "KeyError" not in shown(app)
        app.faults.clear()


async def test_the_enqueue_dialog_marks_cells_and_counts(tmp_path, db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        order = app.screen
        assert order.checked <= {(budget, h) for budget in SIZES for h in HORIZONS} - set(order.present)
        assert len({budget for budget, _ in order.checked}) <= 1, "nobody queues the largest size by Enter alone"
        assert "queued" in dialog_text(app) and ">[" in dialog_text(app), "the cursor is seen without a colour"
        await press(pilot, "a", "a", "space", "-", "<", "p")
        assert order.trials == 30
        assert order.settings.epochs == 30
        text = dialog_text(app)
        assert "pruner halving" in text and "sampler random" in text
        assert "--pruner halving" in " ".join(Order((("2M", 1),), 30, order.settings).calls()[0])
        assert "30 trials" in text and "sampler tpe" not in text
        assert "fts plan --memory" in text
        await press(pilot, "7", "5")
        assert order.trials == 75
        await press(pilot, "k", "1", "a", "a", "space")
        assert "1 cell, 1 trial" in dialog_text(app) + " " and "1 trials" not in dialog_text(app)
        await press(pilot, "escape")
        await until(lambda: not isinstance(app.screen, Enqueue), pilot)
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        assert (app.screen.trials, app.screen.settings) == (1, SearchSettings(30, "halving")), "kept"
        assert app.screen.checked == {("tiny", 1)}
        await press(pilot, "escape")


async def test_enter_in_the_enqueue_dialog_asks_with_what_is_new_and_its_time(db_path, monkeypatch):
    async with monitor(db_path) as (app, pilot):
        asked: list[Order] = []
        monkeypatch.setattr(app.acting, "_enqueue", lambda order: asked.append(order) if order else None)
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        form = app.screen
        cells = {("2M", 1): COST, ("2M", 3): HAS_50, ("2M", 5): HAS_75}
        form.post_message(Planned(form.settings, Preview(cells, 2, 8 * GB, "cpu", "12 trials")))
        form.checked, form.trials = set(cells), 75
        await until(lambda: "50 to 75" in dialog_text(app), pilot)
        assert all(note in dialog_text(app) for note in ("[x] new", "[x] 50 to 75", "[x] done"))
        await press(pilot, "enter")
        await until(lambda: opened(app, Confirm), pilot)
        text = " ".join(dialog_text(app).split())
        assert "1 new cell; extends 2M/h3 (job 4) from 50 to 75 trials; already there: 2M/h5 (done)" in text
        assert "time: about 5 h on 2 slots" in text, "100 trials of 6 min, and none of the third cell"
        await press(pilot, "enter")
        await until(lambda: opened(app, Enqueue), pilot)
        assert asked == [] and app.screen is form
        await press(pilot, "enter")
        await until(lambda: opened(app, Confirm), pilot)
        await press(pilot, "y")
        await until(lambda: asked, pilot)
        assert asked == [Order((("2M", 1), ("2M", 3), ("2M", 5)), 75, SearchSettings())]


async def test_the_answer_of_a_dry_run_stays_until_it_was_read_and_the_settings_after_it(
    db_path, monkeypatch, tmp_path
):
    monkeypatch.setenv("FTS_DATA", str(tmp_path / "no data"))
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        await press(pilot, "k", "a", "a", "space", "3", "d")
        assert "runs one optimizer step of 1 cell: 0 s so far" in " ".join(dialog_text(app).split())
        await until(lambda: "fts data build" in dialog_text(app), pilot, patience_s=60.0)
        assert "The dry run failed" in dialog_text(app) and "Any key returns" in dialog_text(app)
        app.screen.post_message(Tried(["too late"]))
        await press(pilot, "x")
        assert isinstance(app.screen, Enqueue) and (app.screen.checked, app.screen.trials) == ({("tiny", 1)}, 3)
        assert "[x]" in dialog_text(app) and "too late" not in dialog_text(app)
        await press(pilot, "escape")


async def test_the_enqueue_dialog_says_what_fts_plan_says(db_path, monkeypatch, tmp_path):
    monkeypatch.setenv("FTS_DATA", str(tmp_path / "no data"))
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        await until(lambda: "fts data build" in dialog_text(app), pilot, patience_s=60.0)
        huge = CellCost(trial_s=None, low=9 * GB, high=9 * GB, shapes=75, too_large=75, waiting=0)
        cells = {("200M", 1): COST, ("2B", 1): huge}
        plan = Preview(cells, 2, 8 * GB, "cpu", "12 trials")
        app.screen.post_message(Planned(app.screen.settings, plan))
        app.screen.checked = set(cells)
        await until(lambda: "about 2 h 30 min on 2 slots" in dialog_text(app), pilot)
        text = dialog_text(app)
        assert "and 1 cell of unknown duration" in text
        assert "200M 1.0 to 3.0 GB" in text
        assert "2B: 75 of 75 architectures do not fit this machine" in text
        assert "Enter put in line" in text
        app.screen.post_message(Planned(replace(app.screen.settings, pruner="halving"), plan))
        await press(pilot, "p")
        await until(lambda: "about 33 min on 2 slots" in dialog_text(app), pilot)
        await press(pilot, "escape")


COST = CellCost(trial_s=360.0, low=GB, high=3 * GB, shapes=80, too_large=0, waiting=0)
HAS_50 = replace(COST, same=(Standing(4, "done", 50),))
HAS_75 = replace(COST, same=(Standing(5, "done", 75), Standing(6, "failed", 200)))


async def test_about_tells_its_own_cost(db_path):
    async with monitor(db_path) as (app, pilot):
        app.menus.about()
        await until(lambda: opened(app, Notice), pilot)
        text = dialog_text(app)
        assert "% of a core" in text
        assert "MB of memory" in text
        await press(pilot, "escape")


async def test_a_mouse_click_chooses_a_row(db_path):
    async with monitor(db_path) as (app, pilot):
        await pilot.click("#queue", offset=(10, 3))
        assert app.view().job.horizon == 5
        assert app.view().job.budget == "2M"


async def test_the_widest_header_tells_file_and_cost_once_a_minute(db_path):
    async with monitor(db_path, (200, 60)) as (app, _pilot):
        assert "spark · outputs/fts.db" in shown(app).split("\n")[0].replace("study", "spark")
        assert "this monitor" not in shown(app)
        app.cost._since = (app.cost.began - 60.0, app.cost.cpu_began, 0)
        app.outlook._asked = ()  # as the next second does
        app.paint()
        first = shown(app).split("\n")[0]
        assert "% cpu, " in first
        assert "KB/s" in first
        assert app.cost.brief() == app.cost.brief(), "it stands still for a minute"
