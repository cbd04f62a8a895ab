"""No error is its own cause: code that walks from an error to those that it followed would never end."""

from __future__ import annotations

import ast
import gc
import sqlite3
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import peewee
import pytest

from fts.jobs.threads import REFUSED, no_room
from fts.raising import chain, raise_as
from fts.state.cursors import Connection
from fts.state.files import CannotWrite, replacing
from tests.state.helpers import new_db
from tests.test_layout import modules

ALWAYS_NEW = {"not_installed", "no_library"}  # functions that never return the error that they are given


def circle() -> BaseException:
    first, second = ValueError("first"), RuntimeError("can't start new thread")
    first.__cause__, second.__context__ = second, first
    return first


def itself() -> BaseException:
    error = RuntimeError("can't start new thread")
    error.__cause__ = error
    return error


@pytest.mark.parametrize("made", [circle, itself])
def test_a_circle_of_causes_is_walked_once(made: Callable[[], BaseException]) -> None:
    assert len(list(chain(made()))) == (2 if made is circle else 1)
    assert no_room(made()) == REFUSED
    first = made()
    for error in chain(first):
        error.args = ("something else",)
    assert no_room(first) is None


def test_an_error_that_has_no_translation_keeps_its_own_cause() -> None:
    with pytest.raises(ValueError, match="other") as raised:
        try:
            raise ValueError("other")
        except ValueError as error:
            raise_as(error, error)
    assert raised.value.__cause__ is None
    with pytest.raises(KeyError) as other:
        raise_as(KeyError("ours"), raised.value)
    assert other.value.__cause__ is raised.value


def test_no_error_of_a_database_or_a_file_is_its_own_cause(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    with pytest.raises(peewee.OperationalError) as of_statement:
        db.execute_sql("this is no SQL")
    connection = Connection(":memory:")
    connection.translate = lambda error, _: error
    with pytest.raises(sqlite3.DatabaseError) as of_row:
        connection.execute("SELECT 1 UNION ALL SELECT abs(-9223372036854775808)").fetchall()
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(CannotWrite) as of_file, replacing(tmp_path / "outer"), replacing(folder):
        pass
    for raised in (of_statement, of_row, of_file):
        assert raised.value not in [error.__cause__ for error in chain(raised.value)]


class Held:
    """Something that a frame below the error holds, such as a connection."""


def test_a_raised_error_is_freed_at_once_with_all_that_its_frames_hold() -> None:
    """Else a connection that failed to open would keep its locks until a garbage collection."""

    def failing(make: Callable[[Exception], Exception], held: list[weakref.ref[Held]]) -> None:
        open_file = Held()
        held.append(weakref.ref(open_file))
        try:
            raise ValueError("theirs")
        except ValueError as error:
            raise_as(make(error), error)

    held: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        for make in (lambda error: KeyError("ours"), lambda error: error):
            with suppress(KeyError, ValueError):
                failing(make, held)
        assert [one() for one in held] == [None, None]
    finally:
        gc.enable()


def test_what_a_function_makes_of_an_error_is_raised_with_raise_as() -> None:
    """`raise translated(error) from error` is wrong if the function can return the error itself."""
    wrong = []
    for name, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.cause, ast.Name):
                called = ast.unparse(node.exc.func).split(".")[-1].lstrip("_")
                given = {arg.id for arg in node.exc.args if isinstance(arg, ast.Name)}
                if called[0].islower() and called not in ALWAYS_NEW and node.cause.id in given:
                    wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []
