"""Puts a copy in the place of the database; what was there stays beside it under another name."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from fts.state.backup import check_file, copy_pages, remove_database
from fts.state.db import QUIET_S, open_database
from fts.state.disk import reading_uri
from fts.state.errors import StateError, WrongStatus
from fts.state.files import make_folder, sync_folder
from fts.state.models import ALL, WorkerRow

REPLACED = "replaced-%Y%m%d-%H%M%S"  # behind the name of a database that a copy took the place of, UTC


def restore(copy: Path | str, path: Path | str) -> Path | None:
    """Puts a checked copy in the place of the database; returns where the former one was moved to (None: none there).

    Raises NoDatabase, DatabaseCorrupt, NotOurDatabase or SchemaTooNew for the copy, WrongStatus while a worker runs.
    """
    copy, path = Path(copy), Path(path)
    check_file(copy)
    _refuse_while_working(path)
    make_folder(path.parent)
    fresh = path.with_name(f"{path.name}.{os.urandom(6).hex()}.restoring")  # no sweep takes it
    try:
        _copy_file(copy, fresh, path)
        aside = _set_aside(path)
        fresh.rename(path)
    finally:
        remove_database(fresh)
    sync_folder(path.parent)
    return aside


def _copy_file(copy: Path, target: Path, named: Path) -> None:
    """The copy and what stands in its log, if it has one: a database that was put aside has."""
    source = sqlite3.connect(reading_uri(copy), uri=True)
    try:
        copy_pages(source, copy, target, named)
    finally:
        source.close()


def _refuse_while_working(path: Path) -> None:
    """A worker that has the old file open would go on writing into it, unseen."""
    if not path.exists():
        return
    try:
        db = open_database(path, readonly=True, check=False)
    except StateError:
        return  # damaged or foreign: that is why it is being replaced
    try:
        now = db.now()  # a beat ahead of it is of a time before the clock was set back
        just_now = WorkerRow.heartbeat_at.between(now - QUIET_S, now + QUIET_S)
        recent = WorkerRow.select(ALL).where(WorkerRow.status == "running", just_now)
        worker = db.one(recent)
    except StateError:
        return
    finally:
        db.close()
    if worker is not None:
        raise WrongStatus(f"worker {worker['id']} (pid {worker['pid']} on {worker['host']}) is running: stop it first")


def _set_aside(path: Path) -> Path | None:
    """Moves the database and what belongs to it to a name of its own: what an earlier restore put aside stays."""
    while (aside := path.with_name(f"{path.name}.{time.strftime(REPLACED, time.gmtime())}")).exists():
        time.sleep(0.2)  # see _free_name
    if was_there := path.exists():
        path.rename(aside)  # before its log: whoever opens it in between must not find an older study
    for suffix in ("-wal", "-shm"):  # they belong to the file that went, and would destroy the one that comes
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside if was_there else None
