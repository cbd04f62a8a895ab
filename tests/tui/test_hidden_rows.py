"""Keys concern what is on the screen: no row that another screen, a fold or another database shows; a log that is not
followed keeps its place."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

from fts.jobs.actions import by_id
from fts.jobs.actions.run import run_action
from fts.jobs.status import summary as glances
from fts.tui.data.messages import Arrived
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, LOGS, QUEUE, TRIALS, Details, View
from fts.tui.navigation import Navigation
from fts.tui.render.text import as_text
from fts.tui.widgets import queue_table
from fts.tui.widgets.learning_curve import chart, shifts
from fts.tui.widgets.pane import Pane
from tests.tui import any_study, study
from tests.tui.stories import monitor, press, rest, shown, until
from tests.tui.values import NOW, make_epochs, make_event, make_job, make_snapshot, make_trial, make_worker


async def test_on_events_a_key_concerns_the_cell_of_the_event_under_the_cursor(db_path):
    job = 7
    async with monitor(db_path) as (app, pilot):
        run_action(by_id("pause"), db_path, (job,), study.USER, False, 5.0)
        await until(lambda: any(e.verb == "paused" for e in app.readings.snapshot.events[-1:]), pilot)
        assert app.navigation.job_id != job
        await press(pilot, "7")
        assert app.navigation.screen == EVENTS
        assert [one.id for one in app.chosen()] == [job]


async def test_on_hardware_a_key_for_a_cell_is_refused(db_path):
    async with monitor(db_path) as (app, pilot):
        before = app.readings.snapshot
        await press(pilot, "4")
        assert app.navigation.screen == HARDWARE
        for key in "xprtJK":
            await press(pilot, key)
            assert "1 shows the queue" in app.toast[0], key
        assert app.readings.snapshot.jobs == before.jobs


async def test_marks_in_a_folded_study_are_counted_as_hidden_and_left_alone(tmp_path):
    path = tmp_path / "fts.db"
    any_study.build(path)
    async with monitor(path, (120, 40)) as (app, pilot):
        name = app.view().job.study
        own = [job.id for job in app.readings.snapshot.jobs if job.study == name]
        app.navigation.marks[QUEUE] = set(own)
        await press(pilot, "c")
        assert name in app.navigation.folded
        seen = set(app.navigation.rows(app.view())) & set(own)
        assert len(seen) == 1
        assert {job.id for job in app.chosen()} == seen
        assert f"1 marked, {len(own) - 1} hidden" in shown(app)


async def test_in_another_database_at_the_path_no_row_is_marked_and_no_key_acts_before_it_was_seen(db_path, tmp_path):
    other = tmp_path / "other" / "fts.db"
    other.parent.mkdir()
    study.build(other, now=time.time())
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "g", "space", "space", "v", "f")
        assert app.view().marks and app.readings.frozen
        for part in ("-wal", "-shm"):
            db_path.with_name(db_path.name + part).unlink(missing_ok=True)
        other.replace(db_path)
        await until(lambda: "reopened" in app.toast[0], pilot)
        await rest(app, pilot)
        assert not app.view().marks and not app.readings.frozen, "its rows are those of the old one"
        assert app.navigation.jumped_at > 0


def text(app) -> list[str]:
    """The log's lines, without the scrollbar beside them: its thumb moves as the log grows."""
    return [row.rstrip("█ ") for row in shown(app).splitlines()[4:-1]]


async def test_a_log_that_is_not_followed_keeps_its_place_while_it_grows(db_path):
    log = next((db_path.parent / "logs").glob("*_6_*.log"))
    log.write_text("".join(f"old {n}\n" for n in range(60)))
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "5")
        assert app.navigation.screen == LOGS
        await until(lambda: app.view().details.log, pilot)
        await rest(app, pilot)
        await press(pilot, "k", "k")
        before = text(app)
        known = len(app.view().details.log)
        with log.open("a") as file:
            file.write("".join(f"line {n}\n" for n in range(7)))
        app.look(now=True)
        await until(lambda: len(app.view().details.log) == known + 7, pilot)
        await rest(app, pilot)
        assert text(app) == before
        await press(pilot, "f")
        assert "line 6" in shown(app)


async def test_the_letter_of_a_column_counts_only_while_the_question_is_shown(db_path):
    async with monitor(db_path) as (app, pilot):
        await press(pilot, "o")
        assert "sort by" in shown(app)
        app.toast = (*app.toast[:2], 0.0)  # its time is over
        app.tick()
        await press(pilot, "g")
        assert "sort by" not in shown(app)
        assert "no column" not in app.toast[0]
        assert app.navigation.job_id == app.navigation.rows(app.view())[0]
        await press(pilot, "o", "b")
        assert "by best" in shown(app)


