"""A database that is removed, replaced or overwritten under a living worker: it leaves, says so, and loses nothing."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fts.jobs.settings import Places
from fts.state import transitions
from fts.state.backup import backup
from fts.state.damage import newest_backup
from fts.state.db import open_database
from fts.state.restore import restore
from tests.chaos import study
from tests.chaos.harness import Harness, until
from tests.chaos.test_stopped import recorded_epochs


def removed(places: Places) -> None:
    for path in places.outputs.glob("fts.db*"):
        path.unlink()


def replaced(places: Places) -> None:
    """By an older copy, as somebody would who does not know of `fts restore`."""
    copied = places.outputs / "copy"
    shutil.copyfile(places.db, copied)
    copied.rename(places.db)


def log_removed(places: Places) -> None:
    """By somebody who takes -wal and -shm for leftovers: what is only in there would be lost."""
    for suffix in ("-wal", "-shm"):
        places.db.with_name(places.db.name + suffix).unlink()


@pytest.mark.parametrize("mishap", [removed, replaced, log_removed])
def test_a_worker_whose_database_goes_away_saves_what_it_knew(
    mishap: Callable[[Places], None], make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(argv=())
    until(lambda: recorded_epochs(harness) >= 2)
    mishap(harness.places)
    assert worker.wait() == 1
    assert "is no longer the file this worker opened" in worker.talk()
    saved = newest_backup(harness.places.db)
    assert saved is not None and f"fts restore {saved}" in worker.talk()
    restore(saved, harness.places.db)
    assert study.broken(harness.places, harness.journal) == []
    harness.finish()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where an open file is")
def test_a_worker_whose_database_was_put_aside_names_it(make_harness: Callable[..., Harness]) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(argv=())
    until(lambda: recorded_epochs(harness) >= 1)
    aside = harness.places.db.with_name("fts.db.replaced")
    for suffix in ("", "-wal", "-shm"):
        harness.places.db.with_name(f"fts.db{suffix}").rename(f"{aside}{suffix}")
    assert worker.wait() == 1
    said = worker.talk().splitlines()[-1]
    assert f"recorded is in {aside}: `fts restore {aside}` puts it back" in said, said
    restore(aside, harness.places.db)
    harness.finish()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where an open file is")
def test_a_worker_whose_study_is_moved_away_says_where_and_leaves_nothing_at_the_old_place(
    make_harness: Callable[..., Harness],
) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(argv=())
    until(lambda: recorded_epochs(harness) >= 2)
    outputs = harness.places.outputs
    moved = outputs.rename(outputs.with_name("moved"))
    assert worker.wait() == 1
    said = worker.talk().splitlines()[-1]
    assert f"{outputs} was moved to {moved} while this worker ran" in said, said
    assert {path.name for path in outputs.glob("*")} <= {"trials", "logs"}, "no backup, no export, no database"
    shutil.rmtree(outputs, ignore_errors=True)  # a checkpoint of its trial, if at all
    moved.rename(outputs)
    harness.finish()


def test_a_worker_whose_database_becomes_garbage_leaves(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(argv=())
    until(lambda: recorded_epochs(harness) >= 1)
    db = open_database(harness.places.db)
    saved = backup(db)
    db.close()
    harness.places.db.write_bytes(os.urandom(300_000))
    assert worker.wait() == 1
    assert f"fts restore {saved}" in worker.talk().splitlines()[-1]
    until(lambda: not harness.trial_processes())
    restore(saved, harness.places.db)
    harness.finish()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None


def test_a_worker_whose_database_is_overwritten_by_an_older_copy_leaves(make_harness: Callable[..., Harness]) -> None:
    harness = make_harness(trials=2)
    db = open_database(harness.places.db)
    old = backup(db)
    db.close()
    worker = harness.start(argv=())
    until(lambda: recorded_epochs(harness) >= 1)
    db = open_database(harness.places.db)
    db.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # pages still in the log would hide what happens to the file
    db.close()
    shutil.copyfile(old, harness.places.db)  # the same file, other content, under a living write-ahead log
    assert worker.wait() == 1
    assert f"fts restore {old}" in worker.talk().splitlines()[-1]
    until(lambda: not harness.trial_processes())


def test_a_worker_that_was_taken_for_dead_leaves_instead_of_waiting_for_ever(
    make_harness: Callable[..., Harness], undisturbed_small: Any
) -> None:
    harness = make_harness(trials=2)
    worker = harness.start(argv=())
    until(lambda: recorded_epochs(harness) >= 1)
    db = open_database(harness.places.db)
    transitions.reconcile(db, socket.gethostname(), lambda pid, started: False)
    db.close()
    assert worker.wait() == 1
    assert "marked dead" in worker.talk().splitlines()[-1]
    harness.finish()
    assert study.difference(undisturbed_small, study.identity(harness.places)) is None
