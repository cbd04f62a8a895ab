"""Translates what SQLite says while rows are fetched: most damage shows there, not when the statement starts."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Connection(sqlite3.Connection):
    """A connection that hands out our cursors. `translate` is set by the database that opens it."""

    translate: Callable[[Exception], Exception]

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(Cursor)

    def execute(self, sql: str, params: Any = ()) -> Any:
        """Through our cursor, too: the one of sqlite3 makes its own."""
        return self.cursor().execute(sql, params)


class Cursor(sqlite3.Cursor):
    """Raises our errors, and reads text that is not UTF-8 with U+FFFD in the place of each wrong byte."""

    connection: Connection

    def execute(self, sql: str, params: Any = ()) -> Cursor:
        self.asked = sql, params
        try:
            super().execute(sql, params)
        except sqlite3.OperationalError as error:  # the first row is read here
            if not self._is_text(error):
                raise
            self._read_again(error)
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

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator: no call of ours for each row
        given = 0
        while True:
            try:
                for row in iter(super().__next__, None):
                    yield row
                    given += 1
                return
            except sqlite3.DatabaseError as error:
                self._read_again(error)
                for _ in range(given):
                    super().fetchone()

    def _fetch(self, fetch: Callable[..., T], *size: Any) -> T:
        try:
            return fetch(*size)
        except sqlite3.DatabaseError as error:
            self._read_again(error)
            return self._fetch(fetch, *size)

    def _is_text(self, error: sqlite3.DatabaseError) -> bool:
        """Was it a text that is not UTF-8, met for the first time?"""
        return "Could not decode to UTF-8" in str(error) and self.connection.text_factory is not readable

    def _read_again(self, error: sqlite3.DatabaseError) -> None:
        """Starts the statement anew, with every text as it can be read; raises any other error in our words."""
        if isinstance(error, sqlite3.IntegrityError):
            raise error
        if not self._is_text(error):
            raise self.connection.translate(error) from error
        self.connection.text_factory = readable
        super().execute(*self.asked)


def readable(raw: bytes) -> str:
    """Text of a row that somebody or a failing disk has written bytes into."""
    return raw.decode(errors="replace")
