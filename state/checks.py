"""The database checks of `fts doctor`: each check returns findings, one sentence each; `fix` repairs the safe ones."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from peewee import IntegrityError, fn

from fts.frozen import dataclass
from fts.state import schema, tickets
from fts.state.columns import TABLES
from fts.state.damage import (
    closed_backups,
    copies,
    corrupt_sentence,
    file_damage,
    newest_backup,
    or_restore,
    restore_sentence,
)
from fts.state.errors import DatabaseCorrupt, StateError
from fts.state.files import shell_path
from fts.state.identity import sidecar, stat_of
from fts.state.models import ALL, JobRow, QuarantineRow, TrialRow, WorkerRow
from fts.state.transitions.base import transaction
from fts.state.transitions.jobs import interrupt_live_trials
from fts.state.transitions.retrying import COUNTS, best_trial, counts_of
from fts.state.unreadable import unreadable_of
from fts.state.values import Cause, Direction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fts.state.db import Database
    from fts.state.schema import SchemaDifference
    from fts.state.transitions.base import Row

LISTED = 20  # most unreadable rows that are listed one by one
STALE_S = 300.0  # a running worker without a heartbeat for this long is reported; it keeps its jobs
WAL_LIMIT = 64 * 2**20
AHEAD_S = 60.0  # a heartbeat so far in the future is from before the clock was set back
NETWORK = (  # file systems of several machines, and parts of the names of such
    "nfs", "cifs", "smb", "afp", "webdav", "fuse.sshfs", "9p", "gluster", "fuse.gluster", "lustre", "ceph", "fuse.ceph",
    "beegfs", "gpfs", "ocfs2", "gfs2", "orangefs", "pvfs2", "afs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "wekafs",
)  # fmt: skip
LOCAL = {
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs", "nilfs2", "overlay", "tmpfs",
    "ramfs", "apfs", "hfs", "ufs", "vfat", "exfat", "msdos", "ntfs", "ntfs3", "fuseblk",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    ok: bool
    sentence: str
    fixable: bool = False  # `fts doctor --fix` repairs it without risk
    grave: bool = False  # it can cost the study
    cure: str | None = None  # what to do, if the sentence does not say it
    known: bool = True  # False: it could not be determined; then `ok` says nothing


def check_all(db: Database) -> list[Finding]:
    """Runs all checks of the database. A damaged file is reported once: later checks cannot read it."""
    checks: tuple[Callable[[Database], list[Finding]], ...] = (
        sqlite_version, location, permissions, integrity, schema_objects, log_size, backups, unreadable_rows,
        quiet_workers, lost_tickets, orphan_trials, drifted_counts, quarantined,
    )  # fmt: skip
    found: list[Finding] = []
    for check in checks:
        try:
            found += check(db)
        except DatabaseCorrupt as error:
            if not any(finding.grave for finding in found):
                found.append(Finding(False, str(error), grave=True))
        except (StateError, OSError) as error:
            found.append(Finding(False, str(error)))
    return found


def fix(db: Database) -> list[str]:
    """Repairs what can be repaired without risk; returns a sentence for each repair."""
    done = []
    for path in _too_open(db):
        path.chmod(0o700 if path.is_dir() else 0o600)
        done.append(f"{path} is now readable by its owner only")
    done += _recreated(db)
    if sent := tickets.missing_tickets(db):
        done.append(f"missing tickets sent again: {sent}")
    with transaction(db):
        for job_id in _jobs_with_orphans(db):
            interrupt_live_trials(db, job_id, Cause.LOST_WORKER, "doctor")
            done.append(f"the running trials of job {job_id} are now marked interrupted: no worker ran them")
    return done


def _recreated(db: Database) -> list[str]:
    """Recreates missing or changed indexes and views; returns a sentence for each, also for failures."""
    done = []
    for wanted in schema.differences(db):
        if not wanted.fixable:
            continue
        try:
            with db.write():
                schema.recreate(db, wanted)
            done.append(f"the {wanted.kind} {wanted.name} was created again")
        except (IntegrityError, StateError) as error:
            done.append(f"the {wanted.kind} {wanted.name} could not be created again: {error}")
    return done


def sqlite_version(_db: Database | None = None) -> list[Finding]:
    """Checks for SQLite's WAL-reset bug: repeated explicit checkpoints during writes corrupted the file in 5 of 5
    runs."""
    version = sqlite3.sqlite_version_info
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    if fixed:
        return [Finding(True, f"SQLite {sqlite3.sqlite_version} has the WAL-reset fix")]
    return [
        Finding(
            True,
            f"SQLite {sqlite3.sqlite_version} is older than the WAL-reset fix (3.51.3, 3.50.7, 3.44.6); "
            "fts is safe with it, because it leaves checkpoints to SQLite: run no `PRAGMA wal_checkpoint` in a loop",
        )
    ]


def location(db: Database) -> list[Finding]:
    if warning := synced_folder_warning(db.path):
        return [Finding(False, warning, grave=True)]
    kind = _filesystem(db.path.absolute())
    if kind in LOCAL:
        return [Finding(True, f"{db.path} is on a local disk ({kind})")]
    sentence = f"not known whether {db.path} is on a local disk: its file system is {kind or 'not known'}"
    return [Finding(True, sentence, cure="two machines must not write it: use one, or a local disk", known=False)]


def synced_folder_warning(path: Path) -> str | None:
    """Returns a warning if the path is on a network disk or in a synced folder, where SQLite's locks or WAL fail."""
    place = path.absolute()
    for word in ("Dropbox", "Mobile Documents", "CloudDocs", "iCloud", "OneDrive", "Google Drive", "GoogleDrive"):
        if any(word in part for part in place.parts):
            return (
                f"{place} lies in a synced folder ({word}): the sync program may damage the database while it is being "
                "written. Put it on a local disk and set FTS_DB."
            )
    kind = _filesystem(place)
    if kind and kind.startswith(NETWORK):
        return (
            f"{place} lies on a network file system ({kind}): SQLite's write-ahead log needs shared memory on one "
            "machine, so two machines would corrupt it. Put it on a local disk and set FTS_DB."
        )
    return None


