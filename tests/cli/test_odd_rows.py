"""Whatever a column of the database holds, every command and screen answers, and the row is named."""

from __future__ import annotations

import contextlib
import math
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fts.jobs.maintenance import cleanup
from fts.jobs.status import formatting
from fts.jobs.status.log_excerpt import log_file
from fts.state import queries, transitions
from fts.state.columns import TABLES as KINDS
from fts.state.db import open_database
from fts.state.errors import UnreadableHistory
from fts.state.unreadable import unreadable_of
from tests import odd_rows
from tests.cli import study
from tests.odd_rows import Case, faults, plant, run

SEED, CASES, READS_OF_A_CASE = 20261127, 30, 5


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return odd_rows.build(tmp_path_factory.mktemp("odd"))


@pytest.fixture
def odd(built: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the study with one value planted."""

    def make(table: str, column: str, value: object, row: int = 0, unchecked: bool = False) -> Path:
        path = study.places_of(tmp_path).db
        assert plant(built, path, Case(table, column, row, value, unchecked)), "the schema refused the value"
        return path

    return make


def test_every_read_answers_on_the_study_itself(built: Path) -> None:
    assert faults(built) == {}


def test_a_sample_of_hostile_values_is_survived_by_a_sample_of_reads(built: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    told = []
    for case in odd_rows.sample(list(odd_rows.cases(built)), CASES, SEED):
        if plant(built, study.places_of(tmp_path).db, case):
            chosen = chance.sample(list(odd_rows.READS), READS_OF_A_CASE)
            told += [f"{case}: {name}: {said}" for name, said in faults(study.places_of(tmp_path).db, chosen).items()]
    assert told == []


@pytest.mark.slow
@pytest.mark.parametrize("table", odd_rows.TABLES)
def test_every_hostile_value_in_every_column_is_survived(built: Path, tmp_path: Path, table: str) -> None:
    chance = random.Random(table)
    told, seen = [], set()
    found = [case for case in odd_rows.cases(built) if case.table == table]
    chance.shuffle(found)  # each column and value once, in whichever row comes first
    for case in found:
        if (key := (case.column, case.value, case.unchecked)) in seen:
            continue
        seen.add(key)
        if plant(built, study.places_of(tmp_path).db, case):
            chosen = chance.sample(list(odd_rows.READS), READS_OF_A_CASE)
            told += [f"{case}: {name}: {said}" for name, said in faults(study.places_of(tmp_path).db, chosen).items()]
    assert told == []


@pytest.mark.parametrize(
    ("table", "column", "value", "named"),
    [
        ("job", "ended_at", 1e308, "job 1: unreadable, ended_at is 1e308"),
        ("job", "spec", "[1]", "job 1: unreadable, spec is '[1]'"),
        ("job", "trials_wanted", 2**63 - 1, "job 1: unreadable, trials_wanted is 9223372036854775807"),
        ("trial", "badges", "5", "trial 1: unreadable, badges is '5'"),
        ("trial", "params", '{"learning_rate": [1]}', "trial 1: unreadable, params is"),
        ("event", "data", "null", "event 1: unreadable, data is 'null'"),
        ("worker", "heartbeat_at", float("inf"), "worker 1: unreadable, heartbeat_at is inf"),
        ("flag", "value", "5", "flag margin:1"),
    ],
)  # fmt: skip
def test_status_names_an_unreadable_row_and_doctor_says_what_to_do(
    odd: Callable[..., Path], table: str, column: str, value: object, named: str
) -> None:
    path = odd(table, column, value, row=1 if table == "flag" else 0)
    code, said = run(path, ("status",))
    assert code == 0 and named in said and "2M/h3" in said
    code, said = run(path, ("doctor",))
    line = next(line for line in said.splitlines() if named in line and "database" in line)
    assert line.startswith("warn") and " -> " in line


def test_the_sql_that_doctor_gives_makes_the_row_readable(odd: Callable[..., Path]) -> None:
    for table, column, value in (
        ("job", "ended_at", 1e308), ("trial", "pid", -5), ("event", "data", "5"), ("epoch", "at", -1.0),
        ("epoch", "seconds", -1.0), ("sample", "temperature", 1e20), ("flag", "value", "5"),
    ):  # fmt: skip
        path = odd(table, column, value, row=1 if table == "flag" else 0)
        db = open_database(path)
        [row] = unreadable_of(db, table)
        if row.cure is not None:
            db.execute_sql(row.cure)
            assert list(unreadable_of(db, table)) == []
        db.close()


def test_every_column_of_every_table_is_looked_at(built: Path) -> None:
    db = open_database(built, readonly=True)
    for table, kinds in KINDS.items():
        columns = {row[1] for row in db.execute_sql(f"PRAGMA table_info({table})").fetchall()}
        assert columns - set(kinds) <= {"spec_md5", "question_md5", "beats", "id"}, table
        assert list(unreadable_of(db, table)) == [], "what fts writes can be read"
    db.close()


@pytest.mark.parametrize("name", ["epochs", "steps"])
def test_more_steps_than_a_trial_can_have_are_none(odd: Callable[..., Path], name: str) -> None:
    for row in range(4):  # one of them is the running job
        path = odd("job", "spec", f'{{"{name}": 1{"0" * 400}}}', row=row)
        assert odd_rows.faults(path, ["screen logs 80x24", "screen queue 160x50", "fts status", "fts queue"]) == {}
        db = open_database(path, readonly=True)
        assert None in {job.steps for job in queries.jobs(db) if name in job.spec}
        db.close()


def test_a_diverged_epoch_is_no_unreadable_row(odd: Callable[..., Path]) -> None:
    planted = [("val_loss", value) for value in (float("inf"), None, 3.4e38)]
    for column, value in [*planted, ("train_loss", None), ("seconds", None), ("value", float("inf"))]:
        path = odd("epoch", column, value)
        db = open_database(path, readonly=True)
        assert list(unreadable_of(db, "epoch")) == []
        assert queries.snapshot(db).unreadable == ()
        db.close()


def test_text_that_is_not_utf8_is_shown_with_marks(odd: Callable[..., Path]) -> None:
    for row in range(3):  # the first row of an answer is read at another moment than the others
        path = odd("trial", "code_commit", b"\xff\xfe", row=row)
        for asked in (("db", "query", "select code_commit from v_trials"), ("trials", "1", "--json"), ("status",)):
            assert run(path, asked)[0] == 0, run(path, asked)
        db = open_database(path, readonly=True)
        found = [commit for (commit,) in db.execute_sql("SELECT code_commit FROM trial ORDER BY id")]
        assert found == ["\ufffd\ufffd" if n == row else None for n in range(3)]
        db.close()
    code, said = run(odd("job", "message", b"\xff\xfe"), ("status",))
    assert code == 0 and "2M/h1" in said


def test_a_worker_parks_an_unreadable_job_with_an_event_and_takes_the_next(odd: Callable[..., Path]) -> None:
    path = odd("job", "created_at", 1e308, row=5)
    db = open_database(path)
    transitions.resume_queue(db)
    transitions.resume(db, [5])
    db.execute_sql("UPDATE job SET rank = 0 WHERE id = 6")  # before job 5
    worker = transitions.register_worker(db, "elsewhere", 4243, 1.0, 1)
    claim = transitions.claim(db, worker, 60.0)
    assert claim is not None and claim.job_id == 5
    parked = queries.job(db, 6)
    assert parked.status == "failed" and "created_at is 1e308" in str(parked.message)
    [event] = queries.events(db, job_id=6, verbs=["parked"])
    assert "unreadable, created_at is 1e308" in event.message
    db.close()


@pytest.mark.parametrize(("column", "value"), [("lease_until", 1e15), ("worker_id", 1), ("asked", "pause")])
def test_what_only_a_running_job_may_hold_stops_no_change_of_another(
    built: Path, tmp_path: Path, column: str, value: object
) -> None:
    path = study.places_of(tmp_path).db
    path.parent.mkdir(parents=True)
    shutil.copyfile(built, path)
    with contextlib.closing(sqlite3.connect(path)) as db:  # past the CHECKs, as only a person with PRAGMAs can
        db.execute("PRAGMA ignore_check_constraints = 1")
        db.execute(f"UPDATE job SET {column} = ? WHERE id IN (5, 6)", (value,))
        db.commit()
    assert odd_rows.fault_of_worker(path) is None
    for asked in (("pause", "6"), ("resume", "6"), ("cancel", "6"), ("undo",)):
        _, said = run(path, asked)
        assert "a fault in fts itself" not in said


def test_a_log_whose_name_no_file_can_have_is_no_log(tmp_path: Path) -> None:
    for name in ("\0", "a\0b.log", str(tmp_path / "logs" / "\0.log"), "", "x" * 9000 + ".log", "/" * 5000 + "y.log"):
        path = log_file(tmp_path, name)
        assert path is None or not path.is_file()


@pytest.mark.parametrize("column", ["kind", "experiment"])
def test_a_job_with_an_unreadable_name_keeps_no_worker_from_starting(odd: Callable[..., Path], column: str) -> None:
    for row in range(3):
        assert odd_rows.fault_of_worker(odd("job", column, b"\xff\xfe", row=row)) is None


def test_a_search_does_not_go_on_without_a_trial_that_cannot_be_read(odd: Callable[..., Path]) -> None:
    db = open_database(odd("trial", "params", "5"))
    with pytest.raises(UnreadableHistory, match="trial 1: unreadable, params is '5'"):
        queries.readable_trials(db, 1)
    with pytest.raises(UnreadableHistory, match="trial 1"):
        queries.curves(db, 1)
    db.close()


def test_gc_leaves_the_files_of_a_trial_that_cannot_be_read(odd: Callable[..., Path], tmp_path: Path) -> None:
    path, places = odd("trial", "status", "no such word", unchecked=True), study.places_of(tmp_path)
    db = open_database(path, readonly=True, check=False)
    [trial] = queries.trials(db, 1)
    checkpoint = cleanup.folder_of(places, queries.job(db, 1), trial) / "checkpoint"
    checkpoint.mkdir(parents=True)
    assert cleanup.collect(db, places) == []
    db.close()


@pytest.mark.parametrize(
    "say", [formatting.left, formatting.spell, formatting.absence, formatting.plus_minus, formatting.clock,
            formatting.seconds_clock, formatting.day_clock, formatting.midnight, formatting.score, formatting.size,
            formatting.number],
)  # fmt: skip
def test_no_number_is_too_odd_to_be_said(say: Callable[[float], object]) -> None:
    for value in (0, -1, 1e308, -1e308, math.inf, -math.inf, math.nan, 2**63, 4e11, 1e20):
        said = (
            str(say(value)),
            formatting.when(value, 0.0),
            formatting.when(0.0, value),
            formatting.spark([value, 1.0, -value]),
        )
        assert all(isinstance(text, str) and text.isprintable() for text in said), (value, said)
        assert formatting.honest(value, 1e6) is not None


def test_a_rows_history_replays_whatever_its_events_hold(odd: Callable[..., Path]) -> None:
    path = odd("event", "data", '{"old": {"status": "x", "rank": "y"}, "changes": [1], "ranks": {"a": 1}}', row=9)
    code, said = run(path, ("status", "--at", "0.01s"))
    assert code == 0 and "2M/h1" in said
