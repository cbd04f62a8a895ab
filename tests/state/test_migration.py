"""Databases of schema 1, as the fts of that time left them, are brought to that of today and say the same as before."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.cli import main
from fts.jobs.python import python
from fts.jobs.status.naming import cell_name
from fts.state import checks, daily_bars, errors, migrations, queries, restore, schema_1, schema_2, transitions
from fts.state.backup import backup
from fts.state.db import Database, open_database
from fts.state.values import Direction
from tests.state.old_studies import NAMES, answers, key, old_database, reads

# the age of the look itself; the name of the day, once it is over; and a row that cannot be read: which columns of it
# are odd, and its horizon of -1
MAY_DIFFER = (
    "read_age_s",
    "status/mode: 'REPLAY ",
    "unreadable",
    "horizon: 0 -> -1",
    "/h0 a20' -> '[@click=app.quit]/h-1 a20",
    "the queue is empty",
)  # a planted row
ALIKE = ("trial", "epoch", "event", "worker", "sample", "checkpoint", "flag", "huey_task", "huey_kv")


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    return old_database("search", tmp_path)


def migrated(path: Path) -> Database:
    db = open_database(path)
    assert db.execute_sql("PRAGMA user_version").fetchone() == (migrations.SCHEMA,)
    return db


def said(path: Path, *words: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main(["--db", str(path), *words])
    return out.getvalue()


def differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Where an answer is another one; what is new in it is none."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [one for name in before for one in differences(before[name], after.get(name), f"{place}/{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [one for n, (a, b) in pairs for one in differences(a, b, f"{place}[{n}]")]
    return [] if before == after else [f"{place}: {before!r:.100} -> {after!r:.100}"]


@pytest.mark.parametrize("name", NAMES)
def test_every_read_command_answers_as_before(name: str, tmp_path: Path) -> None:
    path = old_database(name, tmp_path)
    asked, known = reads(path), answers(name)
    migrated(path).close()
    other = []
    for words in asked:
        after = json.loads(said(path, *words, "--json"))
        other += [f"{key(words)}{one}" for one in differences(known[key(words)], after)]
    assert [one for one in other if not any(word in one for word in MAY_DIFFER)] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_row_and_no_identity_changes(name: str, tmp_path: Path) -> None:
    path = old_database(name, tmp_path)
    with closing(sqlite3.connect(path)) as old:
        old.text_factory = bytes
        before = {table: _columns(old, table) for table in (*ALIKE, "job")}
        rows = {table: _rows(old, table, columns) for table, columns in before.items()}
        numbers = old.execute("SELECT * FROM sqlite_sequence ORDER BY name").fetchall()
    migrated(path).close()
    with closing(sqlite3.connect(path)) as new:
        new.text_factory = bytes
        for table, columns in before.items():
            assert _rows(new, table, columns) == rows[table], table
        assert new.execute("SELECT * FROM sqlite_sequence ORDER BY name").fetchall() == numbers
        assert new.execute("PRAGMA foreign_key_check").fetchall() == []


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1].decode() for row in db.execute(f"PRAGMA table_info({table})")]


def _rows(db: sqlite3.Connection, table: str, columns: list[str]) -> list[Any]:
    return sorted(db.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall(), key=repr)


def test_the_schema_is_that_of_a_new_database(searched: Path, db: Database) -> None:
    old = migrated(searched)
    assert [finding.sentence for finding in checks.schema_objects(old)] == [
        "tables, indexes and views match the schema"
    ]
    objects = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
    assert old.execute_sql(objects).fetchall() == db.execute_sql(objects).fetchall()
    assert (old.foreign_keys, old.journal_mode) == (1, "wal")
    assert old.execute_sql("PRAGMA legacy_alter_table").fetchone() == (0,)
    assert old.execute_sql("PRAGMA ignore_check_constraints").fetchone() == (0,)
    old.close()


def test_jobs_are_of_the_study_of_daily_bars_and_keep_their_names(searched: Path) -> None:
    db = migrated(searched)
    jobs = sorted(queries.jobs(db), key=lambda job: job.id)
    assert [job.cell for job in jobs] == [cell_name(job) for job in jobs]
    assert [job.cell for job in jobs[:7]] == [
        "base/h1", "tiny/h1", "tiny/h1 final", "tiny/h1 seeds", "tiny/h5", "tiny/h1 wf2", "tiny/h3",
    ]  # fmt: skip
    assert {job.study for job in jobs} == {"patchtst"} == set(queries.studies(db))
    assert jobs[4].labels == {"budget": "tiny", "horizon": 5, "task": "threshold_1pct", "tier": "a20"}
    assert (jobs[4].metric, jobs[4].direction) == ("val_auc", Direction.MAXIMIZE)
    assert (jobs[6].metric, jobs[6].direction) == ("val_loss", Direction.MINIMIZE)
    for job in jobs:
        for trial, epochs in queries.history(db, job.id):
            assert (trial.metric, trial.direction) == (job.metric, job.direction)
            assert [epoch.value for epoch in epochs] == [epoch.number(job.metric) for epoch in epochs]
            assert queries.curves(db, job.id)[trial.number].epochs == {e.epoch: e.value for e in epochs}
    declared = queries.studies(db)["patchtst"].declaration
    assert [axis["name"] for axis in declared["axes"]] == ["budget", "horizon", "task", "tier"]
    db.close()


def test_the_rule_of_the_migration_names_cells_as_the_runner_does() -> None:
    """Schema 1 had no name of a cell in its rows: the SQL of the migration is one more copy of the rule."""
    experiments = ("x_2M_h1_a25", "x_NDX", "x_NDX_a20", "x_2M_h3_a20", "x_a_b", "")
    specs = ("{}", '{"cv":"walk-forward:5"}', '{"dataset":"NDX.dataset.a20"}', '{"dataset":"a_b.dataset.a25"}', "5",
             '{"dataset":"NDX.dataset.a20","cv":"walk-forward:12"}', '{"dataset":"odd","cv":null}')  # fmt: skip
    rows = [
        (experiment, kind, spec, tier)
        for experiment in experiments
        for kind in ("cell", "baseline", "train", "replicate", "odd kind")
        for spec in specs
        for tier in ("a20", "a25")
    ]
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in schema_1.STATEMENTS:
            db.execute(statement)
        db.executemany(
            "INSERT INTO job (experiment, kind, spec, tier, budget, horizon, task, status, rank, trials_wanted,"
            " spec_md5, created_at) VALUES (?, ?, ?, ?, '20M', 3, 't', 'done', 1, 1, 'm', 1)",
            rows,
        )
        for statement in schema_2.STATEMENTS:
            db.execute(statement)
        named = [row[0] for row in db.execute("SELECT cell FROM job ORDER BY id")]
    for (experiment, kind, spec, tier), cell in zip(rows, named, strict=True):
        labels, content = {"budget": "20M", "horizon": 3, "tier": tier}, json.loads(spec)
        content = content if isinstance(content, dict) else {}
        assert cell == daily_bars.cell_name(kind, labels, content, experiment), (experiment, kind, spec, tier)


def test_a_row_that_no_fts_writes_is_copied_as_it_is(tmp_path: Path) -> None:
    path = old_database("odd", tmp_path)
    db = migrated(path)
    odd = {row.name for row in queries.snapshot(db).unreadable}
    assert {"job 7", "job 9", "trial 1"} <= odd
    assert {job.status.value for job in queries.jobs(db) if job.id == 9} == {"failed"}
    db.close()
    said(path, "doctor")


def test_a_change_of_before_can_be_taken_back(tmp_path: Path) -> None:
    path = old_database("odd", tmp_path)
    db = migrated(path)
    rank, jobs = queries.job(db, 5).rank, {job.id: job for job in queries.jobs(db)}
    assert [jobs[n].status.value for n in (3, 4)] == ["paused", "cancelled"]
    done = transitions.undo(db, 3, who="test")  # moved, cancelled, paused
    jobs = {job.id: job for job in queries.jobs(db)}
    assert len(done) == 3 and jobs[5].rank > rank
    assert [jobs[n].status.value for n in (3, 4)] == ["queued", "queued"]
    transitions.redo(db, 1, who="test")
    assert queries.job(db, 3).status.value == "paused"
    db.close()


def test_a_failed_trial_that_a_retry_put_back_runs_again_under_its_number(tmp_path: Path) -> None:
    db = migrated(old_database("odd", tmp_path))
    worker = transitions.register_worker(db, "lab", 100, 1.5, 1)
    claim = transitions.claim(db, worker, 60.0, job_id=2)
    assert claim is not None
    again = [trial for trial in queries.trials(db, 2) if trial.status.value == "interrupted"]
    assert [trial.number for trial in again] == [0]
    transitions.rerun_trial(db, claim, again[0].id)
    assert queries.trial_by_id(db, again[0].id).epochs == 0
    db.close()


def test_it_is_backed_up_first_and_the_copy_is_migrated_when_it_is_restored(searched: Path) -> None:
    migrated(searched).close()
    (copy,) = (searched.parent / "backups").glob("fts-*.db")
    with closing(sqlite3.connect(copy)) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
    restore.restore(copy, searched)
    with pytest.raises(errors.SchemaTooOld, match="has schema 1, this fts reads schema 3; `fts doctor --fix`"):
        open_database(searched, readonly=True)
    db = migrated(searched)
    assert len(queries.jobs(db)) == 9
    second = backup(db)
    db.close()
    restore.restore(second, searched)
    migrated(searched).close()


def test_it_waits_until_the_worker_of_the_older_fts_has_stopped(searched: Path) -> None:
    with closing(sqlite3.connect(searched)) as old:
        old.execute(
            "UPDATE worker SET status = 'running', host = ?, pid = ?, heartbeat_at = ?",
            (os.uname().nodename, os.getpid(), time.time()),
        )
        old.commit()
    with pytest.raises(errors.SchemaTooOld, match=r"still runs an older fts.*stop it first"):
        open_database(searched)
    with closing(sqlite3.connect(searched)) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
        old.execute("UPDATE worker SET pid = 4194305")  # of no process
        old.commit()
    migrated(searched).close()


def test_views_and_tables_of_somebody_else_stay(searched: Path) -> None:
    with closing(sqlite3.connect(searched)) as old:
        old.execute("CREATE VIEW mine AS SELECT budget, horizon, objective FROM job JOIN trial ON job_id = job.id")
        old.execute("CREATE TABLE remark (trial INTEGER REFERENCES trial (id) ON DELETE CASCADE, text TEXT)")
        old.execute("INSERT INTO remark VALUES (1, 'odd curve')")
        old.execute("CREATE INDEX by_value ON trial (value)")
        old.execute("CREATE TRIGGER noted AFTER UPDATE ON job BEGIN UPDATE remark SET text = 'seen'; END")
        before = old.execute("SELECT * FROM mine").fetchall()
        old.commit()
    db = migrated(searched)
    assert db.execute_sql("SELECT * FROM mine").fetchall() == before
    assert db.execute_sql("SELECT * FROM remark").fetchall() == [(1, "odd curve")]
    kept = db.execute_sql("SELECT name FROM sqlite_master WHERE name IN ('by_value', 'noted', 'by_budget') ORDER BY 1")
    assert [row[0] for row in kept.fetchall()] == ["by_value", "noted"]
    db.close()


KILLED_AT_STATEMENT = """
import os, signal, sys
from fts.state import database, db
n = int(sys.argv[2])
plain = database.Database.execute_sql
def execute_sql(self, sql, params=None):
    global n
    done = plain(self, sql, params)
    if self.in_transaction() and sql.split()[0] in ("ALTER", "CREATE", "INSERT", "DROP", "DELETE", "PRAGMA"):
        n -= 1
        if n == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return done
database.Database.execute_sql = execute_sql
db.open_database(sys.argv[1]).close()
"""


def test_a_kill_during_the_migration_leaves_schema_1_whole(searched: Path) -> None:
    with closing(sqlite3.connect(searched)) as old:
        before = "\n".join(old.iterdump())
    for n in (2, 24, 40):
        done = subprocess.run([*python("-c"), KILLED_AT_STATEMENT, str(searched), str(n)], capture_output=True)
        assert done.returncode == -signal.SIGKILL, (n, done.stderr[-500:])
        with closing(sqlite3.connect(searched)) as old:
            assert old.execute("PRAGMA user_version").fetchone() == (1,)
            assert "\n".join(old.iterdump()) == before
    migrated(searched).close()
