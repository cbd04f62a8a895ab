"""A real worker with a thermometer that the test holds in its hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from fts.jobs.settings import Places
from fts.state import queries
from fts.state.db import open_database
from fts.state.values import Event, Job, Trial
from fts.study.matrix import make_cells, write
from tests.fts_process import start

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0  # never asserted, only so that a hanging test ends
GiB = 1 << 30
QUICK = {
    "FTS_POLL_S": "0.05", "FTS_BEAT_S": "0.4", "FTS_DEVICE": "cpu", "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "FTS_MEMORY_SOFT": "60G", "FTS_MEMORY_HARD": "60G",
}  # fmt: skip


def make_study(folder: Path, data: Path, epochs: int = 100, **fields: Any) -> Places:
    """One tiny cell with one trial that trains for some seconds, in line."""
    places = Places(folder / "outputs" / "fts.db", data)
    usual: dict[str, Any] = {"patience": epochs, "effective_batch": 16, "context": 20, "min_positives": 3}
    split = {"train": 0.6, "val": 0.3}
    (cell,) = make_cells(places, ("tiny",), (1,), 1, epochs, "threshold_1pct", "a20", split=split, **(usual | fields))
    slow = {"architecture": {"kind": "choice", "choices": ["d32-L1-h4-ff64"]}}
    db = open_database(places.db)
    write(db, [replace(cell, space=cell.space | slow)], who="test")
    db.close()
    return places


class Watched:
    """`fts worker` as a process of its own, its sensors a file."""

    def __init__(self, places: Places, **env: str) -> None:
        self.places = places
        self.file = places.outputs / "sensors.json"
        self.log = places.outputs / "worker_of_test.log"
        self.feel(temperature=60)
        environ = {**os.environ, **QUICK, "FTS_SENSORS": f"file:{self.file}", "FTS_DATA": str(places.data), **env}
        words = ["--db", str(places.db), "worker", "--slots", "1", "--threads", "1", "--until-empty"]
        with self.log.open("ab") as out:
            self.process = start(words, ROOT, environ, out)
        self.db = open_database(places.db, readonly=True, check=False)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def feel(self, **reading: float) -> None:
        """What the sensors say from now on; the machine's own memory unless it is given."""
        draft = self.file.with_suffix(".new")
        draft.write_text(json.dumps(reading))
        draft.replace(self.file)

    @property
    def trial(self) -> Trial:
        return queries.trials(self.db, 1)[0]

    @property
    def job(self) -> Job:
        return queries.job(self.db, 1)

    def events(self, *verbs: str) -> list[Event]:
        return [e for e in queries.events(self.db, since=0, limit=10_000) if not verbs or e.verb in verbs]

    def verbs(self) -> list[str]:
        return [str(event.verb) for event in self.events()]

    def guard(self) -> str:
        return queries.workers(self.db)[0].guard

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Waits for it; fails with what the worker said when it takes too long or the worker has left."""
        give_up = time.monotonic() + PATIENCE_S
        while not (found := holds()):
            gone = self.process.poll() is not None
            if gone and not (found := holds()):
                raise AssertionError(f"the worker left before {what}\n{self.log.read_text()[-3000:]}")
            if time.monotonic() > give_up:
                raise AssertionError(f"waited in vain for {what}: {self.verbs()}\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)
        return found

    def until_event(self, verb: str, count: int = 1) -> Event:
        return self.until(lambda: self.events(verb)[count - 1 :], f"event {verb} number {count}")[0]

    def until_epoch(self, count: int = 1) -> None:
        self.until(lambda: queries.trials(self.db, 1) and self.trial.epochs >= count, f"epoch {count}")

    def until_over(self) -> None:
        """The queue is empty and the worker has left in good order."""
        give_up = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.05)
        assert self.process.poll() == 0, self.log.read_text()[-3000:]

    def trial_process(self) -> psutil.Process | None:
        """The one that trains, as the system sees it; None when there is none."""
        trials = queries.trials(self.db, 1)
        pid = trials[0].pid if trials else None
        try:
            return psutil.Process(pid) if pid is not None else None
        except psutil.NoSuchProcess:
            return None

    def stop_breathing(self) -> int:
        """SIGSTOP to the trial, as a hanging disk or driver would; returns its pid."""
        process = self.trial_process()
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        return process.pid
