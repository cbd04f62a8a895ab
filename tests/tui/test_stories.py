"""A day with the monitor: move, pause, drain, cancel, undo, note, mark; every change seen in the database."""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing

import pytest

from fts.jobs.actions import by_id, conditions
from fts.jobs.actions.handlers import OWN
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.errors import CannotUndo, DatabaseBusy
from fts.state.queries import EVENTS_IN_SNAPSHOT
from fts.tui import action_runner
from fts.tui.screens.dialogs import Ask, Confirm
from tests.tui import study
from tests.tui.stories import (
    dialog_text,
    monitor,
    on_screen,
    opened,
    press,
    rest,
    rows,
    settled,
    shown,
    until,
    verbs,
    waiting,
)


async def test_the_terminal_shows_the_painted_lines(db_path):
    for size in ((60, 15), (80, 24), (120, 40), (200, 60)):
        async with monitor(db_path, size) as (app, _pilot):
            painted = shown(app)
            assert [row.rstrip() for row in on_screen(app).split("\n")] == painted.rstrip("\n").split("\n")


async def test_reordering_keeps_the_cursor_on_its_cell_and_u_takes_it_back(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j")
        assert app.view().job.id == app.navigation.job_id
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
        assert "No  " in dialog_text(app)
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
        assert "The queue is unchanged" in dialog_text(app)
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
        assert app.toast[0].startswith("r: 2M/h1 is done; nothing is left to run: 10 trials")


async def test_retry_puts_the_failed_cell_back(db_path):
    async with monitor(db_path) as (app, pilot):
        app.navigation.job_id = next(job.id for job in app.readings.snapshot.jobs if job.status == "failed")
        await press(pilot, "r")
        await until(lambda: rows(db_path)["20M/h3"] == "queued", pilot)


async def test_marks_carry_an_action_to_several_cells_and_many_are_listed_first(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "space", "space", "v", "j")
        assert len(app.chosen()) == 4
        await press(pilot, "p")
        await until(lambda: opened(app, Confirm), pilot)
        assert "4 cells: 200M/h1, 200M/h3, 200M/h5, 2B/h1" in dialog_text(app)
        await press(pilot, "y")
        await until(lambda: list(rows(db_path).values()).count("paused") == 6, pilot)
        await press(pilot, "escape")
        await press(pilot, "escape")
        assert not app.view().marks


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


async def test_u_asks_about_an_old_change_and_about_one_of_somebody_else(db_path):
    """The old one is beyond the latest 200 events, as after a few minutes of fast trials."""
    with closing(open_database(db_path)) as db, db.write():
        for n in range(EVENTS_IN_SNAPSHOT + 50):
            transitions.note(db, f"note {n}", who="ada@lab")
    async with monitor(db_path, (120, 40)) as (app, pilot):
        assert shown(app).count("by you ") == 2, "who paused a cell is shown, too"
        await press(pilot, "u")
        await until(lambda: opened(app, Confirm), pilot)
        asked = " ".join(dialog_text(app).split())
        assert "paused, of 2B/h3, 2B/h5: " in asked and " ago by you@spark" in asked, "both cells of the study"
        await press(pilot, "escape", "U")
        await until(lambda: "nothing to redo" in app.toast[0], pilot)
        with closing(open_database(db_path)) as db:
            transitions.pause(db, [first := queries.jobs(db)[1].id], who="ada@lab")
        await until(lambda: app.readings.snapshot.events[-1].verb == "paused", pilot)
        await press(pilot, "u")
        await until(lambda: opened(app, Confirm), pilot)
        assert "ago by ada@lab" in " ".join(dialog_text(app).split())
        with closing(open_database(db_path)) as db:
            transitions.resume(db, [first], who="ada@lab")  # while the question stands
        await press(pilot, "y")
        await until(lambda: "another change is the latest by now" in app.toast[0], pilot)
        assert verbs(db_path, 2) == ["paused", "resumed"]


async def test_u_right_after_a_key_undoes_that_key_and_nothing_older(db_path):
    async with monitor(db_path) as (app, pilot):
        before = waiting(db_path)
        await press(pilot, "j")
        await pilot.press("J", "u")  # no read in between: the screen still shows the change of hours ago
        await until(lambda: verbs(db_path) == ["undone"], pilot)
        assert waiting(db_path) == before and not opened(app, Confirm)
        with closing(open_database(db_path)) as db:
            for given, reason in (({"only": OWN}, "the latest change is another one, .* ago by ada@lab"),
                                  ({"only": 1}, "another change is the latest by now")):  # fmt: skip
                transitions.pause(db, [queries.jobs(db)[1].id], who="ada@lab")
                with pytest.raises(CannotUndo, match=reason):
                    by_id("undo").run(db, (), study.USER, **given)
                transitions.undo(db)


async def test_u_right_after_a_key_that_fails_undoes_nothing_older(db_path, monkeypatch):
    real, pressed = action_runner.run_action, threading.Event()

    def locked(action, *args, **given):
        if action.id == "move_up":
            pressed.wait(10)
            raise DatabaseBusy("the database is locked by process 7")
        return real(action, *args, **given)

    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j", "J")  # an own change of this moment
        await until(lambda: verbs(db_path) == ["moved"], pilot)
        monkeypatch.setattr(action_runner, "run_action", locked)
        await pilot.press("K", "u")
        pressed.set()
        await until(lambda: "locked by process 7" in app.toast[0] and not app.action_runner.open, pilot)
        assert app.toast[0].startswith("K, u: ") and verbs(db_path) == ["moved"]
        await press(pilot, "u")
        await until(lambda: verbs(db_path) == ["undone"], pilot)


async def test_u_means_an_own_change_that_the_screen_does_not_show_yet_and_none_of_somebody_else(db_path, monkeypatch):
    async with monitor(db_path) as (app, pilot):
        monkeypatch.setattr(app.poller, "ask", lambda *_, **__: None)  # the screen shows the change of hours ago
        await press(pilot, "j", "J")
        await until(lambda: "u undoes" in app.toast[0] and not app.action_runner.open, pilot)
        await press(pilot, "u")
        await until(lambda: verbs(db_path) == ["undone"], pilot)
        assert not opened(app, Confirm)
        with closing(open_database(db_path)) as db:
            transitions.pause(db, [queries.jobs(db)[1].id], who="ada@lab")
        await press(pilot, "u")
        await until(lambda: "the latest change is another one" in app.toast[0], pilot)
        assert verbs(db_path) == ["paused"] and "by ada@lab" in app.toast[0]


async def test_u_asks_about_an_own_change_once_it_is_old_also_if_nothing_was_written_since(db_path, monkeypatch):
    """In an idle study nothing is read again: the snapshot stays as young as the change for hours."""
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "j")
        await pilot.press("J")
        await until(lambda: verbs(db_path) == ["moved"] == [app.readings.snapshot.events[-1].verb], pilot)
        monkeypatch.setattr(conditions, "ASK_AFTER_S", -1.0)
        await press(pilot, "u")
        await until(lambda: opened(app, Confirm) or "u:" in app.toast[0], pilot)
        assert opened(app, Confirm) and "ago by you@spark" in dialog_text(app), app.toast


