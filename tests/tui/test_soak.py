"""An hour of watching in minutes: a refresh for each of its seconds, each with something new; memory stays flat."""

from __future__ import annotations

import os
import threading
import time

import pytest

from fts.state import transitions
from fts.state.db import open_database
from fts.state.transitions.operator import note
from tests.tui.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]  # three minutes on a quiet machine, ten on a busy one
REFRESHES = int(os.environ.get("FTS_SOAK_REFRESHES", "3600"))  # an hour at the real cadence
EVERY_S = 0.05  # instead of a second: time runs twenty times as fast
WARM = 300  # refreshes until caches are full: old events, glyph widths, styles
GROWTH = 6 * 2**20
MOST = 60 * 10**6
PATIENCE_S = 1800.0

MONITOR = f"""
import sys
from fts.tui.__main__ import main  # first, as in a start: it decides what is loaded
import fts.tui.app, fts.tui.data.reader

fts.tui.app.TICK_S = {EVERY_S}
read, found = fts.tui.data.reader.Reader.read, 0

def counted(self, request):
    global found
    reading = read(self, request)
    found += reading is not None
    with open(sys.argv[-1], "w") as file:
        file.write(str(found))
    return reading

fts.tui.data.reader.Reader.read = counted
sys.exit(main(sys.argv[1:-1]))
"""


def write_on(path, stop: threading.Event) -> None:
    """What a worker writes in an hour, as much faster: a sample each 10 s, a beat each 5 s, a log line each 2 s."""
    db = open_database(path)
    log = next((path.parent / "logs").glob("*_6_*.log"))
    n = 0
    while not stop.wait(EVERY_S):
        n += 1
        transitions.add_sample(db, 1, temperature=60.0 + n % 20, available=10**10, total=2 * 10**10)
        if n % 5 == 0:
            note(db, f"note {n}", who="soak")
        if n % 2 == 0:
            with log.open("a") as file:
                file.write(f"08:00:00 step {n} loss .59\n")
    db.close()


def test_memory_threads_and_files_stay_flat_for_an_hours_worth_of_refreshes(db_path, tmp_path, record_property):
    stop, counter = threading.Event(), tmp_path / "refreshes"
    writer = threading.Thread(target=write_on, args=(db_path, stop), daemon=True)
    looks = {"start": WARM, "middle": (WARM + REFRESHES) // 2, "end": REFRESHES}
    seen: dict[str, tuple[int, int, int]] = {}
    keys = "1j2jj3+-4567k1kg"
    end = time.monotonic() + PATIENCE_S
    with Terminal(db_path, (120, 40), code=MONITOR, last=str(counter)) as terminal:
        terminal.wait_ready()
        writer.start()
        for n in range(10**9):
            terminal.key(keys[n % len(keys)])
            time.sleep(0.25)  # a key each five seconds of the hour
            done = int(counter.read_text() or 0) if counter.exists() else 0
            for name, at in looks.items():
                if done >= at and name not in seen:
                    seen[name] = (terminal.rss(), terminal.process.num_fds(), terminal.process.num_threads())
            assert terminal.is_alive()
            assert time.monotonic() < end, f"{done} refreshes in {PATIENCE_S:.0f} s"
            if len(seen) == len(looks):
                break
        stop.set()
        writer.join()
    for name, (rss, fds, threads) in seen.items():
        print(f"{name}: {rss / 1e6:.1f} MB, {fds} files, {threads} threads after {looks[name]} refreshes")
        record_property(name, f"{rss / 1e6:.1f} MB")
    assert max(rss for rss, _, _ in seen.values()) <= MOST
    assert seen["end"][0] - seen["start"][0] < GROWTH
    assert seen["end"][1] <= seen["start"][1] + 2
    assert seen["end"][2] <= seen["start"][2] + 2
