"""Opens the database: checks the file, keeps it private to its owner and migrates an older schema."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import peewee

from fts.state import errors, migrations
from fts.state.damage import (
    APPLICATION_ID,
    FULL_CHECK,
    QUICK_CHECK,
    corrupt_sentence,
    damaged,
    empty_sentence,
    file_damage,
    or_restore,
)
from fts.state.database import BUSY_TIMEOUT_S, Database, retry_while_busy
from fts.state.files import make_folder, private_files
from fts.state.identity import PRIVATE_MODE
from fts.state.location import database_path, has_study, refuse_other_than_file, require_study

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Database", "database_path", "open_database", "open_for_person", "open_for_reading"]


REPORT_LOCK_AFTER_S = 2.0  # after this wait a command names the process that holds the lock
QUIET_S = 120.0  # a worker with a heartbeat younger than this counts as alive
SMALL_BYTES = 16 * 2**20  # a file of this size is checked in 13 ms


def open_database(
    path: Path | str | None = None,
    readonly: bool = False,
    check: bool = True,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    patience_s: float = 0.0,
    create: bool = True,
) -> Database:
    """Opens the database at `path` (default $FTS_DB or outputs/fts.db). Migrates an older schema; creates the file if
    `create`.

    A write waits `busy_timeout_s` inside SQLite for another process's lock, then retries for `patience_s`. A worker
    has no reason to give up: its trials go on training meanwhile. With `check`, SQLite reads an existing file once
    (`quick_check`, 50 ms for 63 MB). A read-only open never writes. Raises NoDatabase (nothing to read or change),
    NotOurDatabase, DatabaseCorrupt, SchemaTooNew (writers), SchemaTooOld (readers), DatabaseBusy, and StateError for
    an unsupported URL.
    """
    file = database_path(path)
    refuse_other_than_file(file)
    if readonly or not create:
        require_study(file)
    existed = has_study(file)
    if not readonly:
        make_folder(file.parent)
    db = Database(file, readonly, busy_timeout_s, patience_s)
    try:
        if not readonly:
            _open_private(db)
        version = _checked_version(db, check and existed)
        if readonly:
            _refuse_older(db, version)
        elif version == 0 and not create:
            raise errors.NoDatabase(empty_sentence(file))
        else:
            _migrate(db, version)
        db.verify()
    except BaseException:
        db.close()
        raise
    return db


def open_for_reading(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """Opens the database for one read. Checks a small file first: an index that lost pages would silently hide rows.

    A large file is not checked, because the check would take longer than the read.
    """
    return open_database(path, readonly=True, check=is_small(path), busy_timeout_s=busy_timeout_s)


def open_for_person(path: Path, create: bool = True) -> Database:
    """Opens the database for a command. Waits as long as any writer, but names the lock's holder after two seconds."""
    patience_s = BUSY_TIMEOUT_S - REPORT_LOCK_AFTER_S
    return open_database(path, busy_timeout_s=REPORT_LOCK_AFTER_S, patience_s=patience_s, create=create)


def is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= SMALL_BYTES


def _open_private(db: Database) -> None:
    """Gives the file mode 0600, a new file from the moment it exists. SQLite gives -wal and -shm the same mode."""
    if not db.path.exists():
        with private_files(), db._translated():
            db.connect(reuse_if_open=True)
    found = db.path.stat()
    if found.st_mode & 0o077 and found.st_uid == os.getuid():
        db.path.chmod(PRIVATE_MODE)