async def test_acknowledging_keeps_what_was_said_about_the_end(db_path):
    async with monitor(db_path) as (app, pilot):
        assert app.readings.snapshot.seen is None
        await press(pilot, "a")
        await until(lambda: app.readings.snapshot.seen is not None, pilot)
        assert app.readings.snapshot.seen.finish_at == pytest.approx(app.view().glance.forecast.finish_at, rel=1e-3)
        running = app.readings.snapshot.jobs[0].id
        assert running in app.readings.snapshot.seen.jobs


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


async def test_a_replay_offers_no_change_and_lists_every_event_of_its_time(db_path):
    with closing(open_database(db_path)) as db, db.write():
        for n in range(EVENTS_IN_SNAPSHOT + 50):
            transitions.note(db, f"note {n}", who="ada@lab")
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "7", "comma")
        await until(lambda: "REPLAY" in shown(app), pilot)
        await rest(app, pilot)
        with closing(open_database(db_path, readonly=True)) as db:
            before = len(queries.events(db, limit=10_000, until=app.navigation.at))
        assert before > EVENTS_IN_SNAPSHOT and f"events ({before})" in shown(app)
        text = shown(app)
        assert not re.search(r"u undo|m note|a seen", text), "a replay refuses them"
        await press(pilot, "escape", "f")
        assert app.toast[0].startswith("frozen")
        await press(pilot, "f")
        assert app.toast[0] == "live again"
