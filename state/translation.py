"""Translates SQLite's errors into errors that a caller can act on."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fts.raising import chain
from fts.state import errors
from fts.state.damage import damaged, incomplete_sentence, restore_sentence
from fts.state.disk import (
    cure_of_access,
    full_sentence,
    is_full,
    is_read_only,
    limit_sentence,
    read_only_sentence,
    refused_sentence,
)
from fts.state.holder import holder
from fts.state.identity import sidecar

LOST = re.compile(  # SQLite's messages about a table that was dropped or replaced
    r"no such table: (?:main\.)?(?P<table>\S+)|no such (?:column: |index: )(?P<column>\S+)|"
    r"has no column named (?P<field>\S+)"
)

OF_FILES = ("readonly", "i/o error", "unable to open")  # messages that do not name the file

NO_ROOM = "SQLITE_IOERR_SHMSIZE"  # the -shm file could not grow
LONGEST_PATH = 512 - len("-journal")  # in bytes, of SQLite's default build


def in_the_way(path: Path) -> str | None:
    """Says which path blocks SQLite's own -wal, -shm or -journal, and what to do; None if there is none."""
    for name in ("-wal", "-shm", "-journal"):
        other = Path(sidecar(path, name))
        if other.exists() and not other.is_file():
            return f"{other} is a folder or a device, and SQLite keeps a file of its own there: move it away"
        if other.is_file() and os.access(path, os.W_OK) and not os.access(other, os.R_OK | os.W_OK):
            return f"{other} may not be read and written by this user; {cure_of_access(other)}"
        if other.is_file() and os.access(path, os.R_OK) and not os.access(other, os.R_OK):
            return f"{other}, a part of the database, may not be read by this user; {cure_of_access(other)}"
        if name == "-journal" and other.is_file() and other.stat().st_size:
            cure = "a command that writes does, such as `fts ack`"
            return f"{other} was left by a program that was interrupted, and a reader cannot take it back: {cure}"
    return None


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that a file's content is wrong, or that it is no database."""
    message = str(error).lower()
    return any(words in message for words in ("malformed", "not a database", "unsupported file format"))


def translate(error: Exception, path: Path) -> Exception:
    """Returns our error for SQLite's, or the same error if there is none of ours."""
    message = str(error).lower()
    if any(word in message for word in ("locked", "busy", "locking protocol")):  # the last: lost a race for 10 s
        return errors.DatabaseBusy(f"{path} is locked by {holder(path)}; nothing was written, try again")
    if "disk is full" in message:
        return errors.DiskFull(full_sentence(path))
    if is_damage(error):
        return damaged(path, str(error))
    if lost := LOST.search(str(error)):
        return errors.SchemaDamaged(incomplete_sentence(path, lost))
    folder = path.absolute().parent
    if any(words in message for words in OF_FILES) and (wrong := in_the_way(path)) is not None:
        return errors.DatabaseFailed(wrong)
    if "readonly" in message:
        if is_read_only(folder):
            return errors.ReadOnlyDatabase(read_only_sentence(path))
        if os.access(path, os.W_OK):
            why = f"SQLite can only read {path}: its header was changed, or the file was moved while it was open"
            return errors.ReadOnlyDatabase(f"{why}; {restore_sentence(path)}")
        return errors.ReadOnlyDatabase(f"{path} may not be written to by this user; {cure_of_access(path)}")
    if "i/o error" in message or "unable to open" in message:
        if (length := len(os.fsencode(os.path.realpath(path)))) > LONGEST_PATH:
            most = f"SQLite opens paths of at most {LONGEST_PATH}"
            return errors.DatabaseFailed(f"{path} is a path of {length} bytes, and {most}: choose a shorter one")
        if _code(error) == NO_ROOM or is_full(folder):  # for -wal and -shm, SQLite does not say "disk is full"
            return errors.DiskFull(full_sentence(path))
        if (refused := refused_sentence(path)) is not None:
            return errors.DiskFull(refused)
        if (limited := limit_sentence(path)) is not None:
            return errors.DatabaseFailed(limited)
        if is_read_only(folder):  # the system remounts a failed disk read-only while files are open
            return errors.DatabaseFailed(read_only_sentence(path))
        if path.exists() and not os.access(path, os.R_OK):
            return errors.DatabaseFailed(f"{path} may not be read by this user; check its owner and permissions")
        if "unable to open" in message and folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            why = f"{folder} may not be written to by this user, and SQLite keeps files beside {path.name}"
            return errors.ReadOnlyDatabase(f"{why}; nothing was written: {cure_of_access(folder)}")
        return errors.DatabaseFailed(f"the system could not read or write {path} ({error}); nothing was written")
    return error


def _code(error: BaseException | None) -> str | None:
    """Returns the name of SQLite's error code; peewee wraps the error once or twice."""
    return next((str(one.sqlite_errorname) for one in chain(error) if hasattr(one, "sqlite_errorname")), None)
