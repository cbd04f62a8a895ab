"""Replaces the database with a backup; the former database stays next to it under another name."""

from __future__ import annotations

import fcntl
import glob
import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fts.state.backup import check_file, copy_pages, remove_database
from fts.state.db import QUIET_S, open_database
from fts.state.disk import reading_uri
from fts.state.errors import StateError, WrongStatus
from fts.state.files import make_folder, sync_folder
from fts.state.models import ALL, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGS = ("-journal", "-wal")  # suffixes of the logs of a database; its -shm has nothing of its own
DRAFT = ".restoring"  # suffix of the new database until it is complete
REPLACED = "replaced-%Y%m%d-%H%M%S"  # suffix of the former database's name, UTC


def restore(copy: Path | str, path: Path | str) -> Path | None:
    """Checks a copy and replaces the database with it; returns the former database's new path, or None.

    Raises NoDatabase, DatabaseCorrupt, NotOurDatabase or SchemaTooNew for the copy, WrongStatus while a worker runs.
    """
    copy, path = Path(copy), Path(path)
    check_file(copy)
    _refuse_while_working(path)
    make_folder(path.parent)
    with _alone(path):
        for left in path.parent.glob(f"{glob.escape(path.name)}.*{DRAFT}"):  # by a restore that was killed
            remove_database(left)
        fresh = path.with_name(f"{path.name}.{os.urandom(6).hex()}{DRAFT}")  # not a name that sweeps remove
        try:
            _copy_file(copy, fresh, path)
            _refuse_while_working(path)  # copying may take minutes, in which a worker may start
            aside = _move_aside(path)
            fresh.rename(path)
        finally:
            remove_database(fresh)
        sync_folder(path.parent)
    return aside


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other restores out. Raises WrongStatus while one runs: it could move away what this one has put in place,
    under the name of the former database."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise WrongStatus(f"another restore of {path} is running; look at its result first") from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(folder)


def is_of_other_study(copy: Path, path: Path) -> bool:
    """Returns whether both files have a journal, and they begin with different events. False if one cannot be read."""
    beginnings = [_beginning(copy), _beginning(path)]
    return None not in beginnings and beginnings[0] != beginnings[1]


def _beginning(path: Path) -> tuple[object, ...] | None:
    try:
        if not path.is_file():  # SQLite would wait for the other end of a pipe
            return None
        with closing(sqlite3.connect(reading_uri(path), uri=True)) as connection:
            found = connection.execute("SELECT at, who, verb, message FROM event ORDER BY id LIMIT 1").fetchone()
    except (sqlite3.Error, OSError):
        return None
    return None if found is None else tuple(found)


def _copy_file(copy: Path, target: Path, named: Path) -> None:
    """Copies the file and the content of its log, if it has one, as a former database may."""
    source = sqlite3.connect(reading_uri(copy), uri=True)
    try:
        copy_pages(source, copy, target, named)
    finally:
        source.close()


def _refuse_while_working(path: Path) -> None:
    """Raises WrongStatus while a worker runs: it would go on writing to the old file, which nobody reads."""
    if not path.exists():
        return
    try:
        db = open_database(path, readonly=True, check=False)
    except StateError:
        return  # damaged or foreign: that is the reason for the restore
    try:
        now = db.now()  # a heartbeat in the future was written before the clock was set back
        just_now = WorkerRow.heartbeat_at.between(now - QUIET_S, now + QUIET_S)
        recent = WorkerRow.select(ALL).where(WorkerRow.status == "running", just_now)
        worker = db.one(recent)
    except StateError:
        return
    finally:
        db.close()
    if worker is not None:
        raise WrongStatus(f"worker {worker['id']} (pid {worker['pid']} on {worker['host']}) is running: stop it first")


def _move_aside(path: Path) -> Path | None:
    """Moves the database with its logs to a new name; returns it. Keeps those of earlier restores."""
    while True:
        aside = path.with_name(f"{path.name}.{time.strftime(REPLACED, time.gmtime())}")
        if not any(os.path.lexists(f"{aside}{suffix}") for suffix in ("", *LOGS)):
            break
        time.sleep(0.2)  # see _free_name
    for suffix in LOGS:  # first, so that a kill does not part it from its logs
        with suppress(OSError):  # there is none, or it is a folder, or the file system has no hard links
            os.link(f"{path}{suffix}", f"{aside}{suffix}", follow_symlinks=False)
    if was_there := os.path.lexists(path):
        path.rename(aside)  # before its logs: a process that opens it in between must not find an older study
    for suffix in (*LOGS, "-shm"):  # they would destroy the restored file
        log, moved = path.with_name(path.name + suffix), aside.with_name(aside.name + suffix)
        if os.path.lexists(moved):
            log.unlink(missing_ok=True)
        elif os.path.lexists(log):
            log.rename(moved)
    return aside if was_there else None
