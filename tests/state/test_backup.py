"""Copies that can be believed, and what doctor asks."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fts.state import checks, queries, transitions
from fts.state import restore as restoring
from fts.state.backup import backup, check_file
from fts.state.damage import copies, newest_backup
from fts.state.db import Database, open_database
from fts.state.errors import DatabaseCorrupt, DatabaseFailed, NoDatabase, NotOurDatabase, StateError, WrongStatus
from fts.state.models import JobRow, TicketRow
from fts.state.restore import restore
from fts.state.values import Cause
from tests.state.helpers import LEASE_S, claimed, enqueued, spec, started, worker


def copy_is_whole(path: Path) -> int:
    db = open_database(path, readonly=True)
    count = len(queries.jobs(db))
    db.close()
    return count


def test_a_backup_is_whole_and_private(db: Database) -> None:
    enqueued(db, 3)
    copy = backup(db)
    assert copy_is_whole(copy) == 3
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert newest_backup(db.path) == copy


def test_an_old_backup_that_cannot_be_removed_keeps_no_new_one_away(db: Database) -> None:
    folder = db.path.parent / "backups"
    (folder / "fts-20240101-000000.db").mkdir(parents=True)
    (folder / "fts-20240102-000000.db").touch()
    made = backup(db, keep=1)
    assert copies(folder) == [folder / "fts-20240101-000000.db", made]


def test_a_backup_without_room_names_the_copy_not_its_draft_and_leaves_nothing(db: Database) -> None:
    enqueued(db, 3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(StateError, match=r"/backups/fts-\d+-\d+\.db\b") as raised:
            backup(db)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ".part" not in str(raised.value)
    assert list((db.path.parent / "backups").iterdir()) == []


def test_a_backup_is_taken_while_others_write(db: Database) -> None:
    enqueued(db, 3)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            transitions.move(db, [3], "top")
            transitions.move(db, [3], "bottom")
        db.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [backup(db) for _ in range(2)]
    finally:
        stop.set()
        writer.join()
    assert [copy_is_whole(copy) for copy in copies] == [3, 3]


def test_only_the_newest_backups_are_kept(db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for n in range(9):
        (folder / f"fts-2020010{n}-000000.db").touch()
    (folder / "mine.db").touch()
    newest = backup(db, folder, keep=3)
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["fts-20200107-000000.db", "fts-20200108-000000.db", newest.name, "mine.db"]


def test_copies_from_a_clock_that_was_ahead_are_older_than_a_new_one(db: Database) -> None:
    folder = db.path.parent / "backups"
    folder.mkdir()
    for n in range(1, 9):
        (folder / f"fts-2099010{n}-000000.db").touch()
    (folder / "fts-20200101-000000.db").touch()
    newest = backup(db)
    assert newest.exists()
    assert newest_backup(db.path) == newest
    assert [copy.name for copy in copies(folder)] == [
        *(f"fts-2099010{n}-000000.db" for n in range(4, 9)), "fts-20200101-000000.db", newest.name
    ]  # fmt: skip


def test_a_copy_of_a_clock_that_fell_behind_is_kept_too(db: Database, tmp_path: Path) -> None:
    for n in range(1, 9):
        (tmp_path / f"fts-2099010{n}-000000.db").touch()
    newest = backup(db, tmp_path, keep=1)
    assert copies(tmp_path) == [newest]


def test_restore_puts_the_copy_in_place_and_the_old_one_aside(db: Database) -> None:
    enqueued(db, 3)
    copy = backup(db)
    transitions.cancel(db, [1, 2, 3])
    db.close()
    aside = restore(copy, db.path)
    again = open_database(db.path)
    assert [job.status for job in queries.jobs(again)] == ["queued"] * 3
    again.close()
    assert aside is not None
    former = open_database(aside)
    assert [job.status for job in queries.jobs(former)] == ["cancelled"] * 3
    former.close()


def test_two_restores_within_a_second_keep_what_each_of_them_replaced(db: Database) -> None:
    copy = backup(db)
    asides = []
    for wanted in (1, 2):
        again = open_database(db.path)
        enqueued(again, wanted)
        again.close()
        db.close()
        asides.append(restore(copy, db.path))
    assert [copy_is_whole(aside) for aside in asides if aside] == [1, 2]
    assert copy_is_whole(db.path) == 0


class Killed(BaseException):
    pass


def test_a_restore_that_is_killed_keeps_the_former_database_with_its_log(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueued(db, 1)
    copy, place = backup(db), tmp_path / "study" / "fts.db"
    enqueued(db, 2)  # in its log alone, because the database stays open

    def killed(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(call)
            if len(calls) > moment and ".restoring" not in str(args[0]):
                raise Killed
            return call(*args, **kwargs)

        return counted

    for moment in range(30):
        calls: list[Any] = []
        shutil.rmtree(place.parent, ignore_errors=True)
        place.parent.mkdir()
        shutil.copy(db.path, place)
        shutil.copy(f"{db.path}-wal", f"{place}-wal")
        place.with_name("fts.db.0.restoring").touch()  # of an earlier one
        with monkeypatch.context() as patched, suppress(Killed):
            for owner, name in ((Path, "rename"), (Path, "unlink"), (os, "link")):
                patched.setattr(owner, name, killed(getattr(owner, name)))
            restore(copy, place)
        former = [one for one in (place, *place.parent.glob("*.replaced-*")) if one.suffix[-4:] not in ("-wal", "-shm")]
        assert 2 in [copy_is_whole(one) for one in former if one.exists()], (moment, former)
        if len(calls) <= moment:
            break
    assert (copy_is_whole(place), len(calls) > 5) == (1, True), "the last one came to its end"
    assert not list(place.parent.glob("*.restoring*"))


def test_restore_moves_whatever_lies_at_the_names_of_the_database_aside(db: Database, tmp_path: Path) -> None:
    copy, place = backup(db), tmp_path / "study" / "fts.db"
    place.parent.mkdir()
    place.with_name("fts.db-journal").write_text("a log that SQLite would undo in the restored file")
    place.with_name("fts.db-wal").symlink_to("nothing")
    place.with_name("fts.db-shm").mkdir()
    place.symlink_to("nothing")
    aside = restore(copy, place)
    assert aside is not None and aside.is_symlink()
    assert {one.name.removeprefix(aside.name) for one in place.parent.iterdir()} - {"fts.db"} == {
        "", "-journal", "-wal", "-shm"
    }  # fmt: skip
    assert copy_is_whole(place) == 0


def test_restores_exclude_each_other_and_a_worker_that_starts_meanwhile(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = backup(db)

    def meanwhile(*given: Any) -> None:
        with pytest.raises(WrongStatus, match="another restore"):
            restore(copy, db.path)
        worker(db)
        copy_file(*given)

    copy_file = restoring._copy_file
    monkeypatch.setattr(restoring, "_copy_file", meanwhile)
    with pytest.raises(WrongStatus, match="is running: stop it first"):
        restore(copy, db.path)
    assert [one.name for one in db.path.parent.iterdir() if ".re" in one.name] == []


def test_restore_mends_a_damaged_database(db: Database) -> None:
    enqueued(db, 3)
    copy = backup(db)
    db.close()
    db.path.write_bytes(b"\xa5" * 50_000)
    restore(copy, db.path)
    assert copy_is_whole(db.path) == 3


def test_restore_is_refused_while_a_worker_runs(db: Database) -> None:
    enqueued(db)
    copy = backup(db)
    crew = worker(db, pid=4711)
    with pytest.raises(WrongStatus, match=r"worker 1 \(pid 4711 on lab\) is running"):
        restore(copy, db.path)
    transitions.stop_worker(db, crew)
    db.close()
    restore(copy, db.path)


def test_a_beat_ahead_of_the_clock_does_not_stand_against_a_restore(db: Database) -> None:
    enqueued(db)
    copy = backup(db)
    crew = worker(db)
    transitions.record_heartbeat(db, crew, LEASE_S)
    db.execute_sql("UPDATE worker SET heartbeat_at = heartbeat_at + 10800")  # the clock was set back, and it died
    db.close()
    restore(copy, db.path)
    restored = open_database(db.path)
    assert queries.workers(restored) == (), "the copy is from before it"
    restored.close()


def test_what_is_no_good_copy_is_refused(db: Database, tmp_path: Path) -> None:
    enqueued(db)
    other, torn = tmp_path / "photos.db", tmp_path / "torn.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE photo (id INTEGER)")
    torn.write_bytes(backup(db).read_bytes()[:20_000])
    for copy, error in ((other, NotOurDatabase), (torn, DatabaseCorrupt), (tmp_path / "none.db", NoDatabase)):
        with pytest.raises(error):
            restore(copy, db.path)
    assert len(queries.jobs(db)) == 1


def test_doctor_finds_nothing_wrong_with_a_fresh_database(db: Database) -> None:
    enqueued(db)
    backup(db)
    assert [finding.sentence for finding in checks.check_all(db) if not finding.ok] == []


def test_doctor_finds_and_mends_what_was_broken_by_hand(db: Database) -> None:
    enqueued(db, 2)
    backup(db)
    claim = claimed(db)
    trial = started(db, claim)
    transitions.release_job(db, claim, Cause.DRAINED)
    db.execute_sql("UPDATE trial SET status = 'running'")
    TicketRow.delete().execute(db)
    db.path.chmod(0o644)
    broken = [finding for finding in checks.check_all(db) if not finding.ok]
    assert all(finding.fixable for finding in broken) and len(broken) == 3
    assert len(checks.fix(db)) == 3
    assert [finding for finding in checks.check_all(db) if not finding.ok] == []
    assert queries.trial_by_id(db, trial).status == "interrupted"


def test_the_cure_of_an_unreadable_row_offers_a_backup_only_if_there_is_one(db: Database) -> None:
    enqueued(db)
    db.execute_sql("UPDATE job SET ended_at = 1e308")
    (found,) = checks.unreadable_rows(db)
    assert found.cure is not None and found.cure.endswith("; there is no backup beside it"), found.cure
    copy = backup(db)
    (found,) = checks.unreadable_rows(db)
    assert found.cure is not None and found.cure.endswith(
        f", or restore the newest good backup with `fts restore {copy}`"
    )


def test_doctor_speaks_of_quiet_workers_and_unreadable_tickets(db: Database) -> None:
    worker(db, pid=77)
    db.execute_sql("UPDATE worker SET heartbeat_at = heartbeat_at - 3600")
    db.execute_sql("INSERT INTO huey_quarantine (at, data, reason) VALUES (1, x'00', 'not JSON')")
    said = " ".join(finding.sentence for finding in checks.check_all(db) if not finding.ok)
    assert "worker 1 on lab (pid 77) sent no heartbeat for 60 min" in said
    assert "unreadable tickets in quarantine: 1; the last one: not JSON" in said


def test_a_copy_that_cannot_be_read_now_is_not_called_damaged(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever needs a backup would throw it away."""

    def fails(*_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR | 1 << 8
        raise error

    copy = backup(db)
    monkeypatch.setattr("fts.state.backup.file_damage", fails)
    with pytest.raises(DatabaseFailed, match="could not read or write"):
        check_file(copy)


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ((3, 40, 1), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 52, 0), True),
    ],
)
def test_doctor_knows_the_fixed_releases_of_sqlite(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], fixed: bool
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    assert ("has the WAL-reset fix" in checks.sqlite_version()[0].sentence) is fixed


