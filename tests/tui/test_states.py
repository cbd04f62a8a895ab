"""Empty and broken worlds: no file, no jobs, all done, a locked, replaced, newer, damaged database; nothing crashes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fts.jobs.actions.registry import by_id
from fts.jobs.status import summary as glances
from fts.state import transitions
from fts.state.db import open_database
from fts.state.values import Cause
from fts.tui import pictures
from fts.tui.data.messages import Unreadable, in_words
from fts.tui.data.view import CURVES, Details, View
from fts.tui.navigation import Navigation
from fts.tui.render.text import as_text
from fts.tui.screens import curves, queue
from fts.tui.screens.enqueue import EnqueueForm
from fts.tui.widgets.lines import Lines, changed_runs
from tests.jobs.test_glance_sanitize import HOSTILE
from tests.tui import study
from tests.tui.stories import monitor, on_screen, press, rows, shown, until
from tests.tui.values import (
    HOUR,
    NOW,
    make_epochs,
    make_event,
    make_job,
    make_snapshot,
    make_trial,
    make_worker,
    picture,
)


def frame(snapshot, screen=0, size=(80, 24), details=None):
    navigation = Navigation(screen=screen)
    navigation.settle(snapshot, 0.0)
    view = navigation.view(glances.look(snapshot, NOW, title="study"), details or Details())
    return as_text(pictures.frame(view, *size))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_why_a_job_does_not_run_is_said_in_words_that_fit(width):
    """What cannot be read to its end says less: how long until a lost job is free stood behind the cut."""
    silent = make_worker(heartbeat_at=NOW - 30)
    hot = replace(silent, heartbeat_at=NOW, guard="frozen", guard_message="88°C > 85°C")
    jobs = (
        make_job(1, "2M", 1, "running", worker_id=1, lease_until=NOW + 45, attempt=1, token=1),
        make_job(2, "2M", 3, "paused"),
        make_job(3, "2M", 5, "cancelled", ended_at=NOW - HOUR),
        make_job(4, "20M", 1, "failed", cause=Cause.OUT_OF_MEMORY, message="asked 131 GB, 128 GB are there"),
        make_job(5, "20M", 3, "queued", hold_reason="needs 91 GB, 20 GB allowed"),
        make_job(6, "20M", 5, "queued"),
    )
    events = (make_event(1, NOW - HOUR, "paused", 2, who="you@x"), make_event(2, NOW, "cancelled", 3, who="you@x"))
    found = make_snapshot(jobs=jobs, workers=(silent,), trials=(), events=events)
    for changes, wanted in (
        ({}, ("silent, free in 45s", "by you 07:14", "held: needs 91 GB")),
        ({"queue_paused": True, "queue_paused_reason": "disk: 11 MB of disk free, 1.0 GB reserved"}, ("queue paused",)),
        ({"workers": (hot,)}, ("88°C > 85°C",)),
    ):
        rows = frame(replace(found, **changes), size=(width, 24)).splitlines()[2:11]
        assert all(any(each in row for row in rows) for each in wanted), rows
        assert width == 60 or not any("…" in row for row in rows if "OOM" not in row), rows


async def test_no_database_says_what_to_do_and_where_it_looked(tmp_path):
    path = tmp_path / "outputs" / "fts.db"
    async with monitor(path) as (app, pilot):
        text = shown(app)
        assert f"No state at {str(path)[:20]}" in " ".join(text.split()), "a long path may be cut"
        assert "fts enqueue FILE.py:FUNCTION" in " ".join(text.split())
        head = text.split("No state")[0]
        assert "no database" in head and not any(word in head for word in ("live", "first visit", "last 10 h", "►"))
        bar = shown(app).splitlines()[-1].split()
        assert bar == ["e", "enqueue", ":", "command", "?", "help"], "no key that needs a database"
        await press(pilot, "e")
        await until(lambda: isinstance(app.screen, EnqueueForm), pilot)
        await press(pilot, "escape")
        for number in "1234567":
            await press(pilot, number)


async def test_a_database_that_appears_is_shown(tmp_path, built):
    folder = tmp_path / "late" / "outputs"
    folder.mkdir(parents=True)
    async with monitor(folder / "fts.db") as (app, pilot):
        assert "No state" in shown(app)
        study.copy(built, folder)
        app.look(now=True)
        await until(lambda: "20M/h5" in shown(app), pilot)


async def test_readonly_without_a_database_does_not_offer_to_create_it(tmp_path):
    async with monitor(tmp_path / "fts.db", readonly=True) as (app, _pilot):
        assert "Press e" not in shown(app)
        assert not (tmp_path / "fts.db").exists()


def test_no_jobs_says_how_to_put_any_study_in_line():
    text = frame(make_snapshot())
    assert "fts enqueue train.py:objective --trials 50" in text
    assert "fts enqueue --matrix" in text


@pytest.mark.parametrize("screen", range(7))
@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_no_screen_is_an_empty_box_without_jobs(screen, size):
    text = frame(make_snapshot(), screen, size)
    assert len([row for row in text.split("\n") if row.strip()]) >= 4


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
def test_a_finished_study_keeps_its_jobs_and_cursor_below_a_summary(size):
    jobs = tuple(
        make_job(n, "2M", h, "done", trials_complete=50, best_value=0.65, ended_at=NOW - 60, started_at=NOW - 900)
        for n, h in ((1, 1), (2, 3), (3, 5))
    )
    view = View(glances.look(make_snapshot(jobs=jobs), NOW), Details(), job_id=2)
    rows = as_text(pictures.frame(view, *size)).splitlines()
    at = next(n for n, row in enumerate(rows) if row.startswith("finished 08:13: 3 done · 150 trials"))
    listed = [row for row in rows[at:] if re.match(r"[ ►]✓ \d ", row)]
    assert [row[5:10] for row in listed] == ["2M/h1", "2M/h3", "2M/h5"]
    assert [row.startswith("►") for row in listed] == [False, True, False]
    assert [id for id in queue.rows(view, size[0], 13) if id is not None] == [1, 2, 3]


def test_there_is_no_summary_before_the_end_and_none_without_a_result():
    done = make_job(1, "2M", 1, "done", trials_complete=50, best_value=0.65, ended_at=NOW - 60, started_at=NOW - 900)
    cancelled = make_job(2, "2M", 3, "cancelled", ended_at=NOW - 60)
    failed = make_job(3, "2M", 5, "failed", ended_at=NOW)
    assert "finished 08:14: 1 done, 1 failed, 1 cancelled" in frame(make_snapshot(jobs=(done, cancelled, failed)))
    assert "\nfinished" not in frame(make_snapshot(jobs=(cancelled,)))
    for status in ("queued", "running", "paused"):
        assert "\nfinished" not in frame(make_snapshot(jobs=(done, make_job(4, "2M", 5, status))))


def test_the_best_curve_of_a_cell_is_not_missing_before_it_is_read():
    job = make_job(1, "2M", 1, "done", best_value=0.65, best_trial=4, ended_at=NOW - 60)
    best = make_trial(9, 1, 4, value=0.65, epochs=5, ended_at=NOW - 60)
    snapshot = make_snapshot(jobs=(job, make_job(2, "2M", 3)), trials=(best,))
    text = frame(snapshot, CURVES, (120, 40))
    assert "reading ..." in text
    assert text.count("no curve yet") == 1, "of the cell that has not begun"
    read = Details(best_curves={1: make_epochs(9, 5, 0.65, NOW - 60)})
    assert "reading ..." not in frame(snapshot, CURVES, (120, 40), read)
    assert "no curve yet" in frame(snapshot, CURVES, (120, 40), Details(best_curves={1: ()}))


def test_more_than_twelve_cells_scroll_and_running_ones_stay_in_sight():
    jobs = [make_job(n, "2M", n, rank=float(n)) for n in range(1, 41)]
    jobs[30] = make_job(31, "20M", 31, "running", worker_id=1, started_at=NOW - 60)
    navigation = Navigation(job_id=2)
    view = navigation.view(glances.look(make_snapshot(jobs=tuple(jobs)), NOW), Details())
    text = as_text(pictures.frame(view, 80, 24))
    assert "20M/h31" in text
    assert "2M/h2 " in text


async def test_a_locked_database_keeps_the_last_frame_and_says_so(db_path):
    async with monitor(db_path) as (app, pilot):
        app.poller.stop()  # its next good read would end the problem
        app.poller.join()
        await pilot.pause()  # and so would one that is on its way: it is handled before this returns
        assert not app.readings.problem
        app.on_unreadable(Unreadable("busy", "the file is locked by another process"))
        assert "locked" in shown(app)
        assert "20M/h5" in shown(app)
        await press(pilot, "p")
        assert "locked" in app.toast[0]
        assert rows(db_path)["20M/h5"] == "running"


def test_a_refusal_of_the_system_is_told_without_its_number():
    assert in_words(PermissionError(13, "Permission denied", "outputs/fts.db")) == "outputs/fts.db: Permission denied"
    assert in_words(ValueError("2 is no place")) == "2 is no place"


async def test_a_folder_that_cannot_be_entered_is_told_in_words(tmp_path):
    (tmp_path / "study").write_text("a file where the folder was")
    async with monitor(tmp_path / "study" / "fts.db") as (app, _):
        assert (
            app.readings.problem == "fts.db: Not a directory"
        )  # no [Errno 20], and what is wrong fits into 80 columns
        assert "BLIND" in shown(app)


async def test_a_database_that_is_locked_from_the_start_is_shown_once_it_is_free(db_path):
    holder = sqlite3.connect(db_path)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    async with monitor(db_path) as (app, pilot):
        assert app.readings.problem_kind == "busy"
        assert "reading again every 1, 2, 5 s" in app.readings.problem
        assert "BLIND" in shown(app)
        assert "IDLE" not in shown(app)
        holder.rollback()
        holder.close()
        app.look(now=True)
        await until(lambda: "20M/h5" in shown(app), pilot)
        assert not app.readings.problem


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
async def test_a_worker_that_waits_for_a_lock_is_told_apart_from_a_dead_one(db_path):
    with sqlite3.connect(db_path) as connection:
        connection.execute("UPDATE worker SET pid = ?, heartbeat_at = ?", (os.getpid(), time.time() - 30))
    connection.close()
    async with monitor(db_path, (120, 40)) as (app, pilot):
        assert "silent for" in shown(app)
        argv = [sys.executable, "-c", HOLD, str(db_path)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "held\n"
            app.look(now=True)
            sentence = f"database locked by process {other.pid} (python"
            await until(lambda: sentence in shown(app), pilot)
            assert f"worker 1 (pid {os.getpid()}) waits, training continues" in shown(app)
            assert "silent for" not in shown(app).split("\n")[1]
        app.look(now=True)
        await until(lambda: "silent for" in shown(app).split("\n")[1], pilot)


def held(path):
    """Another connection holds the write lock until it is closed."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    return holder


