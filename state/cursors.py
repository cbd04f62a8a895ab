"""Translates SQLite's errors while rows are fetched: most damage shows there, not when the statement starts."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

from fts.raising import raise_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Connection(sqlite3.Connection):
    """A connection that makes our cursors. The database that opens it sets `translate`."""

    translate: Callable[[Exception, sqlite3.Connection], Exception]

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(Cursor)

    def execute(self, sql: str, params: Any = ()) -> Any:
        """Uses our cursor: sqlite3's own `execute` would not."""
        return self.cursor().execute(sql, params)


class Cursor(sqlite3.Cursor):
    """Raises our errors, and replaces each byte of text that is not UTF-8 with U+FFFD."""

    connection: Connection

    def execute(self, sql: str, params: Any = ()) -> Cursor:
        self.statement = sql, params
        try:
            super().execute(sql, params)
        except sqlite3.OperationalError as error:  # SQLite reads the first row here
            if not self._is_text(error):
                raise
            self._restart(error)
        return self

    def fetchall(self) -> list[Any]:
        return self._fetch(super().fetchall)

    def fetchone(self) -> Any:
        return self._fetch(super().fetchone)

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        return self._fetch(super().fetchmany, size)

    def __next__(self) -> Any:
        if (row := self.fetchone()) is None:
            raise StopIteration
        return row

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator: no Python call for each row
        count = 0
        while True:
            try:
                for row in iter(super().__next__, None):
                    yield row
                    count += 1
                return
            except sqlite3.DatabaseError as error:
                self._restart(error)
                for _ in range(count):  # skip the rows that were yielded before the error
                    super().fetchone()

    def _fetch(self, fetch: Callable[..., T], *size: Any) -> T:
        try:
            return fetch(*size)
        except sqlite3.DatabaseError as error:
            self._restart(error)
            return self._fetch(fetch, *size)

    def _is_text(self, error: sqlite3.DatabaseError) -> bool:
        """Whether the error is text that is not UTF-8, found for the first time on this connection."""
        return "Could not decode to UTF-8" in str(error) and self.connection.text_factory is not readable

    def _restart(self, error: sqlite3.DatabaseError) -> None:
        """Restarts the statement with `readable` text; raises any other error translated."""
        if not self._is_text(error):
            kept = isinstance(error, sqlite3.IntegrityError)
            try:
                raise_as(error if kept else self.connection.translate(error, self.connection), error)
            finally:
                del error  # see raise_as
        self.connection.text_factory = readable
        super().execute(*self.statement)


def readable(raw: bytes) -> str:
    """Decodes text of a row that a failing disk or another program has damaged."""
    return raw.decode(errors="replace")
