"""Dialogs as a person meets them: with keys typed ahead, a mouse, a paste, a small window, and a queue that changes."""

from __future__ import annotations

import gc
import math
import os
import time
import weakref
from functools import partial

import pytest
from textual import events
from textual.app import App
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Input, OptionList, Select, TabPane

from fts.jobs.actions import by_id
from fts.jobs.api.form import CHOICE, Field
from fts.state import queries, transitions
from fts.state.db import open_database
from fts.state.transitions.operator import cancel
from fts.tui.command_palette import Palette, typed_command
from fts.tui.screens.chooser import Choice, Chooser, PagedList
from fts.tui.screens.dialog import LONGEST, Dialog
from fts.tui.screens.dialogs import Ask, Confirm, Notice
from fts.tui.screens.enqueue_options import FieldRow
from fts.tui.screens.enqueue_tabs import FormTabs
from tests.tui import study
from tests.tui.stories import dialog_text, monitor, on_screen, opened, press, rows, settled, until, verbs
from tests.tui.terminal import Terminal

EFFECTS = [f"effect {n} of a question that is long, because it names what it does" for n in range(40)]


def answers(app, dialog) -> list:
    """What the dialog was answered, once it was."""
    found: list = []
    app.push_screen(dialog, found.append)
    return found


@pytest.mark.parametrize(
    ("keys", "answer"),
    [(["enter"], False), (["escape"], False), (["n"], False), (["y"], True), (["tab", "enter"], True),
     (["right", "left", "enter"], False), (["q"], False)],
)  # fmt: skip
async def test_a_question_has_its_focus_on_no(db_path, keys, answer):
    async with monitor(db_path) as (app, pilot):
        found = answers(app, Confirm("sure?", ["It does something."], yes="do it"))
        await until(lambda: opened(app, Confirm), pilot)
        assert app.screen.focused.id == "no"
        await press(pilot, *keys)
        assert found == [answer]


async def test_a_question_ignores_y_that_was_typed_ahead(db_path, monkeypatch):
    monkeypatch.setattr(Confirm, "SETTLE_S", math.inf)
    async with monitor(db_path) as (app, pilot):
        found = answers(app, Confirm("sure?", ["It does something."]))
        await pilot.press("y")
        assert found == [] and "has just appeared" in dialog_text(app)
        monkeypatch.setattr(Confirm, "SETTLE_S", 0.0)
        await pilot.press("y")
        assert found == [True]


async def test_a_click_answers(db_path):
    async with monitor(db_path) as (app, pilot):
        for button, answer in (("#yes", True), ("#no", False)):
            found = answers(app, Confirm("sure?", ["It does something."]))
            await until(lambda: opened(app, Confirm), pilot)
            await pilot.click(button)
            assert found == [answer]


async def test_a_click_takes_a_choice_and_one_beside_the_box_leaves(db_path):
    async with monitor(db_path) as (app, pilot):
        choices = [Choice(name, name) for name in ("one", "two", "three")]
        found = answers(app, Chooser("title", choices))
        await until(lambda: opened(app, Chooser), pilot)
        await pilot.click(OptionList, offset=(3, 1))
        assert found == ["two"]
        found = answers(app, Chooser("title", choices))
        await until(lambda: opened(app, Chooser), pilot)
        await pilot.click(offset=(0, 0))
        assert found == [None]


@pytest.mark.parametrize("size", [(40, 8), (80, 24)])
async def test_every_dialog_fits_every_size_and_can_be_read_to_its_end(db_path, size):
    async with monitor(db_path, size) as (app, pilot):
        notes = [Choice(f"c{n}", f"choice {n}", key="x", note=f"note {n} " * 9) for n in range(30)]
        for dialog in (
            Confirm("sure?", EFFECTS), Notice("about", EFFECTS), Ask("note", " ".join(EFFECTS)), Chooser("list", notes)
        ):  # fmt: skip
            app.push_screen(dialog)
            await until(lambda dialog=dialog: app.screen is dialog and opened(app, Dialog), pilot)
            box = app.screen.query_one("#box").region
            assert app.screen.region.contains_region(box)
            if isinstance(dialog, Confirm):
                assert "No" in dialog_text(app) and "y = yes" in dialog_text(app), "the answers do not scroll away"
            if size[1] < 30:
                on_screen(app)  # a list learns how long its choices are when it is drawn
                await pilot.pause()
                assert app.screen.query("#body, OptionList").first().show_vertical_scrollbar
            if not isinstance(dialog, Ask):
                await press(pilot, "ctrl+end" if isinstance(dialog, Chooser) else "end")
                last = "effect 39" if not isinstance(dialog, Chooser) else "choice 29"
                assert last in dialog_text(app)
            await press(pilot, "escape")
            await until(lambda: app.screen is app.screen_stack[0], pilot)