async def test_keys_under_a_lock_each_say_that_they_changed_nothing(db_path, monkeypatch):
    monkeypatch.setattr("fts.tui.action_runner.BUSY_S", 0.3)
    holder = held(db_path)
    async with monitor(db_path) as (app, pilot):
        before = rows(db_path)
        app.navigation.job_id = next(
            job.id for job in app.readings.snapshot.jobs if (job.budget, job.horizon) == ("200M", 1)
        )
        for wanted in ("pause", "move_down"):  # both before the first can have waited in vain
            app.action_runner._run(by_id(wanted), app.chosen())
        assert app.pending
        await until(lambda: not app.pending, pilot)
        assert app.toast[0].startswith("p, J: fts.db is locked by ")
        assert "nothing was w" in shown(app), "what matters must fit 80 columns"
        assert rows(db_path) == before
    holder.close()


async def test_an_undo_does_not_overtake_what_it_takes_back(db_path):
    holder = held(db_path)
    async with monitor(db_path) as (app, pilot):
        app.navigation.job_id = next(
            job.id for job in app.readings.snapshot.jobs if (job.budget, job.horizon) == ("200M", 1)
        )
        for _ in range(3):
            app.action_runner._run(by_id("pause"), app.chosen())
            app.action_runner._run(by_id("undo"), ())
        holder.rollback()
        await until(lambda: not app.pending, pilot)
        app.look(now=True)
        wanted = ["paused", "undone"] * 3
        await until(lambda: [event.verb for event in app.readings.journal][-6:] == wanted, pilot)
        assert rows(db_path)["200M/h1"] == "queued"
    holder.close()


