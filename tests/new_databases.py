"""New databases as copies of one: to migrate an empty file takes 12 ms of processor, and the tests make thousands.

How a database is made is tested in tests/state, some of whose files make each of theirs.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fts.state import db

REAL_OPEN_PRIVATE = db._open_private


def install() -> None:
    """Has this process and its forks copy."""
    db._open_private = open_private  # type: ignore[assignment]


@contextlib.contextmanager
def off(really: bool = True) -> Iterator[None]:
    """Each new database is made."""
    before = db._open_private
    db._open_private = REAL_OPEN_PRIVATE if really else before
    try:
        yield
    finally:
        db._open_private = before  # type: ignore[assignment]


def open_private(database: db.Database) -> None:
    path = database.path
    if path.parent.is_dir() and not (os.path.lexists(path) or os.path.lexists(f"{path}-wal")):
        place(empty(), path)
    REAL_OPEN_PRIVATE(database)


def place(content: bytes, path: Path) -> None:
    """As a whole or not at all: two processes may make one database."""
    made = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
        os.link(made, path)
    except OSError:
        pass  # SQLite says why
    finally:
        made.unlink(missing_ok=True)


@cache
def empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder, off():
        path = Path(folder, "outputs", "fts.db")
        db.open_database(path).close()
        return path.read_bytes()
