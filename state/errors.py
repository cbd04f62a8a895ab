"""The errors of the database: one class per cause that a caller can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StateError(Exception):
    """Base class; `str()` of an error is a sentence that a person can act on."""


class NoDatabase(StateError):
    """There is no database where one was expected."""


class NotOurDatabase(StateError):
    """A SQLite file of another program, or a path that is not a file."""


class DatabaseBusy(StateError):
    """Another process held the write lock for longer than the busy timeout. Nothing was written; try again."""


class DiskFull(StateError):
    """The disk of the database is full. Nothing was written; free space, then try again."""


class DatabaseFailed(StateError):
    """The operating system failed to read or write the file. Nothing was written."""


class DatabaseCorrupt(StateError):
    """The file is damaged; the message names the newest backup."""


class CopyDamaged(DatabaseCorrupt):
    """A backup or another copy is damaged; `found` says what a check found in it."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path} is damaged ({found})")
        self.found = found


class SchemaDamaged(DatabaseCorrupt):
    """A table or a column of the schema is missing; the message names the newest backup."""


class DatabaseGone(StateError):
    """The file was removed or replaced while it was open: nobody will read what is written to it now."""


class NotFresh(StateError):
    """The open files are not those at the path, so they may hold old data. Nothing was written."""


class DatabaseOverwritten(DatabaseCorrupt):
    """Another file or an older copy was written over the open one: later changes are lost."""


class ReadOnlyDatabase(StateError):
    """A write to a database that is open for reading only, or that this user may not write to."""


class SchemaTooNew(StateError):
    """Written by a newer fts. Reading still works, writing is refused."""


class SchemaTooOld(StateError):
    """Written by an older fts and opened for reading only, so it cannot be migrated here."""


class BadRow(StateError):
    """A value that the database does not accept: wrong characters, wrong type, too long."""


class UnreadableHistory(StateError):
    """A trial's row holds a value that no fts writes. Without that trial the search would draw other parameters."""


class NoSuchRow(StateError):
    """No job, trial, worker or event has that number."""


class WrongStatus(StateError):
    """The row's status is not the one that the change starts from. Nothing was written."""


class TrialsChanged(WrongStatus):
    """The job's number of trials differs from what the caller read: read it again. Nothing was written."""


class StaleToken(StateError):
    """Another worker has claimed the job since: stop working on it. Nothing was written."""


class LabelClash(StateError):
    """Two cells with different tasks or horizons train on identical labels. Nothing was written."""


class ResumeMismatch(StateError):
    """A repeated epoch gave another result: the resume was not exact. The first result stays."""


class CannotUndo(StateError):
    """There is nothing to undo, or a later change prevents it."""
