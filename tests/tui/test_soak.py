"""An hour of study in minutes: events, samples, log lines and keys without a pause; memory and files stay flat."""

from __future__ import annotations

import os
import threading
import time

import pytest

from state import transitions
from state.db import open_database
from state.transitions.control import note
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("FTS_SOAK_S", "300"))
WARM_S = 30.0  # caches fill: old events, glyph widths, styles
GROWTH = 6 * 2**20


def write_on(path, stop: threading.Event) -> None:
    """Twenty changes a second: a worker's hour in three minutes."""
    db = open_database(path)
    log = next((path.parent / "logs").glob("*_6_*.log"))
    n = 0
    while not stop.wait(0.05):
        n += 1
        transitions.add_sample(db, 1, temperature=60.0 + n % 20, available=10**10, total=2 * 10**10)
        if n % 4 == 0:
            note(db, f"note {n}", who="soak")
        with log.open("a") as file:
            file.write(f"08:00:00 step {n} loss .59\n")
    db.close()


def test_memory_threads_and_files_stay_flat(db_path):
    stop = threading.Event()
    writer = threading.Thread(target=write_on, args=(db_path, stop), daemon=True)
    with Terminal(db_path, (120, 40)) as terminal:
        terminal.wait_for("20M/h5")
        writer.start()
        keys = "1j2jj3+-4567k1kg"
        begin = time.monotonic()
        first = None
        while time.monotonic() - begin < max(SECONDS, WARM_S * 2):
            for key in keys:
                terminal.key(key)
                time.sleep(0.2)
            if first is None and time.monotonic() - begin > WARM_S:
                first = (terminal.rss(), terminal.process.num_fds(), terminal.process.num_threads())
        stop.set()
        writer.join()
        assert first is not None
        assert terminal.is_alive()
        assert terminal.rss() - first[0] < GROWTH
        assert terminal.process.num_fds() <= first[1] + 2
        assert terminal.process.num_threads() <= first[2] + 2
