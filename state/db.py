"""Opens the one database, and translates what SQLite says into errors a caller can act on."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import peewee

from state import errors, migrations, schema
from state.cursors import Connection
from state.files import make_folder, no_space, room
from state.holder import holder
from state.identity import NEW, Files, beside, files_at, has_open, mark_of

log = logging.getLogger("fts.state")

DEFAULT_PATH = Path("outputs/fts.db")
BUSY_TIMEOUT_S = 30.0
SAY_AFTER_S = 2.0  # a person who waits for a lock is told whose it is
SMALL = 16 * 2**20  # bytes that are checked in 13 ms
LEAST_FREE = 64 * 1024  # bytes; the -shm file has 32 KiB
NOW = "(julianday('now') - 2440587.5) * 86400.0"  # the database's clock: every process on it sees the same one
COPY_NAME = "fts-%Y%m%d-%H%M%S.db"  # of a backup, by the time in UTC: names sort as they were made
APPLICATION_ID = 0x66747331  # "fts1" in the file header, so that `file` and we recognise it
PROOF_S = 3.0  # a monitor looks once a second, and lets go of removed files when it does
CHECK_S = 120.0  # a damaged file of some GB is read through within it
CHECK = """
import sqlite3, sys
sys.stdout.reconfigure(errors="backslashreplace")
try:
    connection = sqlite3.connect(sys.argv[1], uri=True, timeout=10)
    connection.text_factory = lambda text: text.decode(errors="replace")
    for pragma in ("quick_check(1000)", "integrity_check(1000)"):
        told = [str(row[0]) for row in connection.execute("PRAGMA " + pragma)]
        found = "; ".join([words for words in told if not words.startswith("CHECK constraint failed")][:3]) or "ok"
        if found != "ok":
            break
    free, pages = (connection.execute("PRAGMA " + name).fetchone()[0] for name in ("freelist_count", "page_count"))
    if found == "ok" and not 0 <= free <= pages:  # the checks above believe the header
        found = f"its header counts {free} free pages of {pages}"
except sqlite3.DatabaseError as error:
    damage = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    if not damage and str(error) != "unsupported file format":  # a number in the header, by a code of its own
        sys.exit(1)
    found = str(error)
