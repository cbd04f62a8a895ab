"""A study small enough to be killed a hundred times: its data, its cells, what it must equal, what must always hold.

Two `tiny` cells of a few trials: shuffling, dropout, warm-up and early stopping are on, one of them prunes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from fts.jobs.api.halving import Halving
from fts.jobs.api.spec import trial_folder
from fts.jobs.records import exports
from fts.jobs.settings import Places
from fts.state import queries
from fts.state.db import Database, open_database
from fts.state.values import Job, JobStatus, Trial, TrialStatus
from fts.study.matrix import make_cells, write
from tests.data.made import build, make_bars, write_csv

TIMES = ("at", "seconds", "samples_per_s")  # of an epoch: what two equal runs may differ in
COMPARED = (
    "number", "status", "params", "effective", "effective_md5", "architecture", "n_params", "objective", "value",
    "best_epoch", "last_value", "epochs", "val_loss", "val_auc", "auc_low", "auc_high", "n_train", "n_val", "n_pos",
    "prior_loss", "label_md5", "base_rate", "data_md5", "seed", "threads", "micro_batch", "accumulation", "recipe",
    "badges", "cause", "message",
)  # fmt: skip


LENIENT = Halving(first_rung=2, growth=3, keep=0.5, trailing=None)


def make_data(root: Path, rows: int = 620) -> Path:
    """A data folder with one small set of bars and its features (about three seconds, so once a session)."""
    csv = write_csv(make_bars(rows, 7), root.parent / f"{root.name}.csv")
    build(root, "csv", "CHAOS", "a20", path=csv, context=20, horizon=5)
    return root


def make_study(folder: Path, data: Path, trials: int = 6, epochs: int = 10, **fields: Any) -> Places:
    """An empty study with its cells in line."""
    folder.mkdir(parents=True)
    places = Places(folder / "outputs" / "fts.db", data)
    usual: dict[str, Any] = {"patience": 3, "effective_batch": 16, "context": 20, "min_positives": 3}
    split = {"train": 0.6, "val": 0.3}
    cells = make_cells(
        places, ("tiny",), (1, 3), trials, epochs, "threshold_1pct", "a20", split=split, **(usual | fields)
    )
    quick = {"warmup_steps": {"kind": "choice", "choices": [5, 20]}}  # steps; a trial has some 150
    cells = [replace(cell, space=cell.space | quick) for cell in cells]
    db = open_database(places.db)
    # a rule of its own: what is usual may change, and a shorter study ends before the kills do
    write(db, [replace(cells[0], pruner="halving", halving=LENIENT), *cells[1:]], who="chaos")
    db.close()
    return places


# -- what must be equal


def identity(places: Places) -> dict[str, Any]:
    """Everything an interrupted study must have in common with an undisturbed one, ready for ==."""
    db = open_database(places.db, readonly=True)
    try:
        return {job.experiment: job_identity(db, places, job) for job in queries.jobs(db)}
    finally:
        db.close()


def job_identity(db: Database, places: Places, job: Job) -> dict[str, Any]:
    trials = [
        {name: asdict(trial)[name] for name in COMPARED}
        | {"curve": [{k: v for k, v in asdict(e).items() if k not in (*TIMES, "trial_id")} for e in epochs]}
        | {"files": _files(places, job, trial)}
        for trial, epochs in queries.history(db, job.id)
    ]
    return {"status": str(job.status), "best": (job.best_trial, job.best_value), "trials": trials}


def _files(places: Places, job: Job, trial: Trial) -> dict[str, str]:
    """Fingerprints of the best weights and of the stored predictions of a complete trial."""
    folder = trial_folder(places.outputs, job.experiment, job.id, trial.number)
    if trial.status != TrialStatus.COMPLETE or trial.reused_from is not None:
        return {}
    with safe_open(folder / "best.safetensors", framework="np") as file:
        weights = hashlib.md5(b"".join(file.get_tensor(name).tobytes() for name in sorted(file.keys()))).hexdigest()
    predictions = pd.read_parquet(folder / "predictions.parquet").to_csv().encode()
    return {"weights": weights, "predictions": hashlib.md5(predictions).hexdigest()}


def difference(a: Any, b: Any, at: str = "study") -> str | None:
    """Where two identities first differ, for the message of a failed test."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return next((found for key in a if (found := difference(a[key], b[key], f"{at}.{key}"))), None)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next(
            (found for i, (x, y) in enumerate(zip(a, b, strict=True)) if (found := difference(x, y, f"{at}[{i}]"))),
            None,
        )
    return None if a == b else f"{at}: {a!r:.300} != {b!r:.300}"


def finished(places: Places) -> bool:
    db = open_database(places.db, readonly=True, check=False)
    try:
        return all(job.status == JobStatus.DONE for job in queries.jobs(db))
    finally:
        db.close()