async def test_a_click_on_the_metric_of_a_study_sorts_its_trials(tmp_path):
    path = tmp_path / "fts.db"
    any_study.build(path)
    async with monitor(path, (120, 40)) as (app, pilot):
        app.navigation.choose(next(job.id for job in app.readings.snapshot.jobs if job.metric == "height"))
        await press(pilot, "2")
        await until(lambda: len(app.view().trials) == any_study.TRIALS, pilot)
        await rest(app, pilot)
        table = next(pane for pane in app.screen.query(Pane) if pane.table)
        heading = "".join(text for text, _ in table.lines[1])
        await pilot.click(table, offset=(heading.index("height") + 2, 1))
        await rest(app, pilot)
        assert "by value ↓" in shown(app)


def test_another_log_is_followed_and_a_chart_is_shifted_only_as_far_as_it_goes():
    for screen in (QUEUE, TRIALS):
        navigation = Navigation(screen=screen, job_id=1, trial_id=1, scroll=7, follow=False)
        navigation.choose(1)
        assert (navigation.scroll, navigation.follow) == (7, False)
        navigation.choose(2)
        assert (navigation.scroll, navigation.follow) == (0, True)
    for _ in range(9):
        navigation.shift_chart(1)
    assert navigation.chart_shift == 0, "all of the chart is shown"
    navigation.zoom_chart(1)
    for _ in range(9):
        navigation.shift_chart(1)
    assert navigation.chart_shift == 4, "half of it is shown, moved by quarters of that"
    navigation.zoom_chart(-1)
    assert navigation.chart_shift == 0


async def test_a_study_is_not_folded_where_the_filter_shows_no_row(tmp_path):
    path = tmp_path / "fts.db"
    any_study.build(path)
    async with monitor(path) as (app, pilot):
        app.navigation.narrow("no row has this")
        await press(pilot, "c")
        assert app.is_running


async def test_a_read_of_another_moment_than_the_one_to_show_is_ignored(db_path):
    async with monitor(db_path) as (app, pilot):
        live = app.readings.reading
        app.on_arrived(Arrived(replace(live, at=study.NOW, snapshot=replace(live.snapshot, jobs=()))))
        assert app.readings.reading is live
        await pilot.pause()


def test_a_zoomed_chart_shows_the_steps_of_its_trial_also_beside_a_longer_one():
    best, live = make_trial(1, 1, 0, value=0.68, epochs=20), make_trial(2, 1, 1, "running", epochs=5)
    curves = {1: make_epochs(1, 20, 0.7, NOW - 999), 2: make_epochs(2, 5, 0.69, NOW - 9)}
    job = make_job(1, status="running", worker_id=1, lease_until=NOW + 50, best_trial=0, best_value=0.68)
    snapshot = make_snapshot(jobs=(job,), trials=(best, live), epochs=curves[2], workers=(make_worker(),))
    details = Details(job_id=1, trials=(best, live), curves=curves)
    view = View(glances.look(snapshot, NOW), details, CURVES, job_id=1, trial_id=2)
    for zoom in range(4):
        for overlay in (False, True):
            text = as_text(chart(replace(view, chart_zoom=zoom, overlay=overlay), 80, 20))
            assert "●" in text.replace("● now", ""), f"the latest step of t1 is in the window at zoom {zoom}"
    for zoom in range(4):  # h and l move the window over all steps, and no press is without effect
        (on, back), seen = shifts(zoomed := replace(view, chart_zoom=zoom)), []
        for shift in range(on, back + 1):
            rows = as_text(chart(replace(zoomed, chart_shift=shift), 80, 20)).splitlines()
            seen.append([int(word) for word in rows[-1].split() if word.isdecimal()])
        assert seen[0][-1] >= 20 - 9 // 2**zoom and seen[-1][0] == 1, zoom
        assert all(before != after for before, after in pairwise(seen)) or zoom > 2, zoom


def test_a_foreign_event_of_a_pause_breaks_no_row():
    paused = make_job(1, status="paused")
    for several in (5, "1", None, {"1": 1}, [[1]]):
        event = make_event(9, NOW - 9, "paused", None, who="ada@lab", data={"jobs": several})
        view = View(glances.look(make_snapshot(jobs=(paused,), events=(event,)), NOW), Details(), job_id=1)
        assert "by ada" not in as_text(queue_table.paint(view, 120, 10))


async def test_l_moves_a_zoomed_chart_on_to_the_end_of_a_longer_curve(db_path):
    async with monitor(db_path, (120, 40)) as (app, pilot):
        await press(pilot, "3", "+", "+", "l")
        assert app.navigation.chart_shift < 0
        await press(pilot, "h", "-", "-", "l")
        assert app.navigation.chart_shift == 0, "all of the chart is shown"