print(found)
"""
FULL_CHECK = "PRAGMA integrity_check(1000)"
QUICK_CHECK = "PRAGMA quick_check(1000)"  # as many: values that a CHECK forbids are counted, too
LOST = re.compile(  # what SQLite says of a table that was dropped or replaced
    r"no such table: (?:main\.)?(?P<table>\S+)|no such (?:column: |index: )(?P<column>\S+)|"
    r"has no column named (?P<field>\S+)"
)


class Database(peewee.SqliteDatabase):
    """SQLite with our pragmas, our errors, and `write()`. Each thread gets its own connection."""

    def __init__(
        self, path: Path, readonly: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S, patience_s: float = 0.0
    ) -> None:
        self.path = path
        self.readonly = readonly
        self.patience_s = patience_s  # a transaction asks for the lock again and again for so long
        name = reading_uri(path) if readonly else str(path)
        super().__init__(
            name, pragmas=_pragmas(readonly), timeout=busy_timeout_s, uri=readonly, factory=self._connection
        )
        self.files: Files | None = None  # those that are open, as they were at the latest look
        self._real = ""  # where the path's links lead to
        self._version = 0
        self._opened = 0  # how often a reader has opened the file

    def prove(self, patience_s: float = PROOF_S) -> None:
        """Opens the file, and again until what is open is what lies at the path.

        Raises NoDatabase, and NotFresh after `patience_s`: then another connection of this process holds removed files.
        """
        end = time.monotonic() + patience_s
        while not self._is_proven():
            self.close()
            if time.monotonic() > end:
                raise errors.NotFresh(
                    f"{self.path} (or its -wal or -shm) was removed or replaced after this program opened it, "
                    "so this program may read old data; try again"
                )
            time.sleep(0.02)

    def _is_proven(self) -> bool:
        """Reads once, so that SQLite opens what it needs, and compares."""
        self._real = os.path.realpath(self.path)
        if self.is_closed():  # a writer would make an empty file where none is
            require_study(self.path)
            self.database = reading_uri(self.path) if self.readonly else self.database
        before = files_at(self.path, self._real)
        self._version = self._data_version()
        logged = str(self.execute_sql("PRAGMA journal_mode").fetchone()[0]) == "wal" and not self._is_alone()
        after = files_at(self.path, self._real)
        if before.db is None or after.db is None or before.db.identity != after.db.identity:
            return False
        if logged and (after.wal is None or after.shm is None):
            return False
        if self._is_alone() and _has_log(self.path):  # a writer came meanwhile
            return False
        self.files = after
        return has_open(after if logged else Files(after.db, None, None))

    def look(self) -> int:
        """A number that changes when another connection has written, or when a reader had to open the file anew.

        A reader opens it anew when another file lies at the path, or when the file has changed and SQLite does not
        know of it: somebody wrote past SQLite, or one that is read alone has got a writer. Raises NoDatabase, NotFresh.
        """
        if not self.readonly:
            return self._data_version()
        now = files_at(self.path, self._real)
        if not self._still_reads(now):
            self.close()
            self.files = None
            self.prove()
            self._opened += 1
        return (self._opened << 32) + self._version

    def _still_reads(self, now: Files) -> bool:
        """Whether the open connection shows what is in the files that lie at the path now."""
        if self.files is None or self.is_closed() or now.identities != self.files.identities:
            return False
        try:
            version = self._data_version()
        except (errors.DatabaseFailed, errors.DatabaseCorrupt):  # a new connection finds out whether it is so
            return False
        if version == self._version and now.contents != self.files.contents:
            return False
        self.files, self._version = now, version
        return True

    def _data_version(self) -> int:
        return int(self.execute_sql("PRAGMA data_version").fetchone()[0])

    def _is_alone(self) -> bool:
        """Whether the file is read without a log and without locks."""
        return "immutable=1" in str(self.database)

    def check_still_there(self) -> None:
        """Raises DatabaseGone when a file at the path is not the one that is open: writing would succeed still.

        Raises DatabaseOverwritten when the same file lost pages that SQLite believes in: it alone makes it smaller.
        """
        if self.files is None:
            self.prove()
        now, before = files_at(self.path, self._real), self.files
        assert before is not None and before.db is not None, "prove() has noted them"
        for name, is_there, opened in zip(("", "-wal", "-shm"), now.identities, before.identities, strict=True):
            if is_there != opened:
                raise errors.DatabaseGone(
                    f"{self.path}{name} is no longer the file this worker opened: somebody removed or replaced it"
                )
        assert now.db is not None, "its identity is known"
        if now.db.size < before.db.size <= self._pages_bytes():
            raise errors.DatabaseOverwritten(overwritten_sentence(self.path, "it lost pages"))
        self.files = now

    def _pages_bytes(self) -> int:
        """How large the file is or will be by SQLite's own account, after a VACUUM too."""
        sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(self.execute_sql(sql).fetchone()[0])

    @contextmanager
    def write(self) -> Iterator[None]:
        """One write transaction, all of it or nothing. Inside another one it joins that one.

        Raises DatabaseBusy after the busy timeout, DiskFull, DatabaseFailed, ReadOnlyDatabase.
        """
        if self.readonly:
            raise errors.ReadOnlyDatabase(f"{self.path} is open read-only, so nothing can be changed in it")
        if self.in_transaction():
            yield
            return
        with self.atomic("IMMEDIATE"):  # a deferred transaction that writes later gets "database is locked" at once
            yield

    @contextmanager
    def read(self) -> Iterator[None]:
        """One consistent look. Keep it short: a reader that stays keeps the write-ahead log from being emptied."""
        if self.in_transaction():
            yield
            return
        with self.atomic():
            yield

    def now(self) -> float:
        """Seconds since the epoch by the database's clock."""
        return float(self.execute_sql(f"SELECT {NOW}").fetchone()[0])

    def rows(self, query: peewee.ModelSelect[Any]) -> list[dict[str, Any]]:
        """The rows of a select, as dictionaries."""
        cursor = self.execute(query)  # past peewee's row wrappers, which cost a snapshot a third of its time
        names = _names(cursor)
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def each_row(self, query: peewee.ModelSelect[Any]) -> Iterator[dict[str, Any]]:
        """The rows of a select one by one, for many of them."""
        cursor = self.execute(query)
        names = _names(cursor)
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    def one(self, query: peewee.ModelSelect[Any]) -> dict[str, Any] | None:
        """The first row of a select, or None."""
        found = self.rows(query.limit(1))
        return found[0] if found else None

    # What peewee runs, with SQLite's words translated; state.cursors does the same while rows are fetched.

    def _connection(self, *words: Any, **options: Any) -> Connection:
        opened = Connection(*words, **options)
        opened.translate = lambda error: translate(error, self.path)
        return opened

    def execute_sql(self, sql: str, params: Sequence[Any] | None = None) -> Any:
        with self._translated():
            return super().execute_sql(sql, params)

    def begin(self, lock_type: str | None = None) -> None:
        def begin() -> None:
            with self._translated():
                peewee.SqliteDatabase.begin(self, lock_type)

        # here, and not around the transition: nothing has happened yet
        retry_while_busy(
            begin, self.patience_s, lambda: log.warning("%s is locked by %s: waiting", self.path, holder(self.path))
        )

    def commit(self) -> None:
        with self._translated():
            super().commit()

    def rollback(self) -> None:
        try:
            super().rollback()
        except peewee.OperationalError as error:
            # After "disk is full" SQLite has rolled back by itself; its complaint would hide the first error.
            if "no transaction is active" not in str(error):
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except peewee.IntegrityError:
            raise  # a constraint of ours: the transition that met it knows what it means
        except peewee.DatabaseError as error:
            raise translate(error, self.path) from error