# -- what must always hold


def broken(places: Places, journal: Path, slots: int = 1, ordered: int = 2) -> list[str]:
    """Every invariant that does not hold at this moment, in words; a worker may be dead or alive."""
    db = open_database(places.db, readonly=True)
    try:
        with db.read():
            found = _broken_rows(db, slots, ordered)
    finally:
        db.close()
    return found + doubled_writers(journal)


def _broken_rows(db: Database, slots: int, ordered: int) -> list[str]:
    found = []
    jobs = queries.jobs(db)
    workers = {worker.id: worker for worker in queries.workers(db)}
    events = queries.events(db, since=0, limit=1_000_000)
    claimed = Counter(event.job_id for event in events if event.verb == "claimed")
    found += [f"{e.verb}: {e.message}" for e in events if e.verb in ("resume_mismatch", "parked", "trial_failed")]
    if len(jobs) != ordered:
        found.append(f"{len(jobs)} jobs, {ordered} were put in line")
    held = Counter(job.worker_id for job in jobs if job.status == JobStatus.RUNNING)
    found += [f"worker {worker} holds {count} jobs" for worker, count in held.items() if count > slots]
    for job in jobs:
        if job.attempt != claimed[job.id] or job.token != job.attempt:
            found.append(f"job {job.id}: attempt {job.attempt}, token {job.token}, claimed {claimed[job.id]} times")
        running = job.status == JobStatus.RUNNING
        if running and (job.lease_until is None or workers[job.worker_id or 0].status == "stopped"):
            found.append(f"job {job.id} runs without a lease or with a stopped worker")
        if not running and (job.lease_until is not None or job.worker_id is not None):
            found.append(f"job {job.id} is {job.status} and still has a lease")
        found += _broken_trials(db, job, running)
    return found


def _broken_trials(db: Database, job: Job, running: bool) -> list[str]:
    found = []
    history = queries.history(db, job.id)
    numbers = [trial.number for trial, _ in history]
    if numbers != list(range(len(numbers))) or len(numbers) > job.trials_wanted:
        found.append(f"job {job.id} has trials {numbers}")
    live = [trial.number for trial, _ in history if trial.status in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)]
    if len(live) > 1 or (live and live[-1] != numbers[-1]):
        found.append(f"job {job.id} has several live trials, or an old one: {live}")
    for trial, epochs in history:
        if trial.status == TrialStatus.RUNNING and not running:
            found.append(f"trial {trial.number} of job {job.id} runs, its job is {job.status}")
        if [epoch.epoch for epoch in epochs] != list(range(1, trial.epochs + 1)) and trial.reused_from is None:
            found.append(f"trial {trial.number} of job {job.id} has epochs {[epoch.epoch for epoch in epochs]}")
    counts = Counter(trial.status for trial, _ in history)
    counted = (job.trials_complete, job.trials_pruned, job.trials_failed)
    if counted != (counts[TrialStatus.COMPLETE], counts[TrialStatus.PRUNED], counts[TrialStatus.FAILED]):
        found.append(f"job {job.id} counts {counted}, its trials are {dict(counts)}")
    return found


def doubled_writers(journal: Path) -> list[str]:
    """Trial folders that one process wrote to after another had taken them over."""
    seen: dict[str, list[str]] = {}
    for line in journal.read_text().splitlines() if journal.exists() else []:
        word, pid, folder = line.split(" ", 2)
        if word == "checkpoint" and (not seen.get(folder) or seen[folder][-1] != pid):
            seen.setdefault(folder, []).append(pid)
    return [f"{folder} was written by {pids}" for folder, pids in seen.items() if len(pids) != len(set(pids))]


def unequal_exports(places: Places, scratch: Path) -> list[str]:
    """Exported files that say something else than the database does now."""
    shutil.rmtree(scratch, ignore_errors=True)
    fresh = Places(scratch / "fts.db", places.data)
    db = open_database(places.db, readonly=True)
    try:
        exports.export_all(db, fresh)
    finally:
        db.close()
    wanted = {path.relative_to(scratch): path.read_bytes() for path in scratch.rglob("*") if path.is_file()}
    there = [path for root in (places.exports, places.results_csv) for path in (root, *root.rglob("*"))]
    found = {path.relative_to(places.outputs): path.read_bytes() for path in there if path.is_file()}
    names = sorted(set(wanted) | {name for name in found if not name.name.startswith(".")})
    return [f"{name} differs from the database" for name in names if wanted.get(name) != found.get(name)]


def damage(places: Places) -> list[str]:
    """What SQLite itself says about the file."""
    connection = sqlite3.connect(places.db)
    try:
        return [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    finally:
        connection.close()


def as_text(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=True)
