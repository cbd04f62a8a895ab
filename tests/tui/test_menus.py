"""Help, palette, copying, writing, About, and what a read-only monitor refuses."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict

import pytest
from textual.command import CommandList

from fts.jobs.actions import ACTIONS
from fts.jobs.status.memoize import Once
from fts.tui import keymap
from fts.tui.command_palette import PaletteCommands
from fts.tui.data.view import RESULTS
from fts.tui.render import export
from fts.tui.screens.chooser import Chooser
from fts.tui.screens.dialogs import Ask, Confirm, Notice
from fts.tui.screens.help import Help
from fts.tui.widgets import meters, nodes
from tests.tui.stories import (
    dialog_text,
    monitor,
    on_screen,
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
        await until(lambda: opened(app, Help), pilot)
        listed = {choice.id for choice in app.screen.choices}
        assert set(keymap.defaults()) | {action.id for action in ACTIONS} <= listed
        await press(pilot, *"drain after", "escape")


async def test_a_help_line_stands_in_full_however_narrow(db_path):
    async with monitor(db_path, (40, 15)) as (app, pilot):
        await press(pilot, "question_mark", *"does not start")
        await until(lambda: len(app.screen.matching) < 5, pilot)
        whole = " ".join(dialog_text(app).split())
        assert "A queued job does not start. A running job writes a checkpoint and frees its memory" in whole
        await press(pilot, "escape")


async def test_enter_in_the_help_does_what_the_line_says_and_a_glyph_only_explains(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "?", *"taken out", "enter")
        assert isinstance(app.screen, Help)
        await press(pilot, "ctrl+u", *"screen results", "enter")
        assert app.navigation.screen == RESULTS


async def test_the_palette_finds_and_does_and_shows_the_command(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "j", ":", *"pau")
        await until(lambda: "fts pause 7" in dialog_text(app), pilot)
        await press(pilot, "enter")
        await until(lambda: rows(db_path)["200M/h1"] == "paused", pilot)


async def test_stop_now_is_only_in_the_palette_and_wants_its_word(db_path):
    async with monitor(db_path) as (app, pilot):
        await settled(app, pilot)
        app.action_runner.by_id("stop")
        await until(lambda: opened(app, Ask), pilot)
        await press(pilot, *"yes", "enter")
        assert isinstance(app.screen, Ask)
        await press(pilot, "escape")
        app.action_runner.by_id("stop")
        await until(lambda: opened(app, Ask), pilot)
        await press(pilot, *"stop", "enter")
        await until(lambda: verbs(db_path) == ["worker_asked"], pilot)


async def test_copying_keeps_a_file_too(db_path, tmp_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "y")
        await until(lambda: "clip.txt" in app.toast[0], pilot)
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
        app.menus.writable()
        assert app.readonly
        entries = list(PaletteCommands(app.screen).entries())
        (writable,) = [entry for entry in entries if entry.id == "writable"]
        assert "stays read-only" in writable.why_not
        assert not any(":writable" in entry.why_not for entry in entries), "no list names a way that is refused"


async def test_a_readonly_monitor_asks_once_before_it_may_write(db_path):
    async with monitor(db_path, readonly=True) as (app, pilot):
        for answer, readonly in (("enter", True), ("y", False)):
            app.menus.writable()
            await until(lambda: opened(app, Confirm), pilot)
            await press(pilot, answer)
            assert app.readonly is readonly
        app.menus.writable()
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
        monkeypatch.setattr(nodes, "brief", broken)  # of a pane whose height is that of what it paints
        app.paint()
        await until(lambda: "KeyError: 'no such meter'" in shown(app), pilot)
        app.faults.clear()


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
        app.view_builder._glance = Once()  # as the next second does
        app.paint()
        first = shown(app).split("\n")[0]
        assert "% cpu, " in first
        assert "KB/s" in first
        assert app.cost.brief() == app.cost.brief(), "it stands still for a minute"


async def test_a_screen_chosen_in_the_palette_is_read(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "5", "1")
        app.do("show_logs")
        await until(lambda: app.view().details.log, pilot)


async def test_one_row_is_copied_whole_and_without_making_the_others(db_path, monkeypatch):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "2", "j")
        rows = export.table(app.view())
        monkeypatch.setattr(export, "table", None)
        assert export.row_of(app.view()) == rows[1]


async def test_a_table_is_written_of_what_the_screen_shows(db_path):
    """Each screen but Queue and Results has rows of its own; a cell with several values is JSON."""
    async with monitor(db_path) as (app, pilot):
        rows = {}
        for key in "1234567":
            await press(pilot, key)
            await until(lambda key=key: key == "4" or export.table(app.view()), pilot)
            rows[key] = export.table(app.view())
        view = app.view()
        await press(pilot, "3")
        shown_trial = app.view().trial
    assert rows["1"] == rows["6"] != rows["3"] and "budget" in rows["1"][0]["labels"]
    assert [row["step"] for row in rows["3"]] == list(range(1, shown_trial.epochs + 1)) and rows["3"][0]["val_auc"] > 0
    assert rows["4"] == [asdict(sample) for sample in view.details.samples]
    assert rows["5"][0]["path"].endswith(".log") and "verb" in rows["7"][0]
    written = list(csv.DictReader(io.StringIO(export.as_csv(rows["1"]))))
    assert [json.loads(row["labels"]) for row in written] == [row["labels"] for row in rows["1"]]


async def test_without_its_folder_the_monitor_says_so_and_lives(db_path, tmp_path, monkeypatch):
    here = tmp_path / "gone"
    here.mkdir()
    async with monitor(db_path) as (app, pilot):
        monkeypatch.chdir(here)
        here.rmdir()
        await press(pilot, "e")
        assert "was started is gone" in app.toast[0]


async def test_the_copy_menu_separates_names_from_values_and_marks_what_is_cut(db_path):
    async with monitor(db_path, (80, 24)) as (app, pilot):
        await press(pilot, "p")
        await until(lambda: app.sharing.twin, pilot)
        await press(pilot, "2")
        await until(lambda: app.view().trial is not None, pilot)
        await press(pilot, "Y")
        await until(lambda: isinstance(app.screen, Chooser), pilot)
        text = on_screen(app)
        assert "command of the last change" in text and "changefts" not in text
        after = text.split("row as JSON")[1].split("parameters as YAML")[0]
        assert "…" in after, "a row is longer than its place"


async def test_a_theme_is_never_found_before_a_command_that_fits_as_well(db_path):
    """Enter would change the colours: `mo` is in monokai and in `move up`, which cannot run on a running cell."""
    async with monitor(db_path, (80, 24)) as (app, pilot):
        await press(pilot, "colon", "m", "o")
        await until(lambda: app.screen.query_one(CommandList).option_count > 1, pilot)
        await until(lambda: "theme monokai" in on_screen(app), pilot)
        found = [str(option.prompt) for option in app.screen.query_one(CommandList).options]
        first_theme = next(n for n, text in enumerate(found) if "theme" in text.splitlines()[0])
        last_move = max(n for n, text in enumerate(found) if "move" in text.splitlines()[0])
        assert last_move < first_theme