def open_database(
    path: Path | str | None = None,
    readonly: bool = False,
    check: bool = True,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    patience_s: float = 0.0,
    create: bool = True,
) -> Database:
    """The database at `path` (default $FTS_DB or outputs/fts.db), migrated if need be, and created if `create`.

    A write waits for another process's lock for `busy_timeout_s` in SQLite, and asks again for `patience_s`: a worker
    has no reason to give up, its trials train on meanwhile. With `check` an existing file is read through once
    (`quick_check`, 50 ms for 63 MB). A read-only open never writes. Raises NoDatabase (none to read or change),
    NotOurDatabase, DatabaseCorrupt, SchemaTooNew (writers), SchemaTooOld (readers), DatabaseBusy, and StateError for a
    URL we do not serve.
    """
    file = database_path(path)
    refuse_other_than_file(file)
    if readonly or not create:
        require_study(file)
    existed = has_study(file)
    if not readonly:
        make_folder(file.parent)
    db = Database(file, readonly, busy_timeout_s, patience_s)
    try:
        if not readonly:
            _open_private(db)
        version = _checked_version(db, check and existed)
        if readonly:
            _refuse_older(db, version)
        elif version == 0 and not create:
            raise errors.NoDatabase(empty_sentence(file))
        else:
            _bring_up_to_date(db, version)
        db.prove()
    except BaseException:
        db.close()
        raise
    return db


