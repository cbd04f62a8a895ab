"""The disk fills up, the file is locked, the disk fails, the process dies: at every statement, all or nothing."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import pytest

from fts.state import queries, tickets, transitions
from fts.state.db import Database, open_database
from fts.state.errors import DatabaseBusy, DatabaseFailed, DatabaseOverwritten, DiskFull, ReadOnlyDatabase
from fts.state.holder import holder
from fts.state.scheduling import OF_DISK, resumes_by_itself
from fts.state.translation import LONGEST_PATH, translate
from fts.state.values import Cause
from tests.fts_process import ROOT
from tests.namespaces import IN_NAMESPACE, can_mount
from tests.state.helpers import LEASE_S, claimed, dump, enqueued, epoch, new_db, spec, started, worker

Action = Callable[[Database], Any]


class FailingDatabase(Database):
    """Fails as SQLite would, at the n-th statement from `arm` on; counts them otherwise."""

    fail_at = 0
    seen = 0
    error = "database or disk is full"

    def arm(self, n: int, error: str) -> None:
        self.fail_at, self.seen, self.error = n, 0, error

    def _count(self) -> None:
        self.seen += 1
        if self.seen == self.fail_at:
            if "full" in self.error and self.in_transaction():
                self.connection().rollback()  # what SQLite does by itself when the disk is full
            raise peewee.OperationalError(self.error)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        with self._translated():
            self._count()
        return super().execute_sql(sql, params)

    def begin(self, lock_type: str | None = None) -> None:
        with self._translated():
            self._count()
        super().begin(lock_type)

    def commit(self) -> None:
        with self._translated():
            self._count()
        super().commit()


def _trial_ends(db: Database) -> None:
    claim = transitions.claim(db, 1, LEASE_S)
    if claim is None:
        return
    with db.write():  # one transaction around all, so that "nothing or everything" has one meaning
        trial = started(db, claim)
        transitions.record_started(db, claim, trial, {"n_val": 442, "label_md5": "x"})
        transitions.record_epoch(db, claim, trial, epoch())
        transitions.finish_trial(db, claim, trial, "complete", Cause.FINISHED, value=0.6)


ACTIONS: dict[str, Action] = {
    "enqueue": lambda db: transitions.enqueue(db, [spec(8), spec(9)], "ada"),
    "claim": lambda db: transitions.claim(db, 1, LEASE_S),
    "beat": lambda db: transitions.record_heartbeat(db, 1, LEASE_S),
    "move": lambda db: transitions.move(db, [3, 2], "top", who="ada"),
    "pause": lambda db: transitions.pause(db, [1, 2, 3], who="ada"),
    "cancel": lambda db: transitions.cancel(db, [1, 2], who="ada"),
    "undo": lambda db: transitions.undo(db, who="ada"),
    "pause queue": lambda db: transitions.pause_queue(db, "disk", who="ada"),
    "stop worker": lambda db: transitions.stop_worker(db, 1),
    "reconcile": lambda db: transitions.reconcile(db, "lab", lambda pid, started_at: False),
    "look": lambda db: _looking(db).dequeue(),
}


def _looking(db: Database) -> tickets.TicketHuey:
    huey = tickets.make_huey(db)
    huey.task(name="look")(lambda: None)
    return huey


def failing(folder: Path) -> FailingDatabase:
    new_db(folder).close()
    db = FailingDatabase(folder / "outputs" / "fts.db")
    enqueued(db, 3)
    worker(db)
    return db


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("database or disk is full", DiskFull),
        ("database is locked", DatabaseBusy),
        ("disk I/O error", DatabaseFailed),
    ],
)
def test_a_failure_at_any_statement_leaves_nothing(
    tmp_path: Path, name: str, error: str, raised: type[Exception]
) -> None:
    db = failing(tmp_path)
    before = dump(db)
    n = 0
    while True:
        n += 1
        db.arm(n, error)
        try:
            ACTIONS[name](db)
        except raised:
            assert not db.in_transaction()
            assert dump(db) == before, f"something stayed after a failure at statement {n} of {name}"
            continue
        break  # fewer than n statements: it went through
    db.arm(0, error)
    assert n > 2
    assert name in ("beat",) or dump(db) != before
    assert db.execute_sql("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_a_quota_that_is_used_up_is_room_that_is_missing_although_sqlite_calls_it_a_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = failing(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", refuse)
    db.arm(2, "disk I/O error")
    with pytest.raises(
        DiskFull, match=r"the quota of this user on the disk of .* is used up.*; nothing was written"
    ) as it:
        ACTIONS["enqueue"](db)
    assert resumes_by_itself(f"{OF_DISK} {it.value}"), "a worker goes on by itself once it is mended"
    monkeypatch.undo()
    db.arm(2, "disk I/O error")
    with pytest.raises(DatabaseFailed):
        ACTIONS["enqueue"](db)
    db.close()


def test_a_disk_that_was_full_a_moment_ago_is_told_from_a_defect_by_sqlites_code(tmp_path: Path) -> None:
    """SQLite could not make its -shm file larger; there may be room again when we look."""
    said = sqlite3.OperationalError("disk I/O error")
    said.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
    assert isinstance(translate(said, tmp_path / "fts.db"), DiskFull)
    wrapped = peewee.OperationalError("disk I/O error")
    wrapped.__context__ = said
    assert isinstance(translate(wrapped, tmp_path / "fts.db"), DiskFull)
    said.sqlite_errorname = "SQLITE_IOERR_READ"
    assert isinstance(translate(wrapped, tmp_path / "fts.db"), DatabaseFailed)
    lost_race = translate(sqlite3.OperationalError("locking protocol"), tmp_path / "fts.db")
    assert isinstance(lost_race, DatabaseBusy) and "try again" in str(lost_race)


def test_a_log_of_another_user_is_named_and_not_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fts.db-wal").touch()  # as root left it, in a folder of this user
    monkeypatch.setattr(os, "access", lambda at, _: not str(at).endswith("-wal"))
    for message in ("attempt to write a readonly database", "unable to open database file"):
        assert "fts.db-wal may not be read and written" in str(
            translate(sqlite3.OperationalError(message), tmp_path / "fts.db")
        )


@pytest.mark.parametrize("name", ["fts.db", "fts.db-shm"])
def test_an_immutable_file_is_named_with_the_command_that_changes_that(tmp_path: Path, name: str) -> None:
    path = tmp_path / "fts.db"
    db = open_database(path)
    marked = subprocess.run(["chattr", "+i", str(tmp_path / name)], capture_output=True, check=False)
    try:
        if marked.returncode:
            pytest.skip("needs root and a file system with chattr")
        said = str(translate(sqlite3.OperationalError("attempt to write a readonly database"), path))
    finally:
        subprocess.run(["chattr", "-i", str(tmp_path / name)], capture_output=True, check=False)
    db.close()
    assert f"probably immutable: `chattr -i {tmp_path / name}` as root" in said


def test_a_whole_trial_in_one_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    db = failing(tmp_path)
    n, done = 0, False
    while not done:
        n += 1
        db.arm(n, "database or disk is full")
        try:
            _trial_ends(db)
            done = True
        except DiskFull:
            db.arm(0, "")
            assert queries.trials(db, 1) == ()
            db.execute_sql("UPDATE job SET status = 'queued', worker_id = NULL, lease_until = NULL, idle_attempts = 0")
    db.arm(0, "")
    assert n > 20
    assert queries.job(db, 1).best_value == 0.6
    db.close()


def test_a_limit_on_the_size_of_files_is_not_called_a_full_disk(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    enqueued(db, 3)
    before, rows = resource.getrlimit(resource.RLIMIT_FSIZE), dump(db)
    for limit in (1, 1 << 16, db.path.stat().st_size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises((DatabaseFailed, DiskFull)) as raised:
                for _ in range(300):  # until the log has reached the limit
                    transitions.move(db, [3], "top")
                    transitions.move(db, [3], "bottom")
                    rows = dump(db)
            with pytest.raises((DatabaseFailed, DiskFull)) as opening:
                open_database(tmp_path / f"new{limit}" / "fts.db", create=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        for one in (raised, opening) if limit == 1 else (raised,):
            assert "than this process may make a file (`ulimit -f` allows" in str(one.value), (limit, one.value)
        assert dump(db) == rows, "half of a change was written"
    transitions.move(db, [3], "top")


def test_a_full_disk_says_so_and_work_goes_on_afterwards(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    pages = int(db.execute_sql("PRAGMA page_count").fetchone()[0])
    db.execute_sql(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own "database or disk is full"
    with pytest.raises(DiskFull, match="free space and try again"):
        for n in range(1, 100):
            transitions.enqueue(db, [spec(n, spec={"n": n, "long": "x" * 5000})])
    before = len(queries.jobs(db))
    assert db.execute_sql("PRAGMA integrity_check").fetchone() == ("ok",)
    db.execute_sql("PRAGMA max_page_count = 100000")
    transitions.enqueue(db, [spec(100)])
    assert len(queries.jobs(db)) == before + 1
    db.close()


def test_a_database_that_somebody_locked_is_waited_for_and_then_named(db: Database) -> None:
    enqueued(db)
    blocker = sqlite3.connect(db.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    impatient = open_database(db.path, check=False, busy_timeout_s=0.1)
    with pytest.raises(DatabaseBusy, match="locked by another process"):
        transitions.pause(impatient, [1])
    assert len(queries.jobs(impatient)) == 1  # reading goes on
    blocker.execute("ROLLBACK")
    blocker.close()
    transitions.pause(impatient, [1])
    impatient.close()


HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_the_process_that_holds_the_lock_is_named(db: Database, begin: str) -> None:
    enqueued(db)
    argv = [sys.executable, "-c", HOLD, str(db.path), begin]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        impatient = open_database(db.path, check=False, busy_timeout_s=0.1)
        with pytest.raises(DatabaseBusy, match=rf"locked by process {other.pid} \(python"):
            transitions.pause(impatient, [1])
        impatient.close()
    assert holder(db.path) == "another process"  # nobody holds it any more


def test_what_was_committed_survives_a_torn_log(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    enqueued(db, 5)
    log = db.path.with_name(db.path.name + "-wal")
    content = db.path.read_bytes(), log.read_bytes()
    db.close()
    torn = tmp_path / "torn"
    for cut in (0, 100, len(content[1]) // 2, len(content[1]) - 10):
        torn.mkdir(exist_ok=True)
        (torn / "fts.db").write_bytes(content[0])
        (torn / "fts.db-wal").write_bytes(content[1][:cut])
        again = open_database(torn / "fts.db")
        assert len(queries.jobs(again)) in (0, 5)
        again.close()
        for path in torn.iterdir():
            path.unlink()


def test_a_claim_needs_a_worker_that_is_there(db: Database) -> None:
    enqueued(db)
    from fts.state.errors import NoSuchRow

    with pytest.raises(NoSuchRow, match="no worker 5"):
        transitions.claim(db, 5, LEASE_S)
    assert claimed(db).job_id == 1


def test_a_file_that_lost_pages_was_written_over_unless_sqlite_itself_made_it_smaller(tmp_path: Path) -> None:
    db = open_database(tmp_path / "fts.db")
    size = db.path.stat().st_size
    db.execute_sql("CREATE TABLE filler (x)")
    db.execute_sql("INSERT INTO filler VALUES (zeroblob(1000000))")
    db.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.check_still_there()
    db.execute_sql("DROP TABLE filler")
    db.execute_sql("VACUUM")
    db.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.check_still_there()
    os.truncate(db.path, size // 2)
    with pytest.raises(DatabaseOverwritten, match="written over"):
        db.check_still_there()
    db.close()


WRITE_OVER = """
import sys
with open(sys.argv[1], "rb") as old, open(sys.argv[2], "r+b") as file:  # as cp does with a file of the same size
    file.write(old.read())
