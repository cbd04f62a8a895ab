"""The commands that show, on a study with finished, failed, running and waiting cells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from fts.jobs.cli.hardware import guard_of
from fts.jobs.cli.watch import jobs_without_worker
from fts.state import transitions
from fts.state.db import Database
from fts.state.models import EventRow
from fts.state.user import this_person
from fts.state.values import Cause
from fts.tui.data.reader import Reader, ReadRequest
from tests.cli.study import add_epoch, claim, failed_cell, finished_cell, places_of, start_trial, start_worker
from tests.tui.values import NOW, make_worker

HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J[/bold][@click=app.quit]\u202egpj.exe\r\nowned"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["queue", "--json"], "jobs"),
        (["trials", "2M/h1", "--json"], "trials"),
        (["curve", "2M/h1", "--json"], "epochs"),
        (["events", "--json"], "events"),
        (["results", "--json"], "results"),
        (["why", "2", "--json"], "why"),
        (["status", "--json"], "status"),
        (["hardware", "--json"], "samples"),
        (["budgets", "--json"], "budgets"),
        (["doctor", "--json"], "findings"),
        (["gc", "--json", "-n"], "gc"),
        (["db", "query", "--json", "select * from v_trials"], "rows"),
        (["pause", "2", "--json"], "change"),
        (["pause", "2", "--json", "-n"], "change"),
        (["data", "list", "--json"], "data"),
    ],
)
def test_json_is_one_object_with_schema_and_time(fts, db: Database, words, name):
    finished_cell(db)
    said = fts(*words)
    record = json.loads(said.out)
    assert record["schema"] == 3 and record["taken_at"] > 1e9 and name in record


def test_no_measurement_is_said_with_the_time_since_when_not_with_the_option(fts, db: Database):
    assert re.search(r"measured anything since (\w+ )?\d\d:\d\d; `fts worker` starts one", fts("hardware").err)


def test_the_queue_is_shown_in_the_order_it_will_run(fts, db: Database):
    transitions.move(db, [4], "top")
    cells = [line.split()[2] for line in fts("queue").out.splitlines()[1:]]
    assert cells == ["20M/h3", "2M/h1", "2M/h3", "20M/h1"]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["1"], [1]),
        (["2-3"], [2, 3]),
        (["3..2"], [2, 3]),
        (["#4"], [4]),
        (["2M"], [1, 2]),
        (["2m/h3"], [2]),
        (["h1"], [1, 3]),
        (["phase6a_20M_h3_threshold_1pct"], [4]),
        (["state:done"], [1]),
        (["state:queued", "1"], [1, 2, 3, 4]),
        (["!2M"], [3, 4]),
        (["budget:20M"], [3, 4]),
        (["horizon:h3"], [2, 4]),
        (["all"], [1, 2, 3, 4]),
        (["3", "3", "2-3"], [2, 3]),
    ],
)
def test_jobs_are_named_by_number_range_cell_budget_or_filter(fts, db: Database, words, ids):
    finished_cell(db)
    found = json.loads(fts("queue", "--json", *words).out)["jobs"]
    assert sorted(job["id"] for job in found) == ids


def test_a_cell_that_ran_twice_means_the_one_that_waits(fts, db: Database):
    done = finished_cell(db)
    transitions.enqueue(db, [_row(db, done.job_id) | {"spec_md5": "f" * 32}])
    assert json.loads(fts("why", "2M/h1", "--json").out)["why"]["job"] == 5


def _row(db: Database, job_id: int) -> dict:
    columns = "experiment, kind, budget, horizon, task, tier, trials_wanted, spec"
    values = db.execute_sql(f"SELECT {columns} FROM job WHERE id = ?", (job_id,)).fetchone()
    return dict(zip(columns.split(", "), values, strict=True))


def test_results_show_interval_counts_and_prior_beside_the_best_value(fts, db: Database):
    finished_cell(db, val_loss=0.5)
    row = json.loads(fts("results", "--json", "1").out)["results"][0]
    assert (row["value"], row["prior_loss"], row["auc_low"], row["auc_high"]) == (0.5, 0.53, 0.55, 0.65)
    assert (row["n_val"], row["n_pos"], row["complete"], row["badges"]) == (400, 90, 1, [])
    head, line = fts("results", "1").out.splitlines()
    assert "0.5000" in line and "0.550-0.650" in line and "1/0/0 of 3" in line and "prior" in head


def test_a_value_no_better_than_the_prior_or_chance_wears_a_badge(fts, db: Database):
    finished_cell(db, val_loss=0.53, low=0.49)
    row = json.loads(fts("results", "--json", "1").out)["results"][0]
    assert row["badges"] == ["below prior", "inside noise"]


def test_a_done_cell_in_which_every_trial_was_pruned_says_so(fts, db: Database):
    claimed = claim(db)
    for number in range(3):
        trial = start_trial(db, claimed, number)
        add_epoch(db, claimed, trial, 1, 0.7)
        transitions.finish_trial(db, claimed, trial, "pruned", Cause.PRUNED, value=0.7, best_epoch=1)
    assert "no winner: no complete trial yet" in fts("train", "1").err
    transitions.finish_job(db, claimed)
    said = "3 trials, all ended early: no complete trial; --pruner none or a milder rule"
    assert said in fts("results", "1").out and said in fts("results", "--md", "1").out
    first, second = json.loads(fts("results", "--json", "1", "2").out)["results"]
    assert (first["without_best"], second["without_best"]) == (said, None)
    for command in (("train", "1"), ("replicate", "1"), ("unseal", "1", "-y")):
        assert said in fts(*command).err


def test_results_of_a_cell_that_is_in_line_again_say_so(fts, db: Database):
    done = finished_cell(db)
    transitions.enqueue(db, [_row(db, done.job_id) | {"spec_md5": "f" * 32}])
    assert "older search: job 5 is queued" in fts("results", "1").out
    assert json.loads(fts("results", "--json", "1").out)["results"][0]["newer"] == "job 5 is queued"
    transitions.pause(db, [5])
    assert "older search: job 5 is paused" in fts("results", "1").out
    transitions.cancel(db, [5])
    assert "older search" not in fts("results").out


def test_results_as_csv_and_markdown_have_one_row_per_cell(fts, db: Database):
    finished_cell(db)
    csv_lines, md_lines = fts("results", "--csv").out.splitlines(), fts("results", "--md").out.splitlines()
    assert len(csv_lines) == 5 and csv_lines[0].startswith("job,cell,experiment")
    assert len(md_lines) == 6 and md_lines[1].count("---") >= 10


def test_the_table_agrees_with_the_view_people_query_by_hand(fts, db: Database):
    finished_cell(db)
    row = json.loads(fts("db", "query", "--json", "select * from v_trials").out)["rows"][0]
    shown = json.loads(fts("results", "--json", "1").out)["results"][0]
    assert (row["value"], row["n_val"], row["prior_loss"]) == (shown["value"], shown["n_val"], shown["prior_loss"])


def test_a_query_cannot_change_anything(fts, db: Database):
    for sql in ("delete from job", "drop table trial", "update job set rank = 0", "pragma user_version = 7"):
        fts("db", "query", sql)
    assert len(json.loads(fts("queue", "--json").out)["jobs"]) == 4
    assert db.execute_sql("PRAGMA user_version").fetchone()[0] == 3


@pytest.mark.parametrize(
    "sql", ["attach '{}' as other", "vacuum into '{}'", "pragma journal_mode=delete", "pragma query_only=0"]
)
def test_a_query_makes_no_file_and_sets_nothing(fts, db: Database, tmp_path: Path, sql: str) -> None:
    other = tmp_path / "other.db"
    assert fts("db", "query", sql.format(other)).code == 2 and not other.exists()
    assert db.execute_sql("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_query_says_that_there_are_more_rows_only_if_there_are(fts, db: Database) -> None:
    assert fts("db", "query", "select 1", "--limit", "1").err == ""
    assert "only the first 1 row;" in fts("db", "query", "select 1 union select 2", "--limit", "1").err


def test_a_query_may_ask_about_a_table(fts, db: Database) -> None:
    assert "trials_wanted" in fts("db", "query", "pragma table_info(job)").out
    assert fts("db", "query", "pragma quick_check").out.split() == ["quick_check", "ok"]


def test_a_curve_is_shown_as_numbers_and_as_a_plot(fts, db: Database):
    finished_cell(db)
    numbers = fts("curve", "2M/h1:t0")
    assert "★1" in numbers.out and "0.6000" in numbers.out
    plot = fts("curve", "1", "--plot").out
    assert "★" in plot and "epoch 2" in plot and max(map(len, plot.splitlines())) <= 80
    assert fts("curve", "1:t7").code == 6


@pytest.mark.parametrize(
    "command", ["queue", "status", "events", "results", "why 1", "trials 1", "logs 1", "status --plain"]
)
def test_a_hostile_text_cannot_steer_the_terminal(fts, db: Database, tmp_path: Path, command: str):
    log = places_of(tmp_path).logs / "a.log"
    log.parent.mkdir()
    log.write_text(HOSTILE)
    claimed = claim(db)
    start_trial(db, claimed, log_path=str(log))
    transitions.fail_job(db, claimed, "code error", HOSTILE)
    db.execute_sql("UPDATE trial SET message = ?, architecture = ?", (HOSTILE, HOSTILE))
    labels = {"budget": HOSTILE, "horizon": 3, "task": HOSTILE}
    hostile = (json.dumps(labels), HOSTILE, HOSTILE)
    db.execute_sql("UPDATE job SET labels = ?, cell = ?, experiment = ? WHERE id = 2", hostile)
    said = fts(*command.split())
    assert said.code == 0
    assert not CONTROL.search(said.out) and not CONTROL.search(said.err)


def test_a_log_outside_the_study_is_not_shown(fts, db: Database, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("the key")
    start_trial(db, claim(db), log_path=str(secret))
    said = fts("logs", "1")
    assert said.code == 6 and "the key" not in said.out + said.err


def test_a_study_that_was_moved_finds_its_logs_in_its_own_folder(fts, db: Database, tmp_path: Path):
    log = places_of(tmp_path).logs / "cell_1_t0000.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("the last word\n")
    start_trial(db, claim(db), log_path=f"/the/machine/it/ran/on/outputs/logs/{log.name}")
    assert fts("logs", "1").out == "the last word\n"


def test_logs_show_the_end_and_only_what_matches(fts, db: Database, tmp_path: Path):
    log = places_of(tmp_path).logs / "a.log"
    log.parent.mkdir()
    log.write_text("\n".join(f"line {n}" for n in range(100)))
    assert fts("logs", "-n", "2").out == "line 98\nline 99\n"
    assert fts("logs", "--grep", "7$", "-n", "2").out == "line 87\nline 97\n"
    assert json.loads(fts("logs", "-n", "1", "--json").out)["log"]["lines"] == ["line 99"]


def test_watch_tells_every_change_once_and_leaves_when_idle(fts, db: Database):
    finished_cell(db)
    transitions.pause_queue(db, "night")
    said = fts("watch", "--from", "0", "--until-idle", "--json")
    events = [json.loads(line)["event"] for line in said.out.splitlines()]
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    assert events[-1]["verb"] == "queue_paused"
    assert "queue paused: night" in fts("watch", "--from", "0", "--until-idle").out


def test_watch_in_sentences_names_the_cell_of_each_trial(fts, db: Database):
    finished_cell(db)
    transitions.pause_queue(db, "night")
    said = fts("watch", "--plain", "--from", "0", "--until-idle").out.splitlines()
    assert all(line.startswith("At ") and line.endswith(".") for line in said)
    assert any(re.search(r"trial 0 of 2M/h1 is complete with \w+ 0\.\d{4}\.$", line) for line in said), said
    assert any("enqueued 2M/h1." in line for line in said)


def test_a_watch_that_would_wait_for_a_worker_knows_so(db: Database):
    assert jobs_without_worker(db) == 4
    claim(db)
    assert jobs_without_worker(db) == 0, "a worker lives"


def test_events_can_be_limited_in_time_number_and_to_a_job(fts, db: Database):
    finished_cell(db)
    limited = fts("events", "--limit", "2", "--json")
    assert len(json.loads(limited.out)["events"]) == 2 and "only the newest 2 events" in limited.err
    every = len(json.loads(fts("events", "--json").out)["events"])
    assert "only" not in fts("events", "--limit", str(every)).err
    assert len(json.loads(fts("events", "--since", "1h", "--json").out)["events"]) > 4
    assert json.loads(fts("events", "--since", "2099-01-01", "--json").out)["events"] == []
    assert {e["job_id"] for e in json.loads(fts("events", "--job", "2M/h1", "--json").out)["events"]} == {1}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda db: None, "no worker is alive"),
        (lambda db: start_worker(db), "it waits for a slot, 1 job before it"),
        (lambda db: transitions.pause(db, [2]), "it is paused"),
        (lambda db: transitions.cancel(db, [2]), "it has ended: cancelled"),
        (lambda db: transitions.pause_queue(db, "night"), "the queue is paused: night"),
        (lambda db: db.execute_sql("UPDATE job SET hold_reason = 'needs 91 GB' WHERE id = 2"), "held: needs 91 GB"),
        (lambda db: claim(db), "it is next, and 1 slot of 1 worker is taken"),
        (lambda db: transitions.ask_worker(db, start_worker(db), "drain_job"), "every worker was asked to stop"),
    ],
)
def test_why_says_what_the_scheduler_would(fts, db: Database, make, expected: str):
    make(db)
    assert expected in fts("why", "2").out


def test_why_of_a_running_job_says_who_has_it(fts, db: Database):
    claim(db)
    said = fts("why", "1").out
    assert "is running" in said and "worker 1 runs it, attempt 1" in said and "its lease ends in" in said


@pytest.mark.parametrize(
    ("make", "code", "word"),
    [(lambda db: None, 10, "LOOK"), (lambda db: claim(db), 0, "WELL"), (lambda db: _all_done(db), 12, "IDLE")],
)
def test_status_gives_the_verdict_as_word_and_as_exit_code(fts, db: Database, make, code: int, word: str):
    make(db)
    assert fts("status").code == 0
    said = fts("status", "--exit-code")
    assert (said.code, word in said.out) == (code, True)
    assert fts("status", "--line").out.startswith(word)
    assert json.loads(fts("status", "--json").out)["status"]["verdict"] == word


def _all_done(db: Database) -> None:
    for _ in range(4):
        finished_cell(db)


def test_status_shows_a_past_moment_and_says_that_it_does(fts, db: Database):
    failed_cell(db, "out of luck")
    past = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - 3600))
    shown = fts("status", "--at", past)
    assert shown.code == 0
    assert "REPLAY" in shown.out
    assert "failed" not in shown.out
    assert fts("status", "--at", "yesterdayish").code == 2
    ahead = fts("status", "--at", "2999-01-01")
    assert ahead.code == 2 and "still to come" in ahead.err


def test_what_was_acknowledged_about_the_end_is_in_the_status(fts, db: Database):
    finished_cell(db)
    assert json.loads(fts("status", "--json").out)["status"]["acknowledged"] is None
    assert fts("ack").code == 0
    seen = json.loads(fts("status", "--json").out)["status"]["acknowledged"]
    assert seen["finish_at"] > seen["at"]
    assert abs(seen["slipped"]) < 1


def test_why_ends_with_what_a_failed_cell_said_last(fts, db: Database):
    claimed = claim(db)
    transitions.fail_job(db, claimed, "code error", "no luck", "a\nb\nTraceback\nValueError: no luck")
    said = fts("why", "1").out
    assert "last words of 2M/h1 · code error:" in said
    assert "ValueError: no luck" in said
    assert json.loads(fts("why", "1", "--json").out)["why"]["last_lines"]["lines"][-1] == "ValueError: no luck"
    assert "last words" not in fts("why", "2").out


def test_status_ends_with_the_last_words_of_a_cell_whose_worker_is_silent(fts, db: Database, tmp_path: Path):
    claimed = claim(db)
    log = places_of(tmp_path).logs / "a.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("ep 1\nep 2\n")
    trial = start_trial(db, claimed)
    transitions.record_started(db, claimed, trial, {"log_path": str(log)})
    assert "last words" not in fts("status").out
    db.execute_sql("UPDATE worker SET heartbeat_at = heartbeat_at - 600")
    said = fts("status").out
    assert said.startswith("fts")
    assert "last words of 2M/h1 t0 · its worker is lost:" in said
    assert "? lost" in fts("queue").out, "the table calls it what status calls it"
    assert "ep 2" in said


def test_plain_status_is_sentences_for_a_screen_reader(fts, db: Database):
    failed_cell(db, "out of luck")
    lines = fts("status", "--plain").out.splitlines()
    assert all(line.endswith(".") for line in lines)
    assert any("Cell 2M/h1 has failed: 0 of 3 trials" in line for line in lines)


def test_a_sentence_of_plain_status_ends_once_and_is_said_once(fts, db: Database):
    start_trial(db, claim(db))
    fts("drain", "-y")
    lines = fts("status", "--plain").out.splitlines()
    assert sum("stops after its trial" in line for line in lines) == 1, lines
    assert not [line for line in lines if line.endswith("..")]


def test_trials_as_csv_keep_every_digit(fts, db: Database):
    claimed = claim(db)
    trial = start_trial(db, claimed)
    add_epoch(db, claimed, trial, 1, 0.1 + 0.2)
    assert "0.00030000000000000003" not in fts("trials", "1", "--csv").out
    head, line = fts("trials", "1", "--csv").out.splitlines()
    assert head.startswith("id,job_id,number,status") and '""learning_rate"": 0.0003' in line


def test_the_default_columns_fit_what_people_ask_first(fts, db: Database):
    finished_cell(db)
    head = fts("trials", "1").out.splitlines()[0].split()
    assert head[:4] == ["trial", "state", "objective", "value"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
def test_status_tells_a_worker_that_waits_for_a_lock_from_a_dead_one(fts, tmp_path: Path, db: Database):
    claim(db)
    db.execute_sql("UPDATE worker SET pid = ?, heartbeat_at = ?", (os.getpid(), time.time() - 30))
    assert "silent for 30 s" in fts("status").out
    code = "import sqlite3, sys; held = sqlite3.connect(sys.argv[1], isolation_level=None); "
    code += "held.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", code, str(places_of(tmp_path).db)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        said = fts("status", "--exit-code")
        assert said.code == 10 and f"LOOK   database locked by process {other.pid} (python" in said.out
    db.execute_sql("UPDATE worker SET pid = ?", (2**22 + 1,))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert "silent for" in fts("status").out, "nobody of that number is there to wait"


def test_status_shows_a_lost_claim_as_the_monitor_does(fts, db: Database):
    claim(db)
    assert "► 2M/h1" in fts("status").out
    db.execute_sql("UPDATE worker SET heartbeat_at = ?", (time.time() - 45,))
    db.execute_sql("UPDATE job SET lease_until = ? WHERE id = 1", (time.time() + 40,))
    line = next(row for row in fts("status").out.splitlines() if " 2M/h1 " in row)
    assert line.startswith("? 2M/h1") and " lost " in line and "running" not in line
    assert re.search(r"worker silent, free in (39|40)s", line) and " in 3m" not in line
    (lost, *others) = json.loads(fts("status", "--json").out)["status"]["jobs"]
    assert lost["lost"].startswith("worker silent") and not any(each["lost"] for each in others)
    said = fts("status", "--plain").out
    assert re.search(
        r"Cell 2M/h1 is lost, worker silent, another worker may take it in \d+ seconds: 0 of 3 trials", said
    )


def test_results_and_trials_say_that_a_job_called_running_has_lost_its_worker(fts, db: Database):
    start_trial(db, claim(db))
    assert not any("its worker is gone" in fts(*words).err for words in (("results",), ("trials", "1")))
    db.execute_sql("UPDATE worker SET heartbeat_at = ?", (time.time() - 45,))
    for words in (("results",), ("trials", "1")):
        assert "job 1 (2M/h1) is not running: its worker is gone; `fts worker` continues it" in fts(*words).err


def test_the_jobs_below_the_glance_stay_within_the_terminal(fts, db: Database, monkeypatch: pytest.MonkeyPatch):
    claim(db)
    db.execute_sql("UPDATE worker SET heartbeat_at = heartbeat_at - 999")
    assert max(map(len, fts("status").out.splitlines())) > 80
    monkeypatch.setattr("fts.jobs.cli.status.terminal_columns", lambda: 80)
    assert max(len(line) for line in fts("status").out.splitlines() if "2M/h1" in line and "lost" in line) <= 80


def test_an_absence_of_thousands_of_trials_is_counted_in_full_and_judged_from_old_events_too(fts, db: Database):
    transitions.acknowledge(db, this_person())
    start_worker(db)
    with db.write():  # what fast trials write within an hour
        for _ in range(3):
            lost = {"at": db.now(), "who": "sweep", "verb": "worker_lost", "message": "lost", "data": "{}"}
            db.insert(EventRow, lost)
        db.execute_sql(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 4000) "
            "INSERT INTO event (at, who, verb, job_id, message, data) "
            "SELECT ?, 'worker 1', 'trial_complete', 1, 'm', '{}' FROM n",
            (db.now(),),
        )
    time.sleep(0.01)  # --at has microseconds, the database's clock milliseconds
    for words in ((), ("--at", datetime.now().isoformat(" "))):
        found = json.loads(fts("status", "--json", *words).out)["status"]
        assert (found["away"]["trials"], found["away"]["lost"]) == (4000, 3)
        assert any("3 workers lost within an hour" in one["reason"] for one in found["decisions"])
    assert "+4000 trials" in fts("status").out
    reader, request = Reader(db.path), ReadRequest(user=this_person())
    for ended in (4000, 4001):  # the monitor adds what is new
        read = reader.read(request)
        assert read is not None and read.details.counted is not None
        assert read.details.counted[1]["trial_complete"] == ended
        again = "INSERT INTO event (at, who, verb, message, data) SELECT at, who, verb, message, data FROM event"
        db.execute_sql(f"{again} ORDER BY id DESC LIMIT 1")
    reader.close()


def test_the_guard_of_a_worker_without_a_heartbeat_is_not_known():
    for heard, expected in (
        (NOW, "guard ok: 61 °C"),
        (NOW - 600, "guard not known, no heartbeat since 08:04:00"),
        (NOW + 600, "guard not known, no heartbeat since 08:24:00"),
    ):
        worker = make_worker(guard="ok", guard_message="61 °C", heartbeat_at=heard)
        assert re.sub(r"\d\d(?=:\d\d:\d\d)", "08", guard_of(worker, NOW)) == expected
