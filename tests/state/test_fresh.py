"""Whatever happens to the files at a path, a look shows what a new process would see there, or fails."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fts.state import queries, transitions
from fts.state.backup import backup
from fts.state.db import Database, open_database
from fts.state.errors import DatabaseGone, NoDatabase, NotFresh, StateError
from tests.state.helpers import enqueued, new_db

ROOT = Path(__file__).resolve().parents[2]
READ = """
import sqlite3, sys
db = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
print(*db.execute("SELECT id, message FROM event ORDER BY id"), sep="\\n")
"""
ADD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
with db:
    db.execute("INSERT INTO event (at, who, verb, message, data) VALUES (1, 'you', 'noted', ?, '{}')", sys.argv[2:])
db.close()
"""
NOTE = "from fts.state.db import open_database; from fts.state import transitions; import sys, os, shutil\n"


def elsewhere(code: str, *words: Path | str) -> str:
    """Python code in a process of its own, its locks and its -shm included; without our packages ten times as fast."""
    isolated = [] if "from fts.state" in code else ["-I"]
    argv = [sys.executable, *isolated, "-c", code, *map(str, words)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr[-300:]}"


def note(path: Path, text: str = "said elsewhere") -> None:
    code = "db = open_database(sys.argv[1], check=False); transitions.operator.note(db, sys.argv[2]); db.close()"
    assert elsewhere(ADD if path.exists() else NOTE + code, path, text) == ""


def seen(db: Database) -> str:
    return "\n".join(str((event.id, event.message)) for event in queries.events(db, since=0, limit=1000))


def older_copy(path: Path) -> Path:
    """What `make` put beside the study before its last events."""
    return path.parent / "older" / "fts.db"


def make(folder: Path) -> Path:
    """A study in WAL mode with an older copy of it beside; nobody has it open."""
    db = new_db(folder)
    enqueued(db, 2)
    copy = backup(db)
    older_copy(db.path).parent.mkdir()
    shutil.copyfile(copy, older_copy(db.path))
    transitions.operator.note(db, "after the copy")
    db.close()
    return db.path


def restored(path: Path) -> None:
    code = "from fts.state.restore import restore; import sys; restore(sys.argv[2], sys.argv[1])"
    assert elsewhere(code, path, older_copy(path)) == ""


def made_again(path: Path) -> None:
    for file in path.parent.glob("fts.db*"):
        file.unlink()
    note(path)


def gone(path: Path) -> None:
    for file in path.parent.glob("fts.db*"):
        file.unlink()


def log_removed(path: Path) -> None:
    beside(path, "-wal").unlink()


def log_removed_and_written(path: Path) -> None:
    log_removed(path)
    note(path)


def memory_removed(path: Path) -> None:
    beside(path, "-shm").unlink()


def both_removed(path: Path) -> None:
    log_removed(path)
    memory_removed(path)


def both_removed_and_written(path: Path) -> None:
    both_removed(path)
    note(path, "first")
    note(path, "second")


def written_over(path: Path) -> None:
    shutil.copyfile(older_copy(path), path)


def written_over_with_its_times(path: Path) -> None:
    shutil.copyfile(older_copy(path), path)
    os.utime(path, ns=(0, 0))


def moved_and_back(path: Path) -> None:
    away = path.parent.with_name("away")
    path.parent.rename(away)
    note(away / path.name)
    away.rename(path.parent)


def moved_and_another_in_its_place(path: Path) -> None:
    path.parent.rename(path.parent.with_name("away"))
    note(path)


def linked_elsewhere(path: Path) -> None:
    target = path.with_name("other.db")
    note(target, "in the other")
    path.unlink()
    path.symlink_to(target)


def log_cut(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 0)


def locks_dropped(path: Path) -> None:
    """As a library might that opens every file it sees, in the reader's own process."""
    path.read_bytes()
    note(path, "first")
    note(path, "second")


def commands(path: Path) -> None:
    for n in range(3):
        note(path, f"note {n}")


def put_aside_by_hand(path: Path) -> None:
    path.rename(path.with_name("aside.db"))
    shutil.copyfile(older_copy(path), path)


