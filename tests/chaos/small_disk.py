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
from tests.chaos.harness import Harness, Nursery, until
from tests.chaos.test_stopped import jobs, recorded_epochs
from tests.chaos.test_world import resume

DISK_BYTES = 16 << 20


def main() -> None:
    scratch, data, wanted = (Path(argument) for argument in sys.argv[1:4])
    disk = scratch / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(disk)], check=True)
    nursery = Nursery()
    places = study.make_study(disk / "study", data, trials=2)
    harness = Harness(places, nursery, scratch / "logs")  # what the test writes lies on the large disk
    for epochs in (1, 3, 2):
        fill_while_it_runs(harness, disk / "filler", epochs)
    worker = harness.start(FTS_DISK_RESERVE="1")
    assert worker.wait() == 0, worker.talk()
    assert study.finished(places), worker.talk()
    assert study.broken(places, harness.journal) == []
    assert study.damage(places) == []
    assert study.unequal_exports(places, scratch / "scratch") == []
    found = study.as_text(study.identity(places))
    assert found == wanted.read_text(), found
    print("identical")
    nursery.close()


def fill_while_it_runs(harness: Harness, filler: Path, epochs: int) -> None:
    worker = harness.start(FTS_DISK_RESERVE="1")  # the watchdog would stop in time; here it must go wrong
    until(lambda: recorded_epochs(harness) >= epochs or worker.poll() is not None)
    fill(filler)
    assert worker.wait() == 0, worker.talk()
    db = open_database(harness.places.db, readonly=True)
    flag = queries.flag(db, "queue_paused")
    db.close()
    ended = [job for job in jobs(harness) if job.status == "done"]
    assert flag or len(ended) == 2, worker.talk()
    print(f"after {epochs} epochs: {flag['reason'] if flag else 'had ended'}")
    filler.unlink()
    resume(harness)


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
