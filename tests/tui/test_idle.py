"""While nothing happens nothing is sent: counted on a real pseudo terminal over a database nobody writes to."""

from __future__ import annotations

import time

from tests.tui.terminal import Terminal

QUIET_S = 8.0

# The monitor with a clock that stands still, so that no minute turns while the test counts.
STILL = """
import sys, time
from fts.tui.__main__ import main

now = time.time()
time.time = lambda: now
sys.exit(main(sys.argv[1:]))
"""
# The monitor with a clock that jumps to the next minute when it is told to by a signal.
MINUTE = """
import signal, sys, time
from fts.tui.__main__ import main

now = [time.time() // 60 * 60 + 30]
time.time = lambda: now[0]

def turn(*_):
    now[0] += 60

signal.signal(signal.SIGUSR1, turn)
sys.exit(main(sys.argv[1:]))
"""


def test_an_idle_monitor_sends_no_byte_and_spends_no_time(db_path):
    with Terminal(db_path, (120, 40), code=STILL) as terminal:
        terminal.wait_ready()
        terminal.wait_quiet(2.0)
        begin, cpu = time.monotonic(), terminal.cpu_s()
        time.sleep(QUIET_S)
        assert terminal.bytes_since(begin) == 0
        assert terminal.cpu_s() - cpu < 0.05 * QUIET_S, "eight looks at a number that has not changed"


def test_a_minute_that_turns_sends_its_few_cells_and_not_their_rows(db_path):
    import signal

    with Terminal(db_path, (120, 40), code=MINUTE) as terminal:
        terminal.wait_ready()
        terminal.wait_quiet(2.0)
        begin = time.monotonic()
        terminal.process.send_signal(signal.SIGUSR1)
        while not terminal.bytes_since(begin):
            assert time.monotonic() - begin < 20, "the clock was not painted"
            time.sleep(0.05)
        terminal.wait_quiet(2.0)
        assert terminal.bytes_since(begin) < 1500