def checkpointed(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()


def vacuumed(path: Path) -> None:
    elsewhere("import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM')", path)


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


MISHAPS: list[Callable[[Path], None]] = [
    commands, restored, made_again, gone, log_removed, log_removed_and_written, memory_removed, both_removed,
    both_removed_and_written, written_over, written_over_with_its_times, moved_and_back,
    moved_and_another_in_its_place, linked_elsewhere, log_cut, locks_dropped, put_aside_by_hand, checkpointed, vacuumed,
]  # fmt: skip


def look(db: Database, known: tuple[int | None, str]) -> tuple[int | None, str]:
    """One look as every reader of ours takes it: what is known stays while the number stays."""
    version = queries.data_version(db)
    return known if version == known[0] else (version, seen(db))


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_look_shows_what_lies_at_the_path_or_fails(tmp_path: Path, mishap: Callable[[Path], None]) -> None:
    path = make(tmp_path)
    note(path, "in the log")
    db = open_database(path, readonly=True, check=False)
    known = look(db, (None, ""))
    assert "in the log" in known[1]
    for n in range(3):
        if n == 0:
            mishap(path)
        elif path.exists() and mishap is not log_cut:
            note(path, f"later {n}")
        try:
            known = look(db, known)
        except StateError:
            known = (None, "")
            continue
        assert known[1] == elsewhere(READ, path)
    db.close()


@pytest.mark.parametrize("stays", [True, False], ids=["while its writer works", "when its writer has left"])
def test_one_that_is_read_alone_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
    path = make(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for another person's study; root may write everywhere
    db = open_database(path, readonly=True)
    known = look(db, (None, ""))
    assert "immutable=1" in str(db.database)
    code = "db = open_database(sys.argv[1]); transitions.operator.note(db, 'by the writer');"
    elsewhere(NOTE + code + ("os._exit(0)" if stays else "db.close()"), path)
    known = look(db, known)
    assert "by the writer" in known[1]
    db.close()


def test_a_look_at_an_unchanged_file_opens_nothing_anew(tmp_path: Path) -> None:
    path = make(tmp_path)
    db = open_database(path, readonly=True)
    connection = db.connection()
    numbers = {queries.data_version(db) for _ in range(5)}
    note(path)
    numbers |= {queries.data_version(db) for _ in range(5)}
    assert len(numbers) == 2
    assert db.connection() is connection
    db.close()


def test_readers_that_come_and_go_do_not_wake_each_other(tmp_path: Path) -> None:
    """Each opening by root is a chown of the log: two monitors read all of a quiet queue anew each second."""
    path = make(tmp_path)
    worker = open_database(path)  # keeps the log
    first, second = (open_database(path, readonly=True) for _ in range(2))
    looks = [(first.poll_version(), second.poll_version()) for _ in range(4)]
    log = Path(f"{path}-wal")
    os.chown(log, os.getuid(), os.getgid())
    looks.append((first.poll_version(), second.poll_version()))
    assert len(set(looks)) == 1
    transitions.operator.note(worker, "written")
    assert first.poll_version() != looks[0][0]
    for db in (first, second, worker):
        db.close()


def test_a_connection_beside_a_stale_one_is_not_taken_for_fresh(tmp_path: Path) -> None:
    """All connections of a process share the -shm that the first one opened, also when it was removed since."""
    path = make(tmp_path)
    stale = open_database(path, readonly=True)
    both_removed(path)
    note(path)
    db = Database(path, readonly=True)
    with pytest.raises(NotFresh, match="may read old data"):
        db.verify(patience_s=0.1)
    stale.close()
    db.verify(patience_s=0.1)
    assert "said elsewhere" in seen(db)
    db.close()


@pytest.mark.parametrize("mishap", [gone, restored, log_removed, memory_removed, put_aside_by_hand])
def test_a_worker_notices_that_what_it_writes_nobody_will_read(tmp_path: Path, mishap: Callable[[Path], None]) -> None:
    path = make(tmp_path)
    db = open_database(path)
    db.check_still_there()
    mishap(path)
    with pytest.raises(DatabaseGone, match="no longer the file this worker opened"):
        db.check_still_there()
    db.close()


def test_a_reader_without_a_file_says_so_and_reads_the_one_that_comes(tmp_path: Path) -> None:
    path = make(tmp_path)
    db = open_database(path, readonly=True)
    gone(path)
    with pytest.raises(NoDatabase):
        queries.data_version(db)
    note(path, "new")
    assert look(db, (None, ""))[1] == elsewhere(READ, path)
    db.close()