def _filesystem(path: Path) -> str | None:
    import psutil  # here, not above: it takes 20 ms, which a read does not need

    mounts = [p for p in psutil.disk_partitions(all=True) if path.is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else None


def permissions(db: Database) -> list[Finding]:
    found = [
        Finding(False, f"{path} can be read by others (mode {stat.S_IMODE(path.stat().st_mode):o})", fixable=True)
        for path in _too_open(db)
    ]
    return found or [Finding(True, "the database is readable by its owner only")]


def _too_open(db: Database) -> list[Path]:
    files = [db.path, *(Path(sidecar(db.path, suffix)) for suffix in ("-wal", "-shm"))]
    return [path for path in files if path.exists() and path.stat().st_mode & 0o077]


def integrity(db: Database) -> list[Finding]:
    found = file_damage(db.execute_sql("PRAGMA integrity_check(1000)"))
    broken = db.execute_sql("PRAGMA foreign_key_check").fetchmany(3)
    if found:
        return [Finding(False, corrupt_sentence(db.path, "; ".join(found)), grave=True)]
    if broken:
        words = f"{broken[0][0]} row {broken[0][1]} refers to a row of {broken[0][2]} that does not exist"
        return [Finding(False, f"{words}; {restore_sentence(db.path)}", grave=True)]
    return [Finding(True, "the database is undamaged")]


def schema_objects(db: Database) -> list[Finding]:
    found = [_finding_of(db, difference) for difference in schema.differences(db)]
    return found or [Finding(True, "tables, indexes and views match the schema")]


def _finding_of(db: Database, found: SchemaDifference) -> Finding:
    words = {
        "missing": f"the {found.kind} {found.name} is missing",
        "changed": f"the {found.kind} {found.name} was changed: it differs from the schema",
        "foreign": f"the {found.kind} {found.name} is not part of the schema: somebody added it to {found.table}",
    }[found.what]
    if found.what == "foreign":
        cure = f'if you did not add it: `sqlite3 {shell_path(db.path)} "DROP {found.kind.upper()} {found.name}"`'
        return Finding(False, words, grave=found.grave, cure=cure)
    if found.fixable:
        return Finding(False, words, fixable=True, cure="`fts doctor --fix` creates it again")
    return Finding(False, f"{words}; {restore_sentence(db.path)}", grave=True)


def unreadable_rows(db: Database) -> list[Finding]:
    """Finds rows that hold what no fts writes; commands and screens show their readable part."""
    found: list[Finding] = []
    more = 0
    for table in TABLES:
        for row in unreadable_of(db, table):
            if len(found) < LISTED:
                mend = f'`sqlite3 {shell_path(db.path)} "{row.cure}"`' if row.cure else "write the right value by hand"
                found.append(Finding(False, str(row), cure=f"{mend}{or_restore(db.path)}"))
            else:
                more += 1
    if more:
        found.append(Finding(False, f"more unreadable rows: {more}"))
    return found or [Finding(True, "every row can be read")]


def log_size(db: Database) -> list[Finding]:
    log = stat_of(sidecar(db.path, "-wal"))
    size = log.size if log is not None else 0
    if size > WAL_LIMIT:
        return [Finding(False, f"the write-ahead log has {size >> 20} MB: some program keeps a read transaction open")]
    return [Finding(True, f"the write-ahead log has {size >> 10} KiB")]


def backups(db: Database) -> list[Finding]:
    newest = newest_backup(db.path)
    if newest is None and (why := closed_backups(db.path.parent / "backups")) is not None:
        return [Finding(False, f"not known whether there is a backup: {why}")]
    if newest is None and copies(db.path.parent / "backups"):
        return [Finding(False, "every backup is damaged; `fts backup` takes a new one while everything runs")]
    if newest is None:
        return [Finding(False, "there is no backup yet; `fts backup` takes one while everything runs")]
    return [Finding(True, f"the newest backup is {newest}")]


def quiet_workers(db: Database) -> list[Finding]:
    running, now = db.rows(WorkerRow.select(ALL).where(WorkerRow.status == "running")), db.now()
    found = []
    for worker in running:
        name, age_s = f"worker {worker['id']} on {worker['host']} (pid {worker['pid']})", now - worker["heartbeat_at"]
        over = "if it has died, the next worker takes over its jobs"
        if age_s > STALE_S:
            found.append(Finding(False, f"{name} sent no heartbeat for {age_s / 60:.0f} min; {over}"))
        elif age_s < -AHEAD_S:
            ahead = f"its last heartbeat lies {-age_s / 60:.0f} min in the future, so a clock was changed"
            found.append(Finding(False, f"not known whether {name} is alive: {ahead}; {over}"))
    if not running:
        return [Finding(True, "no worker is recorded as running")]
    return found or [Finding(True, f"no worker has been without a heartbeat for {STALE_S / 60:.0f} min")]


def lost_tickets(db: Database) -> list[Finding]:
    short = tickets.runnable_jobs(db) - tickets.waiting_tickets(db)
    if short > 0:
        return [Finding(False, f"runnable jobs without a ticket: {short}", fixable=True)]
    return [Finding(True, "every runnable job has its ticket")]


def orphan_trials(db: Database) -> list[Finding]:
    found = _jobs_with_orphans(db)
    if found:
        return [
            Finding(False, f"job {job} is not running, but one of its trials is recorded as running", fixable=True)
            for job in found
        ]
    return [Finding(True, "every running trial belongs to a running job")]


def _jobs_with_orphans(db: Database) -> list[int]:
    query = TrialRow.select(TrialRow.job_id).join(JobRow, on=(JobRow.id == TrialRow.job_id))
    return [row["job_id"] for row in db.rows(query.where(TrialRow.status == "running", JobRow.status != "running"))]


def drifted_counts(db: Database) -> list[Finding]:
    """Compares each job's counts of trials and its best trial with its trials. A difference means that a person changed
    rows by hand: fts recomputes both at each claim."""
    found: list[Finding] = []
    with db.read():  # a worker may record the end of a trial meanwhile
        for job in db.rows(JobRow.select(ALL).order_by(JobRow.id)):
            found += _drifted(db, job)
    return found or [Finding(True, "the trial counts and the best trial of every job are right")]


def _drifted(db: Database, job: Row) -> Iterator[Finding]:
    counted = counts_of(db, job["id"])
    if wrong := [status for status, column in COUNTS.items() if job[column] != counted[column]]:
        yield Finding(False, f"job {job['id']} has a wrong count of its {' and '.join(wrong)} trials")
    if job["direction"] not in list(Direction):
        return  # an unreadable row, which `unreadable_rows` reports
    best = best_trial(db, job["id"], Direction(job["direction"]))
    if (best and best["number"], best and best["value"]) != (job["best_trial"], job["best_value"]):
        right = "it has none" if best is None else f"it is t{best['number']}"
        yield Finding(False, f"job {job['id']} has a wrong best trial: by its trials, {right}")


def quarantined(db: Database) -> list[Finding]:
    count = int(QuarantineRow.select(fn.COUNT(QuarantineRow.id)).scalar(db))
    if not count:
        return [Finding(True, "no ticket was quarantined")]
    last = db.one(QuarantineRow.select(ALL).order_by(QuarantineRow.id.desc()))
    reason = last["reason"] if last else ""
    return [Finding(False, f"unreadable tickets in quarantine: {count}; the last one: {reason}")]