def test_a_count_changed_by_hand_is_found(db: Database) -> None:
    transitions.enqueue(db, [spec(1)])
    db.execute_sql("UPDATE job SET trials_complete = 7")
    assert "job 1 has a wrong count of its complete trials" in [f.sentence for f in checks.drifted_counts(db)]


def test_doctor_calls_right_only_what_it_compared(db: Database) -> None:
    """Each change by hand that a screen would show is named; a good sentence is no larger than its comparison."""
    enqueued(db)
    claim = claimed(db)
    transitions.finish_trial(db, claim, started(db, claim), "complete", Cause.FINISHED, value=0.5)
    rest = {"trials_pruned": 0, "trials_failed": 0, "best_value": 0.5, "best_trial": 0}
    for changed, expected in (
        ({}, "the trial counts and the best trial of every job are right"),
        ({"trials_pruned": 3, "trials_failed": 7}, "job 1 has a wrong count of its pruned and failed trials"),
        ({"best_value": -99.0}, "job 1 has a wrong best trial: by its trials, it is t0"),
        ({"best_value": None, "best_trial": None}, "job 1 has a wrong best trial: by its trials, it is t0"),
    ):
        JobRow.update(rest | changed).execute(db)
        assert [found.sentence for found in checks.drifted_counts(db)] == [expected]


