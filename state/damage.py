"""Checks whether a database is damaged, and names the backup to restore."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from fts.state import errors, schema
from fts.state.disk import reading_uri
from fts.state.files import forbidden, listed, shell_path, why_unreadable

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable
    from pathlib import Path

COPY_NAME = "fts-%Y%m%d-%H%M%S.db"  # name of a backup, by UTC time: names sort by age
APPLICATION_ID = 0x66747331  # "fts1" in the file header: `file` and fts recognise it
CHECK_S = 120.0  # enough to read a damaged file of several GB
CHECK = """
import sqlite3, sys
sys.stdout.reconfigure(errors="backslashreplace")
try:
    connection = sqlite3.connect(sys.argv[1], uri=True, timeout=10)
    connection.text_factory = lambda text: text.decode(errors="replace")
    for pragma in ("quick_check(1000)", "integrity_check(1000)"):
        lines = [str(row[0]) for row in connection.execute("PRAGMA " + pragma)]
        found = "; ".join([words for words in lines if not words.startswith("CHECK constraint failed")][:3]) or "ok"
        if found != "ok":
            break
    free, pages = (connection.execute("PRAGMA " + name).fetchone()[0] for name in ("freelist_count", "page_count"))
    if found == "ok" and not 0 <= free <= pages:  # the checks above believe the header
        found = f"its header counts {free} free pages of {pages}"
except sqlite3.DatabaseError as error:
    damage = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    if not damage and str(error) != "unsupported file format":  # a number in the header, by a code of its own
        sys.exit(1)
    found = str(error)
print(found)
"""
FULL_CHECK = "PRAGMA integrity_check(1000)"
QUICK_CHECK = "PRAGMA quick_check(1000)"  # 1000, because values that a CHECK forbids count as well


def damaged(path: Path, message: str) -> errors.StateError:
    """Returns DatabaseCorrupt if a fresh connection confirms the damage in SQLite's `message`, else DatabaseFailed.

    A connection whose -wal or -shm was removed reports damage although the file is intact.
    """
    found = confirmed_damage(path)
    if found is not None:
        return errors.DatabaseCorrupt(corrupt_sentence(path, found))
    return errors.DatabaseFailed(
        f"SQLite could not read {path} ({message}), but a check on a fresh connection found no damage; try again"
    )


def confirmed_damage(path: Path) -> str | None:
    """Returns what quick_check or integrity_check finds; None if the file is intact or cannot be checked.

    Runs in a new process: all connections of one process to one file share its -shm, even a removed one.
    """
    import subprocess  # here, not above: it costs every command 3 ms, and few commands need this check

    argv = [sys.executable, "-I", "-c", CHECK, reading_uri(path)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=CHECK_S
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = done.stdout.strip()
    return None if done.returncode != 0 or found in ("", "ok") else found


def corrupt_sentence(path: Path, found: str) -> str:
    """Says what is damaged and which backup to restore. Use it only after `confirmed_damage`."""
    found = " ".join(found.replace("*** in database main ***", "").split())[:160]
    return f"{path} is damaged ({found}); {restore_sentence(path)}"


def incomplete_sentence(path: Path, lost: re.Match[str]) -> str:
    """Says which part of the schema SQLite did not find, and which backup to restore."""
    kind, name = next((kind, name) for kind, name in lost.groupdict().items() if name)
    return f"{path} has no {kind} {name[:80]}: its schema was changed or damaged; {restore_sentence(path)}"


def overwritten_sentence(path: Path, seen: str) -> str:
    """Describes a file that was overwritten while it was open, and names the backup to restore."""
    found = confirmed_damage(path)
    state = f"damaged ({found[:160]})" if found else "whole, but older"
    newest = newest_backup(path)
    cure = (
        f"`fts restore {shell_path(newest)}` puts the newest backup back" if newest else "there is no backup beside it"
    )
    return f"{path} was written over while it was open ({seen}) and is {state}; {cure}"


def empty_sentence(path: Path) -> str:
    newest = newest_backup(path)
    cure = f", `fts restore {shell_path(newest)}` brings back the newest backup" if newest else ""
    return f"{path} is empty, there is no study in it yet; `fts enqueue train.py:objective` begins one{cure}"


def or_restore(path: Path) -> str:
    """Returns the end of a cure to which restoring is the alternative: `, or restore ...`, else that there is none."""
    sentence = restore_sentence(path)
    return f", or {sentence}" if sentence.startswith("restore ") else f"; {sentence}"


def restore_sentence(path: Path) -> str:
    """Names the newest intact backup, the cure for a damaged file."""
    if (good := newest_backup(path)) is not None:
        return f"restore the newest good backup with `fts restore {shell_path(good)}`"
    folder = path.parent / "backups"
    if (why := closed_backups(folder)) is not None:
        return f"whether there is a good backup beside it is not known: {why}"
    if bad := len(copies(folder)):
        return f"there is no good backup beside it: {bad} found, all damaged"
    return "there is no backup beside it"


def newest_backup(path: Path) -> Path | None:
    """Returns the newest intact copy in the folder `backups` next to the database that this user may read, or None."""
    with suppress(OSError):  # see closed_backups
        return next((copy for copy in reversed(copies(path.parent / "backups")) if is_whole(copy)), None)
    return None


def closed_backups(folder: Path) -> str | None:
    """Says why this user may not read the backups in a folder, or the newest of them; None: they may."""
    try:
        newest = copies(folder)[-1:]
    except OSError as error:
        return f"{folder}: {why_unreadable(error, folder)}"
    closed = [copy for copy in newest if not os.access(copy, os.R_OK)]
    return f"{closed[0]}: {forbidden(closed[0])}" if closed else None


def is_whole(copy: Path) -> bool:
    """Whether a copy passes SQLite's check, was written by fts and has all tables. No process may write to it."""
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            ours = opened.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            whole = ours and not file_damage(opened.execute(QUICK_CHECK))
            return whole and schema.missing_table(opened) is None
    except sqlite3.DatabaseError:
        return False


def copies(folder: Path) -> list[Path]:
    """Returns the backups in `folder`, oldest first, by the time in their names.

    A name with a time in the future was given while the clock was wrong, so it sorts before all other copies. Raises
    OSError if this user may not look into the folder.
    """
    latest = time.strftime(COPY_NAME, time.gmtime())
    found = (path for path in listed(folder) if path.match("fts-*.db"))
    return sorted(found, key=lambda copy: (copy.name <= latest, copy.name))


def file_damage(found: Iterable[tuple[Any, ...]]) -> list[str]:
    """Returns the first three messages of SQLite's check that concern the file, not the value of a single row."""
    messages = (str(row[0]) for row in found)
    return [text for text in messages if text != "ok" and not text.startswith("CHECK constraint failed")][:3]