def _checked_version(db: Database, check: bool) -> int:
    # quick_check does not compare indexes with tables: the -wal of another database, copied here, passes it
    pragma = FULL_CHECK if not db.readonly and is_small(db.path) else QUICK_CHECK
    if check and (found := file_damage(db.execute_sql(pragma))):
        raise damaged(db.path, "; ".join(found))
    if check and (free := _impossible_free(db)):
        raise damaged(db.path, free)
    version = int(db.execute_sql("PRAGMA user_version").fetchone()[0])
    application = int(db.execute_sql("PRAGMA application_id").fetchone()[0])
    filled = version < 0 or db.execute_sql("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] > 0
    if application != APPLICATION_ID and (version or filled):
        what = f"{db.path} is a SQLite database of another program, or its header was changed"
        raise errors.NotOurDatabase(f"{what}; choose another path{or_restore(db.path)}")
    if filled and version <= 0:
        number = f"its schema number is {version}, which no fts has written"
        raise errors.DatabaseCorrupt(corrupt_sentence(db.path, number))
    return version


def _impossible_free(db: Database) -> str:
    """Describes an impossible count of free pages in the header, else "". SQLite's checks miss it; the next write
    fails."""
    free, pages = (int(db.execute_sql(f"PRAGMA {name}").fetchone()[0]) for name in ("freelist_count", "page_count"))
    return "" if 0 <= free <= pages else f"{free} free pages of {pages}"


def _refuse_older(db: Database, version: int) -> None:
    if version == 0:
        raise errors.NoDatabase(empty_sentence(db.path))
    if version < migrations.SCHEMA:
        raise errors.SchemaTooOld(
            f"{db.path} has schema {version}, this fts reads schema {migrations.SCHEMA}; `fts doctor --fix` migrates it"
        )


def _migrate(db: Database, version: int) -> None:
    if version > migrations.SCHEMA:
        raise errors.SchemaTooNew(
            f"{db.path} has schema {version}, this fts writes schema {migrations.SCHEMA}: update fts "
            "(reading still works)"
        )
    _use_wal(db)
    if version == migrations.SCHEMA:
        return
    if version > 0:
        from fts.state.backup import backup  # here, not above: a database is migrated once

        backup(db, db.path.parent / "backups", keep=None)
    # A migration may rebuild a table: with foreign keys on, dropping the old one would delete the rows that refer to it
    db.execute_sql("PRAGMA foreign_keys = OFF")
    with db.write():
        version = int(db.execute_sql("PRAGMA user_version").fetchone()[0])  # another process may have migrated it
        if version < migrations.SCHEMA:
            _refuse_while_worker_runs(db, version)
            foreign = _foreign_objects(db) if version else []
            db.execute_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            migrations.apply(db, version, migrations.MIGRATIONS)
            for statement in foreign:
                _recreate(db, statement)
    db.execute_sql("PRAGMA foreign_keys = ON")


def _foreign_objects(db: Database) -> list[str]:
    """Returns the SQL of indexes and triggers that fts did not make: rebuilding a table drops them."""
    from fts.state.schema import OBJECTS, differences  # here, not above: only a migration compares schemas

    names = {(found.kind, found.name) for found in differences(db) if found.what == "foreign"}
    rows = db.execute_sql(OBJECTS).fetchall()
    return [str(sql) for kind, name, _, sql in rows if kind in ("index", "trigger") and sql and (kind, name) in names]


def _recreate(db: Database, statement: str) -> None:
    """Creates an index or trigger again. Skips one that names a column the new tables do not have; `fts doctor` then
    reports it as missing."""
    with contextlib.suppress(errors.StateError, peewee.DatabaseError), db.savepoint():
        db.execute_sql(statement)


def _refuse_while_worker_runs(db: Database, version: int) -> None:
    """Raises SchemaTooOld while a worker of the older fts runs: it would write rows that the new schema cannot hold."""
    if version == 0:
        return
    from fts.state.liveness import is_gone  # here, not above: a database is migrated once

    recent = f"SELECT id, host, pid FROM worker WHERE status = 'running' AND heartbeat_at > {db.now() - QUIET_S}"
    for number, host, pid in db.execute_sql(recent).fetchall():
        if not is_gone(str(host), int(pid), db.path.parent):
            raise errors.SchemaTooOld(
                f"worker {number} (pid {pid} on {host}) still runs an older fts, which writes schema {version}: "
                "stop it first, then start this command again"
            )


def _use_wal(db: Database) -> None:
    """Switches the file to WAL. That needs the file exclusively, and SQLite does not wait for it by itself."""
    wait_s = max(db.timeout, min(db.patience_s, BUSY_TIMEOUT_S))
    retry_while_busy(lambda: db.execute_sql("PRAGMA journal_mode = wal").fetchone(), wait_s)
