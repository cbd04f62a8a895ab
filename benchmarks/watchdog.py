"""What watching costs: processor time of the watchdog beside a real process, in percent of one core. Goal: below 0.5 %.

python -m benchmarks.watchdog [--seconds 10] [--repeats 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from jobs.guard import Guard, MemoryLimits, Thresholds
from jobs.process import ChildProcess
from jobs.sensors import from_env
from jobs.watchdog import Watchdog

MiB = 1 << 20
# as a trial looks from outside: threads that wait, some memory, one helper process
TRIAL = """
import os, subprocess, sys, threading, time
fd = int(sys.argv[sys.argv.index("--facts-fd") + 1])
for _ in range(16): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
helper = subprocess.Popen(["sleep", "600"])
held = bytearray(os.urandom(1 << 20) * 300)
os.write(fd, b'{"fact": "ready"}\\n')
time.sleep(600)
"""
CASES = {
    "no watchdog": None,
    "far from the memory limit": 100_000 * MiB,
    "near the memory limit (20 looks a second)": 420 * MiB,
}


@dataclass(frozen=True)
class Row:
    """One case and what it used; `percents` holds each repeat."""

    case: str
    percent_of_core: float  # median
    low: float
    high: float
    repeats: int
    seconds: float  # of each repeat
    percents: tuple[float, ...]


def rows(seconds: float = 10.0, repeats: int = 3) -> list[Row]:
    """Every case on this machine; takes about `seconds` x `repeats` x 3."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for case, hard in CASES.items():
            percents = tuple(cost(Path(folder), hard, seconds) for _ in range(repeats))
            found.append(Row(case, median(percents), min(percents), max(percents), repeats, seconds, percents))
    return found


def cost(folder: Path, hard: int | None, seconds: float) -> float:
    """Percent of one core this process uses while it looks after one child twice a second, as a supervisor does."""
    with ChildProcess([sys.executable, "-c", TRIAL], folder / "trial.log") as child:
        while not child.facts(1.0):
            pass
        sensors = from_env(folder)
        dog = Watchdog(child, MemoryLimits(soft=hard, hard=hard), sensors, Guard(Thresholds()))
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = rows(chosen.seconds, chosen.repeats)
    if chosen.json:
        print(json.dumps([asdict(row) for row in found]))
        return
    print("case                                       % of a core   (low - high)")
    for row in found:
        print(f"{row.case:42s} {row.percent_of_core:11.3f}   ({row.low:.3f} - {row.high:.3f}), {row.repeats} repeats")


if __name__ == "__main__":
    main()
