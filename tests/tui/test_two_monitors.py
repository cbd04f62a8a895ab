"""Two monitors and a worker while other processes run commands: after each, both screens show the truth."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fts.jobs.status import naming
from fts.jobs.status.sanitize import clean
from fts.state import queries
from fts.state.damage import confirmed_damage
from fts.state.db import open_database
from tests.cli.study import make_study
from tests.data.made import make_bars, write_csv
from tests.fts_process import ROOT, Study, wait_until
from tests.tui.terminal import Terminal
from tests.watched import has_open, locks_on

SITE = ROOT / "tests" / "watched" / "site"
SIZE = (140, 40)
CELLS = (  # more than the worker can do meanwhile
    "--budgets", "tiny", "--horizons", "1,2,3,5", "--trials", "200", "--epochs", "4", "--tier", "a20",
    "--context", "20", "--batch", "64", "--min-positives", "3", "--data", "MINE.dataset.a20",
)  # fmt: skip
LOOKS = 4  # of the monitor, one a second: one that is on its way, two in which the change must be seen, one to paint
# The monitor, with a file that counts its looks at the database: the machine may be slow, the promise is in looks.
COUNTED = """
import os, sys
from fts.tui.data import poller

counter = os.open(os.environ["LOOKS"], os.O_WRONLY | os.O_CREAT, 0o600)
read, done = poller.Poller._read, [0]

def counted(self):
    read(self)
    done[0] += 1
    os.pwrite(counter, b"%d" % done[0], 0)

poller.Poller._read = counted
from fts.tui.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists locks")


class Scene:
    """A study, who looks at it, who works on it, and who changes it."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.log = folder / "opened.txt"
        watch = {
            "WATCHED_DB": str(folder / "outputs" / "fts.db"), "WATCHED_LOG": str(self.log),
            "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}", "XDG_STATE_HOME": str(folder / "state"),
        }  # fmt: skip
        self.study = Study(folder, **watch)
        self.db = self.study.outputs / "fts.db"
        self.counters = [folder / f"looks-{n}" for n in range(2)]
        self.monitors: list[Terminal] = []
        self._opened, self._environ = opened, watch

    def start(self) -> None:
        for counter in self.counters:
            environ: dict[str, str | None] = {**self._environ, "LOOKS": str(counter)}
            terminal = Terminal(self.db, SIZE, code=COUNTED, environ=environ, drawn=True)
            self.monitors.append(self._opened.enter_context(terminal))
        worker = self.study.start("worker", "--slots", "1", "--threads", "1")
        self._opened.callback(lambda: worker.wait(30))
        self._opened.callback(lambda: worker.send_signal(signal.SIGTERM))
        wait_until(lambda: self.study.query("select 1 from worker where status = 'running'"))
        for terminal in self.monitors:
            terminal.wait_ready("Queue")
            terminal.key("7")
        self.pids = [worker.pid, *(terminal.pid for terminal in self.monitors)]

    def looks(self, n: int) -> int:
        return int(self.counters[n].read_text() or 0) if self.counters[n].exists() else 0

    def newest(self) -> str:
        """What the latest command wrote into the journal, in the words of the screen."""
        with closing(open_database(self.db, readonly=True)) as db:
            (found,) = [event for event in queries.events(db) if "@" in event.who][-1:]
            return naming.name_cells(clean(found.message), queries.jobs(db))[:60]

    def check(self, expected: str) -> None:
        """Each monitor shows it within its next looks; until then it may not, and nobody has lost a lock."""
        before = [self.looks(n) for n in range(2)]
        for n, terminal in enumerate(self.monitors):
            assert terminal.grid is not None
            while expected not in terminal.grid.text:
                assert terminal.is_alive(), "the monitor has ended"
                told = f"monitor {n} does not show {expected!r}:\n{terminal.grid.text}"
                assert self.looks(n) < before[n] + LOOKS, told
                time.sleep(0.02)
            assert "damaged" not in terminal.grid.text
        for pid in self.pids:
            wait_until(lambda pid=pid: has_open(self.db, pid) and locks_on(self.db, pid), 10.0)


def commands(count: int) -> Iterator[tuple[str, ...]]:
    """Ever different ones, each of which writes an event."""
    chance = random.Random(16)
    for n in range(count):
        note = ("note", f"note {n} {chance.getrandbits(64):x}")
        turn = ("3", "4")[n // 6 % 2]
        yield (note, ("pause", "3"), ("resume", "3"), note, ("move", turn, "top"), ("undo",))[n % 6]


def run(scene: Scene, count: int) -> None:
    scene.start()
    for n, words in enumerate(commands(count)):
        if n % 5 == 0:
            scene.monitors[n // 5 % 2].key("a")  # a key that writes, on a connection of the monitor's own
        said = scene.study.fts(*words)
        assert said.code in (0, 1) and "a fault in fts itself" not in said.err, said
        if said.code == 1:  # the worker was faster: a job that has begun cannot be moved
            scene.study.ok("note", f"refused {n} {said.err[:20]}")
        scene.check(scene.newest())
    assert not scene.log.exists() or scene.log.read_text() == "", "somebody opened the database by hand"
    assert confirmed_damage(scene.db) is None


def test_two_monitors_show_the_truth_after_each_of_twelve_commands(tmp_path: Path) -> None:
    with closing(make_study(tmp_path)):
        pass
    with ExitStack() as opened:
        scene = Scene(tmp_path, opened)
        scene.study.ok("pause", "--queue")  # its cells have no data
        run(scene, 12)


@pytest.mark.slow
def test_two_monitors_show_the_truth_after_each_of_three_hundred_commands(tmp_path: Path) -> None:
    with ExitStack() as opened:
        scene = Scene(tmp_path, opened)
        bars = write_csv(make_bars(900, 3), tmp_path / "mine.csv")
        scene.study.ok("data", "build", "--source", "csv", "--ticker", "MINE", "--tier", "a20", str(bars))
        scene.study.ok("enqueue", "--matrix", "--no-check", *CELLS)
        run(scene, 300)
        assert scene.study.one("select count(*) from trial where status = 'complete'") > 0, "the worker has worked"
