"""Compares the tables, indexes, views and triggers of a file with those of its schema number."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state import migrations

if TYPE_CHECKING:  # fts.state.db imports this module
    from fts.state.db import Database

OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
RECREATABLE = ("index", "view")  # hold no data of their own, so recreating them is safe


@dataclass(frozen=True)
class SchemaDifference:
    """One object of the file that differs from the schema."""

    kind: str  # table | index | view | trigger
    name: str
    what: str  # missing | changed | foreign
    table: str  # the table that the object belongs to
    sql: str | None = None  # creates the object as the schema says

    @property
    def fixable(self) -> bool:
        return self.kind in RECREATABLE and self.what != "foreign"

    @property
    def grave(self) -> bool:
        """Whether it can cost the study: a missing or changed table does, and a trigger writes unwanted changes."""
        return self.kind == "trigger" or (self.kind == "table" and self.what != "foreign")


def differences(db: Database) -> list[SchemaDifference]:
    """Returns what is missing, changed or foreign, compared with the file's own schema number; nothing for a newer
    schema."""
    version = int(db.execute_sql("PRAGMA user_version").fetchone()[0])
    if not 1 <= version <= migrations.SCHEMA:
        return []
    wanted = expected(version)
    found = {(kind, name): (table, sql) for kind, name, table, sql in db.execute_sql(OBJECTS).fetchall()}
    differing = []
    for (kind, name), (table, sql) in wanted.items():
        if (kind, name) not in found:
            differing.append(SchemaDifference(kind, name, "missing", table, sql))
        elif _plain(found[kind, name][1]) != _plain(sql):
            differing.append(SchemaDifference(kind, name, "changed", table, sql))
    foreign = (SchemaDifference(kind, name, "foreign", table) for (kind, name), (table, _) in found.items())
    return [*differing, *(one for one in foreign if (one.kind, one.name) not in wanted)]


def recreate(db: Database, wanted: SchemaDifference) -> None:
    """Creates an index or a view as the schema says. Call it inside a write transaction."""
    assert wanted.fixable and wanted.sql is not None, f"{wanted.kind} {wanted.name} cannot be recreated"
    if wanted.what == "changed":
        db.execute_sql(f'DROP {wanted.kind.upper()} "{wanted.name}"')
    db.execute_sql(wanted.sql)


def missing_table(connection: sqlite3.Connection) -> str | None:
    """Returns the first table of its schema that is missing in a database of fts, or None."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    found = {(row[0], row[1]) for row in connection.execute(OBJECTS).fetchall()}
    wanted = expected(min(max(version, 1), migrations.SCHEMA))
    return next((name for kind, name in wanted if kind == "table" and (kind, name) not in found), None)


@cache
def expected(version: int) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Maps (kind, name) to (table, SQL) for each object of a schema, read from a database made in memory."""
    with closing(sqlite3.connect(":memory:")) as made:
        for statements in migrations.MIGRATIONS[:version]:
            for statement in statements:
                made.execute(statement)
        return {(kind, name): (table, sql) for kind, name, table, sql in made.execute(OBJECTS).fetchall()}


def _plain(sql: str | None) -> str:
    return " ".join((sql or "").split())
