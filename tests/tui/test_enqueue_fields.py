"""The rows of the enqueue dialog below the cells: task, tier and data set, in the words of `fts enqueue`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.settings import Places
from fts.jobs.status.formatting import GB
from fts.state import queries
from fts.state.db import open_database
from fts.study.choices import TASKS, TIERS, tasks_of, usual_data
from fts.study.matrix import make_cells, write
from fts.study.order import Order, data_choices, states_of
from fts.study.preview import CellCost, Preview, SearchSettings, Standing
from fts.study.screens import enqueue
from fts.study.screens.enqueue import Enqueue
from fts.tui.screens.dialogs import Confirm
from tests.chaos.study import make_data
from tests.tui.stories import dialog_text, monitor, opened, press, until
from tests.tui.test_golden import check
from tests.tui.values import make_job

DATA = {"a25": ("SPX.dataset.a25", "AAPL.dataset.a25"), "a20": ("CHAOS.dataset.a20", "SPY.dataset.a20")}
NEW = CellCost(trial_s=360.0, low=GB, high=3 * GB, shapes=80, too_large=0, waiting=0)
PLAN = Preview(
    {("2M", 1): NEW, ("2M", 3): replace(NEW, same=(Standing(4, "done", 50),)), ("2M", 5): NEW}, 2, 8 * GB, "cpu",
    "12 trials",
)  # fmt: skip


class Told:
    """A command that answers at once, and keeps what it was asked."""

    def __init__(self, asked: list[Any], answer: Any) -> None:
        self.asked, self.said = asked, answer

    def __call__(self, path: Path, *words: Any) -> Told:
        self.asked.append(words[0] if words else None)
        return self

    def answer(self) -> Any:
        return self.said

    def stop(self) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the dialog asks of `fts plan` and of the dry run, in its order."""
    found: list[Any] = []
    for name, answer in (("Question", PLAN), ("DryRun", ["2M/h1 is new"])):
        monkeypatch.setattr(enqueue, name, Told(found, answer))
    monkeypatch.setattr(enqueue, "DataList", Told([], DATA))
    return found


async def test_what_is_chosen_is_what_is_planned_tried_and_put_in_line(db_path, asked, monkeypatch):
    async with monitor(db_path) as (app, pilot):
        orders: list[Order] = []
        monkeypatch.setattr(app.acting, "_enqueue", lambda order: orders.append(order) if order else None)
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue) and "SPX.dataset.a25" in dialog_text(app), pilot)
        text = dialog_text(app)
        assert asked[0] == SearchSettings() and f"{TASKS[0]}        1 of {len(TASKS)}" in text
        assert f"{TIERS[0]}" in text and "SPX.dataset.a25       1 of 2" in text, "the usual values"
        app.screen.checked = {("2M", 1)}
        await press(pilot, "k", "k", "l")  # above the first size is the last row
        assert ">AAPL.dataset.a25      2 of 2 · Space next" in dialog_text(app)
        await press(pilot, "h", "k", "space", "k", "h")
        chosen = SearchSettings(task=TASKS[-1], tier="a20", data="CHAOS.dataset.a20")
        assert app.screen.settings == chosen, "no data set of a20 is the usual one: the first is named"
        await until(lambda: asked[-1] == chosen, pilot)
        await press(pilot, "r")
        assert app.screen.checked == {("2M", 1)}, "there is no row of cells here"
        words = ("--task", "threshold_0.5pct", "--tier", "a20", "--data", "CHAOS.dataset.a20")
        await press(pilot, "d")
        await until(lambda: "2M/h1 is new" in dialog_text(app), pilot)
        assert asked[-1][0][-6:] == words
        await press(pilot, "x", "enter")
        await until(lambda: opened(app, Confirm), pilot)
        assert "task threshold_0.5pct, tier a20, data CHAOS.dataset.a20" in " ".join(dialog_text(app).split())
        await press(pilot, "y")
        await until(lambda: orders, pilot)
        assert orders == [Order((("2M", 1),), 50, chosen)] and orders[0].calls()[0][-6:] == words


async def test_a_tier_without_data_says_what_makes_it(db_path, asked):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue) and "SPX.dataset.a25" in dialog_text(app), pilot)
        await press(pilot, *"jjjjj", "h")
        assert app.screen.settings == SearchSettings(tier="c")
        assert "none: `fts data build --tier c` makes one" in dialog_text(app)
        await press(pilot, "l")
        assert app.screen.settings == SearchSettings() and "SPX.dataset.a25" in dialog_text(app)
        await press(pilot, "escape")


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_dialog_looks_as_it_did(db_path, asked, size):
    async with monitor(db_path, size) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue) and "SPX.dataset.a25" in dialog_text(app), pilot)
        app.screen.checked = {("2M", 1), ("2M", 3), ("2M", 5)}
        await press(pilot, *"jjjj")
        await until(lambda: "new cells" in dialog_text(app), pilot)
        check(f"enqueue-{size[0]}x{size[1]}", dialog_text(app))
        await press(pilot, "escape")


