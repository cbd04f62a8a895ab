"""Runs actions for the monitor, records the user's key presses, and reads the guard's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.watchdog.policy import MemoryLimits, Thresholds
from fts.state.db import open_database
from fts.state.user import this_person

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BUSY_S", "Thresholds", "heat_limits", "key_pressed", "memory_marks", "run_action", "this_person"]


BUSY_S = 5.0  # an action waits this long for another writer; after that, people rather press the key again
BEGINS = ("enqueue", "start_worker")  # actions that may be the first ever: they create the database


def heat_limits() -> Thresholds:
    """Returns the guard's limits from this machine's environment, or the defaults if a variable is invalid."""
    try:
        return Thresholds.from_env()
    except ValueError:  # the worker reports an invalid variable; the monitor shows the defaults
        return Thresholds()


def memory_marks(total: int) -> tuple[int, int] | None:
    """Returns (soft, hard): the used bytes of `total` at which the guard halves a trial's batch, and kills it.

    Returns None if FTS_MEMORY_AVAILABLE_LOW is invalid, which the worker reports.
    """
    try:
        low = MemoryLimits.for_trial(total, total).available_low
    except ValueError:
        return None
    return None if low is None else (max(total - low, 0), max(total - low // 2, 0))


def key_pressed(path: Path, user: str) -> None:
    """Records the time of the user's key press: what ends later is new to them. Raises errors of fts.state.errors.

    Does not create a missing database: an empty study would look as if nothing had been lost.
    """
    from fts.state.transitions.operator import touch_key  # here: it loads peewee and huey, which readers do not need

    db = open_database(path, busy_timeout_s=2.0, create=False)
    try:
        touch_key(db, user)
    finally:
        db.close()


def run_action(
    action: Any, path: Path, job_ids: tuple[int, ...], who: str, dry_run: bool, busy_s: float = BUSY_S, **args: Any
) -> Any:
    """Runs one action on its own connection, so that the monitor holds no lock while it waits for the next key.

    Opening verifies the file first, so that a damaged one is never written.
    """
    db = open_database(path, busy_timeout_s=busy_s, create=action.id in BEGINS)
    try:
        return action.run(db, job_ids, who, dry_run, **args)
    finally:
        db.close()
