"""Translates what SQLite says into errors a caller can act on."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fts.state import errors
from fts.state.damage import damaged, incomplete_sentence, restore_sentence
from fts.state.disk import full_sentence, is_full, is_read_only, read_only_sentence, refused_sentence
from fts.state.holder import holder
from fts.state.identity import beside

LOST = re.compile(  # what SQLite says of a table that was dropped or replaced
    r"no such table: (?:main\.)?(?P<table>\S+)|no such (?:column: |index: )(?P<column>\S+)|"
    r"has no column named (?P<field>\S+)"
)

OF_FILES = ("readonly", "i/o error", "unable to open")  # SQLite names no file


NO_ROOM = "SQLITE_IOERR_SHMSIZE"  # the -shm file could not grow


def in_the_way(path: Path) -> str | None:
    """What lies where SQLite keeps a file of its own beside the database, and why it cannot use that; None: nothing."""
    for name in ("-wal", "-shm", "-journal"):
        other = Path(beside(path, name))
        if other.exists() and not other.is_file():
            return f"{other} is a folder or a device, and SQLite keeps a file of its own there: move it away"
        if name == "-journal" and other.is_file() and other.stat().st_size:
            cure = "a command that writes does, such as `fts ack`"
            return f"{other} was left by a program that was interrupted, and a reader cannot take it back: {cure}"
    return None


def translate(error: Exception, path: Path) -> Exception:
    """Our error for what SQLite said; the same error if we have no better word."""
    said = str(error).lower()
    if "locked" in said or "busy" in said:
        return errors.DatabaseBusy(f"{path} is locked by {holder(path)}; nothing was written, try again")
    if "disk is full" in said:
        return errors.DiskFull(full_sentence(path))
    if "malformed" in said or "not a database" in said or "unsupported file format" in said:
        return damaged(path, str(error))
    if lost := LOST.search(str(error)):
        return errors.SchemaDamaged(incomplete_sentence(path, lost))
    folder = path.absolute().parent
    if any(words in said for words in OF_FILES) and (wrong := in_the_way(path)) is not None:
        return errors.DatabaseFailed(wrong)
    if "readonly" in said:
        if is_read_only(folder):
            return errors.ReadOnlyDatabase(read_only_sentence(path))
        if os.access(path, os.W_OK):
            why = f"SQLite can only read {path}: its header was changed, or the file was moved while it was open"
            return errors.ReadOnlyDatabase(f"{why}; {restore_sentence(path)}")
        return errors.ReadOnlyDatabase(f"{path} may not be written to by this user; check its owner and permissions")
    if "i/o error" in said or "unable to open" in said:
        if _code(error) == NO_ROOM or is_full(folder):  # SQLite has no words for it, of the files beside the database
            return errors.DiskFull(full_sentence(path))
        if (refused := refused_sentence(path)) is not None:
            return errors.DiskFull(refused)
        if is_read_only(folder):  # a system does that to a disk that failed, under whoever has it open
            return errors.DatabaseFailed(read_only_sentence(path))
        if path.exists() and not os.access(path, os.R_OK):
            return errors.DatabaseFailed(f"{path} may not be read by this user; check its owner and permissions")
        return errors.DatabaseFailed(f"the system could not read or write {path} ({error}); nothing was written")
    return error


def _code(error: BaseException | None) -> str | None:
    """SQLite's own; peewee wraps its error once or twice."""
    while error is not None and not hasattr(error, "sqlite_errorname"):
        error = error.__context__
    return None if error is None else str(error.sqlite_errorname)
