"""Makes and checks backups of the database while it is in use.

Never copies the file itself: a copy without its -wal may miss whole tables.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fts.raising import raise_as
from fts.state import schema
from fts.state.damage import APPLICATION_ID, COPY_NAME, copies, corrupt_sentence, file_damage
from fts.state.errors import (
    CopyDamaged,
    DatabaseCorrupt,
    NoDatabase,
    NotOurDatabase,
    SchemaTooNew,
)
from fts.state.files import draft_name, make_folder, private_files, remove, sync_folder
from fts.state.migrations import SCHEMA
from fts.state.translation import translate

if TYPE_CHECKING:
    from fts.state.database import Database

KEEP = 7  # daily copies
NOT_READ = (  # SQLite's codes for a file that could not be read
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL,
)  # fmt: skip


def backup(db: Database, folder: Path | str | None = None, keep: int | None = KEEP) -> Path:
    """Writes `fts-<UTC time>.db` into the folder (default: `backups` next to the database), checks it, and returns it.

    Does not block writers. Keeps the newest `keep` copies (None: all). Raises DiskFull, DatabaseCorrupt.
    """
    target = _free_name(Path(folder) if folder else db.path.parent / "backups")
    draft = target.with_name(draft_name(target.name))
    try:
        copy_pages(db.connection(), db.path, draft, target)
        _check_copy(draft, db.path)
        target = _take_name(draft, target)
    finally:
        remove_database(draft)
    sync_folder(target.parent)
    if keep is not None and not target.parent.is_symlink():  # a linked folder may hold other people's copies
        others = [copy for copy in copies(target.parent) if copy != target]
        for old in others[: max(len(others) + 1 - keep, 0)]:
            with suppress(OSError):  # a folder of that name, or a file of another user: the new copy is there
                old.unlink()
    return target


def check_file(path: Path) -> None:
    """Reads a whole copy. Raises CopyDamaged, NotOurDatabase, SchemaTooNew, or NoDatabase if there is no file."""
    if not path.exists():
        raise NoDatabase(f"there is no file {path}")
    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)) as connection:
            if found := file_damage(connection.execute("PRAGMA integrity_check(1000)")):
                raise CopyDamaged(path, "; ".join(found))
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise NotOurDatabase(f"{path} is not a copy of an fts database")
            number = connection.execute("PRAGMA user_version").fetchone()[0]
            if (lost := schema.missing_table(connection)) is not None:
                raise CopyDamaged(path, f"it has no table {lost}")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in NOT_READ:  # so it may be intact
            raise_as(translate(error, path), error)
        raise CopyDamaged(path, str(error)) from error
    if number > SCHEMA:
        raise SchemaTooNew(f"{path} has schema {number}, this fts knows schema {SCHEMA}: update fts")


def _check_copy(copy: Path, path: Path) -> None:
    """Raises DatabaseCorrupt for the database, not for its copy: the copy is damaged because the database is."""
    try:
        check_file(copy)
    except CopyDamaged as error:
        raise DatabaseCorrupt(corrupt_sentence(path, error.found)) from error


def _free_name(folder: Path) -> Path:
    make_folder(folder)
    while True:
        target = folder / time.strftime(COPY_NAME, time.gmtime())
        if not target.exists():
            return target
        time.sleep(0.2)  # a second backup within the same second: names must sort by time


def _take_name(draft: Path, target: Path) -> Path:
    """Gives the copy its name, or that of a later second if another backup took it."""
    while True:
        try:
            target.hardlink_to(draft)  # fails if the name exists, where a rename would replace the other copy
            return target
        except FileExistsError:
            target = _free_name(target.parent)
        except OSError:  # a file system without hard links
            draft.rename(target)
            return target


def remove_database(path: Path) -> None:
    """Removes a database with its -journal, -wal and -shm: on a full disk SQLite cannot remove its own log."""
    for name in ("", "-journal", "-wal", "-shm"):
        remove(path.with_name(path.name + name))


def copy_pages(source: sqlite3.Connection, path: Path, target: Path, named: Path) -> None:
    """Copies all pages of the database at `path` to the new file `target`, which is on disk when this returns.

    Errors about the new file use `named`, its later name.
    """
    remove_database(target)
    try:
        with private_files():
            connection = sqlite3.connect(target)
        with closing(connection):
            if sys.platform == "darwin":
                connection.execute("PRAGMA fullfsync = 1")
            source.backup(connection)
            connection.execute("PRAGMA journal_mode = delete")  # one file, without -wal and -shm
    except sqlite3.DatabaseError as error:
        of_source = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        raise_as(translate(error, path if of_source else named), error)
