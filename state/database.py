"""The open database: its connections, its transactions, and the check that the open files are those at the path."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import peewee

from fts.raising import raise_as
from fts.state import errors
from fts.state.cursors import Connection
from fts.state.damage import confirmed_damage, overwritten_sentence
from fts.state.disk import has_log, reading_uri
from fts.state.foreign_writes import ForeignWrites
from fts.state.group_commit import GroupCommit
from fts.state.holder import holder
from fts.state.identity import Files, files_at, has_open, moved_to
from fts.state.location import require_study
from fts.state.translation import is_damage, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger("fts.state")
BUSY_TIMEOUT_S = 30.0
NOW = "(julianday('now') - 2440587.5) * 86400.0"  # the database's clock: all processes that use the file share it
CHECKED_BYTES = 256 * 2**20  # a larger file is not checked by a thread that must not wait
VERIFY_TIMEOUT_S = 3.0  # a monitor polls once a second, and then closes removed files


class Database(peewee.SqliteDatabase):
    """SQLite with our pragmas, our errors, and `write()`. Each thread gets its own connection."""

    def __init__(
        self, path: Path, readonly: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S, patience_s: float = 0.0
    ) -> None:
        self.path = path
        self.readonly = readonly
        self.patience_s = patience_s  # after SQLite's timeout, a transaction retries for this long
        name = reading_uri(path) if readonly else str(path)
        super().__init__(
            name, pragmas=_pragmas(readonly), timeout=busy_timeout_s, uri=readonly, factory=self._connection
        )
        self.files: Files | None = None  # the open files as the last check saw them
        self._real = ""  # the path with its symbolic links resolved
        self._version = 0
        self._reopened = 0  # how often a reader reopened the file
        self._foreign_writes = ForeignWrites()
        self._groups: GroupCommit | None = None  # None: each thread commits for itself

    def verify(self, patience_s: float = VERIFY_TIMEOUT_S) -> None:
        """Opens the file; reopens it until the open files are those at the path.

        Raises NoDatabase, and NotFresh after `patience_s`: then another connection of this process holds removed files.
        """
        end = time.monotonic() + patience_s
        while not self._is_verified():
            self.close()
            if time.monotonic() > end:
                raise errors.NotFresh(
                    f"{self.path} (or its -wal or -shm) was removed or replaced after this program opened it, "
                    "so this program may read old data; try again"
                )
            time.sleep(0.02)

    def _is_verified(self) -> bool:
        """Reads once, so that SQLite opens the files it needs; returns whether those are the files at the path."""
        self._real = os.path.realpath(self.path)
        if self.is_closed():  # a writer would create an empty file at a free path
            require_study(self.path)
            self.database = reading_uri(self.path) if self.readonly else self.database
        before = files_at(self.path, self._real)
        self._version = self._data_version()
        logged = str(self.execute_sql("PRAGMA journal_mode").fetchone()[0]) == "wal" and not self._is_alone()
        after = files_at(self.path, self._real)
        if before.db is None or after.db is None or before.db.identity != after.db.identity:
            return False
        if logged and (after.wal is None or after.shm is None):
            return False
        if self._is_alone() and has_log(self.path):  # a writer has opened the file meanwhile
            return False
        self.files = after
        return has_open(after if logged else Files(after.db, None, None))

    def poll_version(self) -> int:
        """Returns a number that changes when another connection has written, or when a reader reopened the file.

        A reader reopens it when another file is at the path, or when the file changed and SQLite did not notice:
        a program bypassed SQLite, or a file opened as immutable got a writer. Raises NoDatabase, NotFresh.
        """
        if not self.readonly:
            return self._data_version()
        now = files_at(self.path, self._real)
        if not self._is_current(now):
            self.close()
            self.files = None
            self.verify()
            self._reopened += 1
        return (self._reopened << 32) + self._version

    def _is_current(self, now: Files) -> bool:
        """Whether the open connection shows the content of the files that are at the path now."""
        if self.files is None or self.is_closed() or now.identities != self.files.identities:
            return False
        try:
            version = self._data_version()
        except (errors.DatabaseFailed, errors.DatabaseCorrupt):  # a new connection finds out whether that is true
            return False
        if version == self._version and now.contents != self.files.contents:
            return False
        self.files, self._version = now, version
        return True

    def _data_version(self) -> int:
        return int(self.execute_sql("PRAGMA data_version").fetchone()[0])

    def _is_alone(self) -> bool:
        """Whether the file is open as immutable: without a log and without locks."""
        return "immutable=1" in str(self.database)

    def check_still_there(self) -> str | None:
        """Raises DatabaseGone when a file at the path is not the open one: writes would go to a file nobody reads.

        Raises DatabaseOverwritten when the same file is smaller than SQLite's page count, because only SQLite may
        shrink it, and when somebody else wrote to it and it is damaged. Returns a warning if it is whole.
        """
        if self.files is None:
            self.verify()
        now, before = files_at(self.path, self._real), self.files
        assert before is not None and before.db is not None, "verify() has set them"
        for name, is_there, opened in zip(("", "-wal", "-shm"), now.identities, before.identities, strict=True):
            if is_there != opened:
                raise errors.DatabaseGone(
                    f"{self.path}{name} is no longer the file this worker opened: somebody removed or replaced it"
                )
        assert now.db is not None, "its identity is known"
        if now.db.size < before.db.size <= self._pages_bytes():
            raise errors.DatabaseOverwritten(overwritten_sentence(self.path, "it lost pages"))
        self.files = now
        if not self._foreign_writes.look(self.path, now):
            return None
        is_small = now.db.size <= CHECKED_BYTES
        if is_small and confirmed_damage(self.path):
            raise errors.DatabaseOverwritten(overwritten_sentence(self.path, "not by SQLite"))
        found = "it is whole, but may hold older rows" if is_small else "`fts doctor` looks whether it is whole"
        return f"something else than SQLite wrote to {self.path}: {found}; `fts restore` brings copies back"

    def moved_to(self) -> Path | None:
        """Returns where the open file and its log are now; None if one was removed, or the system does not tell."""
        place = None if self.files is None else moved_to(self.files)
        return None if place is None or files_at(self.path).identities == files_at(place).identities else place

    def _pages_bytes(self) -> int:
        """Returns the file's size in bytes by SQLite's page count, which is right after a VACUUM too."""
        sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(self.execute_sql(sql).fetchone()[0])

    def commit_together(self) -> None:
        """From now on, commits the writes of this process's threads in groups: for a worker with several slots."""
        self._groups = self._groups or GroupCommit(self)

    def shared_connection(self) -> Connection:
        """Opens a connection that any thread may use, one at a time."""
        with self._translated():
            opened: Any = sqlite3.connect(
                self.database,
                timeout=self.timeout,
                isolation_level=None,
                check_same_thread=False,
                **self.connect_params,
            )
            self._add_conn_hooks(opened)  # type: ignore[attr-defined]  # of peewee: our pragmas
        return opened  # type: ignore[no-any-return]  # its factory makes no other

    def close_shared(self) -> None:
        """Closes the shared connection when a worker ends; its writes are on disk already."""
        if self._groups is not None:
            self._groups.close()

    @contextmanager
    def write(self, urgent: bool = False) -> Iterator[None]:
        """Runs one write transaction. Inside another transaction it joins that one.

        `urgent`: goes before the waiting transactions of other threads, and commits without collecting more of them.
        Raises DatabaseBusy after the busy timeout, DiskFull, DatabaseFailed, ReadOnlyDatabase.
        """
        if self.readonly:
            raise errors.ReadOnlyDatabase(f"{self.path} is open read-only, so nothing can be changed in it")
        if self.in_transaction():
            yield
            return
        if self._groups is not None:
            with self._groups.turn(urgent):
                yield
            return
        with self.atomic("IMMEDIATE"):  # a deferred transaction that writes later gets "database is locked" at once
            yield

    @contextmanager
    def read(self) -> Iterator[None]:
        """Runs one read transaction. Keep it short: SQLite cannot empty the write-ahead log while it is open."""
        if self.in_transaction():
            yield
            return
        with self.atomic():
            yield

    def now(self) -> float:
        """Returns seconds since 1970 by the database's clock."""
        return float(self.execute_sql(f"SELECT {NOW}").fetchone()[0])

    def rows(self, query: peewee.ModelSelect[Any]) -> list[dict[str, Any]]:
        """Returns the rows of a select as dictionaries."""
        cursor = self.execute(query)  # without peewee's row wrappers, which took a third of a snapshot's time
        names = _names(cursor)
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def each_row(self, query: peewee.ModelSelect[Any]) -> Iterator[dict[str, Any]]:
        """Yields the rows of a select one by one: for many rows."""
        cursor = self.execute(query)
        names = _names(cursor)
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    def one(self, query: peewee.ModelSelect[Any]) -> dict[str, Any] | None:
        """Returns the first row of a select, or None."""
        found = self.rows(query.limit(1))
        return found[0] if found else None

    # Statements that every trial runs, as plain SQL: peewee takes longer to build them than SQLite to run them.

    def find(self, table: Any, **where: Any) -> dict[str, Any] | None:
        """Returns the first row with these values, or None."""
        sql = f'SELECT * FROM "{table._meta.table_name}" WHERE {_pairs(where, " AND ")} LIMIT 1'
        cursor = self.execute_sql(sql, _values(table, where))
        names = _names(cursor)
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return found[0] if found else None

    def insert(self, table: Any, row: Mapping[str, Any]) -> int:
        """Inserts one row and returns its number."""
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        sql = f'INSERT INTO "{table._meta.table_name}" ({names}) VALUES ({marks})'
        return int(self.execute_sql(sql, _values(table, row)).lastrowid)

    def change(self, table: Any, changes: Mapping[str, Any], **where: Any) -> int:
        """Changes the rows with these values and returns how many there were."""
        sql = f'UPDATE "{table._meta.table_name}" SET {_pairs(changes, ", ")} WHERE {_pairs(where, " AND ")}'
        return int(self.execute_sql(sql, [*_values(table, changes), *_values(table, where)]).rowcount)

    # Peewee's methods with SQLite's errors translated; fts.state.cursors translates them while rows are fetched.

    def _connection(self, *words: Any, **options: Any) -> Connection:
        opened = Connection(*words, **options)
        opened.translate = self._translate
        return opened

    def _translate(self, error: Exception, opened: sqlite3.Connection | None) -> Exception:
        """Translates an error. After one about damage, SQLite reads all pages from the file again.

        It would keep them until another connection writes. If they were read while another program copied over the
        file, each later statement would fail, and the file may be whole by then.
        """
        if opened is not None and is_damage(error):
            with suppress(sqlite3.Error):
                sqlite3.Cursor(opened).execute("PRAGMA shrink_memory")
        return translate(error, self.path)

    def execute_sql(self, sql: str, params: Sequence[Any] | None = None) -> Any:
        with self._translated():
            return super().execute_sql(sql, params)  # type: ignore[no-untyped-call]  # of peewee

    def begin(self, lock_type: str | None = None) -> None:
        def begin() -> None:
            with self._translated():
                peewee.SqliteDatabase.begin(self, lock_type)

        # retried here, and not around the transition: nothing has happened yet
        retry_while_busy(
            begin, self.patience_s, lambda: log.warning("%s is locked by %s: waiting", self.path, holder(self.path))
        )

    def commit(self) -> None:
        with self._translated():
            super().commit()

    def rollback(self) -> None:
        try:
            super().rollback()
        except peewee.OperationalError as error:
            # After "disk is full" SQLite has rolled back by itself; this second error would hide the first.
            if "no transaction is active" not in str(error):
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except peewee.IntegrityError:
            raise  # one of our constraints: the transition that violated it knows what it means
        except peewee.DatabaseError as error:
            raise_as(self._translate(error, None if self.is_closed() else self.connection()), error)