def test_the_usual_data_set_need_not_be_named():
    assert data_choices((), "c") == [None] and data_choices(("A.dataset.c",), "c") == [None]
    assert data_choices(("A.dataset.c", "SPX.dataset.c"), "c") == [None, "A.dataset.c"]
    assert data_choices(("A.dataset.c", "B.dataset.c"), "c") == ["A.dataset.c", "B.dataset.c"]
    assert usual_data(("A.dataset.c", "B.dataset.c"), "c") is None


def test_a_cell_of_another_data_set_is_not_that_cell():
    job = make_job(1, "2M", 1, tier="a25", spec={"dataset": "AAPL.dataset.a25"})
    assert states_of([job], SearchSettings(), "AAPL.dataset.a25") == {("2M", 1): "queued"}
    assert states_of([job], SearchSettings(), None) == {("2M", 1): "queued"}, "the list of data sets is not there yet"
    assert states_of([job], SearchSettings(), "SPX.dataset.a25") == {}
    assert states_of([job], SearchSettings(task=TASKS[1]), "AAPL.dataset.a25") == {}


def test_a_task_that_the_study_has_already_is_a_choice_too():
    jobs = [make_job(1, task="threshold_1.5pct"), make_job(2, task=TASKS[1]), make_job(3, task="", kind="gc")]
    assert tasks_of(jobs) == (*TASKS, "threshold_1.5pct") and tasks_of([]) == TASKS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("enqueue") / "data", 2400)


def in_line(path: Path) -> list[tuple[str, str, str, str, int]]:
    """Each cell as it was put in line, without its baselines: name, task, tier, data set and trials."""
    db = open_database(path, readonly=True)
    try:
        return [
            (f"{j.budget}/h{j.horizon}", j.task, j.tier, str(j.spec["dataset"]), j.trials_wanted)
            for j in queries.jobs(db)
            if j.kind == "cell"
        ]
    finally:
        db.close()


async def shows(app, pilot, *texts: str) -> None:
    """Waits for texts of the dialog, however they are wrapped."""
    try:
        await until(lambda: all(text in " ".join(dialog_text(app).split()) for text in texts), pilot, 40)
    except AssertionError as error:
        raise AssertionError(f"{texts} not in\n{dialog_text(app)}") from error


@pytest.fixture
def places(tmp_path, data, monkeypatch) -> Places:
    """An empty study, with the data where every command looks for it."""
    monkeypatch.setenv("FTS_DATA", str(data))
    path = tmp_path / "outputs" / "fts.db"
    open_database(path).close()
    return Places(path, data)


async def test_the_preview_says_which_cells_are_there_which_grow_and_which_are_new(places):
    db = open_database(places.db)
    write(db, make_cells(places, ("tiny",), (1,), 1, 50, TASKS[-1], "a20"), who="test")
    db.close()
    async with monitor(places.db, (80, 24)) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        await shows(app, pilot, "none: `fts data build --tier a25` makes one")
        await press(pilot, "r", "k", "r", "k", "k", "space", "k", "h", "1")  # 2M off, tiny on; tier a20, the last task
        await shows(app, pilot, f"task >{TASKS[-1]} 4 of 4", "tier a20 2 of 3", "CHAOS.dataset.a20")
        await shows(app, pilot, "[x] queued [x] new [x] new", "2 new cells; already there: tiny/h1 (queued)")
        await press(pilot, "+")
        await shows(app, pilot, "[x] 1 to 5 [x] new", "2 new cells; extends tiny/h1 (job 1) from 1 to 5 trials")
        await press(pilot, "escape")


@pytest.mark.slow
async def test_any_cell_is_put_in_line_from_the_monitor(places):
    async with monitor(places.db, (120, 40)) as (app, pilot):
        await press(pilot, "e")
        await until(lambda: opened(app, Enqueue), pilot)
        await press(pilot, "r", "k", "space", "k", "k", "space", "k", "h", "1")
        await shows(app, pilot, "[x] new", "CHAOS.dataset.a20", "1 new cell")
        await press(pilot, "enter")
        await until(lambda: opened(app, Confirm), pilot)
        await shows(app, pilot, f"task {TASKS[-1]}, tier a20, data CHAOS.dataset.a20", "1 new cell")
        await press(pilot, "y")
        await until(lambda: len(app.readings.reading.snapshot.jobs) == 2, pilot, 60)
        assert in_line(places.db) == [("tiny/h1", TASKS[-1], "a20", "CHAOS.dataset.a20", 1)]
