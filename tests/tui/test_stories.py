"""A day with the monitor: move, pause, drain, cancel, undo, note, filter, mark; every change seen in the database."""

from __future__ import annotations

import time

import pytest

from jobs.commands import ACTIONS
from jobs.commands.preview import CellCost, Preview
from state import transitions
from state.db import open_database
from tests.tui import study
from tests.tui.stories import dialog_text, monitor, on_screen, opened, press, rows, shown, until, verbs, waiting
from tui import export, keys, layout
from tui.hands import Hands
from tui.messages import Planned
from tui.screens.dialogs import Ask, Chooser, Confirm, Notice
from tui.screens.enqueue import Enqueue
from tui.widgets import meter


async def settled(app, pilot):
    """Past the moment in which destructive keys are ignored."""
    app.appeared_at = app.desk.moved_at = 0.0
    await pilot.pause()


async def test_the_terminal_shows_the_painted_lines(db_path):
    for size in ((60, 15), (80, 24), (120, 40), (200, 60)):
        async with monitor(db_path, size) as (app, _pilot):
            painted = layout.text(app.screen.query_one("#front").lines)
            assert [row.rstrip() for row in on_screen(app).split("\n")] == painted.rstrip("\n").split("\n")


async def test_reordering_keeps_the_cursor_on_its_cell_and_u_takes_it_back(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j")
        assert app.view().job.id == app.desk.job_id
        before = waiting(db_path)
        chosen = before[0]
        await press(pilot, "J")
        await until(lambda: waiting(db_path)[1] == chosen, pilot)
        await until(lambda: "place" in app.toast[0], pilot)
        assert f"{app.view().job.budget}/h{app.view().job.horizon}" == chosen
        await press(pilot, "u")
        await until(lambda: waiting(db_path) == before, pilot)
        assert verbs(db_path) == ["undone"]


async def test_pause_and_resume_a_waiting_cell(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "p")
        await until(lambda: rows(db_path)["200M/h1"] == "paused", pilot)
        await until(lambda: app.view().job.status == "paused", pilot)
        await press(pilot, "p")
        await until(lambda: rows(db_path)["200M/h1"] == "queued", pilot)


async def test_run_next_puts_a_cell_at_the_head_of_the_line(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "j", "j", "t")
        await until(lambda: waiting(db_path)[0] == "200M/h5", pilot)
        assert "place" in app.toast[0] or "line" in app.toast[0]


async def test_cancelling_a_running_trial_shows_the_price_and_enter_means_no(db_path):
    async with monitor(db_path) as (app, pilot):
        await settled(app, pilot)
        await press(pilot, "x")
        await until(lambda: opened(app, Confirm), pilot)
        assert "t6" in dialog_text(app)
        assert " No " in dialog_text(app)
        await press(pilot, "enter")
        await until(lambda: not isinstance(app.screen, Confirm), pilot)
        assert rows(db_path)["20M/h5"] == "running"
        await settled(app, pilot)
        await press(pilot, "x")
        await until(lambda: opened(app, Confirm), pilot)
        await press(pilot, "y")
        await until(lambda: verbs(db_path) == ["cancel_asked"], pilot)


async def test_no_destructive_key_works_on_a_picture_that_has_just_changed(db_path):
    async with monitor(db_path) as (app, pilot):
        app.appeared_at = time.monotonic()
        await press(pilot, "x")
        assert not isinstance(app.screen, Confirm)
        assert "just changed" in app.toast[0]


async def test_drain_asks_and_the_same_key_withdraws(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "D")
        await until(lambda: opened(app, Confirm), pilot)
        assert "the queue stays" in dialog_text(app)
        await press(pilot, "y")
        await until(lambda: "DRAINING" in shown(app), pilot)
        app.say("")
        assert "stay" in shown(app).split("\n")[-2]
        await press(pilot, "D", "y")
        await until(lambda: "DRAINING" not in shown(app), pilot)


async def test_a_key_that_does_not_apply_answers_with_the_reason(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "g", "x")
        assert app.toast[0] == "x: 2M/h1 is done"
        await press(pilot, "r")
        assert app.toast[0] == "r: 2M/h1 is done"


async def test_retry_puts_the_failed_cell_back(db_path):
    async with monitor(db_path) as (app, pilot):
        app.desk.job_id = next(job.id for job in app.snapshot.jobs if job.status == "failed")
        await press(pilot, "r")
        await until(lambda: rows(db_path)["20M/h3"] == "queued", pilot)


async def test_marks_carry_an_action_to_several_cells_and_many_are_listed_first(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "space", "j", "v")
        await press(pilot, "j", "v")
        assert len(app.desk.marks[0]) == 4
        await press(pilot, "p")
        await until(lambda: opened(app, Confirm), pilot)
        assert "4 cells: 200M/h1, 200M/h3, 200M/h5, 2B/h1" in dialog_text(app)
        await press(pilot, "y")
        await until(lambda: list(rows(db_path).values()).count("paused") == 6, pilot)
        await press(pilot, "escape")
        assert not app.desk.marks[0]


async def test_the_queue_is_paused_with_a_question_and_the_header_says_so(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "P", "y")
        await until(lambda: "QUEUE PAUSED" in shown(app), pilot)
        await press(pilot, "P", "y")
        await until(lambda: "QUEUE PAUSED" not in shown(app), pilot)


async def test_acknowledging_settles_the_failure(db_path):
    async with monitor(db_path) as (app, pilot):

        def concerns():
            return [concern.reason for concern in app.view().glance.verdict.concerns]

        assert any("20M/h3 failed" in reason for reason in concerns())
        await press(pilot, "a")
        await until(lambda: not any("20M/h3 failed" in reason for reason in concerns()), pilot)


async def test_toasts_and_questions_name_cells_and_no_numbers_of_jobs(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "j", "p")
        await until(lambda: "u undoes" in app.toast[0], pilot)
        assert "200M/h1" in app.toast[0]
        assert "job " not in app.toast[0]
        await press(pilot, "u")
        await until(lambda: "queued" in app.toast[0] or opened(app, Confirm), pilot)
        if opened(app, Confirm):
            assert "job " not in on_screen(app).split("No ")[0].split("undo")[-1]
            await press(pilot, "y")
        await until(lambda: "200M/h1" in app.toast[0] and "job " not in app.toast[0], pilot)
        await press(pilot, "a")
        await until(lambda: "acknowledged" in app.toast[0], pilot)
        assert "20M/h3" in app.toast[0]


async def test_acknowledging_keeps_what_was_said_about_the_end(db_path):
    async with monitor(db_path) as (app, pilot):
        assert app.snapshot.seen is None
        await press(pilot, "a")
        await until(lambda: app.snapshot.seen is not None, pilot)
        assert app.snapshot.seen.finish_at == pytest.approx(app.view().glance.forecast.finish_at, rel=1e-3)
        running = app.snapshot.jobs[0].id
        assert running in app.snapshot.seen.jobs


async def test_a_note_goes_into_the_journal(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "m", *"warmer", "enter")
        await until(lambda: verbs(db_path) == ["noted"], pilot)
        await press(pilot, "7")
        await until(lambda: "warmer" in shown(app), pilot)


async def test_letters_typed_into_a_dialog_do_nothing_to_the_queue(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "m", "x", "p", "D", "q", "escape")
        await until(lambda: not isinstance(app.screen, Ask), pilot)
        assert rows(db_path)["20M/h5"] == "running"
        assert app.is_running


@pytest.mark.parametrize(
    ("query", "kept"),
    [("2b", 3), ("!2b", 9), ("state:failed", 1), ("state:paused 2b", 2), ("h3", 4), ("nothing", 0)],
)
async def test_filters(db_path, query, kept):
    async with monitor(db_path) as (app, pilot):
        app.desk.filters[0] = query
        app.paint()
        assert len(app.desk.rows(app.view())) == kept
        if not kept:
            assert "0 of 12 match `nothing`. Esc clears." in shown(app)
            await press(pilot, "escape")
            assert len(app.desk.rows(app.view())) == 12


async def test_the_filter_is_typed_after_a_slash(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "/", *"2b", "enter")
        assert app.desk.filters[0] == "2b"
        assert "/2b" in shown(app)


async def test_o_and_a_letter_sort_and_the_same_again_reverses(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "2")
        await until(lambda: len(app.view().trials) == 7, pilot)
        await press(pilot, "o", "v")
        best = app.desk.rows(app.view())[0]
        assert next(t for t in app.view().trials if t.id == best).number == app.view().job.best_trial
        await press(pilot, "o", "v")
        assert app.desk.rows(app.view())[-1] == best


async def test_every_screen_has_its_number_and_enter_goes_in_and_escape_out(db_path):
    async with monitor(db_path) as (app, pilot):
        for number, name in enumerate(layout.SCREENS):
            await press(pilot, str(number + 1))
            assert f"{number + 1} {name}" in shown(app).split("\n")[0]
        await press(pilot, "1", "enter")
        assert app.desk.screen == 1
        await press(pilot, "enter")
        assert app.desk.screen == 2
        await press(pilot, "escape", "escape")
        assert app.desk.screen == 0


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
        assert app.desk.scroll == 2
        assert not app.desk.follow
        await press(pilot, "f")
        assert app.desk.scroll == 0
        await press(pilot, "escape", "s")
        assert "3.1x" in shown(app)
        assert "best of trial" not in shown(app)


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
        app.desk.at = study.NOW - 4 * 3600
        app.look(now=True)
        await until(lambda: app.reading.snapshot.taken_at == app.desk.at or "20M/h5" in shown(app), pilot)
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
        running = [f"{j.budget}/h{j.horizon}" for j in app.snapshot.jobs if j.status == "running"]
        assert running == [] or running[0].startswith("2M")
        assert not any(j.status == "failed" for j in app.snapshot.jobs)


async def test_freeze_keeps_the_body_and_the_header_lives(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "f")
        assert "FROZEN" in shown(app)
        db = open_database(db_path)
        transitions.control.pause(db, [7])
        db.close()
        app.look(now=True)
        await until(lambda: any(j.id == 7 and j.status == "paused" for j in app.snapshot.jobs), pilot)
        assert next(j for j in app.view().snapshot.jobs if j.id == 7).status == "queued"
        await press(pilot, "f")
        assert next(j for j in app.view().snapshot.jobs if j.id == 7).status == "paused"


async def test_help_lists_every_key_and_every_action(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "?")
        await until(lambda: opened(app, Chooser), pilot)
        listed = {choice.id for choice in app.screen.choices}
        assert {key.id for key in keys.KEYS} <= listed
        assert {f"do {action.id}" for action in ACTIONS} <= listed
        await press(pilot, *"drain after", "escape")


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
        app.hands._writable()
        assert app.readonly


async def test_a_readonly_monitor_asks_once_before_it_may_write(db_path):
    async with monitor(db_path, readonly=True) as (app, pilot):
        for answer, readonly in (("enter", True), ("y", False)):
            app.hands._writable()
            await until(lambda: opened(app, Confirm), pilot)
            await press(pilot, answer)
            assert app.readonly is readonly
        app.hands._writable()
        assert not isinstance(app.screen, Confirm)


async def test_a_part_that_fails_shows_its_error_and_the_rest_lives(db_path, monkeypatch):
    def broken(*_):
        raise KeyError("no such meter")

    async with monitor(db_path, (120, 40)) as (app, pilot):
        monkeypatch.setattr(meter, "rows", broken)
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
        assert "in line" in dialog_text(app)
        await press(pilot, "a", "a", "space", "-", "<")
        order = app.screen
        assert order.trials == 30
        assert order.epochs == 30
        text = dialog_text(app)
        assert "1 cell, 30 trials" in text
        assert "fts plan --memory" in text
        await press(pilot, "escape")
        await until(lambda: not isinstance(app.screen, Enqueue), pilot)


async def test_the_enqueue_dialog_says_what_fts_plan_says(db_path, monkeypatch, tmp_path):
    monkeypatch.setenv("FTS_DATA", str(tmp_path / "no data"))
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        await until(lambda: "fts data build" in dialog_text(app), pilot, patience_s=60.0)
        found = CellCost(trial_s=360.0, low=10**9, high=3 * 10**9, shapes=80, too_large=0, waiting=0)
        huge = CellCost(trial_s=None, low=9 * 10**9, high=9 * 10**9, shapes=75, too_large=75, waiting=0)
        cells = {("200M", 1): found, ("2B", 1): huge}
        app.screen.post_message(Planned(app.screen.epochs, Preview(cells, 2, 8 * 10**9, "cpu", "12 trials")))
        app.screen.checked = set(cells)
        await until(lambda: "about 2 h 30 min on 2 slots" in dialog_text(app), pilot)
        text = dialog_text(app)
        assert "and 1 cell of unknown length" in text
        assert "200M 1.0 to 3.0 GB" in text
        assert "2B: 75 of 75 architectures do not fit here" in text
        assert "Enter put in line" in text
        await press(pilot, "escape")


async def test_about_tells_its_own_cost(db_path):
    async with monitor(db_path) as (app, pilot):
        app.hands.about()
        await until(lambda: opened(app, Notice), pilot)
        text = dialog_text(app)
        assert "% of a core" in text
        assert "MB of memory" in text
        await press(pilot, "escape")


async def test_a_mouse_click_chooses_a_row(db_path):
    async with monitor(db_path) as (app, pilot):
        await pilot.click("#front", offset=(10, 6))
        assert app.view().job.horizon == 5
        assert app.view().job.budget == "2M"


def test_every_key_has_its_method_and_no_key_two_meanings():
    for key in keys.KEYS:
        if key.id != "screen":
            assert callable(getattr(Hands, key.id))
    assert not set(keys.BY_KEY) & set(keys.ACTION_KEYS)
    names = [name for key in keys.KEYS for name in key.keys]
    assert len(names) == len(set(names))


def test_no_key_that_tmux_or_a_terminal_keeps_is_used():
    forbidden = {"ctrl+b", "ctrl+a", "ctrl+h", "ctrl+j", "ctrl+k", "ctrl+s", "ctrl+i", "ctrl+m", "ctrl+enter"}
    assert not forbidden & (set(keys.BY_KEY) | set(keys.ACTION_KEYS))


def test_every_hint_of_the_bar_is_a_key_or_an_action():
    known = {key.id for key in keys.KEYS} | {action.id for action in ACTIONS} | {"copy"}
    assert {name for bar in keys.BARS.values() for name, _, _ in bar} <= known
