"""Trial after trial after trial: memory, file descriptors and the write-ahead log stay where they were."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import psutil
import pytest

from fts.state import queries
from fts.state.db import open_database
from fts.study.cell import CellSpec
from fts.study.matrix import write
from tests.chaos import study
from tests.chaos.harness import Harness, until
from tests.chaos.test_stopped import jobs

MB = 1 << 20
GROWTH_MB = 24  # allowed between the middle and the end: allocators settle, a leak of 2 kB a step does not
SETTLED = 15  # trials after which everything that is loaded late is loaded: the sampler's library comes with the tenth
WAL_MB = 16  # SQLite folds it back every 4 MB; a reader in the middle delays that once or twice


@dataclass(frozen=True)
class Look:
    worker_mb: float  # private memory
    trial_mb: float
    worker_fds: int
    trial_fds: int
    wal_mb: float


def test_fifty_tiny_trials_leak_nothing(make_harness: Callable[..., Harness]) -> None:
    soak(make_harness(trials=50, epochs=1, max_steps=2, patience=1), trials=50, every_s=0.25)


@pytest.mark.slow
def test_an_hour_or_ten_thousand_tiny_trials_leak_nothing(make_harness: Callable[..., Harness]) -> None:
    """In cells of fifty trials, as people order them: the exports of one of thousands take 30 kB of memory a trial."""
    harness = make_harness(trials=50, epochs=1, max_steps=2, patience=1, sampler="random")
    order_again(harness, times=99)
    soak(harness, trials=10_000, every_s=18.0, ordered=200, at_most_s=3600.0)


def soak(harness: Harness, trials: int, every_s: float, ordered: int = 2, at_most_s: float = 200.0) -> None:
    """In ordinary processes: a fork's private memory grows whenever the collector touches what it shares."""
    harness.nursery = None
    worker = harness.start()
    looks: list[Look] = []
    until(lambda: finished(harness) > SETTLED or worker.poll() is not None, sorry=worker.talk)
    began = time.monotonic()
    while finished(harness) < trials and time.monotonic() < began + at_most_s and worker.poll() is None:
        time.sleep(every_s)
        looks += look(harness, worker.pid)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.talk()
    done = finished(harness)
    half, third = looks[len(looks) // 3 : 2 * len(looks) // 3], looks[2 * len(looks) // 3 :]
    took = f"{done} trials in {time.monotonic() - began:.0f} s, {len(looks)} looks"
    print(f"{took}; in the middle {half[0]}, at the end {third[-1]}")
    assert done > 2 * SETTLED and len(third) > 2, worker.talk()
    for name, allowed in (("worker_mb", GROWTH_MB), ("trial_mb", GROWTH_MB), ("worker_fds", 2), ("trial_fds", 2)):
        before, after = (median(getattr(look, name) for look in part) for part in (half, third))
        assert after - before <= allowed, f"{name} grew from {before:.1f} to {after:.1f}"
    assert max(look.wal_mb for look in looks) < WAL_MB
    assert study.broken(harness.places, harness.journal, ordered=ordered) == []
    assert study.damage(harness.places) == []


def order_again(harness: Harness, times: int) -> None:
    """The same cells with other seeds."""
    db = open_database(harness.places.db)
    cells = [CellSpec.from_json(job.spec) for job in queries.jobs(db)]
    write(db, [replace(cell, seed=seed) for seed in range(1, times + 1) for cell in cells], who="soak")
    db.close()


def finished(harness: Harness) -> int:
    return sum(job.trials_complete for job in jobs(harness))


def look(harness: Harness, pid: int) -> list[Look]:
    """One look, or none when the trial process is just being replaced."""
    trials = harness.trial_processes()
    wal = harness.places.db.with_name("fts.db-wal")
    try:
        worker, trial = psutil.Process(pid), trials[0]
        return [Look(private_mb(worker), private_mb(trial), worker.num_fds(), trial.num_fds(), wal.stat().st_size / MB)]
    except (psutil.Error, IndexError):
        return []


def private_mb(process: psutil.Process) -> Any:
    return process.memory_full_info().uss / MB
