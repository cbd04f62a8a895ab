"""What can go wrong with the memory: one class per cause a caller can act on, one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StateError(Exception):
    """The family; `str()` of a member is a sentence a person can act on."""


class NoDatabase(StateError):
    """There is no database where one was expected."""


class NotOurDatabase(StateError):
    """A SQLite file, but with somebody else's tables; or no file at all."""


class DatabaseBusy(StateError):
    """Another process held the write lock for longer than the busy timeout. Nothing was written; try again."""


class DiskFull(StateError):
    """The disk of the database is full. Nothing was written; free space, then try again."""


class DatabaseFailed(StateError):
    """The operating system failed to read or write the file. Nothing was written."""


class DatabaseCorrupt(StateError):
    """The file is damaged; the sentence names the newest backup."""


class CopyDamaged(DatabaseCorrupt):
    """A backup or another copy is damaged; `found` says what a check found in it."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path} is damaged ({found})")
        self.found = found


class SchemaDamaged(DatabaseCorrupt):
    """A table or a column of the schema is missing; the sentence names the newest backup."""


class DatabaseGone(StateError):
    """The file was removed or replaced while it was open: what is written now, nobody will read."""


class NotFresh(StateError):
    """The files that are open are not those at the path: what is read from them may be old. Nothing was written."""


class DatabaseOverwritten(DatabaseCorrupt):
    """Another file, or an older copy, was written over the one that is open: what was written since is lost."""


class ReadOnlyDatabase(StateError):
    """A write through a connection that was opened for reading."""


class SchemaTooNew(StateError):
    """Written by a newer fts. Reading still works, writing is refused."""


class SchemaTooOld(StateError):
    """Written by an older fts and opened for reading only, so it cannot be migrated here."""


class BadRow(StateError):
    """A value that may not enter the database: wrong characters, wrong type, too long."""


class UnreadableHistory(StateError):
    """A trial's row holds what no fts writes: a search that went on without it would draw other parameters."""


class NoSuchRow(StateError):
    """No job, trial, worker or event of that number."""


class WrongStatus(StateError):
    """The change starts from another status than the row has. Nothing was written."""


class TrialsChanged(WrongStatus):
    """Another number of trials is wanted of the job than the caller knows: read it again. Nothing was written."""


class StaleToken(StateError):
    """The job was handed to somebody else since this claim was made: stop working on it. Nothing was written."""


class LabelClash(StateError):
    """Two cells with different tasks or horizons train on identical labels. Nothing was written."""


class ResumeMismatch(StateError):
    """A repeated epoch gave another result than before: the resume was not exact. The first result stays."""


class CannotUndo(StateError):
    """Nothing to undo, or something has happened since that stands against it."""
