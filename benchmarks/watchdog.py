"""Measures the processor time of the watchdog on a real process, in percent of one core. Goal: below 0.5 %.

python -m benchmarks.watchdog
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import Row, median_and_spread
from fts.jobs.sensors.detect import from_env
from fts.jobs.supervisor.child import TrialProcess
from fts.jobs.watchdog.policy import HeatPolicy, MemoryLimits, Thresholds
from fts.jobs.watchdog.watchdog import Watchdog

MiB = 1 << 20
# like a trial: waiting threads, some memory, one helper process
TRIAL = """
import os, subprocess, sys, threading, time
fd = int(sys.argv[sys.argv.index("--facts-fd") + 1])
for _ in range(16): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
helper = subprocess.Popen(["sleep", "600"])
held = bytearray(os.urandom(1 << 20) * 300)
os.write(fd, b'{"fact": "ready"}\\n')
time.sleep(600)
"""
BARE = "the same loop without a watchdog"
CASES = {
    BARE: None,
    "far from the memory limit": 100_000 * MiB,
    "near the memory limit (20 looks a second)": 420 * MiB,
}


def rows(quick: bool = True) -> list[Row]:
    """Measures every case and the loop without a watchdog; half a minute, or four in full."""
    seconds, repeats = (4.0, 3) if quick else (20.0, 5)
    with tempfile.TemporaryDirectory() as folder:
        costs = {
            case: median_and_spread([cost(Path(folder), hard, seconds) for _ in range(repeats)])
            for case, hard in CASES.items()
        }
    bare = costs[BARE][0]
    return [
        Row(case, percent, "% of a core", bare, BARE, True, repeats=repeats, spread=spread)
        for case, (percent, spread) in costs.items()
        if case != BARE
    ]


def cost(folder: Path, hard: int | None, seconds: float) -> float:
    """Returns percent of one core that this process uses to watch one child twice a second, as a supervisor does."""
    with TrialProcess([sys.executable, "-c", TRIAL], folder / "trial.log") as child:
        while not child.facts(1.0):
            pass
        sensors = from_env(folder)
        dog = Watchdog(child, MemoryLimits(soft=hard, hard=hard), sensors, HeatPolicy(Thresholds()))
        if hard is not None:
            dog.memory.start()
        before, until = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.5)
            if hard is not None:
                dog.progress(0.1)
                dog.check()
        used = time.process_time() - before
        assert child.poll() is None, "the child must outlive the measurement"
        dog.close()
        sensors.close()
    return 100.0 * used / seconds


def main() -> None:
    for row in rows():
        print(row.line())


if __name__ == "__main__":
    main()
