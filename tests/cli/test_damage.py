"""A damaged database is named as such by every command, with its newest good backup, and restore mends it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fts.state import transitions
from fts.state.damage import newest_backup
from fts.state.db import open_database
from tests import damage
from tests.odd_rows import run

Fresh = Callable[[], Path]
ALL = (*damage.READING, *damage.WRITING)
NOBODY = 65534


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damage.build(tmp_path_factory.mktemp("damage") / "study")


@pytest.fixture
def fresh(built: Path, tmp_path: Path) -> Fresh:
    """Makes an unharmed copy, in the place of the one before."""
    return lambda: damage.copy(built, tmp_path / "copy")


def faults(fresh: Fresh, harm: str, page: int, commands: tuple[tuple[str, ...], ...]) -> list[str]:
    """What is wrong with the answers to a file with that page overwritten, and with what restore makes of it."""
    told = []
    for words in commands:
        path = fresh()
        damage.overwrite(path, page, harm, page)
        if (said := damage.fault(path, words)) is not None:
            told.append(f"{harm} on page {page + 1}: fts {' '.join(words)}: {said}")
    path = fresh()
    damage.overwrite(path, page, harm, page)
    code, said = run(path, ("restore", "-y"))
    if code or run(path, ("doctor",))[0]:
        told.append(f"{harm} on page {page + 1}: fts restore: {said[-200:]}")
    return told


def test_a_sample_of_overwritten_pages_is_named_with_the_backup_and_mended(fresh: Fresh, built: Path) -> None:
    chance, (_, count) = random.Random(20261127), damage.pages(built)
    told = []
    for harm in damage.HARM:
        for page in (0, chance.randrange(1, count)):
            told += faults(fresh, harm, page, (("doctor",), *chance.sample(ALL[1:], 3)))
    assert told == []


@pytest.mark.slow
@pytest.mark.parametrize("harm", damage.HARM)
def test_every_overwritten_page_is_named_with_the_backup_and_mended(fresh: Fresh, built: Path, harm: str) -> None:
    told = []
    for page in range(damage.pages(built)[1]):
        told += faults(fresh, harm, page, ALL)
    assert told == []


@pytest.mark.parametrize("page", [0, 4, 30])
def test_a_worker_does_not_start_on_a_damaged_file(fresh: Fresh, page: int) -> None:
    path = fresh()
    damage.overwrite(path, page, "zeros")
    words = [sys.executable, "-m", "fts.jobs.cli", "--db", str(path), *damage.STARTING[0]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "is damaged" in done.stderr and damage.backup_of(path) in done.stderr


@pytest.mark.parametrize("words", damage.WRITING)
def test_nothing_is_written_into_a_damaged_file(fresh: Fresh, words: tuple[str, ...]) -> None:
    path = fresh()
    damage.overwrite(path, 30, "zeros")
    before = path.read_bytes()
    code, said = run(path, words)
    assert code == 1 and "is damaged" in said
    assert path.read_bytes() == before and not path.with_name("fts.db-wal").exists()


def test_what_is_read_without_damage_is_answered_as_before(fresh: Fresh, built: Path) -> None:
    """A page of zeros is always found: an answer with exit code 0 is the right one, or says what is wrong."""
    wanted = {words: run(built, words)[1] for words in damage.READING if words[0] in ("queue", "trials")}
    for page in range(1, damage.pages(built)[1], 6):
        for words, answer in wanted.items():
            path = fresh()
            damage.overwrite(path, page, "zeros")
            code, said = run(path, words)
            assert said == answer if code == 0 else "is damaged" in said


def test_a_query_of_what_is_whole_is_answered_and_the_damage_is_said(fresh: Fresh) -> None:
    path = fresh()
    query = ("db", "query", "select id, cell from job", "--csv")
    answer = run(path, query)
    damage.overwrite(path, 30, "zeros")
    code, said = run(path, query)
    assert answer[0] == 0 and code == 1
    assert said.startswith(answer[1]) and "is damaged" in said and damage.backup_of(path) in said


def test_the_backup_that_is_named_is_the_newest_that_is_whole(fresh: Fresh) -> None:
    path = fresh()
    folder = path.parent / "backups"
    good = newest_backup(path)
    assert good is not None and good.name == damage.backup_of(path)
    for n, harm in enumerate(("zeros", "noise")):
        torn = folder / f"fts-20260101-00000{n}.db"
        shutil.copyfile(good, torn)
        damage.overwrite(torn, 3, harm)
    (folder / "fts-20260101-000003.db").write_bytes(b"")
    good.rename(folder / "fts-20250601-000000.db")
    assert newest_backup(path) == folder / "fts-20250601-000000.db"
    damage.overwrite(path, 3, "zeros")
    assert "fts-20250601-000000.db" in run(path, ("status",))[1]
    (folder / "fts-20250601-000000.db").unlink()
    assert "there is no good backup beside it: 4 found, all damaged" in run(path, ("note", "x"))[1]
    code, said = run(path, ("restore", "-y"))
    assert code == 6 and "all backups in" in said and "are damaged" in said


# ---------------------------------------------------------------- other ways to harm the file


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def truncate_odd(path: Path) -> None:
    os.truncate(path, 5000)


def header(path: Path) -> None:
    path.write_bytes(b"SQLite format 2\0" + path.read_bytes()[16:])


def text(path: Path) -> None:
    path.write_text("this is a text\n" * 500)


def short_text(path: Path) -> None:
    path.write_text("x")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.db")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def tail(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"garbage" * 3000)


def number(value: int) -> Callable[[Path], None]:
    """The schema number, as somebody sets it by hand."""

    def harm(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[60:64] = (value % 2**32).to_bytes(4, "big")
        path.write_bytes(bytes(raw))

    return harm


def application(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[68:72] = b"abcd"
    path.write_bytes(bytes(raw))


def unknown_format(path: Path) -> None:
    change_byte(path, 47, 0xFF)


def free_pages(path: Path) -> None:
    change_byte(path, 39, 0xFF)


def change_byte(path: Path, offset: int, value: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] = value
    path.write_bytes(bytes(raw))


def test_a_file_that_sqlite_can_only_read_is_not_put_down_to_permissions(fresh: Fresh) -> None:
    path = fresh()
    change_byte(path, 18, 0xFF)  # a format for writing that is not known yet
    code, said = run(path, ("note", "x"))
    assert code == 1 and "its header was changed" in said and damage.backup_of(path) in said and "owner" not in said


def test_what_lies_in_the_way_of_a_healthy_file_is_named(fresh: Fresh) -> None:
    path = fresh()
    for name in ("-wal", "-shm"):
        other = path.with_name(path.name + name)
        other.unlink(missing_ok=True)
        other.mkdir()
        code, said = run(path, ("note", "x"))
        assert code == 1 and f"{other} is a folder" in said and "restore" not in said
        other.rmdir()
    other = path.with_name(path.name + "-journal")
    other.write_text("half a transaction")
    code, said = run(path, ("status",))
    assert code == 1 and f"{other} was left by a program that was interrupted" in said and "restore" not in said
    assert [run(path, (word,))[0] for word in ("ack", "status")] == [0, 0]
    away = path.rename(path.with_name("away"))
    assert damage.backup_of(path) in run(path, ("status",))[1]
    away.rename(path)


def test_nothing_is_written_where_an_index_and_its_table_differ(fresh: Fresh) -> None:
    path = fresh()
    change(path, "CREATE INDEX odd ON event (at)")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = 1")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, '(at)', '(verb)') WHERE name = 'odd'")
        db.commit()
    code, said = run(path, ("note", "x"))
    assert code == 1 and "is damaged" in said and damage.backup_of(path) in said


HARMS = (
    unknown_format, free_pages,
    truncate, truncate_odd, header, text, short_text, empty, folder, loop, nowhere, pipe, number(-1), number(0),
    number(-(2**31)), application,
)  # fmt: skip
SAID = ("is damaged", "is empty", "is a folder", "leads to no file", "device or a pipe", "another program")


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_other_harm_is_named_in_one_sentence_and_mended_by_restore(fresh: Fresh, harm: Callable[[Path], None]) -> None:
    for words in (("doctor",), ("status",), ("queue",), ("note", "x"), ("backup",)):
        path = fresh()
        harm(path)
        code, said = run(path, words)
        assert code and any(word in said for word in SAID), f"fts {words}: exit {code}: {said[-400:]}"
        assert "a fault in fts" not in said and "doctor --fix" not in said
        assert harm is pipe or damage.backup_of(path) in said, said[-300:]
    path = fresh()
    harm(path)
    assert run(path, ("restore", "-y"))[0] == 0
    assert run(path, ("doctor",))[0] == 0


def test_garbage_behind_the_pages_or_in_the_log_changes_no_answer(fresh: Fresh, built: Path) -> None:
    answer = run(built, ("queue",))[1]
    path = fresh()
    tail(path)
    assert run(path, ("queue",)) == (0, answer)
    for junk in (b"", b"x" * 10, b"\0" * 40_000, random.Random(1).randbytes(40_000)):
        path = fresh()
        path.with_name("fts.db-wal").write_bytes(junk)
        path.with_name("fts.db-shm").write_bytes(junk)
        assert run(path, ("queue",)) == (0, answer)
        assert run(path, ("note", "x"))[0] == 0


def test_a_newer_schema_number_is_read_and_not_called_damage(fresh: Fresh) -> None:
    path = fresh()
    number(2**31 - 1)(path)
    code, said = run(path, ("status",))
    assert code == 5 and "damaged" not in said
    assert "update fts" in run(path, ("note", "x"))[1]


# ---------------------------------------------------------------- tables, indexes, views, triggers


def change(path: Path, *statements: str) -> None:
    db = open_database(path)
    db.foreign_keys = 0
    for statement in statements:
        db.execute_sql(statement)
    db.close()


TABLES = ("worker", "job", "trial", "epoch", "event", "sample", "checkpoint", "flag", "huey_task", "huey_quarantine")


@pytest.mark.parametrize("table", TABLES)
def test_a_dropped_table_is_named_by_doctor_and_by_what_needs_it(fresh: Fresh, table: str) -> None:
    path = fresh()
    change(path, f"DROP TABLE {table}")
    code, said = run(path, ("doctor",))
    line = next(line for line in said.splitlines() if f"the table {table} is missing" in line)
    assert code == 1 and line.startswith("bad") and damage.backup_of(path) in line
    for words in ALL[1:]:
        code, said = run(path, words)
        assert "a fault in fts" not in said
        assert code == 0 or (f"has no table {table}" in said and damage.backup_of(path) in said), f"{words}: {said}"
    assert run(path, ("restore", "-y"))[0] == 0 and run(path, ("doctor",))[0] == 0


@pytest.mark.parametrize("name", ["job_live_spec", "job_runnable", "trial_live", "event_verb", "sample_at"])
def test_a_dropped_index_is_named_and_made_anew(fresh: Fresh, name: str) -> None:
    path = fresh()
    change(path, f"DROP INDEX {name}")
    assert f"the index {name} is missing" in run(path, ("doctor",))[1]
    assert f"the index {name} was created again" in run(path, ("doctor", "--fix"))[1]
    assert f"index {name}" not in run(path, ("doctor",))[1]


def test_a_changed_view_and_a_changed_index_are_made_as_they_were(fresh: Fresh) -> None:
    path = fresh()
    change(
        path, "DROP VIEW v_queue", "CREATE VIEW v_queue AS SELECT id FROM job", "DROP VIEW v_trials",
        "DROP INDEX event_at", "CREATE INDEX event_at ON event (who)",
    )  # fmt: skip
    said = run(path, ("doctor",))[1]
    for words in ("view v_queue was changed", "view v_trials is missing", "index event_at was changed"):
        assert words in said
    run(path, ("doctor", "--fix"))
    said = run(path, ("doctor",))[1]
    assert "v_queue" not in said and "v_trials" not in said and "event_at" not in said
    assert run(path, ("db", "query", "select place, experiment from v_queue"))[0] == 0


def test_an_index_that_cannot_be_made_anew_is_said_and_stops_nothing_else(fresh: Fresh) -> None:
    path = fresh()
    change(
        path, "DROP INDEX job_live_spec", "DROP INDEX event_at", "UPDATE job SET status = 'queued', spec_md5 = 'same'"
    )
    said = run(path, ("doctor", "--fix"))[1]
    assert "job_live_spec could not be created again" in said and "the index event_at was created again" in said


def test_a_planted_trigger_is_bad_and_a_foreign_table_is_named(fresh: Fresh) -> None:
    path = fresh()
    change(
        path,
        "CREATE TRIGGER helpful AFTER INSERT ON event BEGIN UPDATE trial SET value = 0; END",
        "CREATE TABLE notes_of_mine (x)",
    )
    code, said = run(path, ("doctor",))
    lines = said.splitlines()
    assert code == 1
    assert next(line for line in lines if "trigger helpful" in line).startswith("bad")
    assert next(line for line in lines if "table notes_of_mine" in line).startswith("warn")
    change(path, "DROP TRIGGER helpful", "DROP TABLE notes_of_mine")
    assert run(path, ("doctor",))[0] == 0


# ---------------------------------------------------------------- folders of other people


@pytest.fixture
def elsewhere(built: Path) -> Iterator[Path]:
    """A copy that any user can reach: pytest's own folders are closed to others."""
    place = Path(tempfile.mkdtemp(prefix="fts-damage-"))
    place.chmod(0o755)
    yield damage.copy(built, place)
    shutil.rmtree(place)