"""
CHECKPOINT = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()"


def test_a_copy_of_equal_size_that_is_written_over_the_open_file_is_noticed(tmp_path: Path) -> None:
    """Its pages are mixed with those of the log: no row that the worker writes looks old."""
    db = new_db(tmp_path)
    old, broken = tmp_path / "old", tmp_path / "broken"
    for program in (CHECKPOINT, WRITE, CHECKPOINT):
        elsewhere(program, db.path)
        assert db.check_still_there() is None
    elsewhere(COPY, db.path, old)
    _write(db)
    assert db.check_still_there() is None, "its own write, which is in the log"
    elsewhere(CHECKPOINT, db.path)
    assert db.check_still_there() is None
    _write(db)
    assert db.check_still_there() is None
    broken.write_bytes(old.read_bytes()[:4096] + bytes(old.stat().st_size - 4096))
    elsewhere(WRITE_OVER, old, db.path)
    warned = db.check_still_there()
    assert warned is not None and f"something else than SQLite wrote to {db.path}: it is whole, but may hold" in warned
    assert db.check_still_there() is None, "told once"
    elsewhere(WRITE_OVER, broken, db.path)
    with pytest.raises(DatabaseOverwritten, match=r"written over while it was open \(not by SQLite\) and is damaged"):
        db.check_still_there()
    db.close()


COPY = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"
TRUNCATE = "import os, sys; os.truncate(sys.argv[1], 0)"
WRITE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("INSERT INTO flag VALUES ('one', 'x', NULL, NULL, 0)")
"""


