"""Opening: created private, migrated after a backup, refused with a sentence."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import peewee
import pytest

from fts.state import checks, errors, migrations, models, queries, transitions
from fts.state.db import Database, open_database
from fts.state.scheduling import RUNNABLE_SQL
from fts.state.transitions.moving import WAITING
from tests.state.helpers import enqueued, new_db, spec


def test_the_models_are_what_the_migrations_built(db: Database) -> None:
    for model in (
        models.JobRow, models.TrialRow, models.EpochRow, models.EventRow, models.WorkerRow, models.SampleRow,
        models.CheckpointRow, models.FlagRow, models.TicketRow, models.QuarantineRow, models.StudyRow,
        models.DrawRow, models.AttemptRow,
    ):  # fmt: skip
        columns = {row[1]: bool(row[3]) for row in db.execute_sql(f"PRAGMA table_info({model._meta.table_name})")}
        assert list(columns) == [field.column_name for field in model._meta.sorted_fields], model


def test_the_files_are_private_and_the_pragmas_set(db: Database) -> None:
    enqueued(db)
    for name in ("fts.db", "fts.db-wal", "fts.db-shm"):
        assert stat.S_IMODE((db.path.parent / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(db.path.parent.stat().st_mode) == 0o700
    assert (db.journal_mode, db.synchronous, db.foreign_keys) == ("wal", 2, 1)


def test_a_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    new_db(tmp_path).close()
    path = tmp_path / "outputs" / "fts.db"
    path.chmod(0o644)
    open_database(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("status", ["", "QUEUED", "stolen", None, 7])
def test_a_status_outside_the_list_cannot_be_stored(db: Database, status: object) -> None:
    enqueued(db)
    with pytest.raises(peewee.IntegrityError):
        db.execute_sql("UPDATE job SET status = ?", (status,))


def test_a_text_cannot_stand_where_a_number_belongs(db: Database) -> None:
    enqueued(db)
    with pytest.raises(peewee.IntegrityError):
        db.execute_sql("UPDATE job SET trials_wanted = '[/foo]'")


def test_a_running_job_has_a_worker_and_a_lease(db: Database) -> None:
    enqueued(db)
    with pytest.raises(peewee.IntegrityError):
        db.execute_sql("UPDATE job SET status = 'running'")


def test_a_newer_schema_is_refused_for_writing_and_served_for_reading(db: Database) -> None:
    enqueued(db)
    db.execute_sql("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(errors.SchemaTooNew, match=r"has schema 99.*update fts"):
        open_database(db.path)
    reader = open_database(db.path, readonly=True)
    assert len(queries.jobs(reader)) == 1
    reader.close()


def test_an_empty_file_is_told_apart_from_an_old_study(tmp_path: Path) -> None:
    (tmp_path / "fts.db").touch()
    with pytest.raises(errors.NoDatabase, match="is empty, there is no study in it yet; `fts enqueue train"):
        open_database(tmp_path / "fts.db", readonly=True)
    open_database(tmp_path / "fts.db").close()
    assert queries.jobs(open_database(tmp_path / "fts.db", readonly=True)) == ()


def test_an_older_schema_is_migrated_after_a_backup(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueued(db, 2)
    db.close()
    step = ("ALTER TABLE job ADD COLUMN colour TEXT", "UPDATE job SET colour = 'blue'")
    _pretend_newer_code(monkeypatch, step)
    with pytest.raises(errors.SchemaTooOld, match="has schema 3, this fts reads schema 4"):
        open_database(db.path, readonly=True)
    migrated = open_database(db.path)
    assert migrated.execute_sql("SELECT colour FROM job").fetchall() == [("blue",), ("blue",)]
    assert migrated.user_version == 4
    migrated.close()
    (copy,) = (db.path.parent / "backups").glob("fts-*.db")
    with sqlite3.connect(copy) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (3,)
        assert old.execute("SELECT COUNT(*) FROM job").fetchone() == (2,)


def test_a_migration_that_fails_leaves_the_old_schema(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueued(db)
    db.close()
    with monkeypatch.context() as patch:
        _pretend_newer_code(patch, ("ALTER TABLE job ADD COLUMN colour TEXT", "UPDATE nowhere SET x = 1"))
        with pytest.raises(errors.SchemaDamaged, match="has no table nowhere"):
            open_database(db.path)
    again = open_database(db.path)
    assert "colour" not in [row[1] for row in again.execute_sql("PRAGMA table_info(job)")]
    again.close()


def _pretend_newer_code(patch: pytest.MonkeyPatch, step: tuple[str, ...]) -> None:
    patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, step))
    patch.setattr(migrations, "SCHEMA", 4)


def test_a_damaged_file_is_found_on_open_and_the_newest_backup_named(db: Database) -> None:
    transitions.enqueue(db, [spec(n) for n in range(1, 200)])
    from fts.state.backup import backup

    copy = backup(db)
    db.close()
    content = bytearray(db.path.read_bytes())
    for page in range(2, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    db.path.write_bytes(bytes(content))
    with pytest.raises(errors.DatabaseCorrupt, match=f"damaged.*fts restore {copy}"):
        open_database(db.path)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fts.db"
    path.write_bytes(b"this is a letter, not a database" * 200)
    with pytest.raises(errors.DatabaseCorrupt, match="there is no backup beside it"):
        open_database(path)


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photo (id INTEGER)")
    with pytest.raises(errors.NotOurDatabase, match="another program"):
        open_database(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("photo",)]


def test_reading_never_writes(db: Database) -> None:
    enqueued(db)
    reader = open_database(db.path, readonly=True)
    queries.snapshot(reader, "ada")
    with pytest.raises(errors.ReadOnlyDatabase, match="open read-only"):
        transitions.pause(reader, [1])
    with pytest.raises(errors.ReadOnlyDatabase):
        reader.execute_sql("DELETE FROM job")
    reader.close()


def test_reading_what_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(errors.NoDatabase, match="fts enqueue"):
        open_database(tmp_path / "fts.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_server_url_is_refused_without_showing_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTS_DB", "postgresql://ada:secret@db.lab/fts")
    with pytest.raises(errors.StateError, match=r"db.lab/fts is of kind 'postgresql'") as caught:
        open_database()
    assert "secret" not in str(caught.value)


def test_the_environment_says_where_the_database_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTS_DB", str(tmp_path / "a b?c#d%41" / "my.db"))
    db = open_database()
    enqueued(db)
    db.close()
    reader = open_database(readonly=True)
    assert len(queries.jobs(reader)) == 1
    reader.close()


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/home/ada/Dropbox/fts/fts.db", "Dropbox"),
        ("/Users/ada/Library/Mobile Documents/com~apple~CloudDocs/fts.db", "Mobile Documents"),
        ("/Users/ada/Library/CloudStorage/OneDrive-Lab/fts.db", "OneDrive"),
    ],
)
def test_a_synced_folder_is_warned_about(path: str, word: str) -> None:
    warning = checks.synced_folder_warning(Path(path))
    assert warning is not None and word in warning


def test_a_network_file_system_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.synced_folder_warning(tmp_path / "fts.db") is None
    monkeypatch.setattr(checks, "_filesystem", lambda path: "nfs4")
    warning = checks.synced_folder_warning(tmp_path / "fts.db")
    assert warning is not None and "nfs4" in warning


def _open_and_enqueue(path: str, n: int) -> None:
    database = open_database(path)
    transitions.enqueue(database, [spec(n)])
    database.close()


def test_several_processes_may_create_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "fts.db"
    context = multiprocessing.get_context("spawn")
    crew = [context.Process(target=_open_and_enqueue, args=(str(path), n)) for n in range(1, 5)]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    assert [process.exitcode for process in crew] == [0] * 4
    db = open_database(path)
    assert len(queries.jobs(db)) == 4
    db.close()


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT id FROM job WHERE {RUNNABLE_SQL} ORDER BY rank, id LIMIT 1",
        f"SELECT id FROM job WHERE {WAITING} ORDER BY rank, id LIMIT 1",
        "SELECT MAX(rank) FROM job",
        "SELECT id FROM event WHERE inverse IS NOT NULL AND undone_by IS NULL ORDER BY id DESC LIMIT 1",
        "SELECT id, data FROM huey_task WHERE queue = 'fts' ORDER BY priority DESC, id LIMIT 1",
        "SELECT id FROM event WHERE job_id = 1 ORDER BY id DESC LIMIT 200",
    ],
)
def test_what_is_asked_often_does_not_grow_with_the_table(db: Database, sql: str) -> None:
    plan = " ".join(str(row[3]) for row in db.execute_sql(f"EXPLAIN QUERY PLAN {sql}"))
    assert "INDEX" in plan or "PRIMARY KEY" in plan
    assert "TEMP B-TREE" not in plan  # that would read everything and sort it


READ_THERE = """
import sys
from fts.state import queries
from fts.state.db import open_database
print(len(queries.jobs(open_database(sys.argv[1], readonly=True))))
"""


READ_AND_WRITE_THERE = """
import sys
from fts.state import queries
from fts.state.db import open_database
from fts.state.errors import StateError
print(len(queries.jobs(open_database(sys.argv[1], readonly=True))))
try:
    open_database(sys.argv[1])
