"""The enqueue form: a study is chosen, cells are ticked, the price is true, a worker runs what was put in line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, OptionList, TabbedContent

from fts.jobs.python import python
from fts.state import queries
from fts.state.db import open_database
from fts.tui.data import form_memory
from fts.tui.screens.enqueue import EnqueueForm
from fts.tui.screens.enqueue_cells import CellTable
from fts.tui.screens.enqueue_options import FieldRow, Options
from fts.tui.screens.enqueue_tabs import FormTabs
from tests.fts_process import fts
from tests.tui.stories import monitor, on_screen, press, until
from tests.tui.test_golden import check

EXAMPLE = Path(__file__).parents[2] / "examples" / "study"
PATIENCE_S = 60.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's study, and the monitor stands in its folder."""
    home = tmp_path / "home"
    shutil.copytree(EXAMPLE, home, ignore=shutil.ignore_patterns("__pycache__", "outputs"))
    (home / "outputs").mkdir()
    open_database(home / "outputs" / "fts.db", create=True).close()
    monkeypatch.chdir(home)
    return home


async def test_until_the_studies_are_found_the_form_says_that_it_looks_for_them(folder):
    async with monitor(database(folder)) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: isinstance(app.screen, EnqueueForm), pilot)
        assert app.screen.studies or "looking for studies" in on_screen(app)
        await until(lambda: app.screen.studies, pilot, PATIENCE_S)
        assert "looking for studies" not in on_screen(app)


def database(folder: Path) -> Path:
    return folder / "outputs" / "fts.db"


def jobs(folder: Path) -> dict[str, tuple[str, int]]:
    db = open_database(database(folder), readonly=True)
    try:
        return {job.cell: (str(job.status), job.trials_wanted) for job in queries.jobs(db)}
    finally:
        db.close()