def open_for_reading(path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """For a look: a small file is checked first, or an index that lost its pages would hide rows without a word.

    Of a large one, which would take longer than the look itself, only what is read can show damage.
    """
    return open_database(path, readonly=True, check=is_small(path), busy_timeout_s=busy_timeout_s)


def is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= SMALL


def open_for_person(path: Path, check: bool = True, create: bool = True) -> Database:
    """For a command: it waits as long as any writer, but says after two seconds for whom."""
    patience_s = BUSY_TIMEOUT_S - SAY_AFTER_S
    return open_database(path, check=check, busy_timeout_s=SAY_AFTER_S, patience_s=patience_s, create=create)


def refuse_other_than_file(path: Path) -> None:
    """Raises NotOurDatabase for a folder, a link that leads nowhere, or what is no file: SQLite would name no cause.

    Raises DatabaseFailed where this user may not see whether there is one: "no study here" would be a guess.
    """
    try:
        path.lstat()
    except PermissionError:
        raise errors.DatabaseFailed(
            f"this user may not look into {path.parent}; check the owner and permissions of that folder"
        ) from None
    except OSError:
        return
    if path.is_dir():
        raise errors.NotOurDatabase(f"{path} is a folder, and the database is a file; {restore_sentence(path)}")
    if path.is_symlink() and not path.exists():
        raise errors.NotOurDatabase(f"{path} is a link that leads to no file; {restore_sentence(path)}")
    if path.exists() and not path.is_file():
        raise errors.NotOurDatabase(f"{path} is a device or a pipe, and the database is a file; choose another path")


def has_study(path: Path) -> bool:
    """Is there a database at all? A file of no bytes is what a failed copy leaves; it holds nothing to lose."""
    return path.exists() and path.stat().st_size > 0


def require_study(path: Path) -> None:
    """Raises NoDatabase where there is nothing to read or to change, NotOurDatabase for what is no file."""
    refuse_other_than_file(path)
    if not path.exists():
        raise errors.NoDatabase(f"there is no database at {path}; `fts enqueue` creates it")
    if not has_study(path):
        raise errors.NoDatabase(empty_sentence(path))


def empty_sentence(path: Path) -> str:
    newest = newest_backup(path)
    cure = f", `fts restore {newest}` brings back the newest backup" if newest else ""
    return f"{path} is empty, there is no study in it yet; `fts enqueue --matrix` begins one{cure}"


def database_path(path: Path | str | None = None) -> Path:
    """Where the database is: the argument, else $FTS_DB, else outputs/fts.db."""
    text = str(path or os.environ.get("FTS_DB") or DEFAULT_PATH)
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme == "sqlite":
        text = text.split("://", 1)[1]
    elif scheme:
        shown = text.split("@")[-1] if "@" in text else text  # never a password on the screen
        raise errors.StateError(
            f"the database {shown} is of kind {scheme!r}, but fts supports only SQLite files: "
            "set FTS_DB to a path such as outputs/fts.db"
        )
    return Path(text)


def translate(error: Exception, path: Path) -> Exception:
    """Our error for what SQLite said; the same error if we have no better word."""
    said = str(error).lower()
    if "locked" in said or "busy" in said:
        return errors.DatabaseBusy(f"{path} is locked by {holder(path)}; nothing was written, try again")
    if "disk is full" in said:
        return errors.DiskFull(full_sentence(path))
    if "malformed" in said or "not a database" in said or "unsupported file format" in said:
        return damaged(path, str(error))
    if lost := LOST.search(str(error)):
        return errors.SchemaDamaged(incomplete_sentence(path, lost))
    folder = path.absolute().parent
    if "readonly" in said:
        if is_read_only(folder):
            return errors.ReadOnlyDatabase(read_only_sentence(path))
        if os.access(path, os.W_OK):
            why = f"SQLite can only read {path}: its header was changed, or the file was moved while it was open"
            return errors.ReadOnlyDatabase(f"{why}; {restore_sentence(path)}")
        return errors.ReadOnlyDatabase(f"{path} may not be written to by this user; check its owner and permissions")
    if "i/o error" in said or "unable to open" in said:
        if is_full(folder):  # SQLite cannot say so of the files beside the database
            return errors.DiskFull(full_sentence(path))
        if is_read_only(folder):  # a system does that to a disk that failed, under whoever has it open
            return errors.DatabaseFailed(read_only_sentence(path))
        if path.exists() and not os.access(path, os.R_OK):
            return errors.DatabaseFailed(f"{path} may not be read by this user; check its owner and permissions")
        return errors.DatabaseFailed(f"the system could not read or write {path} ({error}); nothing was written")
    return error


def damaged(path: Path, said: str) -> errors.StateError:
    """DatabaseCorrupt where a fresh connection finds the damage that SQLite `said`, else DatabaseFailed.

    A connection whose -wal or -shm was removed calls a file damaged that is whole.
    """
    found = confirmed_damage(path)
    if found is not None:
        return errors.DatabaseCorrupt(corrupt_sentence(path, found))
    return errors.DatabaseFailed(
        f"SQLite could not read {path} ({said}), but a check on a fresh connection found no damage; try again"
    )


def confirmed_damage(path: Path) -> str | None:
    """What quick_check or integrity_check finds on a fresh connection; None: the file is whole or cannot be checked.

    In a process of its own: all connections of one process to one file share its -shm, a removed one too.
    """
    import subprocess  # here, not above: 3 ms of every command, and hardly one has to check

    argv = [sys.executable, "-I", "-c", CHECK, reading_uri(path)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=CHECK_S
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    found = done.stdout.strip()
    return None if done.returncode != 0 or found in ("", "ok") else found


def corrupt_sentence(path: Path, found: str) -> str:
    """What is wrong with the file and which backup to take. Say it only after `confirmed_damage`."""
    found = " ".join(found.replace("*** in database main ***", "").split())[:160]
    return f"{path} is damaged ({found}); {restore_sentence(path)}"


def incomplete_sentence(path: Path, lost: re.Match[str]) -> str:
    """Which part of the schema SQLite did not find, and which backup to take."""
    kind, name = next((kind, name) for kind, name in lost.groupdict().items() if name)
    return f"{path} has no {kind} {name[:80]}: its schema was changed or damaged; {restore_sentence(path)}"


def restore_sentence(path: Path) -> str:
    """The cure of a damaged file: its newest backup that is whole."""
    if (good := newest_backup(path)) is not None:
        return f"restore the newest good backup with `fts restore {good}`"
    if bad := len(copies(path.parent / "backups")):
        return f"there is no good backup beside it: {bad} found, all damaged"
    return "there is no backup beside it"


def overwritten_sentence(path: Path, seen: str) -> str:
    """What happened to a file that was written over while it was open, and which backup to take."""
    found = confirmed_damage(path)
    state = f"damaged ({found[:160]})" if found else "whole, but older"
    newest = newest_backup(path)
    cure = f"`fts restore {newest}` puts the newest backup back" if newest else "there is no backup beside it"
    return f"{path} was written over while it was open ({seen}) and is {state}; {cure}"


def newest_backup(path: Path) -> Path | None:
    """The latest copy in the folder `backups` beside the database that is whole and ours."""
    return next((copy for copy in reversed(copies(path.parent / "backups")) if is_whole(copy)), None)


def is_whole(copy: Path) -> bool:
    """Does a copy that nobody writes pass SQLite's check, and is it ours, with all its tables?"""
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            ours = opened.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            whole = ours and not of_the_file(opened.execute(QUICK_CHECK))
            return whole and schema.missing_table(opened) is None
    except sqlite3.DatabaseError:
        return False


def copies(folder: Path) -> list[Path]:
    """The backups there, oldest first, by the time in their names.

    A name ahead of the clock was given while the clock was wrong: older than every copy made since it was set right.
    """
    latest = time.strftime(COPY_NAME, time.gmtime())
    return sorted(folder.glob("fts-*.db"), key=lambda copy: (copy.name <= latest, copy.name))


def reading_uri(path: Path) -> str:
    """How a reader asks SQLite for the file.

    In a folder nobody here can write to, or on a full disk, SQLite cannot make the -shm file that a reader of its log
    needs. Where no log is left either (a worker that left properly takes it along), the file alone is the whole study:
    an archived or read-only mounted one can be read too, and `fts gc` can make room.
    """
    folder = path.absolute().parent
    alone = (not os.access(folder, os.W_OK) or is_full(folder)) and not _has_log(path)
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def is_full(folder: Path) -> bool:
    """Has its disk no room, or no inodes, for the small files that SQLite makes beside a database?"""
    try:
        return shutil.disk_usage(folder).free < LEAST_FREE or room(folder)[1] == 0
    except OSError:
        return False


def is_read_only(folder: Path) -> bool:
    """Is its disk mounted read-only?"""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def read_only_sentence(path: Path) -> str:
    return f"the disk of {path} is mounted read-only; nothing was written: mount it for writing and try again"


def full_sentence(path: Path) -> str:
    """Why SQLite finds no room, and what helps: bytes or inodes."""
    folder = path.absolute().parent
    if room(folder)[1] == 0:
        return f"{no_space(folder)}; nothing was written to {path}"
    return f"the disk of {path} is full; nothing was written: free space and try again"


def _has_log(path: Path) -> bool:
    """Is there a write-ahead log with anything in it?"""
    log = mark_of(beside(path, "-wal"))
    return log is not None and log.size > 0


def _names(cursor: Any) -> list[str]:
    """Of the columns, interned: a value made of them by keyword would else compare each name with each."""
    return [sys.intern(column[0]) for column in cursor.description]


def of_the_file(found: Iterable[tuple[Any, ...]]) -> list[str]:
    """What SQLite's check says of the file: a value that a CHECK forbids is a row's matter, and named as such."""
    told = (str(row[0]) for row in found)
    return [words for words in told if words != "ok" and not words.startswith("CHECK constraint failed")][:3]


def _pragmas(readonly: bool) -> dict[str, object]:
    pragmas: dict[str, object] = {"foreign_keys": 1}
    if not readonly:
        pragmas |= {"synchronous": "FULL", "journal_size_limit": 64 * 2**20}
        if sys.platform == "darwin":
            pragmas |= {"fullfsync": 1, "checkpoint_fullfsync": 1}  # without them macOS only pretends
    return pragmas


@contextmanager
def private_files() -> Iterator[None]:
    """What SQLite makes meanwhile is 0600. Made by hand it would have to be closed, which drops a process's locks."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _open_private(db: Database) -> None:
    """The file 0600, a new one from its first moment; SQLite gives its -wal and -shm the mode of the file."""
    if not db.path.exists():
        with private_files(), db._translated():
            db.connect(reuse_if_open=True)
    found = db.path.stat()
    if found.st_mode & 0o077 and found.st_uid == os.getuid():
        db.path.chmod(NEW)


def _checked_version(db: Database, check: bool) -> int:
    # quick_check does not compare indexes with tables: the log of another database, put beside this one, passes it
    pragma = FULL_CHECK if not db.readonly and is_small(db.path) else QUICK_CHECK
    if check and (found := of_the_file(db.execute_sql(pragma))):
        raise damaged(db.path, "; ".join(found))
    if check and (free := _impossible_free(db)):
        raise damaged(db.path, free)
    version = int(db.execute_sql("PRAGMA user_version").fetchone()[0])
    application = int(db.execute_sql("PRAGMA application_id").fetchone()[0])
    filled = version < 0 or db.execute_sql("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] > 0
    if application != APPLICATION_ID and (version or filled):
        what = f"{db.path} is a SQLite database of another program, or its header was changed"
        raise errors.NotOurDatabase(f"{what}; choose another path, or {restore_sentence(db.path)}")
    if filled and version <= 0:
        number = f"its schema number is {version}, which no fts has written"
        raise errors.DatabaseCorrupt(corrupt_sentence(db.path, number))
    return version


def _impossible_free(db: Database) -> str:
    """What the header says of free pages, where it cannot be: no check of SQLite's looks, and the next write fails."""
    free, pages = (int(db.execute_sql(f"PRAGMA {name}").fetchone()[0]) for name in ("freelist_count", "page_count"))
    return "" if 0 <= free <= pages else f"{free} free pages of {pages}"


def _refuse_older(db: Database, version: int) -> None:
    if version == 0:
        raise errors.NoDatabase(empty_sentence(db.path))
    if version < migrations.SCHEMA:
        raise errors.SchemaTooOld(
            f"{db.path} has schema {version}, this fts reads schema {migrations.SCHEMA}; `fts doctor --fix` migrates it"
        )


def _bring_up_to_date(db: Database, version: int) -> None:
    if version > migrations.SCHEMA:
        raise errors.SchemaTooNew(
            f"{db.path} has schema {version}, this fts writes schema {migrations.SCHEMA}: update fts "
            "(reading still works)"
        )
    _use_wal(db)
    if version == migrations.SCHEMA:
        return
    if version > 0:
        from state.backup import backup  # here, not above: backup opens databases itself

        backup(db, db.path.parent / "backups", keep=None)
    with db.write():
        version = int(db.execute_sql("PRAGMA user_version").fetchone()[0])  # another process may have been faster
        if version < migrations.SCHEMA:
            db.execute_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            migrations.apply(db, version, migrations.MIGRATIONS)


def _use_wal(db: Database) -> None:
    """WAL is a property of the file; switching it needs the file alone, and SQLite does not wait for that by itself."""
    wait_s = max(db.timeout, min(db.patience_s, BUSY_TIMEOUT_S))
    retry_while_busy(lambda: db.execute_sql("PRAGMA journal_mode = wal").fetchone(), wait_s)


def retry_while_busy(act: Callable[[], Any], timeout_s: float, told: Callable[[], object] = bool) -> Any:
    """Runs `act` again every 50 ms while the database is locked; raises DatabaseBusy after `timeout_s`.

    `told` is called once, before the second try.
    """
    end, waits = time.monotonic() + timeout_s, False
    while True:
        try:
            return act()
        except errors.DatabaseBusy:
            if time.monotonic() > end:
                raise
            if not waits:
                told()
            waits = True
            time.sleep(0.05)
