"""Measures how long 100 slots of one worker wait to write 100 and 400 facts a second, and its heartbeats.

python -m benchmarks.writers [--seconds 20]

Each slot is a thread as in a worker, with a running trial; facts are epochs, checkpoints and progress, as real trials
send them. A call counts from its start until it returns, which is when its commit is on disk. Times depend on the load
of the machine: compare the two halves of one run.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import Row
from fts.state import transitions
from fts.state.db import Database, open_database
from fts.state.values import Claim

SLOTS = 100
BEAT_S = 0.5
LEASE_S = 60.0


@dataclass(frozen=True)
class Written:
    """The result of one run; seconds."""

    facts: int
    rate: float  # facts per second that were reached
    p50: float
    p99: float
    longest: float
    beat: float  # longest wait of a heartbeat
    cores: float = 0.0  # of this process, including the threads that make the facts
    resident: int = 0  # bytes at the end

    def line(self) -> str:
        ms = (self.p50, self.p99, self.longest, self.beat)
        return f"{self.rate:6.0f}/s  " + "  ".join(f"{1000 * one:8.1f} ms" for one in ms)


def study(folder: Path, slots: int) -> tuple[Database, int, list[tuple[Claim, int]]]:
    """Makes a database with `slots` running trials, each of its own job."""
    db = open_database(folder / "fts.db")
    spec = {"study": "writers", "kind": "cell", "trials_wanted": 10, "labels": {}, "metric": "loss"}
    transitions.enqueue(
        db,
        [spec | {"experiment": f"w_{n}", "labels": {"n": n}, "spec": {"n": n, "metric": "loss"}} for n in range(slots)],
    )
    worker = transitions.register_worker(db, "here", 1, 1.0, slots)
    running = []
    for _ in range(slots):
        claim = transitions.claim(db, worker, LEASE_S)
        assert claim is not None, "each slot has a job"
        running.append((claim, transitions.start_trial(db, claim, 0, params={"x": 1.0}, effective={}, seed=1)))
    return db, worker, running


def write(rate: float, seconds: float, slots: int = SLOTS, seed: int = 0, together: bool = True) -> Written:
    """Writes `rate` facts a second in all, at random moments; a slot that waits sends its next fact later."""
    took: list[float] = []
    beats: list[float] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        db, worker, running = study(Path(folder), slots)
        if together:
            db.commit_together()

        def slot(claim: Claim, trial: int, rng: random.Random) -> None:
            step = 0
            while not over.wait(rng.expovariate(rate / slots) if rate else 0.0):
                step += 1
                began = time.monotonic()
                tell(db, claim, trial, step, rng)
                took.append(time.monotonic() - began)
            db.close()

        def beat() -> None:
            while not over.wait(BEAT_S):
                began = time.monotonic()
                transitions.record_heartbeat(db, worker, LEASE_S, [claim for claim, _ in running])
                beats.append(time.monotonic() - began)
            db.close()

        threads = [threading.Thread(target=slot, args=(*one, random.Random(seed + n))) for n, one in enumerate(running)]
        threads.append(threading.Thread(target=beat))
        for thread in threads:
            thread.start()
        began, busy = time.monotonic(), time.process_time()
        time.sleep(seconds)
        told, cores = len(took), (time.process_time() - busy) / (time.monotonic() - began)
        resident = psutil.Process().memory_info().rss
        over.set()
        for thread in threads:
            thread.join()
        db.close()
    took.sort()
    return Written(
        told, told / seconds, at(took, 0.5), at(took, 0.99), took[-1], max(beats, default=0.0), cores, resident
    )


def alone(turns: int, facts: int = 100) -> tuple[float, float]:
    """Returns the median seconds of a fact of a single slot, in groups and without, in turns."""
    took: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        studies = {}
        for together in took:
            (Path(folder) / str(together)).mkdir()
            studies[together] = study(Path(folder) / str(together), 1)
        studies[True][0].commit_together()
        rng, step = random.Random(0), 0
        for _ in range(turns):
            for together, (db, _, [(claim, trial)]) in studies.items():
                for _ in range(facts):
                    step += 1
                    began = time.monotonic()
                    tell(db, claim, trial, step, rng)
                    took[together].append(time.monotonic() - began)
        for db, _, _ in studies.values():
            db.close()
    return at(sorted(took[True]), 0.5), at(sorted(took[False]), 0.5)


def tell(db: Database, claim: Claim, trial: int, step: int, rng: random.Random) -> None:
    kind = rng.random()
    if kind < 0.7:
        transitions.record_epoch(db, claim, trial, {"epoch": step, "value": rng.random(), "metrics": {"acc": 0.5}})
    elif kind < 0.9:
        known = {"step": step, "epoch": step, "path": "/x/checkpoint", "bytes": 1000, "md5": "0" * 32, "seconds": 0.1}
        transitions.record_checkpoint(db, claim, trial, **known)
    else:
        transitions.record_progress(db, claim, trial, {"peak_bytes": step})


def at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def rows(quick: bool = True) -> list[Row]:
    seconds = 6.0 if quick else 30.0
    found = []
    for rate in (100, 400):
        each, one = write(rate, seconds, together=False), write(rate, seconds)
        note = f"{one.rate:.0f}/s reached against {each.rate:.0f}/s, longest beat {1000 * one.beat:.0f} ms against "
        note += f"{1000 * each.beat:.0f} ms"
        reference = (1000 * each.p99, "each commits for itself", True)
        name = f"{SLOTS} slots, {rate} facts/s: p99"
        found.append(Row(name, 1000 * one.p99, "ms", *reference, repeats=one.facts, note=note))
    group, each_s = alone(10 if quick else 50)
    reference = (1000 * each_s, "commits for itself", True)
    found.append(Row("one slot with nobody beside it", 1000 * group, "ms a fact", *reference, repeats=1000))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="what many slots that write at once wait for")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    print("                reached       p50          p99      longest    longest beat")
    for name, rate, slots in (("1 slot", 0, 1), ("100/s", 100, SLOTS), ("400/s", 400, SLOTS)):
        for together in (False, True):
            print(
                f"{name:8s}{'+' if together else ' '} ",
                write(rate, given.seconds, slots, 0, together).line(),
                flush=True,
            )


if __name__ == "__main__":
    main()
