"""Compares the tables, indexes, views and triggers of a file with those that its schema number promises."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.state import migrations

if TYPE_CHECKING:  # fts.state.db asks this module of its backups
    from fts.state.db import Database

OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
REMADE = ("index", "view")  # hold nothing of their own: they can be made anew without risk


@dataclass(frozen=True)
class Difference:
    """One object that is not as the schema says."""

    kind: str  # table | index | view | trigger
    name: str
    what: str  # missing | changed | foreign
    table: str  # that it belongs to
    sql: str | None = None  # that makes it as it should be

    @property
    def fixable(self) -> bool:
        return self.kind in REMADE and self.what != "foreign"

    @property
    def grave(self) -> bool:
        """Can it cost the study? A table that is gone or changed does, and a trigger writes what nobody asked for."""
        return self.kind == "trigger" or (self.kind == "table" and self.what != "foreign")


def differences(db: Database) -> list[Difference]:
    """What is missing, changed or foreign in the file, for the schema it says it has; none of a newer schema."""
    version = int(db.execute_sql("PRAGMA user_version").fetchone()[0])
    if not 1 <= version <= migrations.SCHEMA:
        return []
    wanted = expected(version)
    found = {(kind, name): (table, sql) for kind, name, table, sql in db.execute_sql(OBJECTS).fetchall()}
    told = []
    for (kind, name), (table, sql) in wanted.items():
        if (kind, name) not in found:
            told.append(Difference(kind, name, "missing", table, sql))
        elif _plain(found[kind, name][1]) != _plain(sql):
            told.append(Difference(kind, name, "changed", table, sql))
    foreign = (Difference(kind, name, "foreign", table) for (kind, name), (table, _) in found.items())
    return [*told, *(one for one in foreign if (one.kind, one.name) not in wanted)]


def remake(db: Database, wanted: Difference) -> None:
    """Makes an index or a view as the schema says. Inside a write transaction."""
    assert wanted.fixable and wanted.sql is not None, f"{wanted.kind} {wanted.name} cannot be made anew"
    if wanted.what == "changed":
        db.execute_sql(f'DROP {wanted.kind.upper()} "{wanted.name}"')
    db.execute_sql(wanted.sql)


def missing_table(connection: sqlite3.Connection) -> str | None:
    """The first table that a file of ours lacks; None: it has all that its schema number promises."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    found = {(row[0], row[1]) for row in connection.execute(OBJECTS).fetchall()}
    wanted = expected(min(max(version, 1), migrations.SCHEMA))
    return next((name for kind, name in wanted if kind == "table" and (kind, name) not in found), None)


@cache
def expected(version: int) -> dict[tuple[str, str], tuple[str, str | None]]:
    """(kind, name) -> (table, SQL) of every object of a schema, from a database made for it in memory."""
    with closing(sqlite3.connect(":memory:")) as made:
        for statements in migrations.MIGRATIONS[:version]:
            for statement in statements:
                made.execute(statement)
        return {(kind, name): (table, sql) for kind, name, table, sql in made.execute(OBJECTS).fetchall()}


def _plain(sql: str | None) -> str:
    return " ".join((sql or "").split())
