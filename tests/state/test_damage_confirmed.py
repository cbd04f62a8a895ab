"""A file is called damaged, and a backup offered, only after a check on a fresh connection has found the damage."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from fts.state.backup import backup
from fts.state.damage import confirmed_damage
from fts.state.db import open_database
from fts.state.errors import DatabaseCorrupt, DatabaseFailed
from fts.state.translation import translate
from tests.state.helpers import enqueued, new_db

SAID = ("database disk image is malformed", "file is not a database", "malformed database schema (job)")


def at_rest(folder: Path) -> Path:
    db = new_db(folder)
    enqueued(db, 3)
    backup(db)
    db.close()
    return db.path


@pytest.mark.parametrize("said", SAID)
def test_a_whole_file_is_never_called_damaged(tmp_path: Path, said: str) -> None:
    path = at_rest(tmp_path)
    error = translate(sqlite3.DatabaseError(said), path)
    assert isinstance(error, DatabaseFailed)
    assert "damaged" not in str(error)
    assert "restore" not in str(error)


@pytest.mark.parametrize("said", SAID)
def test_a_damaged_file_is_called_so_and_its_backup_named(tmp_path: Path, said: str) -> None:
    path = at_rest(tmp_path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    error = translate(sqlite3.DatabaseError(said), path)
    assert isinstance(error, DatabaseCorrupt)
    assert "fts restore" in str(error)


def test_an_index_that_lacks_a_row_is_damage_which_only_the_full_check_finds(tmp_path: Path) -> None:
    path = at_rest(tmp_path)
    db = sqlite3.connect(path)
    db.execute("CREATE INDEX probe ON job (experiment)")
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'probe'").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
    with path.open("r+b") as file:  # an empty leaf of an index: no cells, content at the end of the page
        file.seek((root - 1) * size)
        file.write(bytes([10, 0, 0, 0, 0]) + size.to_bytes(2, "big") + b"\0")
    found = confirmed_damage(path)
    assert found is not None and "probe" in found


@pytest.mark.parametrize("state", ["missing", "empty", "locked"])
def test_what_cannot_be_checked_is_not_called_damaged(tmp_path: Path, state: str) -> None:
    path = at_rest(tmp_path)
    if state == "locked":
        with open_database(path).write():
            assert confirmed_damage(path) is None
        return
    path.unlink()
    if state == "empty":
        path.touch()
    assert confirmed_damage(path) is None
