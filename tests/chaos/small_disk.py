"""Inside a mount namespace: a study on a tmpfs of 16 MB that is filled to the last byte while the study runs.

unshare --user --map-root-user --mount python -m tests.chaos.small_disk SCRATCH DATA IDENTITY
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fts.state import queries
from fts.state.db import open_database
from tests.chaos import study
from tests.chaos.harness import Harness, Nursery, RunningWorker, until
from tests.chaos.test_stopped import recorded_epochs

DISK_BYTES = 16 << 20


def main() -> None:
    scratch, data, wanted = (Path(argument) for argument in sys.argv[1:4])
    disk = scratch / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(disk)], check=True)
    nursery = Nursery()
    places = study.make_study(disk / "study", data, trials=2)
    harness = Harness(places, nursery, scratch / "logs")  # what the test writes lies on the large disk
    worker = harness.start(FTS_DISK_RESERVE="1", FTS_OUTAGE_PAUSE_S="0.2")  # the watchdog would stop in time
    for epochs in (1, 3, 4):
        fill_while_it_runs(harness, worker, disk / "filler", epochs)
    assert worker.wait() == 0, worker.talk()
    assert study.finished(places), worker.talk()
    assert study.broken(places, harness.journal) == []
    assert study.damage(places) == []
    assert study.unequal_exports(places, scratch / "scratch") == []
    found = study.as_text(study.identity(places))
    assert found == wanted.read_text(), found
    print("identical")
    nursery.close()


def fill_while_it_runs(harness: Harness, worker: RunningWorker, filler: Path, epochs: int) -> None:
    """The worker waits, and goes on by itself when there is room again."""
    until(lambda: recorded_epochs(harness) >= epochs or worker.poll() is not None)
    assert worker.poll() is None, worker.talk()
    fill(filler)
    reason = until(lambda: paused(harness), sorry=worker.talk)
    filler.unlink()
    print(f"after {epochs} epochs: {reason}")
    until(lambda: not paused(harness), sorry=worker.talk)


def paused(harness: Harness) -> str:
    db = open_database(harness.places.db, readonly=True)
    flag = queries.flag(db, "queue_paused")
    db.close()
    return str(flag["reason"]) if flag else ""


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for block in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * block)
            except OSError:
                continue


if __name__ == "__main__":
    main()
