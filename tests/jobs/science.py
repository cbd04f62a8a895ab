"""A study small enough for tests, with a poisoned test set: whoever reads a row of it stumbles over missing numbers."""

from __future__ import annotations

import io
import shutil
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fts.data import splits
from fts.data.manifest import Manifest
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import work
from fts.state import queries
from fts.state.db import Database, open_database
from fts.study.baseline_jobs import with_baselines
from fts.study.cell import CellSpec
from fts.study.matrix import make_cells, write
from fts.study.winners import train_spec, winner
from tests.data.made import build, make_bars, write_csv

SPLIT = {"train": 0.6, "val": 0.25}
QUICK: dict[str, Any] = {"patience": 3, "effective_batch": 64, "context": 20, "min_positives": 3, "split": SPLIT}
CELL, REPLICATE, TRAIN = (f"{word}_tiny_h1_threshold_1pct" for word in ("phase6a", "replicate", "train"))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def make_data(root: Path, ticker: str = "MADE", bars: pd.DataFrame | None = None) -> Manifest:
    """A data folder with one small data set of tier a20."""
    path = write_csv(make_bars(900, 7) if bars is None else bars, root.parent / f"{ticker}.csv")
    build(root, "csv", ticker, "a20", path=path, context=20, horizon=5)
    return Manifest(root)


def poison_test_part(manifest: Manifest, name: str = "MADE.dataset.a20") -> tuple[str, str]:
    """Replaces every number of the test part by NaN; returns the md5 of the sound file and of the poisoned one."""
    sound = manifest.current(name)
    table = pd.read_parquet(manifest.file(sound)).set_index("Date")
    cut = splits.borders(table.index.to_numpy().astype("datetime64[D]"), splits.parse(SPLIT)).val_stop
    table.iloc[cut:] = np.nan
    entry = manifest.store("processed", name, table, tier=sound.tier, sources=dict(sound.sources), note="poisoned")
    return sound.md5, entry.md5


def cells_of(
    places: Places, horizons: Sequence[int] = (1,), trials: int = 2, epochs: int = 2, **fields: Any
) -> list[CellSpec]:
    task = fields.pop("task", "threshold_1pct")
    return make_cells(places, ("tiny",), horizons, trials, epochs, task, "a20", **(QUICK | fields))


def run_queue(places: Places, progress: Console | None = None, **settings: Any) -> str:
    """A real worker in this process until nothing can run; returns what it said."""
    said = io.StringIO()
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    try:
        code = work(places, WorkerSettings(until_empty=True, poll_s=0.05, **settings), progress or Console(said))
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert code == 0, said.getvalue()
    return said.getvalue()


def copied(places: Places, folder: Path) -> Places:
    """The same study elsewhere, to be changed without harm."""
    shutil.copytree(places.outputs, folder / "outputs", ignore=shutil.ignore_patterns(f"{places.db.name}*"))
    copy = folder / "outputs" / places.db.name
    with closing(sqlite3.connect(places.db)) as live, closing(sqlite3.connect(copy)) as other:
        live.backup(other)  # as files, its -wal may go while it is copied
    copy.chmod(0o600)
    return Places(copy, places.data)


def opened(places: Places) -> Database:
    return open_database(places.db)


@dataclass(frozen=True)
class Ran:
    """A finished study whose test part holds no number."""

    places: Places
    sound_md5: str  # of the data set before its test part was poisoned


def run_study(folder: Path) -> Ran:
    """Baselines and a cell of three trials, the first one warm; then its winner with two seeds, and its final model."""
    manifest = make_data(folder / "data")
    sound, _ = poison_test_part(manifest)
    places = Places(folder / "outputs" / "fts.db", manifest.root)
    (cell,) = cells_of(places, trials=3, seed=5, winner_seeds=3)
    warm = {
        "architecture": "d16-L1-h2-ff32",
        "learning_rate": 5e-4,
        "weight_decay": 1e-3,
        "warmup_steps": 100,
        "dropout": 0.2,
    }
    db = opened(places)
    write(db, with_baselines([replace(cell, warm_start=(warm,))]), who="test")
    db.close()
    run_queue(places)
    db = opened(places)
    job = queries.job(db, CELL)
    best = winner(db, job)
    write(db, [train_spec(job, best)], who="test")  # its two other seeds came with the cell
    db.close()
    run_queue(places)
    return Ran(places, sound)