async def test_what_failed_after_the_last_frame_is_told_on_the_way_out(db_path, monkeypatch):
    monkeypatch.setattr("fts.tui.action_runner.BUSY_S", 0.5)
    monkeypatch.setattr("fts.tui.action_runner.SILENT_S", 5.0)
    holder = held(db_path)
    async with monitor(db_path) as (app, pilot):
        app.navigation.job_id = next(
            job.id for job in app.readings.snapshot.jobs if (job.budget, job.horizon) == ("200M", 1)
        )
        await press(pilot, "p")
        app.exit()
    (sentence,) = app.action_runner.finish(lambda: None)
    assert sentence.startswith("p: fts.db is locked by ")
    holder.close()


async def test_an_unforeseen_fault_of_an_action_is_told(db_path, monkeypatch):
    def broken(*_args, **_named):
        raise KeyError("colour")

    monkeypatch.setattr("fts.tui.action_runner.run_action", broken)
    async with monitor(db_path) as (app, _pilot):
        app.action_runner._run(by_id("pause_queue"), ())
        await until(lambda: not app.pending)
        assert app.toast[0] == "P: it failed: 'colour'"


async def test_a_key_does_not_make_a_database_where_one_was_removed(db_path):
    async with monitor(db_path) as (app, pilot):
        for path in db_path.parent.glob("fts.db*"):
            path.unlink()
        app.presence.written = 0.0
        await press(pilot, "down", "p", "u")
        await app.workers.wait_for_complete()
        app.action_runner.finish(lambda: None)
        app.look(now=True)
        await until(lambda: app.readings.problem_kind == "gone", pilot)
        assert not db_path.exists()
        assert "there is no study at" in app.readings.problem


