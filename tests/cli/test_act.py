"""The commands that change: what they do, what they refuse, how they are taken back."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.values import JobStatus
from fts.study.matrix import write
from fts.study.results import data_note, result_of
from tests.cli.study import cell, claim, failed_cell, finished_cell, places_of, start_trial, start_worker


def order(db: Database) -> list[int]:
    return [job.id for job in queries.jobs(db) if job.status in (JobStatus.QUEUED, JobStatus.PAUSED)]


def status(db: Database, job_id: int) -> str:
    return str(queries.job(db, job_id).status)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["move", "3", "up"], [1, 3, 2, 4]),
        (["move", "1-2", "down"], [3, 1, 2, 4]),
        (["move", "4", "top"], [4, 1, 2, 3]),
        (["move", "1", "bottom"], [2, 3, 4, 1]),
        (["move", "h3", "1"], [2, 4, 1, 3]),
        (["move", "4", "--before", "2M/h3"], [1, 4, 2, 3]),
        (["next", "20M"], [3, 4, 1, 2]),
    ],
)
def test_moving_jobs(fts, db: Database, words, expected):
    assert fts(*words, "--dry-run").code == 0
    assert order(db) == [1, 2, 3, 4]
    assert fts(*words).code == 0
    assert order(db) == expected
    assert fts("undo").code == 0
    assert order(db) == [1, 2, 3, 4]
    assert fts("redo").code == 0
    assert order(db) == expected


def test_pause_and_resume_of_waiting_and_running_jobs(fts, db: Database):
    claim(db)
    assert "asked to pause" in fts("pause", "1").out
    assert queries.job(db, 1).asked == "pause"
    assert fts("pause", "2-3").code == 0
    assert [status(db, n) for n in (2, 3)] == ["paused", "paused"]
    assert fts("resume", "all").code == 0
    assert queries.job(db, 1).asked is None and status(db, 2) == "queued"


def test_cancel_is_undone_and_retry_brings_a_failed_job_back(fts, db: Database):
    failed_cell(db)
    assert fts("cancel", "2").code == 0 and status(db, 2) == "cancelled"
    assert fts("undo").code == 0 and status(db, 2) == "queued"
    assert fts("retry", "state:failed").code == 0 and status(db, 1) == "queued"


def test_a_job_that_was_put_in_line_again_under_another_number_is_not_offered_for_retry(fts, db: Database):
    transitions.cancel(db, [2])
    (line,) = write(db, [cell("2M", 3)], again=True)
    known = f"job {line.job_id} has the same specification and has not ended"
    said = fts("retry", "2")
    assert said.code == 1 and known in said.err
    why = fts("why", "2").out
    assert known in why and "fts retry" not in why
    transitions.cancel(db, [line.job_id])
    assert "`fts retry 2`" in fts("why", "2").out and fts("retry", "2").code == 0
    assert "job 2 has the same specification" in fts("retry", str(line.job_id)).err


def test_the_queue_is_paused_with_a_reason_and_resumed(fts, db: Database):
    assert fts("pause", "--queue", "--reason", "the building is hot").code == 0
    assert queries.flag(db, "queue_paused")["reason"] == "the building is hot"
    assert fts("resume").code == 0  # nothing named, and the queue is what is paused
    assert queries.flag(db, "queue_paused") is None


def test_workers_are_drained_stopped_and_withdrawn(fts, db: Database):
    worker = start_worker(db)
    for words, asked in ((["drain"], "drain_trial"), (["drain", "--after", "job"], "drain_job"), (["stop"], "stop")):
        assert fts(*words).code == 0
        assert queries.workers(db)[0].asked == asked
    assert fts("drain", "--withdraw", "--worker", str(worker)).code == 0
    assert queries.workers(db)[0].asked is None


def test_an_empty_note_is_refused(fts, db: Database):
    for text in ("", " "):
        said = fts("note", text)
        assert said.code == 2 and "the note is empty" in said.err
    assert not [event for event in queries.events(db, limit=9) if event.verb == "note"]


def test_a_note_and_an_acknowledgement_stand_in_the_journal(fts, db: Database):
    failed_cell(db)
    assert fts("note", "fan", "replaced", "--job", "2").code == 0
    assert fts("ack").code == 0
    noted, acknowledged = queries.events(db, limit=2)
    assert (noted.verb, noted.message, noted.job_id) == ("noted", "fan replaced", 2)
    assert acknowledged.verb == "acknowledged" and queries.job(db, 1).acknowledged_at is not None


def test_a_job_named_by_itself_must_fit_and_of_a_pattern_the_others_are_left_out(fts, db: Database):
    finished_cell(db)
    refused = fts("pause", "1")
    assert refused.code == 1 and "2M/h1 is done" in refused.err and refused.err.count("\n") == 1
    swept = fts("pause", "2M")
    assert swept.code == 0 and "left out: job 1, 2M/h1 is done" in swept.err
    assert status(db, 2) == "paused"
    assert fts("retry", "20M").code == 1


def test_all_or_nothing_when_one_of_several_named_jobs_does_not_fit(fts, db: Database):
    finished_cell(db)
    assert fts("pause", "1", "2", "3").code == 1
    assert [status(db, n) for n in (2, 3)] == ["queued", "queued"]


def test_a_dry_run_says_what_would_happen_and_leaves_no_event(fts, db: Database):
    before = len(queries.events(db))
    for words in (["pause", "1"], ["cancel", "all"], ["pause", "--queue"], ["note", "x"], ["next", "3"]):
        said = fts(*words, "-n")
        assert said.code == 0 and said.out.startswith("Dry run: ")
    assert len(queries.events(db)) == before


def test_what_cannot_be_undone_says_why(fts, db: Database):
    assert "nothing to redo" in fts("redo").err
    fts("pause", "1")
    transitions.resume(db, [1])
    transitions.move(db, [1], "top")
    claim(db)
    said = fts("undo", "3")
    assert said.code == 1 and said.err.count("\n") == 1


def test_a_change_as_json_names_action_jobs_and_event(fts, db: Database):
    change = json.loads(fts("pause", "2-3", "--json").out)["change"]
    assert (change["action"], change["job_ids"]) == ("pause", [2, 3])
    assert change["event_id"] == queries.events(db, limit=1)[0].id


@pytest.mark.parametrize(("answer", "expected"), [(b"n\n", None), (b"\n", None), (b"y\n", "cancel")])
def test_cancelling_a_running_job_asks_at_a_terminal_and_no_is_the_default(
    tmp_path: Path, db: Database, answer: bytes, expected: str | None
):
    start_trial(db, claim(db))
    said = at_a_terminal(["--db", str(places_of(tmp_path).db), "cancel", "1"], answer)
    assert "3 trials will be missing" in said and "t0 of 2M/h1" in said
    assert queries.job(db, 1).asked == expected


def test_undo_at_a_terminal_asks_about_each_foreign_change_and_reverts_what_it_named(tmp_path: Path, db: Database):
    path = str(places_of(tmp_path).db)
    transitions.pause(db, [1], who="ada@lab")
    assert "Do it?" in at_a_terminal(["--db", path, "undo"], b"n\n")

    def in_between() -> None:
        transitions.pause(db, [2], who="bob@lab")

    said = " ".join(at_a_terminal(["--db", path, "undo"], b"y\n", in_between).split())
    assert "by ada@lab" in said and "another change is the latest by now" in said
    assert [status(db, n) for n in (1, 2)] == ["paused", "paused"], "bob's was not in the question"
    transitions.pause(db, [3])
    said = " ".join(at_a_terminal(["--db", path, "undo", "2"], b"y\n").split())
    assert "by bob@lab" in said and "by ada@lab" not in said, "one of the two is somebody else's"
    assert [status(db, n) for n in (1, 2, 3)] == ["paused", "queued", "queued"]


def test_undo_in_a_script_asks_nobody(fts, db: Database):
    transitions.pause(db, [1], who="ada@lab")
    assert fts("undo").code == fts("redo").code == fts("undo", "--yes").code == 0
    assert status(db, 1) == "queued"


def at_a_terminal(words: list[str], answer: bytes, before: Callable[[], None] | None = None) -> str:
    """Runs `fts` with a pseudo-terminal for stdin and stderr; what it said. `before`: called when it has asked."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "fts.jobs.cli", *words], stdin=theirs, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        said = b""
        while before and b"[y/N]" not in said:
            said += os.read(ours, 4096)
        if before:
            before()
        os.write(ours, answer)
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # Linux: the other side has closed
                break
            if not chunk:
                break
            said += chunk
        child.wait(30)
    os.close(ours)
    return said.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