def elsewhere(program: str, *paths: Path) -> None:
    """Runs a program in a process of its own: closing a file here would drop this process's locks on it."""
    subprocess.run([sys.executable, "-c", program, *map(str, paths)], check=True)


def _read(db: Database) -> None:
    queries.flag(db, "one")


def _write(db: Database) -> None:
    with db.write():
        db.execute_sql("UPDATE flag SET value = 'y'")


@pytest.mark.parametrize("act", [_read, _write])
def test_a_page_read_while_the_file_was_copied_over_is_read_again(tmp_path: Path, act: Action) -> None:
    """SQLite kept it until another connection wrote, so a worker's reads and writes failed for ever."""
    db = new_db(tmp_path)
    db.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    whole = db.path.with_name("whole")
    elsewhere(COPY, db.path, whole)
    elsewhere(WRITE, db.path)  # empties the cache of this process's connection at its next statement
    elsewhere(TRUNCATE, db.path)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        sqlite3.Cursor(db.connection()).execute("SELECT * FROM flag")
    elsewhere(COPY, whole, db.path)
    with pytest.raises(DatabaseFailed, match="found no damage"):
        act(db)
    act(db)
    db.check_still_there()
    db.close()


@pytest.mark.parametrize("length", [LONGEST_PATH, LONGEST_PATH + 1])
def test_a_path_that_is_too_long_for_sqlite_is_named_with_its_length(tmp_path: Path, length: int) -> None:
    folder = tmp_path.joinpath(*["y" * 99] * 3)
    rest = length - len(os.fsencode(folder / "x" / "fts.db")) + 1
    path = folder / ("z" * (rest // 2)) / ("z" * (rest - rest // 2 - 1)) / "fts.db"
    assert len(os.fsencode(path)) == length
    if length == LONGEST_PATH:
        open_database(path).close()
    else:
        with pytest.raises(DatabaseFailed, match=f"is a path of {length} bytes, and SQLite opens paths of at most"):
            open_database(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_database_that_may_not_be_read_says_whose_fault_it_is(tmp_path):
    db = new_db(tmp_path)
    enqueued(db)
    db.close()
    db.path.chmod(0)
    with pytest.raises(DatabaseFailed, match="may not be read by this user; check its owner and permissions"):
        open_database(db.path, readonly=True, check=False).close()


AS_NOBODY = """
import os, sys
from pathlib import Path
from fts.jobs.cli import main
from fts.state.db import open_database

folder = Path(sys.argv[1])
folder.mkdir()
open_database(folder / "fts.db").close()
folder.chmod(0o700)
for _ in range(2):
    for words in (("status",), ("note", "x")):
        main(["--db", str(folder / "fts.db"), *words])
    os.setgroups([])  # not earlier: the other user may not import from everywhere
    os.setresuid(65534, 65534, 65534)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_folder_of_another_user_is_not_called_empty(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(tmp_path / "theirs")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stderr.count("this user may not look into") == 2 and "no study" not in done.stderr, done.stderr


ON_A_READ_ONLY_DISK = """
import subprocess, sys
from contextlib import closing
from pathlib import Path
from fts.jobs.cli import main
from fts.state.db import open_database

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=True)
with closing(open_database(disk / "fts.db")):
    pass
subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
for words in (("note", "x"), ("worker",), ("restore", "--yes"), ("status", "--line")):
    main(["--db", str(disk / "fts.db"), *words])
"""


@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="no user and mount namespaces here")
def test_a_read_only_disk_is_named_as_the_cause_and_can_be_looked_at(tmp_path: Path) -> None:
    done = subprocess.run(
        [*IN_NAMESPACE, sys.executable, "-c", ON_A_READ_ONLY_DISK, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    note, worker, *_ = said = done.stderr.splitlines()
    assert "is mounted read-only; nothing was written" in note and "is mounted read-only" in worker, said
    assert "owner" not in done.stderr and "file system" not in done.stderr
    assert "IDLE" in done.stdout


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite only says that it cannot open the database: it may not create the -wal beside it, or a new database."""
    monkeypatch.setattr(os, "access", lambda at, _: Path(at) != tmp_path)
    for there in (False, True):
        if there:
            (tmp_path / "fts.db").touch()
        said = translate(sqlite3.OperationalError("unable to open database file"), tmp_path / "fts.db")
        assert isinstance(said, ReadOnlyDatabase)
        assert str(said).startswith(f"{tmp_path} may not be written to by this user"), said
