"""Measures the overhead of the queue: between trials, at start, in processor time and in writes; and the gain of slots.

python -m benchmarks.overhead [--full]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks import Row, median_and_spread
from benchmarks.memory import TRAINING, facts_of
from fts.jobs.settings import Places
from fts.jobs.supervisor.child import TrialProcess
from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.values import Epoch, Trial
from fts.study import dataset
from fts.study.cell import CellSpec, TrialSpec
from fts.study.matrix import make_cells, write
from fts.study.study import program_of

SHAPE = "d192-L6-h8-ff384"  # of the 2M cell, neither deep nor wide
GAP_GOAL_MS, CPU_GOAL, WRITES_GOAL = 150.0, 1.0, 0.2  # percent of a trial's time
WRITES_TIMED = 200


def rows(quick: bool = True) -> list[Row]:
    """Returns every figure on this machine; minutes, or half an hour in full."""
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder) / "outputs" / "fts.db", Path(folder) / "data")
        dataset.build(places.data, "bundled")
        return [side_by_side(places, steps=4 if quick else 20, repeats=3 if quick else 7), *of_a_worker(places, quick)]


# -- slots and threads


def side_by_side(places: Places, steps: int, repeats: int) -> Row:
    """Measures windows per second of two one-thread trials together and of one with two threads, in turns."""
    cell = replace(one_cell(places, trials=1, epochs=1), max_steps=steps)
    one_of_two, two_of_one = [], []
    for _ in range(repeats):
        one_of_two.append(sum(speeds(places, cell, [2])))
        two_of_one.append(sum(speeds(places, cell, [1, 1])))
    together, spread = median_and_spread(two_of_one)
    alone = median(one_of_two)
    name = f"two 1-thread trials ({SHAPE})"
    return Row(name, together, "windows/s", alone, "one 2-thread trial", repeats=repeats, spread=spread)


def speeds(places: Places, cell: CellSpec, threads: list[int]) -> list[float]:
    """Returns the training speed of trials that run at the same time, each with the given number of threads."""
    children = [
        TrialProcess([sys.executable, *program_of("cell").words], places.logs / f"process_{n}.log", threads=count)
        for n, count in enumerate(threads)
    ]
    try:
        for child in children:
            next(fact for fact in facts_of(child) if fact["fact"] == "ready")
        for n, (child, count) in enumerate(zip(children, threads, strict=True)):
            child.send({"do": "run", "spec": trial_of(places, cell, n, count).to_json()})
        return [told(child)["samples_per_s"] for child in children]
    finally:
        for child in children:
            child.close()


def told(child: TrialProcess) -> dict[str, Any]:
    for fact in facts_of(child):
        if fact["fact"] == "failed":
            raise RuntimeError(fact["message"])
        if fact["fact"] == "epoch":
            return fact
    raise RuntimeError("the trial process ended without an epoch")


def trial_of(places: Places, cell: CellSpec, number: int, threads: int) -> TrialSpec:
    return TrialSpec(
        cell=cell,
        number=number,
        params=TRAINING | {"architecture": SHAPE},
        seed=number,
        threads=threads,
        device="cpu",
        data_root=str(places.data),
        folder=str(places.outputs / f"trial_{number}"),
        log_path=str(places.logs / f"trial_{number}.log"),
        recipe={"micro_batch": 128},
        checkpoint_every_s=86_400.0,
    )


# -- a worker


def of_a_worker(places: Places, quick: bool) -> list[Row]:
    """Measures one worker, one slot, a 2M cell: its gaps, its start, its processor time and its writes."""
    trials, epochs = (9, 2) if quick else (12, 6)
    db = open_database(places.db)
    try:
        write(db, [one_cell(places, trials, epochs)], "benchmark")
        cpu_percent = run_worker(places, db)
        history = queries.history(db, 1)
        gaps = [1000 * gap_s(before, after) for before, after in pairwise(history)]
        gap, spread = median_and_spread(gaps)
        claimed = next(event.at for event in queries.events(db, since=0, limit=1000) if event.verb == "claimed")
        first_s = began(history[0]) - claimed
        wrote = writes_percent(db, places, history)
        note = "goal: at most"
        return [
            Row("a trial's last epoch to the next one's first step", gap, "ms", GAP_GOAL_MS, "goal", True,
                repeats=len(gaps), spread=spread),
            Row("claim to the first step of a new process", first_s, "s", note="importing torch included"),
            Row("worker and watchdog while a trial runs", cpu_percent, "% of a core", CPU_GOAL, "goal", True),
            Row("database writes of a trial", wrote, "% of its time", WRITES_GOAL, "goal", True, note=note),
        ]  # fmt: skip
    finally:
        db.close()


def one_cell(places: Places, trials: int, epochs: int) -> CellSpec:
    (cell,) = make_cells(places, ["2M"], [1], trials, epochs, "threshold_1pct", "a25")
    shape = {"architecture": {"kind": "choice", "choices": [SHAPE]}}
    return replace(cell, space=cell.space | shape)


def run_worker(places: Places, db: Database) -> float:
    """Runs the queue to its end; returns the worker's share of a core in percent while trials ran."""
    argv = [sys.executable, "-m", "fts.jobs.cli", "--db", str(places.db), "worker", "--slots", "1", "--threads", "1"]
    environ = {**os.environ, "FTS_DATA": str(places.data), "FTS_SENSORS": "auto"}
    log = places.outputs / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [*argv, "--until-empty"], env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    process, first, last = psutil.Process(worker.pid), None, None
    while worker.poll() is None:
        time.sleep(0.2)
        trials = queries.trials(db, 1)
        if len(trials) < 2 or len(trials) == trials[0].number + queries.job(db, 1).trials_wanted:
            continue  # start and end do not count
        last = (time.monotonic(), used_s(process))
        first = first or last
    if worker.returncode != 0 or first is None or last is None or last[0] == first[0]:
        raise RuntimeError(f"the worker ended with code {worker.returncode}: {log.read_text()[-1000:]}")
    return 100.0 * (last[1] - first[1]) / (last[0] - first[0])


def used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def began(run: tuple[Trial, tuple[Epoch, ...]]) -> float:
    """Returns when the first step of a trial began: its first epoch's end minus its seconds."""
    first = run[1][0]
    return first.at - first.seconds


def gap_s(before: tuple[Trial, tuple[Epoch, ...]], after: tuple[Trial, tuple[Epoch, ...]]) -> float:
    return began(after) - before[1][-1].at


def writes_percent(db: Database, places: Places, history: tuple[tuple[Trial, tuple[Epoch, ...]], ...]) -> float:
    """Returns the share of a trial's time for its transactions: epochs, and one per event and checkpoint."""
    trial, epochs = history[-1]
    events = [event for event in queries.events(db, since=0, limit=10_000) if event.trial_id == trial.id]
    transactions = len(epochs) + len(events) + len(queries.checkpoints(db, trial.id))
    assert trial.ended_at is not None
    return 100.0 * transactions * write_s(places) / (trial.ended_at - trial.started_at)


def write_s(places: Places) -> float:
    """Returns the median seconds of one transition with its event, on this disk."""
    db = open_database(places.outputs / "timed" / "fts.db")
    try:
        took = []
        for n in range(WRITES_TIMED):
            start = time.perf_counter()
            transitions.note(db, f"note {n}")
            took.append(time.perf_counter() - start)
        return median(took)
    finally:
        db.close()


def main() -> None:
    for row in rows(quick="--full" not in sys.argv[1:]):
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