def test_a_command_that_waits_for_a_lock_says_once_for_whom(db: Database, tmp_path: Path):
    path = str(places_of(tmp_path).db)
    code = "import sqlite3, sys; held = sqlite3.connect(sys.argv[1], isolation_level=None); "
    code += "held.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        argv = [sys.executable, "-m", "fts.jobs.cli", "--db", path, "note", "hello"]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as command:
            assert command.stderr is not None
            said = command.stderr.readline()
            assert other.stdin is not None
            other.stdin.close()
            rest = command.stderr.read()
    assert f"is locked by process {other.pid} (" in said and said.endswith("waiting\n")
    assert command.returncode == 0 and "locked" not in rest


def second_task(db: Database) -> None:
    """Job 5: 2M/h1 of another task, beside job 1."""
    write(db, [replace(cell("2M", 1), task="threshold_2pct", experiment="phase6a_2M_h1_threshold_2pct")])


def test_a_cell_of_two_tasks_must_be_named_by_which(fts, db: Database):
    second_task(db)
    refused = fts("cancel", "2M/h1")
    assert refused.code == 2 and "1 (2M/h1 1pct), 5 (2M/h1 2pct); name them by their numbers" in refused.err
    assert not queries.jobs(db, ["cancelled"])
    assert fts("cancel", "2M/h1 2pct").code == 0
    assert [job.id for job in queries.jobs(db, ["cancelled"])] == [5]
    assert fts("cancel", "2M/h3").code == 0  # of one task: nothing to ask