async def test_a_dialog_follows_the_size_of_the_terminal(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "?")
        for size in ((40, 8), (300, 90), (60, 15)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.screen.region.contains_region(app.screen.query_one("#box").region)
            assert "A queued job does" in on_screen(app)
        await press(pilot, "escape", ":")
        for size in ((40, 8), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.screen.region.contains_region(app.screen.query_one("#--container").region)
        await press(pilot, "escape")


async def test_a_paste_is_cut_in_a_line_and_ignored_by_a_question(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "m")
        await until(lambda: opened(app, Ask), pilot)
        field = app.screen.query_one(Input)
        field.post_message(events.Paste("y" * 10_000 + "\nD"))
        await until(lambda: field.value, pilot)
        assert len(field.value) <= LONGEST and not field.cursor_blink
        await press(pilot, "escape")
        await settled(app, pilot)
        await press(pilot, "x")
        await until(lambda: opened(app, Confirm), pilot)
        app.screen.post_message(events.Paste("y" * 10_000))
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await press(pilot, "escape", ":")
        field = app.screen.query_one(Input)
        field.post_message(events.Paste("pause " * 2_000))
        await pilot.pause()
        await press(pilot, "enter", "escape")
        assert rows(db_path)["20M/h5"] == "running"


async def test_a_job_that_has_gone_while_its_question_stood_open_is_left_alone(db_path):
    async with monitor(db_path) as (app, pilot):
        await settled(app, pilot)
        jobs = [job for job in app.readings.snapshot.jobs if job.status == "queued"]
        app.action_runner.begin(by_id("cancel"), jobs)
        await until(lambda: opened(app, Confirm), pilot)
        assert "4 cells" in dialog_text(app)
        db = open_database(db_path)
        with db.write():
            cancel(db, [job.id for job in jobs], who="somebody else")
        db.close()
        await until(lambda: not any(job.status == "queued" for job in app.readings.snapshot.jobs), pilot)
        await press(pilot, "y")
        await until(lambda: "nothing was done" in app.toast[0], pilot)
        assert verbs(db_path) == ["cancelled"] and last_who(db_path) == "somebody else"


def last_who(path) -> str:
    db = open_database(path, readonly=True)
    try:
        return queries.events(db, limit=1)[0].who
    finally:
        db.close()


# ---------------------------------------------------------------- the palette


async def test_enter_typed_in_a_burst_takes_what_was_typed_and_not_what_stood_there(db_path):
    async with monitor(db_path) as (_app, pilot):
        await press(pilot, "j")
        await pilot.press(":", *"pause", "enter")
        await until(lambda: rows(db_path)["200M/h1"] == "paused", pilot)
        assert [status for name, status in rows(db_path).items() if status == "cancelled"] == []


@pytest.mark.parametrize(
    ("typed", "event"), [(":pause\r", "paused"), ("mfan replaced\r", "noted"), (":note two fans\r", "noted")]
)
def test_what_is_typed_at_once_on_a_terminal_arrives_in_its_order(db_path, typed, event):
    """Before the dialog is there: no letter is a key of the screen behind it, none is lost."""
    with Terminal(db_path) as terminal:
        terminal.wait_ready()
        terminal.key("j" + typed)
        end = time.monotonic() + 20
        while verbs(db_path) != [event]:
            assert time.monotonic() < end, verbs(db_path, 5)
            time.sleep(0.05)


async def test_enter_on_nothing_that_matches_does_nothing(db_path):
    async with monitor(db_path) as (app, pilot):
        before = rows(db_path)
        await press(pilot, ":", *"qqqqzzzz", "enter")
        await pilot.pause(0.3)
        assert isinstance(app.screen, Palette)
        await press(pilot, "escape")
        assert rows(db_path) == before


async def test_there_is_one_palette_at_a_time(db_path):
    async with monitor(db_path) as (app, pilot):
        await pilot.press(":", ":", "ctrl+p", ":")
        await pilot.pause()
        assert sum(isinstance(screen, Palette) for screen in app.screen_stack) == 1
        await press(pilot, "escape")
        assert app.screen is app.screen_stack[0]


async def test_what_cannot_be_done_stays_with_its_reason_and_does_nothing(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        before = rows(db_path)
        await press(pilot, "g", ":", *"resume")
        await until(lambda: "not now: 2M/h1 is done" in dialog_text(app), pilot)
        await press(pilot, "enter")
        await until(lambda: "2M/h1 is done" in app.toast[0], pilot)
        assert rows(db_path) == before


@pytest.mark.parametrize(
    ("typed", "twin"),
    [
        ("pause 7 8", "fts pause 7 8"), ("fts pause 7,8", "fts pause 7 8"), ("move 9 top", "fts move 9 top"),
        ("note lost the cooling", "fts note 'lost the cooling' --job 6"),
        ('fts note "two words"', "fts note 'two words' --job 6"),
    ],
)  # fmt: skip
async def test_a_command_may_be_typed_with_what_it_needs(db_path, typed, twin):
    async with monitor(db_path) as (app, _pilot):
        assert typed_command(app, typed).twin == twin
        for wrong in ("pause 99", "pause x", "move 9", "note ", "rm -rf"):
            assert typed_command(app, wrong) is None


async def test_a_typed_command_runs(db_path):
    async with monitor(db_path) as (_app, pilot):
        await pilot.press(":", *"note lost the cooling", "enter")
        await until(lambda: verbs(db_path) == ["noted"], pilot)
        await pilot.press(":", *"move 9 top", "enter")
        await until(lambda: verbs(db_path) == ["moved"], pilot)


async def test_the_palette_changes_the_theme_of_everything(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, ":", *"theme nord")
        await until(lambda: "theme nord" in dialog_text(app), pilot)
        await press(pilot, "enter")
        await until(lambda: app.palette == "nord", pilot)
        assert app.current_theme.background == "#2E3440"
        await press(pilot, ":", *"theme light", "enter")
        await until(lambda: app.palette == "light", pilot)


def test_an_open_dialog_sends_nothing_while_nobody_types(db_path):
    with Terminal(db_path) as terminal:
        terminal.wait_ready()
        for key in (":", "\x1b", "m"):
            before = len(terminal.sent)
            terminal.key(key)
            while len(terminal.sent) == before:
                time.sleep(0.01)
            terminal.wait_quiet(1.5)
        windows = []  # a cursor that blinks would send in each of them; a late picture in one
        while len(windows) < 5 and not (windows and min(windows) < 400):
            before = len(terminal.sent)
            time.sleep(1.5)
            windows.append(sum(count for _, count in terminal.sent[before:]))
        assert min(windows) < 400, "a clock, not a cursor that blinks"


@pytest.mark.parametrize("key", ["w", ":"])
async def test_a_key_for_a_list_without_room_does_nothing(db_path, key):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, key)
        await until(lambda: opened(app, ModalScreen), pilot)
        await pilot.resize_terminal(1, 1)
        await press(pilot, "pagedown", "pageup", "down", "up", "end", "home", "j", "k")
        for options in app.screen.query(PagedList):
            options.focus()  # as after a click
        await press(pilot, "pagedown", "pageup", "down", "up", "end", "home", "enter")
        await pilot.resize_terminal(80, 24)
        await press(pilot, "escape", "escape")
        await until(lambda: not opened(app, ModalScreen), pilot)


async def test_a_page_key_in_a_menu_that_has_no_room_yet_does_nothing():
    class Form(App[None]):
        def compose(self):
            yield FieldRow(Field("pruner", "pruner", CHOICE, "Which one.", choices=("median", "none")), "median")

    async with Form().run_test() as pilot:
        pilot.app.query_one(Select).focus()
        with pilot.app.batch_update():  # nothing is laid out meanwhile
            await pilot.press("enter", "pagedown", "pageup")
        await pilot.press("down", "enter")
        assert pilot.app.query_one(Select).value == "none"


@pytest.mark.parametrize(
    "dialog",
    [lambda: Notice("about", ["a line"]), lambda: Ask("note", "a hint"), lambda: Chooser("kind", [Choice("a", "a")]),
     lambda: Confirm("sure?", ["It does something."]), Palette],
    ids=["notice", "ask", "chooser", "confirm", "palette"],
)  # fmt: skip
async def test_a_dialog_that_is_answered_twice_at_once_leaves_the_screen_below(db_path, dialog):
    """A second Enter was in the queue of its messages when the first one closed it, and closed the monitor."""
    async with monitor(db_path) as (app, pilot):
        found = answers(app, made := dialog())
        await until(lambda: opened(app, type(made)), pilot)
        made.dismiss(None)
        made.dismiss(None)
        await until(lambda: found == [None], pilot)
        await press(pilot, "j")
        assert not opened(app, type(made))


async def test_a_page_key_in_a_list_that_has_just_changed_is_no_error(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "w")
        await until(lambda: opened(app, Chooser), pilot)
        with app.batch_update():  # nothing is laid out meanwhile
            app.screen.query_one(OptionList).replace_option_prompt_at_index(0, "other words")  # its lines are forgotten
            await pilot.press("pagedown")
        options = app.screen.query_one(OptionList)
        assert options.highlighted == options.option_count - 1


async def test_a_choice_of_a_list_that_has_narrowed_since_is_no_other_one(db_path):
    async with monitor(db_path) as (app, pilot):
        found = answers(app, made := Chooser("kind", [Choice(name, name) for name in ("one", "two", "three")]))
        await until(lambda: opened(app, Chooser), pilot)
        options = made.query_one(OptionList)
        late = [OptionList.OptionSelected(options, options.options[n], n) for n in (1, 2)]  # two, three
        made.matching = made.choices[2:]
        for message in late:
            made.on_option_list_option_selected(message)
        assert found == []
        made.dismiss(None)
        await until(lambda: found == [None], pilot)
        made.remove_children()
        await pilot.pause()
        made._keep_height()  # it was asked for before the answer


async def test_a_tab_is_opened_by_a_key_that_is_quicker_than_the_form():
    class Form(App[None]):
        pass

    async with Form().run_test() as pilot:
        tabs = FormTabs()
        tabs.compose_add_child(TabPane("1 Study", id="study"))
        tabs.compose_add_child(TabPane("4 Answer", id="answer"))
        pilot.app.mount(tabs)
        tabs.open("answer")  # it has no tabs yet
        await until(lambda: tabs.active == "answer", pilot)


async def test_what_a_closed_dialog_has_painted_is_not_kept(db_path):
    def painted() -> int:
        gc.collect()
        return sum(type(each) is Strip for each in gc.get_objects())

    async with monitor(db_path, (120, 40)) as (app, pilot):
        counts = []
        for n, key in enumerate(("question_mark", "colon") * 4):
            await press(pilot, key)
            await until(lambda: len(app.screen_stack) == 2 and app.screen.focused is not None, pilot)
            await pilot.pause()
            await press(pilot, "escape")
            await until(lambda: len(app.screen_stack) == 1, pilot)
            if n in (1, 7):
                counts.append(painted())  # a second each, with all that a run of many tests has made
        assert counts[1] - counts[0] < 6 * 200, "a dialog has 500 painted lines"


async def test_d_asks_about_no_trial_where_none_runs(tmp_path):
    path = tmp_path / "study" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    clock = study.Clock(time.time() - 60)
    db = study.open_at(path, clock)
    with db.write():
        transitions.enqueue(db, study.specs(budgets=("2M",)), who=study.USER)
        worker = transitions.register_worker(db, "spark", os.getpid(), clock.at, 1)
        clock.at = time.time()
        transitions.record_heartbeat(db, worker, 60.0)
    db.close()
    async with monitor(path, (100, 30)) as (app, pilot):
        await settled(app, pilot)
        await press(pilot, "D")
        await until(lambda: opened(app, Confirm), pilot)
        text = dialog_text(app)
        assert "drain the worker?" in text and "after this trial" not in text
        await press(pilot, "escape")


async def test_a_question_about_another_database_or_another_change_does_nothing(db_path, built, tmp_path):
    async with monitor(db_path) as (app, pilot):
        await settled(app, pilot)
        await press(pilot, "u")
        await until(lambda: opened(app, Confirm), pilot)
        assert "paused" in dialog_text(app)
        db = open_database(db_path)
        transitions.operator.pause(db, [7])
        db.close()
        app.look(now=True)
        await until(lambda: app.readings.snapshot.events[-1].verb == "paused", pilot)
        await press(pilot, "y")
        assert "another change is the latest by now; nothing was done" in app.toast[0]
        for key, kind, answer in (("x", Confirm, "y"), ("m", Ask, "enter")):
            await settled(app, pilot)
            app.navigation.job_id = 6
            await press(pilot, key)
            await until(partial(opened, app, kind), pilot)
            if kind is Ask:
                await press(pilot, "z")
            study.copy(built, tmp_path / key).replace(db_path)
            app.look(now=True)
            await until(lambda: "reopened" in app.toast[0], pilot)
            await press(pilot, answer)
            assert "another database is there by now; nothing was done" in app.toast[0]
        assert app.action_runner.open == 0


async def test_a_closed_dialog_is_freed(db_path):
    """Also in tmux, where the terminal may never report a change of its focus."""
    async with monitor(db_path) as (app, pilot):
        seen = []
        for key in ("question_mark", "D", "m", "Y", "e", "question_mark"):
            await press(pilot, key)
            await until(lambda: len(app.screen_stack) == 2, pilot)
            seen.append(weakref.ref(app.screen))
            while len(app.screen_stack) > 1:
                await press(pilot, "escape")
                await pilot.pause(0.1)
        await press(pilot, "j", "k")
        await until(lambda: gc.collect() >= 0 and sum(screen() is not None for screen in seen) <= 1, pilot, 30.0)


async def test_a_dialog_that_opened_without_the_terminals_focus_gets_it_later(db_path):
    async with monitor(db_path) as (app, pilot):
        app.post_message(events.AppBlur())
        await until(lambda: not app.app_focus, pilot)
        app.action_runner.by_id("drain")
        await until(lambda: len(app.screen_stack) == 2, pilot)
        app.post_message(events.AppFocus())
        await until(lambda: app.screen.focused is not None, pilot)
