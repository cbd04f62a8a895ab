"""Finds out whether a database is damaged, and which backup to take instead."""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from fts.state import errors, schema
from fts.state.disk import reading_uri

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable
    from pathlib import Path

COPY_NAME = "fts-%Y%m%d-%H%M%S.db"  # of a backup, by the time in UTC: names sort as they were made
APPLICATION_ID = 0x66747331  # "fts1" in the file header, so that `file` and we recognise it
CHECK_S = 120.0  # a damaged file of some GB is read through within it
CHECK = """
import sqlite3, sys
sys.stdout.reconfigure(errors="backslashreplace")
try:
    connection = sqlite3.connect(sys.argv[1], uri=True, timeout=10)
    connection.text_factory = lambda text: text.decode(errors="replace")
    for pragma in ("quick_check(1000)", "integrity_check(1000)"):
        told = [str(row[0]) for row in connection.execute("PRAGMA " + pragma)]
        found = "; ".join([words for words in told if not words.startswith("CHECK constraint failed")][:3]) or "ok"
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
QUICK_CHECK = "PRAGMA quick_check(1000)"  # as many: values that a CHECK forbids are counted, too


def damaged(path: Path, said: str) -> errors.StateError:
    """DatabaseCorrupt where a fresh connection finds the damage that SQLite `said`, else DatabaseFailed.

    A connection whose -wal or -shm was removed calls a file damaged that is whole.
    """
    found = confirmed_damage(path)
    if found is not None:
        return errors.DatabaseCorrupt(corrupt_sentence(path, found))
    return errors.DatabaseFailed(
        f"SQLite could not read {path} ({said}), but a check on a fresh connection found no damage; try again"
    )


def confirmed_damage(path: Path) -> str | None:
    """What quick_check or integrity_check finds on a fresh connection; None: the file is whole or cannot be checked.

    In a process of its own: all connections of one process to one file share its -shm, a removed one too.
    """
    import subprocess  # here, not above: 3 ms of every command, and hardly one has to check

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
    """What is wrong with the file and which backup to take. Say it only after `confirmed_damage`."""
    found = " ".join(found.replace("*** in database main ***", "").split())[:160]
    return f"{path} is damaged ({found}); {restore_sentence(path)}"


def incomplete_sentence(path: Path, lost: re.Match[str]) -> str:
    """Which part of the schema SQLite did not find, and which backup to take."""
    kind, name = next((kind, name) for kind, name in lost.groupdict().items() if name)
    return f"{path} has no {kind} {name[:80]}: its schema was changed or damaged; {restore_sentence(path)}"


def overwritten_sentence(path: Path, seen: str) -> str:
    """What happened to a file that was written over while it was open, and which backup to take."""
    found = confirmed_damage(path)
    state = f"damaged ({found[:160]})" if found else "whole, but older"
    newest = newest_backup(path)
    cure = f"`fts restore {newest}` puts the newest backup back" if newest else "there is no backup beside it"
    return f"{path} was written over while it was open ({seen}) and is {state}; {cure}"


def empty_sentence(path: Path) -> str:
    newest = newest_backup(path)
    cure = f", `fts restore {newest}` brings back the newest backup" if newest else ""
    return f"{path} is empty, there is no study in it yet; `fts enqueue train.py:objective` begins one{cure}"


def restore_sentence(path: Path) -> str:
    """The cure of a damaged file: its newest backup that is whole."""
    if (good := newest_backup(path)) is not None:
        return f"restore the newest good backup with `fts restore {good}`"
    if bad := len(copies(path.parent / "backups")):
        return f"there is no good backup beside it: {bad} found, all damaged"
    return "there is no backup beside it"


def newest_backup(path: Path) -> Path | None:
    """The latest copy in the folder `backups` beside the database that is whole and ours."""
    return next((copy for copy in reversed(copies(path.parent / "backups")) if is_whole(copy)), None)


def is_whole(copy: Path) -> bool:
    """Does a copy that nobody writes pass SQLite's check, and is it ours, with all its tables?"""
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            ours = opened.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            whole = ours and not of_the_file(opened.execute(QUICK_CHECK))
            return whole and schema.missing_table(opened) is None
    except sqlite3.DatabaseError:
        return False


def copies(folder: Path) -> list[Path]:
    """The backups there, oldest first, by the time in their names.

    A name ahead of the clock was given while the clock was wrong: older than every copy made since it was set right.
    """
    latest = time.strftime(COPY_NAME, time.gmtime())
    return sorted(folder.glob("fts-*.db"), key=lambda copy: (copy.name <= latest, copy.name))


def of_the_file(found: Iterable[tuple[Any, ...]]) -> list[str]:
    """What SQLite's check says of the file: a value that a CHECK forbids is a row's matter, and named as such."""
    told = (str(row[0]) for row in found)
    return [words for words in told if words != "ok" and not words.startswith("CHECK constraint failed")][:3]