def test_a_name_with_its_number_as_the_monitor_shows_it_means_that_job(fts, db: Database):
    write(db, [replace(cell("2M", 1), experiment="again_2M_h1")], again=True)
    assert "2M/h1#5" in fts("status").out
    assert fts("cancel", "2M/h1#5").code == 0
    assert fts("why", "2M/h3#2").code == 0, "also where the number is not needed to tell it apart"
    assert fts("why", "2M/h3#1").code != 0, "job 1 is another cell"
    assert [job.id for job in queries.jobs(db, ["cancelled"])] == [5]


def test_tables_say_the_task_only_of_cells_that_share_a_name(fts, db: Database):
    second_task(db)
    for command in ("results", "plan"):
        cells = {row["job"]: row["cell"] for row in json.loads(fts(command, "--json").out)[command]}
        assert cells == {1: "2M/h1 1pct", 2: "2M/h3", 3: "20M/h1", 4: "20M/h3", 5: "2M/h1 2pct"}
    assert "1 (2M/h1 1pct), 5 (2M/h1 2pct)" in fts("why", "2M/h1").err


def test_results_on_two_versions_of_the_data_say_so(fts, db: Database):
    rows = [result_of(job, ()) for job in queries.jobs(db)]
    assert data_note(replace(row, data_md5="ab" * 16) for row in rows) is None
    mixed = [replace(row, data_md5=("ab" if row.job < 3 else "cd") * 16) for row in rows]
    assert "jobs 1, 2 on data abababab; jobs 3, 4 on data cdcdcdcd" in (data_note(mixed) or "")
