"""What a window needs beside the actions: who sits there, when they last pressed a key, what the guard allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.watchdog.policy import MemoryLimits, Thresholds
from fts.state.db import open_database
from fts.state.user import this_person

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BUSY_S", "Thresholds", "heat_limits", "key_pressed", "memory_marks", "run_action", "this_person"]


BUSY_S = 5.0  # that an action waits for another writer; a person presses again rather than wait longer
BEGINS = ("enqueue", "start_worker")  # actions that may be the first ever: they make the database


def heat_limits() -> Thresholds:
    """The guard's limits as the environment of this machine sets them; the defaults where it cannot be read."""
    try:
        return Thresholds.from_env()
    except ValueError:  # a mistyped variable is the worker's error to report; a window still shows the defaults
        return Thresholds()


def memory_marks(total: int) -> tuple[int, int] | None:
    """(soft, hard): bytes in use on a machine of `total` at which the guard has a trial halved, and killed.

    None where FTS_MEMORY_AVAILABLE_LOW cannot be read: the worker says so.
    """
    try:
        low = MemoryLimits.for_trial(total, total).available_low
    except ValueError:
        return None
    return None if low is None else (max(total - low, 0), max(total - low // 2, 0))


def key_pressed(path: Path, user: str) -> None:
    """Remembers that this user is here: what ends from now on is news to them. Raises the errors of fts.state.errors.

    Where the database was removed it makes none: an empty study in its place would look as if nothing had been lost.
    """
    from fts.state.transitions.operator import (
        touch_key,  # here, not above: peewee and huey, which a reader does not need
    )

    db = open_database(path, busy_timeout_s=2.0, create=False)
    try:
        touch_key(db, user)
    finally:
        db.close()


def run_action(
    action: Any, path: Path, job_ids: tuple[int, ...], who: str, dry_run: bool, busy_s: float = BUSY_S, **args: Any
) -> Any:
    """One action on a connection of its own, closed again: the window holds no lock while it waits for the next key.

    The file is checked first: nothing is written into a damaged one.
    """
    db = open_database(path, busy_timeout_s=busy_s, create=action.id in BEGINS)
    try:
        return action.run(db, job_ids, who, dry_run, **args)
    finally:
        db.close()
