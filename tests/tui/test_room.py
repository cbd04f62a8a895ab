"""Nothing is cut where there is room: dialogs grow with their words or break lines, charts say whole sentences."""

from __future__ import annotations

import pytest

from fts.jobs.status import summary as glances
from fts.tui.data.view import Details, View
from fts.tui.screens.chooser import Choice, Chooser
from fts.tui.screens.dialogs import Ask, Confirm
from fts.tui.widgets import learning_curve
from tests.tui.stories import dialog_text, monitor, on_screen, opened, press, settled, until
from tests.tui.values import NOW, make_job, make_snapshot, make_trial


def whole(text):
    return " ".join(text.split())


@pytest.mark.parametrize("size", [(40, 15), (60, 15), (80, 24), (120, 40)])
async def test_the_menu_of_w_names_each_kind_in_full(db_path, size):
    async with monitor(db_path, size) as (app, pilot):
        await press(pilot, "w")
        await until(lambda: opened(app, Chooser), pilot)
        for kind in ("txt", "svg", "png", "csv", "json"):
            assert f"this view as {kind}" in dialog_text(app)
        await press(pilot, "escape")


@pytest.mark.parametrize("size", [(40, 15), (60, 15), (80, 24)])
@pytest.mark.parametrize("key", ["D", "P", "x"])
async def test_a_question_and_its_answers_are_never_cut(db_path, key, size):
    async with monitor(db_path, size) as (app, pilot):
        await settled(app, pilot)
        await press(pilot, key)
        await until(lambda: opened(app, Confirm), pilot)
        text = whole(dialog_text(app))
        assert "Esc or Enter = no" in text
        assert f"y = {app.screen.yes}" in text
        assert "…" not in text
        for effect in app.screen.effects:
            assert whole(effect) in text
        await press(pilot, "escape")


@pytest.mark.parametrize("size", [(40, 15), (60, 15), (80, 24)])
async def test_a_hint_of_a_line_to_fill_in_is_never_cut(db_path, size):
    async with monitor(db_path, size) as (app, pilot):
        await settled(app, pilot)
        app.action_runner.by_id("stop")
        await until(lambda: opened(app, Ask), pilot)
        assert whole(app.screen.hint) in whole(dialog_text(app))
        await press(pilot, "escape")


async def test_a_choice_has_room_for_its_note_where_no_choice_has_a_key(db_path):
    async with monitor(db_path) as (app, pilot):
        choices = [Choice("one", "one", note="words " * 8 + "end"), Choice("two", "longer", note="short")]
        app.push_screen(Chooser("title", choices, width=64))
        await until(lambda: opened(app, Chooser), pilot)
        assert "words end" in on_screen(app)
        await press(pilot, "escape")


@pytest.mark.parametrize("width", [30, 53, 90])
def test_why_there_is_no_curve_is_said_in_full(width):
    job = make_job(1, kind="baseline", status="done", trials_complete=7, trials_wanted=7, ended_at=NOW - 60)
    view = View(glances.look(make_snapshot(jobs=(job,)), NOW), job_id=1)
    painted = learning_curve.chart(view, width, 4)
    assert whole(" ".join(text for row in painted for text, _ in row)) == learning_curve.no_curve(view, job, None)
    assert all(len(text) <= width for row in painted for text, _ in row)


@pytest.mark.parametrize(
    ("job_status", "status", "began_s_ago", "expected"),
    [
        ("running", "running", 5, True),
        ("running", "running", 5000, False),  # that moment has passed
        ("running", "interrupted", 5, False),
        ("queued", "interrupted", 5, False),
    ],
)
def test_a_first_epoch_is_expected_of_a_trial_that_runs_and_at_a_time_to_come(
    job_status, status, began_s_ago, expected
):
    job = make_job(1, status=job_status, trials_complete=1, trials_wanted=3)
    before = make_trial(1, 1, 0, status="complete", epochs=10, train_seconds=100.0, ended_at=NOW - began_s_ago)
    live = make_trial(2, 1, 1, status=status, epochs=0, started_at=NOW - began_s_ago, ended_at=None)
    details = Details(job_id=1, trials=(before, live))
    view = View(glances.look(make_snapshot(jobs=(job,)), NOW), details, job_id=1)
    said = learning_curve.no_curve(view, job, live)
    assert ("expected" in said) == expected, said
    assert expected or said == "t1 has no epoch yet"
