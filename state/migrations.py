"""Migrates an older database to the current schema, one numbered step at a time.

A released step is frozen: plain SQL, independent of the current models. `tests/state/test_schema.py` compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fts.state import schema_1, schema_2, schema_3

if TYPE_CHECKING:
    from collections.abc import Sequence


class Executes(Protocol):
    def execute_sql(self, sql: str, params: Sequence[object] | None = None) -> object: ...


# step n: version n to n + 1
MIGRATIONS: tuple[tuple[str, ...], ...] = (schema_1.STATEMENTS, schema_2.STATEMENTS, schema_3.STATEMENTS)
SCHEMA = len(MIGRATIONS)


def apply(db: Executes, version: int, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Runs the steps after `version`. The caller holds the write transaction, so a failing step changes nothing."""
    for statements in migrations[version:]:
        for statement in statements:
            db.execute_sql(statement)
    db.execute_sql(f"PRAGMA user_version = {len(migrations)}")