def test_doctor_calls_no_worker_alive_that_it_cannot_judge(db: Database) -> None:
    def said() -> str:
        return checks.quiet_workers(db)[0].sentence

    assert said() == "no worker is recorded as running"
    worker(db, pid=77)
    assert said() == "no worker has been without a heartbeat for 5 min"
    db.execute_sql("UPDATE worker SET heartbeat_at = heartbeat_at + 86400")
    assert said().startswith("not known whether worker 1 on lab (pid 77) is alive")


def test_doctor_calls_a_disk_local_that_it_knows(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, ok, known, words in (
        ("ext4", True, True, "is on a local disk (ext4)"),
        ("ceph", False, True, "lies on a network file system (ceph)"),
        ("beegfs_nodev", False, True, "lies on a network file system"),
        ("fuse.unheard", True, False, "not known whether"),
        (None, True, False, "its file system is not known"),
    ):
        monkeypatch.setattr(checks, "_filesystem", lambda _, kind=kind: kind)
        (found,) = checks.location(db)
        assert (found.ok, found.known) == (ok, known) and words in found.sentence


def test_doctor_sees_the_log_of_a_database_behind_a_link(db: Database, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "fts.db"
    link.symlink_to(db.path)
    linked = open_database(link)
    transitions.enqueue(linked, [spec(1)])
    Path(f"{db.path}-wal").chmod(0o644)
    assert "has 0 KiB" not in checks.log_size(linked)[0].sentence
    assert any("-wal can be read by others" in finding.sentence for finding in checks.permissions(linked))
    linked.close()
