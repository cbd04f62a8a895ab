"""Inside a mount namespace: trials run on nodes, and the disk of the head is filled while their files come home.

unshare --user --map-root-user --mount python -m tests.executors.full_home SCRATCH
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.chaos.small_disk import fill
from tests.executors.crew import Crew
from tests.fts_process import wait_until

DISK_BYTES = 32 << 20


def with_large_weights(folder: Path, pause_s: float) -> Crew:
    folder.mkdir()
    crew = Crew(folder, pause_s, trials=1)
    train = (folder / "train.py").read_text()
    train = train.replace("write_text(repr(loss))", "write_text(repr(loss).ljust(1 << 20))")
    (folder / "train.py").write_text(train.replace(".read_text() ==", ".read_text().strip() =="))
    crew.put_in_line()
    return crew


def main() -> None:
    scratch = Path(sys.argv[1])
    disk = scratch / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(disk)], check=True)
    peace, crew = with_large_weights(scratch / "peace", 0.0), with_large_weights(disk / "crew", 0.3)
    peace.study.ok("worker", "--until-empty", "--slots", "2", "--threads", "1")
    (scratch / "node").mkdir()
    crew.study.environ |= {"FTS_SCRATCH": str(scratch / "node"), "FTS_DISK_RESERVE": "1", "FTS_NODE_LEASE_S": "30"}
    worker = crew.start("a:1,b:1")
    for more in (1, 2):
        known = crew.epochs()
        wait_until(lambda known=known, more=more: crew.epochs() >= known + more)
        fill(disk / "filler")
        wait_until(lambda: crew.study.query("SELECT 1 FROM flag WHERE name = 'queue_paused'"))
        assert "quarantine" not in crew.said() and not [
            row for row in crew.study.query("SELECT how FROM attempt") if row["how"] == "node lost"
        ], crew.said()
        (disk / "filler").unlink()
        wait_until(lambda: not crew.study.query("SELECT 1 FROM flag WHERE name = 'queue_paused'"))
    assert worker.wait(120) == 0, crew.said()
    assert crew.record() == peace.record() and crew.files() == peace.files(), crew.said()
    assert crew.leftovers() == [], crew.leftovers()
    print("identical")


if __name__ == "__main__":
    main()
