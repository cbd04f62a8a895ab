"""Finds the rows that hold what no fts writes, and the SQL that repairs each: for `fts doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.state.columns import ALWAYS_MEASURED, TABLES, ColumnKind, read, read_object, shown
from fts.state.rows import NODE, to_margin, to_node
from fts.state.values import UnreadableRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fts.state.database import Database


def unreadable_of(db: Database, table: str) -> Iterator[UnreadableRow]:
    """Yields the rows of a table that hold what no fts writes. Reads every row: for `fts doctor`."""
    kinds = TABLES[table]
    readers = [(kind.read, kind.nullable or name in ALWAYS_MEASURED) for name, kind in kinds.items()]
    cursor = db.execute_sql(f"SELECT {', '.join(kinds)} FROM {table}")
    for values in cursor:
        if table != "flag" and _all_fit(readers, values):  # nearly every row; the others are read by column
            continue
        row = dict(zip(kinds, values, strict=True))
        odd = [name for name, kind in kinds.items() if not _fits(kind, row[name], name)]
        odd += _odd_content(table, row)
        if odd:
            why = ", ".join(f"{name} is {shown(row[name])}" for name in odd)
            yield UnreadableRow(table, _row_name(table, row), why, _repair_sql(table, row, odd[0]))


def _all_fit(readers: Iterable[tuple[Callable[[Any], Any], bool]], values: Iterable[Any]) -> bool:
    """Whether all columns of a row are readable. `readers`: of each column, and whether NULL is allowed."""
    try:
        for (reader, nullable), value in zip(readers, values, strict=True):
            if value is not None or not nullable:
                reader(value)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False
    return True


def _fits(kind: ColumnKind, value: Any, name: str) -> bool:
    try:
        if value is not None or name not in ALWAYS_MEASURED:  # NULL there means nan
            read(kind, value)
    except ValueError:
        return False
    return True


def _odd_content(table: str, row: Mapping[str, Any]) -> list[str]:
    """Returns ["value"] if a flag's JSON is not of the kind that the flag's name demands."""
    if table != "flag" or not isinstance(row["value"], str):
        return []
    try:
        if row["name"].startswith("margin:"):
            to_margin(row)
        elif row["name"].startswith(NODE):
            to_node(row)
        elif row["name"].startswith(("unsealed:", "tested:")):
            read_object(row["value"])
    except (ValueError, RecursionError):
        return ["value"]
    return []


def _row_name(table: str, row: Mapping[str, Any]) -> str:
    if table == "epoch":
        return f"epoch {row['epoch']} of trial {row['trial_id']}"
    if table == "sample":
        return f"sample of worker {row['worker_id']} at {shown(row['at'])}"
    if table in ("draw", "attempt"):
        return f"{table} {row['k' if table == 'draw' else 'n']} of trial {row['trial_id']}"
    return f"{table} {row['name' if table in ('flag', 'study') else 'id']}"


def _repair_sql(table: str, row: Mapping[str, Any], column: str) -> str | None:
    """Returns SQL that repairs the row without loss: empties a nullable column, deletes a sample; else None."""
    keys = _KEYS.get(table, ("id",))
    where = " AND ".join(f"{key} = {_quoted(row[key])}" for key in keys)
    kind = TABLES[table][column]
    if table == "sample" or (table == "flag" and str(row["name"]).startswith("margin:")):  # can be measured again
        return f"DELETE FROM {table} WHERE {where}"
    if (table, column) in EMPTIED:
        return f"UPDATE {table} SET {column} = '{{}}' WHERE {where}"
    return f"UPDATE {table} SET {column} = NULL WHERE {where}" if kind.nullable or column in ALWAYS_MEASURED else None


def _quoted(value: Any) -> str:
    return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''")[:80] + "'"


_KEYS = {
    "flag": ("name",), "epoch": ("trial_id", "epoch"), "sample": ("worker_id", "at"), "study": ("name",),
    "draw": ("trial_id", "k"), "attempt": ("trial_id", "n"),
}  # fmt: skip
EMPTIED = (("event", "data"), ("trial", "facts"), ("epoch", "metrics"), ("study", "declaration"))