def _pragmas(readonly: bool) -> dict[str, object]:
    pragmas: dict[str, object] = {"foreign_keys": 1}
    if not readonly:
        pragmas |= {"synchronous": "FULL", "journal_size_limit": 64 * 2**20}
        if sys.platform == "darwin":
            pragmas |= {"fullfsync": 1, "checkpoint_fullfsync": 1}  # without them macOS leaves data in the drive cache
    return pragmas


def _pairs(named: Iterable[str], between: str) -> str:
    return between.join([f'"{name}" = ?' for name in named])


def _values(table: Any, row: Mapping[str, Any]) -> list[Any]:
    """Converts the values of `row` to what the columns store."""
    fields = table._meta.fields
    return [fields[name].db_value(value) for name, value in row.items()]


def _names(cursor: Any) -> list[str]:
    """Returns the column names, interned: otherwise making a dataclass by keyword compares each name with each."""
    return [sys.intern(column[0]) for column in cursor.description]


def retry_while_busy(act: Callable[[], Any], timeout_s: float, on_wait: Callable[[], object] = bool) -> Any:
    """Runs `act` again every 50 ms while the database is locked; raises DatabaseBusy after `timeout_s`.

    Calls `on_wait` once, before the second try.
    """
    end, waits = time.monotonic() + timeout_s, False
    while True:
        try:
            return act()
        except errors.DatabaseBusy:
            if time.monotonic() > end:
                raise
            if not waits:
                on_wait()
            waits = True
            time.sleep(0.05)
