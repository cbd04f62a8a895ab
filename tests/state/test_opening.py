"""No code of ours opens the database except through SQLite: a close would drop every lock of the process on it."""

from __future__ import annotations

import ast
import gc
import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from fts.state.backup import backup
from fts.state.db import open_database
from fts.state.holder import holder
from fts.state.restore import restore
from tests.state.helpers import enqueued, new_db
from tests.watched import has_open, locks_on, watched

ROOT = Path(__file__).resolve().parents[2]
OURS = ("state", "jobs", "tui", "fts", "benchmarks")
OPENS = {
    "open", "read_bytes", "read_text", "write_bytes", "write_text", "touch", "fdopen", "copy", "copy2", "copyfile",
    "copytree", "file_digest", "truncate", "fromfile", "memmap", "mmap",
}  # fmt: skip
NAMES = ("db", "database", "db_path", "fts.db", "-wal", "-shm", "wal", "shm")
OTHER_FILES = {  # in `state`, where a path is nearly always the database's
    "_alone",  # the folder of a database, as a lock
    "_flush_folder",  # a folder
    "_is_held_by",  # the lock file of a slot
    "_is_there",  # /proc/PID/stat
    "_named",  # /proc/PID/comm
    "_exclusive",  # /proc/locks
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists locks")


def opening_calls(path: Path) -> list[tuple[str, str, str]]:
    """(function, called name, whole call) of everything in a module that may open a file."""
    tree = ast.parse(path.read_text())
    found = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name in OPENS:
                found.append((function.name, name, ast.unparse(call)))
    return found


def names_database(call: str) -> bool:
    """Whether a word of the call is one by which the database goes."""
    parts = {part for node in ast.walk(ast.parse(call)) for part in _parts(node)}
    return any(name == part or (name[0] in "-f" and name in part) for name in NAMES for part in parts)


def _parts(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def test_the_walk_finds_what_it_looks_for() -> None:
    for call in ("os.open(places.db, 0)", "self.db_path.read_bytes()", "open('outputs/fts.db')", "copyfile(db, x)"):
        assert names_database(call), call
    assert not names_database("log.open('rb')")


@pytest.mark.parametrize("package", OURS)
def test_no_module_opens_the_database_by_hand(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        for function, name, call in opening_calls(path):
            at_fault = names_database(call) and name != "copy"  # `copy` copies values, too
            lock_files = ("slot_lock.py", "gpu_ledger.py", "gpu_waits.py")
            others = path.parent.name == "files" or path.name in lock_files  # they write others
            if package == "state" and not others:
                at_fault = function not in OTHER_FILES
            assert not at_fault, f"{path.relative_to(ROOT)}, {function}: {call}"


def test_one_copy_of_sqlite_is_in_the_process() -> None:
    """Two copies would not know of each other's descriptors, and drop each other's locks."""
    code = (
        "import sqlite3, peewee, pandas, sqlalchemy, optuna, huey.contrib.sql_huey, fts.state.db;"
        "sqlite3.connect(':memory:');"
        "lines = open('/proc/self/maps').read().splitlines();"
        "print(len({l.split()[-1] for l in lines if 'libsqlite3' in l or '_sqlite3.' in l or 'apsw' in l}))"
    )
    if sys.platform != "linux":
        pytest.skip("only Linux lists what is mapped")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert int(done.stdout) <= 2, done.stderr  # Python's module and the library behind it


@linux
def test_a_second_opening_in_a_process_leaves_the_first_its_locks(tmp_path: Path) -> None:
    new_db(tmp_path).close()
    path = tmp_path / "outputs" / "fts.db"
    reader = open_database(path, readonly=True)
    with watched(path) as opened:
        assert locks_on(path, os.getpid())
        for n in range(3):
            path.chmod(0o644)
            writer = open_database(path, check=bool(n))
            enqueued(writer, n + 1)
            holder(path)
            saved = backup(writer)
            writer.close()
            assert locks_on(path, os.getpid()), "the reader has lost its locks"
        assert has_open(path, os.getpid())
        restore(saved, tmp_path / "elsewhere" / "fts.db")
    assert opened == []
    reader.close()


@linux
def test_a_thread_that_ends_leaves_the_others_their_locks(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    for _ in range(3):
        thread = Thread(target=lambda: enqueued(db, 2))  # on a connection of its own, which nobody closes
        thread.start()
        thread.join()
        gc.collect()
        assert locks_on(db.path, os.getpid())
    db.close()


def test_files_are_the_owners_from_their_first_moment(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        db = open_database(tmp_path / "outputs" / "fts.db")
        enqueued(db)
        copy = backup(db)
        files = [db.path, *db.path.parent.glob("fts.db-*"), copy, restore_beside(copy, tmp_path)]
        assert len(files) == 5
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        db.close()
        assert os.umask(0o022) == 0o022, "the process's own umask was changed for good"
    finally:
        os.umask(before)


def restore_beside(copy: Path, folder: Path) -> Path:
    restore(copy, folder / "again" / "fts.db")
    return folder / "again" / "fts.db"


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    new_db(tmp_path).close()
    path = tmp_path / "outputs" / "fts.db"
    path.chmod(0o644)
    open_database(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_restore_takes_what_stands_in_the_log_of_the_copy(tmp_path: Path) -> None:
    """A database that was put aside keeps its -wal; a copy of the file alone would lose what is only there."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from fts.state.db import open_database;"
        "from tests.state.helpers import enqueued; from pathlib import Path;"
        "db = open_database(Path(sys.argv[1])); enqueued(db, 3); os._exit(0)"
    )
    path = tmp_path / "fts.db"
    subprocess.run([sys.executable, "-c", code, str(path), str(ROOT)], check=True)
    assert (tmp_path / "fts.db-wal").stat().st_size > 0
    restore(path, tmp_path / "b" / "fts.db")
    db = open_database(tmp_path / "b" / "fts.db")
    assert db.execute_sql("SELECT count(*) FROM job").fetchone() == (3,)
    db.close()