except StateError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a mount of its own")
def test_a_study_on_a_read_only_disk_can_be_read(db: Database) -> None:
    enqueued(db, 2)
    db.close()  # the last one out takes the write-ahead log along
    assert not db.path.with_name("fts.db-wal").exists()
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 77; shift; exec "$@"'
    command = [sys.executable, "-c", READ_THERE, str(db.path)]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", str(db.path.parent), *command], capture_output=True, text=True
    )
    if done.returncode == 77 or done.stderr.startswith("unshare"):
        pytest.skip("no right to mount here")
    assert done.stdout == "2\n", done.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a mount of its own")
def test_a_study_at_rest_on_a_full_disk_can_be_read_and_a_writer_is_told_that_it_is_full(
    db: Database, tmp_path: Path
) -> None:
    enqueued(db, 2)
    db.close()
    full = tmp_path / "full"
    full.mkdir()
    mount = (
        'mount -t tmpfs -o size=1m none "$1" && cp "$2" "$1/fts.db" || exit 77; '
        'dd if=/dev/zero of="$1/fill" bs=4k 2>&-; shift 2; "$@"'
    )
    command = [sys.executable, "-c", READ_AND_WRITE_THERE, str(full / "fts.db")]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", str(full), str(db.path), *command], capture_output=True, text=True
    )
    if done.returncode == 77 or done.stderr.startswith("unshare"):
        pytest.skip("no right to mount here")
    assert done.stdout == "2\nDiskFull\n", done.stderr


def test_a_reader_of_a_study_at_rest_sees_the_worker_that_comes(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueued(db, 2)
    db.close()
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for another person's study; root may write everywhere
    reader = open_database(db.path, readonly=True)
    first = queries.data_version(reader)
    assert "immutable=1" in reader.database and len(queries.jobs(reader)) == 2
    writer = open_database(db.path)
    enqueued(writer, 3)
    assert queries.data_version(reader) != first
    assert len(queries.jobs(reader)) == 3
    writer.close()
    reader.close()