def as_nobody(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`fts WORDS` as a user who owns nothing here; as ourselves where we are not root."""
    code = (
        "import contextlib, io, os, sys\n"
        "from fts.jobs.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        "    main(sys.argv[1:])\n"  # all of Python is loaded before it may be out of reach
        f"if os.getuid() == 0: os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = (sys.executable, "-c", code, "--db", str(path), *words)
    root = Path(__file__).parents[2]
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "FTS_DATA": str(path.parent.parent / "data")}
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=root, env=environ)


def test_doctor_answers_in_a_folder_it_may_not_write_to(elsewhere: Path) -> None:
    lock = elsewhere.parent / "slot-0.lock"
    lock.write_text('{"pid": 1, "host": "x", "started": 1.0, "slot": 0}')
    for mode in (0o444, 0o000):
        lock.chmod(mode)
        elsewhere.chmod(0o444)
        elsewhere.parent.chmod(0o555)
        said = as_nobody(elsewhere, "doctor")
        elsewhere.parent.chmod(0o755)
        assert "database: every row can be read" in said.stdout, said.stdout + said.stderr
        assert "slots: " in said.stdout and "leftovers" in said.stdout and "data: " in said.stdout


def test_doctor_does_not_call_private_what_it_may_not_look_into(elsewhere: Path) -> None:
    closed = elsewhere.parent / "logs" / "closed"
    closed.mkdir(parents=True, exist_ok=True)
    for path in (elsewhere.parent, *elsewhere.parent.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o600)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    if os.geteuid() == 0:
        os.chown(closed, 0, 0)
    closed.chmod(0o700 if os.geteuid() == 0 else 0o000)
    said = as_nobody(elsewhere, "doctor").stdout
    closed.chmod(0o700)
    assert f"not known who can read the files in {closed}: " in said and "cannot read its files" not in said


def test_what_may_not_be_read_is_never_called_absent_or_damaged(elsewhere: Path) -> None:
    """glob shows a closed folder as an empty one, and SQLite opens no file that it may not read."""
    outputs = elsewhere.parent
    copy = outputs / "backups" / "fts-20261101-000000.db"
    shutil.rmtree(copy.parent, ignore_errors=True)
    copy.parent.mkdir()
    shutil.copy(elsewhere, copy)
    script = outputs.parent / "closed.py"
    script.write_text("def f(x): return x")
    logs = outputs / "logs"
    logs.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(elsewhere)) as db:
        job, number = db.execute("UPDATE trial SET log_path = 'outputs/logs/a.log' RETURNING job_id, number").fetchone()
        db.commit()
    (logs / "a.log").write_text("a line\n")
    for path in (outputs, *outputs.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    what = "this user may not read it (mode 0, owner "
    for closed, words, told in (
        (elsewhere, ("db", "query", "select 1"), "may not be read by this user"),
        (copy.parent, ("restore",), f"{copy.parent}: {what}"),
        (copy.parent, ("doctor",), f"not known whether there is a backup: {copy.parent}: {what}"),
        (copy, ("restore",), f"{copy}: {what}"),
        (copy, ("doctor",), f"not known whether there is a backup: {copy}: {what}"),
        (logs, ("logs",), f"{logs}: {what}"),
        (logs, ("logs", f"{job}:t{number}"), f"this user may not look into {logs}; check "),
        (script, ("enqueue", f"{script}:f", "--space", "x=0:1"), f"{script} cannot be read: {what}"),
    ):
        mode = closed.stat().st_mode
        closed.chmod(0)
        said = as_nobody(elsewhere, *words)
        closed.chmod(mode)
        assert told in said.stdout + said.stderr and (said.returncode in (1, 2) or words == ("doctor",)), (words, said)
    logs.chmod(0o555)
    if os.geteuid() == 0:  # who then has made the file before
        os.chown(elsewhere, NOBODY, NOBODY)
    said = as_nobody(elsewhere, "export", "--optuna", f"sqlite:///{logs}/x.db")
    assert said.returncode == 2 and "/x.db': " in said.stderr and "this user may not " in said.stderr, said
    with contextlib.closing(open_database(elsewhere)) as opened:  # by its owner, who gives others only one of the files
        transitions.note(opened, "x")
        wal = Path(f"{elsewhere}-wal")
        wal.chmod(0)
        elsewhere.chmod(0o444)
        outputs.chmod(0o555)
        if os.geteuid() == 0:
            os.chown(elsewhere, 0, 0)
            os.chown(wal, 0, 0)
        said = as_nobody(elsewhere, "status")
        outputs.chmod(0o755)
        wal.chmod(0o600)
    assert f"{wal}, a part of the database, may not be read by this user" in said.stderr, said


def test_doctor_answers_where_the_database_or_its_folder_may_not_be_read(elsewhere: Path) -> None:
    elsewhere.chmod(0o000)
    elsewhere.parent.chmod(0o555)
    said = as_nobody(elsewhere, "doctor")
    assert said.returncode == 1 and "may not be read by this user" in said.stdout and "slots: " in said.stdout
    elsewhere.parent.chmod(0o000)
    said = as_nobody(elsewhere, "doctor")
    elsewhere.parent.chmod(0o755)
    assert said.returncode == 1 and "may not look into" in said.stdout and "python: " in said.stdout
    of_folder = [line for line in said.stdout.splitlines() if line.split()[1] in ("database:", "slots:", "leftovers:")]
    assert len(of_folder) == 3 and all(line.startswith("bad") for line in of_folder), "unknown is never ok"