async def shows(app: Any, pilot: Any, *texts: str) -> None:
    def there() -> bool:
        screen = " ".join(on_screen(app).replace("│", " ").replace("|", " ").split())
        return all(text in screen for text in texts)

    try:
        await until(there, pilot, PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{texts} not in\n{on_screen(app)}") from error


async def opened(app: Any, pilot: Any, *texts: str) -> EnqueueForm:
    await press(pilot, "e")
    await until(lambda: isinstance(app.screen, EnqueueForm) and app.screen.studies, pilot, PATIENCE_S)
    await shows(app, pilot, *texts)
    return app.screen


async def chosen(app: Any, pilot: Any) -> EnqueueForm:
    form = await opened(app, pilot, "study.toml")
    await press(pilot, "enter")
    await on_cells(app, pilot)
    return form


async def on_cells(app: Any, pilot: Any) -> None:
    """The cells are there, and keys go to them."""
    await shows(app, pilot, "none is ticked")
    await until(lambda: isinstance(app.focused, CellTable), pilot, PATIENCE_S)


async def test_nothing_is_ticked_and_what_is_ticked_is_what_is_reckoned_and_put_in_line(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        assert form.query_one("#enqueue", Button).disabled
        await press(pilot, "space", "down", "space")
        await shows(app, pilot, "2 new: 16 trials to run", "time: unknown", "Enqueue 2 cells, 16 trials")
        await shows(app, pilot, "$ fts enqueue study.toml --cell sine/S --cell steps/S")
        form.query_one("#enqueue", Button).focus()
        await press(pilot, "enter")
        await shows(app, pilot, "sine/S is queued as job 1", "2 of 2 cells enqueued", "none is ticked")
        assert jobs(folder) == {"sine/S": ("queued", 8), "steps/S": ("queued", 8)}
        await press(pilot, "escape")


@pytest.mark.slow
async def test_a_worker_runs_what_was_tried_and_put_in_line(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space", "down", "space")
        await shows(app, pilot, "Enqueue 2 cells, 16 trials")
        await press(pilot, "d")
        await shows(app, pilot, "sine/S is new: 6 trials", "Nothing was enqueued: this was a dry run.")
        assert jobs(folder) == {}
        form.query_one("#enqueue", Button).press()
        await until(lambda: len(jobs(folder)) == 2, pilot, PATIENCE_S)
        await press(pilot, "escape")
        await until(lambda: not isinstance(app.screen, EnqueueForm), pilot)
        assert fts(["worker", "--until-empty"], folder, os.environ).code == 0
        assert {status for status, _ in jobs(folder).values()} == {"done"}
        await opened(app, pilot, "done, 8 trials")
        await on_cells(app, pilot)
        await press(pilot, "a")
        await shows(app, pilot, "4 new, 2 already there (done): 34 trials to run", "from 16 trials of curves", "80 %:")
        await press(pilot, "4")
        await shows(app, pilot, "sine/S is queued as job 1", "Nothing was enqueued: this was a dry run.")
        await press(pilot, "escape")


async def test_a_number_is_checked_as_it_is_typed_and_kept_for_the_next_time(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space", "3")
        await until(lambda: isinstance(app.focused, Options), pilot)
        await press(pilot, "enter")
        await until(lambda: isinstance(app.focused, Input), pilot)
        await press(pilot, "x")
        await shows(app, pilot, "! budget.trials is 'x', expected a whole number from 1 to 100,000")
        assert form.query_one("#enqueue", Button).disabled
        await press(pilot, "backspace", "9")
        await shows(app, pilot, "1 new: 11 trials to run", "--set budget.trials=9")
        assert form.query_one(CellTable).ticked == {"sine/S"}, "what was ticked stays"
        await press(pilot, "escape", "escape")
        await until(lambda: not isinstance(app.screen, EnqueueForm), pilot)
        kept = json.loads(form_memory.memory_file().read_text())
        assert [list(each.items()) for each in kept["typed"].values()] == [[("budget.trials", "9")]]
        await opened(app, pilot, "1 new: 11 trials to run")
        await press(pilot, "escape")


async def test_a_digit_after_the_one_that_opened_the_options_opens_a_tab_and_changes_no_option(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        tabs = form.query_one("#tabs", TabbedContent)
        for before in ((), ("enter", "escape"), ("down", "down", "up", "escape")):
            await press(pilot, "3")
            await until(lambda: tabs.active == "options" and isinstance(app.focused, Options), pilot)
            await shows(app, pilot, "Enter edits an option")
            await press(pilot, *before, "4")
            await until(lambda: tabs.active == "answer", pilot)
            assert form.typed == {}, before
        await press(pilot, "3")
        await until(lambda: isinstance(app.focused, Options), pilot)
        await press(pilot, "enter", "4", "2")
        assert (tabs.active, form.typed) == ("options", {"budget.trials": "42"}), (
            "a field that was entered takes digits"
        )
        await press(pilot, "escape", "escape")


async def test_ticks_stay_until_they_are_enqueued_or_the_monitor_ends(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space", "down", "space")
        await shows(app, pilot, "Enqueue 2 cells")
        await press(pilot, "escape")
        await until(lambda: not isinstance(app.screen, EnqueueForm), pilot)
        form = await opened(app, pilot, "Enqueue 2 cells, 16 trials")
        form._choose(form.key)  # the same study, chosen anew in its tab
        enqueue = form.query_one("#enqueue", Button)
        await until(lambda: form.cost is not None and not enqueue.disabled, pilot, PATIENCE_S)
        assert str(enqueue.label) == "Enqueue 2 cells, 16 trials"
        enqueue.press()
        await until(lambda: form.runs.now is not None, pilot, PATIENCE_S)
        await press(pilot, "escape")  # the command goes on without the form
        await until(lambda: len(jobs(folder)) == 2 and form.runs.now is None, pilot, PATIENCE_S)
        await opened(app, pilot, "none is ticked")
        await press(pilot, "escape")
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        await opened(app, pilot, "none is ticked")
        await press(pilot, "escape")


async def test_a_broken_file_cannot_be_chosen_and_says_why(folder: Path) -> None:
    text = (folder / "study.toml").read_text()
    (folder / "broken.toml").write_text(text.replace("trials = 6", "trails = 6"))
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await opened(app, pilot, "did you mean trials?", "cannot be chosen: broken.toml line")
        list_ = form.query_one("#studies", OptionList)
        broken = next(n for n, each in enumerate(form.studies) if each.problem)
        assert list_.get_option_at_index(broken).disabled
        await press(pilot, "down", "down", "down", "down")
        assert list_.highlighted != broken
        await press(pilot, "escape")


@pytest.mark.slow
async def test_rows_columns_and_all_are_ticked_by_key_and_by_mouse(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        table = form.query_one(CellTable)
        await press(pilot, "r")
        assert table.ticked == {"sine/S", "sine/M", "sine/L"}
        await press(pilot, "r", "right", "c")
        assert table.ticked == {"sine/M", "steps/M"}
        await press(pilot, "left", "left", "space")
        assert table.ticked == {"sine/S", "sine/M", "sine/L", "steps/M"}, "on the value of an axis: its row"
        await press(pilot, "n", "a")
        assert len(table.ticked) == 6
        await press(pilot, "n")
        await pilot.click(CellTable, offset=(12, 2))
        await until(lambda: table.ticked == {"steps/S"}, pilot)
        await shows(app, pilot, "Enqueue 1 cell, 8 trials")
        await pilot.click(CellTable, offset=(12, 0))
        await until(lambda: table.ticked == {"sine/S", "steps/S", "line/S"}, pilot)
        await shows(app, pilot, "Enqueue 3 cells, 24 trials")
        await pilot.click("#enqueue")
        await until(lambda: len(jobs(folder)) == 3, pilot, PATIENCE_S)
        await shows(app, pilot, "3 of 3 cells enqueued")
        await pilot.click("#close")
        await until(lambda: not isinstance(app.screen, EnqueueForm), pilot)


@pytest.mark.slow
async def test_a_function_typed_by_hand_with_its_axes(folder: Path) -> None:
    async with monitor(database(folder), (80, 24)) as (app, pilot):
        form = await opened(app, pilot, "train.py:objective")
        typed = form.query_one("#typed", Input)
        typed.focus()
        typed.value = "nothing here"
        await press(pilot, "enter")
        await shows(app, pilot, "names no study, expected FILE.py:FUNCTION")
        typed.value = "train.py:objective -m data=sine,line -m size=S --trials 3"
        await press(pilot, "enter")
        await on_cells(app, pilot)
        await press(pilot, "down", "space")
        await shows(app, pilot, "$ fts enqueue train.py:objective --cell line/S --trials 3 --axis data=sine,line")
        form.query_one("#enqueue", Button).focus()
        await press(pilot, "enter")
        await until(lambda: jobs(folder) == {"line/S": ("queued", 3)}, pilot, PATIENCE_S)
        await shows(app, pilot, "line/S is queued as job 1: 3 trials")
        await press(pilot, "escape")


@pytest.mark.slow
async def test_a_command_typed_by_hand(folder: Path) -> None:
    (folder / "run.py").write_text("print('loss=1')\n")
    async with monitor(database(folder), (80, 24)) as (app, pilot):
        form = await opened(app, pilot)
        form.query_one("#typed", Input).value = "--metric loss -- python run.py --lr {lr:0.1..1}"
        form.query_one("#typed", Input).focus()
        await press(pilot, "enter")
        await on_cells(app, pilot)
        await press(pilot, "space")
        await shows(app, pilot, "Enqueue 1 cell, 20 trials", "-- python run.py --lr")
        form.query_one("#enqueue", Button).focus()
        await press(pilot, "enter")
        await until(lambda: jobs(folder) == {"run": ("queued", 20)}, pilot, PATIENCE_S)
        await press(pilot, "escape")


async def test_a_file_that_changes_meanwhile_is_shown_before_anything_is_put_in_line(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space")
        await shows(app, pilot, "Enqueue 1 cell, 8 trials")
        text = (folder / "study.toml").read_text()
        (folder / "study.toml").write_text(text.replace("trials = 6", "trials = 60"))
        form.query_one("#enqueue", Button).press()
        await shows(app, pilot, "study.toml has changed on disk", "Enqueue 1 cell, 62 trials")
        assert jobs(folder) == {}
        (folder / "study.toml").write_text("[study]\nobjective = 7\n")
        await shows(app, pilot, "study.toml line 2: study.objective is 7")
        assert form.query_one("#enqueue", Button).disabled
        (folder / "study.toml").write_text(text)
        await shows(app, pilot, "1 new: 8 trials to run")
        await press(pilot, "escape")


@pytest.mark.slow
async def test_the_form_can_be_left_while_a_dry_run_goes_on(folder: Path) -> None:
    waits = "import time\nfrom pathlib import Path\nwhile not Path('go').exists():\n    time.sleep(0.05)\n"
    (folder / "slow.py").write_text(f"{waits}def space(size):\n    return {{}}\n")
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space")
        await shows(app, pilot, "$ fts enqueue")
        text = (folder / "study.toml").read_text()
        (folder / "study.toml").write_text(text.replace("train:space", "slow:space"))  # the dry run waits for a file
        assert form.cost is not None
        form._start("dry run", form.cost.line, ["enqueue", "-n", *form.cost.words[1:]])
        await shows(app, pilot, "dry run: 0 s so far; s ends it")
        await press(pilot, "escape")
        await until(lambda: not isinstance(app.screen, EnqueueForm), pilot)
        (folder / "go").touch()
        await until(lambda: app.action_runner._memory.answers, pilot, PATIENCE_S)
        await shows(app, pilot, "e, then 4 shows all of it")
        await press(pilot, "e", "4")
        await shows(app, pilot, "$ fts enqueue study.toml --cell sine/S")
        await press(pilot, "escape")


@pytest.mark.slow
async def test_a_locked_database_is_waited_for_and_nothing_blocks(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space")
        await shows(app, pilot, "Enqueue 1 cell, 8 trials")
        db = open_database(database(folder))
        try:
            with db.write():
                form.query_one("#enqueue", Button).press()
                await shows(app, pilot, "enqueue: 2 s so far")
                await press(pilot, "2")
                await until(lambda: isinstance(app.focused, CellTable), pilot, PATIENCE_S)
                await press(pilot, "down", "r")
                await shows(app, pilot, "Enqueueing")
                assert form.query_one(CellTable).ticked == {"sine/S", "steps/S", "steps/M"}, "keys are heard meanwhile"
        finally:
            db.close()
        await shows(app, pilot, "sine/S is queued as job 1")
        await press(pilot, "escape")


async def test_read_only_and_replay_refuse_in_a_sentence(folder: Path) -> None:
    async with monitor(database(folder), readonly=True) as (app, pilot):
        await press(pilot, "e")
        assert not isinstance(app.screen, EnqueueForm) and "this monitor only reads" in on_screen(app)


SIZES = [(60, 15), (80, 24), (120, 40), (200, 60)]


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_everything_is_reached_by_keyboard_in_ascii_at(folder: Path, size: tuple[int, int]) -> None:
    async with monitor(database(folder), size, ascii_only=True) as (app, pilot):
        form = await chosen(app, pilot)
        for key, pane in (("3", "options"), ("4", "answer"), ("1", "study"), ("2", "cells")):
            await press(pilot, key)
            await pilot.pause()
            assert form.query_one("#tabs", TabbedContent).active == pane
            if pane == "options":
                await until(lambda: isinstance(app.focused, Options), pilot)
                await press(pilot, "enter")
                await shows(app, pilot, "> budget.trials")
                await press(pilot, "escape")
                assert isinstance(app.focused, Options)
        await on_cells(app, pilot)
        await press(pilot, "space", "down")
        await shows(app, pilot, "[x] new", ">[ ] new")
        await press(pilot, "tab", "tab")
        await until(lambda: form.query_one("#enqueue", Button).disabled is False, pilot, PATIENCE_S)
        assert size[0] < 80 or "Close (Esc)" in on_screen(app)
        odd = {char for char in on_screen(app) if ord(char) > 127}
        assert not odd, odd
        await pilot.resize_terminal(90, 20)
        await shows(app, pilot, "[x] new")
        await press(pilot, "escape", "escape")


@pytest.mark.slow
async def test_two_thousand_cells(folder: Path) -> None:
    values = ", ".join(f'"{"d" * 196}{n:03d}"' for n in range(40))
    (folder / "study.toml").write_text(
        f'[study]\nname = "many"\nobjective = "train:objective"\n[matrix]\ndata = [{values}]\n'
        f'size = {list(range(50))}\n[metrics]\nval_loss = {{ goal = "minimize" }}\n'
    )
    async with monitor(database(folder), (80, 24)) as (app, pilot):
        form = await chosen(app, pilot)
        table = form.query_one(CellTable)
        assert table.row_count == 2000
        await press(pilot, "a")
        await shows(app, pilot, "Enqueue 2000 cells, 40000 trials", "$ fts enqueue study.toml")
        await press(pilot, "n", "left", "c")
        await shows(app, pilot, "Enqueue 40 cells, 800 trials", "--cell size:0")
        await press(pilot, "down")
        assert "d" * 60 in on_screen(app), "a long value stands whole below the table"
        await press(pilot, "escape")


def test_settings_that_cannot_be_read_or_written_are_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "state" / "enqueue.json"
    memory = form_memory.load(path)
    memory.keep_typed("a", {"trials": "3"})
    memory.keep_answer(form_memory.CommandOutput(1.0, "fts enqueue", "text", 0, 2.0))
    assert form_memory.load(path).of("a") == {"trials": "3"} and form_memory.load(path).answers == memory.answers
    for odd in ("", "[]", "{", '{"typed": {"a": 7}, "last": [], "answers": [{"at": 1}, 3]}'):
        path.write_text(odd)
        assert form_memory.load(path).answers == []
    memory.path = Path(os.devnull) / "no"
    memory.keep_typed("a", {})
    assert "not kept" in memory.problem


def test_two_monitors_keep_the_settings_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "enqueue.json"
    one, two = form_memory.load(path), form_memory.load(path)

    def answer(n: int) -> form_memory.CommandOutput:
        return form_memory.CommandOutput(float(n), "fts enqueue", "text", 0, 2.0)

    assert one.of("a") == two.of("a") == {}
    one.keep_typed("a", {"trials": "3", "seed": "1"})
    two.keep_typed("a", {"epochs": "9"})  # another option of the same study
    two.keep_typed("b", {"trials": "5"})
    one.keep_last(tmp_path / "1.db", "a"), two.keep_last(tmp_path / "2.db", "b")
    one.keep_answer(answer(1)), two.keep_answer(answer(2))
    assert form_memory.load(path).typed == {"a": {"trials": "3", "seed": "1", "epochs": "9"}, "b": {"trials": "5"}}
    one.keep_typed("a", {"trials": "4"})  # takes its seed away, and nothing of the other's
    found = form_memory.load(path)
    assert found.of("a") == one.of("a") == two.of("a") == {"trials": "4", "epochs": "9"}
    assert set(found.last.values()) == {"a", "b"} and found.answers == [answer(1), answer(2)]
    with monkeypatch.context() as trouble:  # what cannot be read now is not written over, and written later
        trouble.setattr(Path, "read_text", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        one.keep_typed("c", {"trials": "6"})
        assert "not kept" in one.problem and one.typed["c"] == {"trials": "6"}
    two.keep_typed("b", {})
    one.keep_typed("a", {"epochs": "9"})
    assert form_memory.load(path).typed == {"a": {"epochs": "9"}, "c": {"trials": "6"}} and one.problem == ""


def test_what_cannot_be_kept_in_the_file_stays_in_the_form(tmp_path: Path) -> None:
    """Each part of the file fails in turn; the form shows each answer once, and what the options were."""
    answer = form_memory.CommandOutput(1.0, "fts enqueue", "text", 0, 2.0)
    for broken in ("the folder", "the file", "the lock"):
        path = tmp_path / broken / "enqueue.json"
        if broken == "the folder":
            path.parent.write_text("a file")
        else:
            (path if broken == "the file" else path.with_suffix(".lock")).mkdir(parents=True)
        memory = form_memory.load(path)
        memory.keep_typed("a", {"trials": "3"}), memory.keep_last(tmp_path, "a"), memory.keep_answer(answer)
        found = memory.of("a"), memory.of("a"), memory.last, memory.answers
        assert found == ({"trials": "3"}, {"trials": "3"}, {str(tmp_path): "a"}, [answer]), broken
        assert ("not kept" in memory.problem) is (broken != "the lock"), broken


def test_many_monitors_that_write_at_once_lose_no_setting(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fts.tui.data import form_memory\n"
        "memory = form_memory.load(Path(sys.argv[1]))\n"
        "for n in range(10): memory.keep_typed(f'{sys.argv[2]}-{n}', {'trials': '1'})\n"
    )
    path = tmp_path / "enqueue.json"
    running = [subprocess.Popen(python("-c", code, str(path), str(n))) for n in range(4)]
    assert [each.wait(60) for each in running] == [0] * 4
    assert len(form_memory.load(path).typed) == 40


def test_the_monitor_never_imports_what_the_form_asks() -> None:
    heavy = "('fts.jobs.form', 'fts.study', 'torch', 'optuna', 'fts.jobs.cli')"
    code = f"import sys, fts.tui.screens.enqueue, fts.tui.app; print([n for n in sys.modules if n.startswith({heavy})])"
    done = subprocess.run(python("-c", code), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def at_rest(app: Any, pilot: Any) -> str:
    """The picture once ten looks in a row found it alike: the tabs' line and a scrollbar come some messages later."""
    seen: list[str] = []
    while len(seen) < 10 or len(set(seen[-10:])) > 1:
        await pilot.pause(0.02)
        seen.append(on_screen(app))
    return seen[-1]


async def test_the_form_looks_as_it_did(folder: Path) -> None:
    """Each of its tabs, one below another; without what this machine has of memory and disk."""
    async with monitor(database(folder), (80, 24)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space")
        await shows(app, pilot, "Enqueue 1 cell, 8 trials", "Try a trial")
        tabs = form.query_one("#tabs", TabbedContent)
        focus: dict[str, Any] = {
            "study": lambda: form.query("#studies"), "cells": lambda: form.query(CellTable),
            "options": lambda: form.query(Options), "answer": lambda: form.query("#answers"),
        }  # fmt: skip
        told = {"study": "> study.toml", "cells": ">[x] new", "options": "budget.trials", "answer": "Nothing was"}
        for width, height in ((80, 24), (120, 40), (200, 60)):
            await pilot.resize_terminal(width, height)
            frames = []
            for tab, word in told.items():
                form.action_tab(tab)
                await until(lambda tab=tab: tabs.active == tab and form.focused in focus[tab](), pilot)
                await shows(app, pilot, word)
                box = form.query_one("#form").region
                rows = [row[box.x : box.right] for row in (await at_rest(app, pilot)).split("\n")[box.y : box.bottom]]
                frames.append("\n".join(row for row in rows if "GB" not in row))
            check(f"enqueue-{width}x{height}", "\n\n".join(frames) + "\n")


async def test_a_tab_that_is_still_to_be_opened_when_the_form_closes_ends_nothing(folder: Path) -> None:
    async with monitor(database(folder), (120, 40)) as (app, pilot):
        form = await opened(app, pilot, "study.toml")
        tabs = form.query_one(FormTabs)
        await form.dismiss(None)  # with its tabs
        tabs._focus_in("answer")  # as a callback that was queued before
        tabs.open("answer")
        await pilot.pause()
        assert app.screen is not form and app.is_running


async def test_an_answer_about_other_options_or_another_study_is_dropped(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(EnqueueForm, "_wait", lambda *_: None)  # the process answers when this test says so
    look = {"fields": [], "cells": [], "problems": {}, "problem": "", "said": [], "stamp": "", "folder": ""}
    cost = {"cells": 1, "trials": 1, "sentences": [], "line": "fts enqueue old", "words": ["enqueue", "old"]}
    async with monitor(database(folder)) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: isinstance(app.screen, EnqueueForm) and app.screen.query(CellTable), pilot)
        form = app.screen

        def answer(ask: str, number: int, **content: Any) -> None:
            form.on_enqueue_form_answered(EnqueueForm.Answered(ask, number, content, 0.1))

        form._choose('["file", "x", "a.toml"]')
        asked = form._asked["look"]
        form._ask("cost")
        priced = form._asked["cost"]
        form.on_field_row_changed(FieldRow.Changed("trials", "12"))
        answer("look", asked, look=look, typed={"trials": "1"})
        answer("cost", priced, cost={**cost, "check": []})
        assert form.typed == {"trials": "12"} and form.cost is None
        form._ask("cost")
        priced = form._asked["cost"]
        form._choose('["file", "x", "b.toml"]')
        answer("cost", priced, cost={**cost, "check": []})
        assert form.cost is None
        form._then = lambda: pytest.fail("nothing may be enqueued")
        form._ask("stamp")
        answer("stamp", form._asked["stamp"], problem="the process that reads studies has ended")
        assert form.note == "nothing was enqueued: the process that reads studies has ended"


async def test_every_button_is_whole_in_a_narrow_terminal(folder: Path) -> None:
    async with monitor(database(folder), (60, 18)) as (app, pilot):
        form = await chosen(app, pilot)
        await press(pilot, "space")
        await until(lambda: form.query_one("#enqueue", Button).disabled is False, pilot, PATIENCE_S)
        for width, label in ((60, "Enqueue"), (100, "Enqueue 1 cell, "), (60, "Enqueue")):
            await pilot.resize_terminal(width, 24)
            await until(lambda label=label: str(form.query_one("#enqueue", Button).label).startswith(label), pilot)
            await until(lambda: "Close (Esc)" in on_screen(app), pilot)