async def test_a_replaced_file_is_opened_anew(db_path, built, tmp_path):
    async with monitor(db_path) as (app, pilot):
        other = study.copy(built, tmp_path / "other")
        db = open_database(other)
        transitions.operator.pause(db, [7])
        db.close()
        other.replace(db_path)
        app.look(now=True)
        await until(lambda: "replaced" in app.toast[0], pilot)
        await until(lambda: next(j for j in app.readings.snapshot.jobs if j.id == 7).status == "paused", pilot)


async def test_a_deleted_file_keeps_the_last_frame(db_path):
    async with monitor(db_path) as (app, pilot):
        for file in db_path.parent.glob("fts.db*"):
            file.unlink()
        app.look(now=True)
        await until(lambda: "`fts enqueue` begins one" in shown(app), pilot)
        assert app.readings.problem_kind == "gone"
        assert "20M/h5" in shown(app)


async def test_a_newer_schema_is_shown_and_refused_for_writing(db_path):
    connection = sqlite3.connect(db_path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    async with monitor(db_path) as (app, pilot):
        assert "20M/h5" in shown(app)
        assert "BLIND" in shown(app) and "the file has schema 99" in shown(app)
        assert app.readonly and app.locked
        await press(pilot, "j", "p")
        await until(lambda: "schema 99" in app.toast[0], pilot)
        assert rows(db_path)["200M/h1"] == "queued"


async def test_a_damaged_file_ends_in_a_sentence(tmp_path):
    path = tmp_path / "fts.db"
    path.write_bytes(b"this is no database at all, " * 100)
    async with monitor(path) as (app, pilot):
        await until(lambda: app.readings.problem, pilot)
        assert "damaged" in app.readings.problem or "not a database" in app.readings.problem
        assert "BLIND" in shown(app), "at once, and not after 15 s"
        assert "damaged" in shown(app).split("\n")[1]
        assert "live" not in shown(app)
        assert "IDLE" not in shown(app)


async def test_a_read_that_fails_in_a_way_nobody_foresaw_blinds_too(db_path):
    connection = sqlite3.connect(db_path)
    connection.execute("ALTER TABLE worker DROP COLUMN guard_message")
    connection.commit()
    connection.close()
    async with monitor(db_path) as (app, _pilot):
        assert "BLIND" in shown(app)
        assert "guard_message" in app.readings.problem
        assert app.poller.is_alive()


async def test_two_monitors_on_one_database(db_path):
    async with monitor(db_path) as (one, first):
        await press(first, "j", "p")
        await until(lambda: "u undoes" in one.toast[0], first)
    async with monitor(db_path) as (two, second):
        await press(second, "u")
        await until(lambda: next(j for j in two.readings.snapshot.jobs if j.id == 7).status == "queued", second)


async def test_hostile_strings_reach_no_terminal(db_path):
    """Written past all checks, as another program would; markup, escapes, directions."""
    evil = "".join(HOSTILE.values()) + "[@click=app.quit]x[/] [/foo] \U0001f600"
    connection = sqlite3.connect(db_path)
    safe = evil.encode("utf-8", "replace").decode()
    labels = json.dumps({"budget": safe, "horizon": 1, "task": safe, "tier": safe})
    connection.execute("UPDATE job SET message = ?, hold_reason = NULL, labels = ?, cell = ?", (safe, labels, safe))
    connection.execute("UPDATE study SET declaration = json_object('step', ?, 'axes', json_array(?))", (safe, safe))
    connection.execute("UPDATE event SET message = ?, who = ?", (safe, safe))
    connection.execute("UPDATE trial SET architecture = ?, message = ?, host = ?", (safe, safe, safe))
    connection.execute("UPDATE worker SET host = ?, guard_message = ?", (safe, safe))
    connection.commit()
    connection.close()
    (log,) = [p for p in (db_path.parent / "logs").iterdir() if "_6_" in p.name]
    log.write_bytes(safe.encode() + b"\xff\xfe\n" + b"x" * 50_000 + b"\n")
    for size in ((60, 15), (120, 40)):
        async with monitor(db_path, size) as (app, pilot):
            for key in ("1", "2", "3", "4", "5", "6", "7", "?"):
                await press(pilot, key)
                text = on_screen(app)
                assert not [char for char in text if char != "\n" and (ord(char) < 32 or 0x7F <= ord(char) < 0xA0)]
                assert "\u202e" not in text
            assert app.is_running


def test_only_changed_columns_are_sent():
    before = (("abc", ""), ("def", "dim"))
    assert changed_runs(before, (("abc", ""), ("def", "dim"))) == []
    assert changed_runs(before, (("abX", ""), ("def", "dim"))) == [(2, 3)]
    assert changed_runs(before, (("abc", ""), ("def", "bold"))) == [(3, 6)]
    assert changed_runs((("日本", ""),), (("日木", ""),)) == [(2, 4)]
    assert changed_runs((("e", ""),), (("é", ""),)) == [(0, 1)]
    far = " " * 40
    assert changed_runs(((f"a{far}b", ""),), ((f"A{far}B", ""),)) == [(0, 1), (41, 42)]


async def test_a_quiet_database_repaints_nothing(db_path):
    async with monitor(db_path) as (app, pilot):

        def repainted():
            return sum(lines.repainted for lines in app.screen.query(Lines))

        async def looked(times):
            before = repainted()
            for _ in range(times):
                app.look()
                app.tick()
                await pilot.pause(0.05)
            return repainted() - before

        for _ in range(20):  # a busy machine is late with the first readings
            if await looked(5) == 0:
                break
        assert await looked(5) == 0


async def test_the_reader_holds_no_transaction_and_no_lock(db_path):
    async with monitor(db_path) as (app, pilot):
        await pilot.pause(0.2)
        connection = sqlite3.connect(db_path, timeout=0.2)
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        connection.execute("BEGIN EXCLUSIVE")
        connection.rollback()
        connection.close()
        assert app.is_running


def test_log_paths_outside_the_study_are_not_opened(db_path, tmp_path):
    from fts.tui.data.reader import Reader, ReadRequest

    secret = tmp_path / "secret.txt"
    secret.write_text("do not show me\n")
    connection = sqlite3.connect(db_path)
    connection.execute("UPDATE trial SET log_path = ?", (str(secret),))
    connection.commit()
    connection.close()
    reader = Reader(Path(db_path))
    found = reader.read(ReadRequest(screen=4, job_id=6, with_log=True))
    reader.close()
    assert found is not None
    assert found.details.log == ()


async def test_a_worker_may_be_started_once_one_has_been_silent_though_nothing_was_written_since(db_path):
    async with monitor(db_path) as (app, pilot):
        app.poller.stop()  # its next read would replace what is set here
        app.poller.join()
        await pilot.pause()
        crew = tuple(replace(worker, heartbeat_at=app.now() - 20) for worker in app.readings.snapshot.workers)
        app.readings.snapshot = replace(
            app.readings.snapshot, taken_at=app.now() - 18, workers=crew
        )  # read while it was alive
        assert by_id("start_worker").why_not(None, app.present()) is None
        assert "is running" in by_id("start_worker").why_not(None, app.readings.snapshot)


def test_the_cell_of_a_dead_worker_has_no_time_of_its_end():
    alive = picture()
    dead = replace(alive, workers=(replace(alive.workers[0], heartbeat_at=NOW - 900),))
    left = []
    for snapshot in (alive, dead):
        (row,) = [row for row in frame(snapshot).splitlines() if "20M/h3" in row and "22/50" in row]
        left.append(row.split("★")[1].split()[0])
    assert re.fullmatch(r"\d+h\d\d", left[0])
    assert left[1] == "—"
    days = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d\d:\d\d")
    waiting = [row for row in frame(dead, size=(120, 40)).splitlines() if "◌" in row]
    assert waiting and not any(days.search(row) for row in waiting), "no day for what nobody works on"


def test_small_curves_that_are_missing_keep_to_their_columns():
    jobs = tuple(make_job(n, "2M", horizon) for n, horizon in enumerate((1, 3, 5, 10), 1))
    view = View(glances.look(make_snapshot(jobs=jobs), NOW), screen=CURVES, job_id=1)
    rows = ["".join(text for text, _ in row) for row in curves.small_multiples(view, 40, 12)]
    assert rows[2] == "no curve  " * 4 and {len(row) for row in rows} == {40}


def test_the_small_charts_are_of_the_cells_around_the_selected_one():
    from fts.tui.data.result_grid import jobs_in_sight

    jobs = tuple(make_job(n, f"b{n:03d}", 1, best_value=0.5, best_trial=0, cell=f"b{n:03d}/h1") for n in range(1, 501))
    for selected, height in ((1, 40), (250, 12), (500, 24), (250, 40)):
        view = View(glances.look(make_snapshot(jobs=jobs), NOW), Details(), screen=CURVES, job_id=selected)
        rows = ["".join(text for text, _ in row) for row in curves.small_multiples(view, 40, height)]
        assert any(f"►◌ b{selected:03d}" in row for row in rows), (selected, rows)
        shown = {int(row.split("b")[1][:3]) for row in rows if "◌ b" in row}
        assert shown <= set(jobs_in_sight(view, height + 6)), "a chart of which the curve is not read"
        assert len(jobs_in_sight(view, height)) <= height


def test_filter_order_and_marks_of_the_queue_leave_the_trials_beside_it_as_they_are():
    jobs = (make_job(1, "2M", 1, best_value=0.7, best_trial=2), make_job(2, "20M", 1))
    trials = tuple(make_trial(n, 1, n, value=0.5 + n / 10, ended_at=NOW) for n in (1, 2))
    known = glances.look(make_snapshot(jobs=jobs, trials=trials), NOW)
    plain = View(known, Details(1, trials), job_id=1)
    changed = replace(plain, filter="2M", sort="best", reverse=True, marks=frozenset({1}))  # also the id of a trial
    assert queue.trials(changed, 80, 12) == queue.trials(plain, 80, 12)
    assert "complete" in as_text(queue.trials(changed, 80, 12))


def test_the_commands_of_an_empty_queue_are_whole_in_the_pocket():
    text = as_text(pictures.frame(View(glances.look(make_snapshot(), NOW), Details()), 60, 18))
    assert "`fts enqueue train.py:objective -m size=S,M`" in text and "…" not in text
