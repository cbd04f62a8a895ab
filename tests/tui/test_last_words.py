"""A worker died, or a cell failed: the screens show what was said last, and where to read on."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from fts.tui import pictures
from tests.tui import study
from tests.tui.stories import monitor, press, shown, until
from tests.tui.values import HOUR, NOW

SIZES = ((80, 24), (120, 40), (200, 60))


def picture(path: Path, size, later=HOUR, **options) -> str:
    """An hour after the last beat, unless told otherwise."""
    return pictures.render(path, options.pop("screen", "queue"), size, now=NOW + later, user=study.USER, **options).text


@pytest.mark.parametrize("size", SIZES)
def test_the_first_screen_shows_the_last_words_of_a_lost_cell(db_path, size):
    text = picture(db_path, size)
    assert "ACT" in text
    assert "last words of 20M/h5 t6 · its worker is lost" in text
    for line in study.LOG.splitlines()[-3:]:
        assert line[:60] in text
    assert "fts logs 6" in text


@pytest.mark.parametrize("size", SIZES)
def test_while_the_worker_lives_there_are_none(db_path, size):
    assert "last words" not in picture(db_path, size, later=0)


@pytest.mark.parametrize("size", SIZES)
def test_a_failed_cell_that_is_selected_shows_what_the_journal_kept(db_path, size):
    text = picture(db_path, size, later=0, job_id=5)
    assert "last words of 20M/h3 t2 · out of memory" in text
    assert [row.strip() for row in text.splitlines() if row.startswith(("Traceback", "MemoryError"))] == [
        "Traceback", "MemoryError",
    ]  # fmt: skip
    assert "MemoryError" not in picture(db_path, size, later=0)


def test_a_worker_that_goes_silent_while_one_looks_is_told_without_any_write(db_path):
    """The database does not change when a worker dies; only the time does."""
    before, after = (pictures.look(db_path, "queue", (80, 24), now=NOW + s, user=study.USER) for s in (0, 60))
    assert before.last is None
    assert after.last is not None


async def test_the_monitor_reads_the_words_when_the_time_has_come(built, tmp_path):
    import time

    path = study.copy(built, tmp_path / "study" / "outputs")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE worker SET heartbeat_at = ?", (time.time(),))
    async with monitor(path) as (app, pilot):
        assert "last words" not in shown(app)
        app.now = lambda: time.time() + 60.0
        app.tick()
        await until(lambda: "last words of 20M/h5 t6" in shown(app), pilot)


async def test_the_trials_screen_shows_the_last_words_of_an_interrupted_trial(built, tmp_path):
    path = study.copy(built, tmp_path / "study" / "outputs")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trial SET status = 'interrupted' WHERE status = 'running'")
    async with monitor(path, (120, 40)) as (app, pilot):
        await press(pilot, "2", "g")
        await until(lambda: "ep 5/8" in shown(app), pilot)
        assert "its last words" in shown(app)
        assert "fts logs 6:t6" in shown(app)


def test_a_replay_shows_no_words_that_were_said_later(db_path):
    text = pictures.render(db_path, "queue", (120, 40), at=NOW - HOUR, user=study.USER).text
    assert "best of trial" not in text.split("last words")[-1] or "last words" not in text


def lost_few(size, selected=5):
    from fts.jobs.status import summary as glances
    from fts.jobs.status.log_excerpt import LastLines
    from fts.tui.data.view import Details, View
    from fts.tui.render.text import as_text
    from tests.tui.values import make_job, make_snapshot, make_worker

    job = make_job(5, "20M", 3, "running", worker_id=1, lease_until=NOW + 50, attempt=1)
    seen = make_snapshot(jobs=(job, make_job(6)), workers=(make_worker(heartbeat_at=NOW - 180),))
    last = LastLines(5, "20M/h3 t2 · its worker is lost", ("a", "b", "c " * 60 + "end"), "outputs/logs/" + "x" * 60)
    view = View(glances.look(seen, NOW), Details(last=last), job_id=selected)
    return as_text(pictures.frame(view, *size))


def test_a_pocket_with_free_rows_shows_them_too():
    text = lost_few((60, 15))
    assert "last words of 20M/h3 t2" in text
    assert "\nend\n" in text, "a long line goes on in the free rows"


@pytest.mark.parametrize("size", [(60, 15), (80, 24)])
def test_where_to_read_on_is_whole_or_without_the_file(size):
    text = lost_few(size)
    assert "5 shows all of it, or: fts logs 5" in text
    assert "outputs/logs/x" not in text


def test_5_is_named_only_for_the_selected_cell_whose_log_it_shows():
    text = lost_few((80, 24), selected=6)
    assert "last words of 20M/h3 t2" in text and "all of it: fts logs 5" in text
    assert "5 shows all of it" not in text and "5 full" not in text


def test_a_short_queue_leaves_room_for_the_curve_and_the_words():
    text = lost_few((80, 24))
    assert "last words" in text
    assert "20M/h3  curve by epoch" in text


def left(built, folder: Path, asked: str | None) -> Path:
    """The study after its worker has put the running cell back and gone."""
    path = study.copy(built, folder / "study" / "outputs")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trial SET status = 'interrupted' WHERE status = 'running'")
        connection.execute(
            "UPDATE job SET status = 'queued', worker_id = NULL, lease_until = NULL WHERE status = 'running'"
        )
        connection.execute("UPDATE worker SET status = 'stopped', asked = ?, stopped_at = ?", (asked, NOW))
    (path.parent / "logs" / "worker.log").write_text("08:13:02  20M/h5 t6 ep 4\n08:14:00  drained; bye\n")
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("asked", "how"), [("drain_trial", "drained"), (None, "stopped")])
def test_a_worker_that_left_cells_waiting_is_quoted_from_its_log(built, tmp_path, size, asked, how):
    text = picture(left(built, tmp_path, asked), size)
    assert f"last words of worker 1 · {how} 08:14" in text
    assert "drained; bye" in text
    assert "all of it: outputs/logs/worker.log" in text


def test_a_log_that_is_older_than_the_worker_is_not_its_own(built, tmp_path):
    path = left(built, tmp_path, None)
    os.utime(path.parent / "logs" / "worker.log", (0, 0))
    assert "last words" not in picture(path, (120, 40))


@pytest.mark.parametrize("silent_s", [0.0, 10 * HOUR])
async def test_esc_says_that_the_worker_keeps_running_only_where_one_is_alive(built, tmp_path, silent_s):
    import time

    path = study.copy(built, tmp_path / "study" / "outputs")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE worker SET heartbeat_at = ?", (time.time() - silent_s,))
    async with monitor(path) as (app, pilot):
        await press(pilot, "escape")
        assert "q leaves the monitor" in shown(app)
        assert ("the worker keeps running" in shown(app)) == (silent_s == 0.0)
