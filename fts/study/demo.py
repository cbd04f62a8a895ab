"""`make run`: real S&P 500 bars, three 2M cells, the real queue, worker and trials, in a few minutes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fts.jobs.settings import Places, worker_settings
from fts.jobs.status import formatting
from fts.state.db import open_database
from fts.study.choices import TIER
from fts.study.matrix import enqueue_matrix
from fts.study.own import own_jobs
from fts.study.recipe import FEATURES

if TYPE_CHECKING:
    from fts.jobs.worker.console import Console
    from fts.state.db import Database
    from fts.state.values import Job

BUDGETS, HORIZONS = ("2M",), (1, 3, 5)
TRIALS, EPOCHS = 3, 4
FOLDS = "2of3"  # folds per winner, with one seed: the cheapest walk-forward


def demo(places: Places, console: Console) -> int:
    """Builds the data if needed, enqueues the small matrix, works until the queue is empty, prints the results table.

    A second call continues an interrupted run, or only shows the table.
    """
    say(f"study: {places.db}")
    ensure_data(places)
    db = open_database(places.db)
    if not unfinished(db):
        if demo_jobs(db):
            say("this matrix has run before; these are its results (remove outputs/ to run it again)")
        else:
            enqueue(db, places)
    if waiting := unfinished(db):
        jobs = formatting.count(len(waiting), "job")
        say(f"a worker now runs {jobs} (Ctrl-C stops it at a checkpoint, `make run` continues)")
        code = run_worker(places, console)
        if code != 0 or unfinished(db):
            say("stopped before the end; `make run` continues from the checkpoints")
            return code
        tidy(db, places)
    show(db, places)
    return 0


def say(text: str) -> None:
    print(f"fts: {text}", file=sys.stderr, flush=True)


def ensure_data(places: Places) -> None:
    from fts.study import dataset  # here, not above: pandas costs 0.4 s

    name = f"SPX.dataset.{TIER}"
    if any(entry.dataset == name for entry in dataset.listing(places.data)):
        say(f"data: {name} exists already")
        return
    say(f"data: building {name} from the S&P 500 bars in the package `arch` (5,031 days, {FEATURES[TIER]} features)")
    entry = dataset.build(places.data, "bundled", "SPX", TIER)
    say(f"data: {entry.rows} rows, md5 {entry.md5[:12]}; every feature passed the truncation test")


def enqueue(db: Database, places: Places) -> None:
    say("queue: testing each cell with one optimizer step before it enters the queue")
    lines = enqueue_matrix(db, places, BUDGETS, HORIZONS, TRIALS, EPOCHS, baselines=True, winner_folds=FOLDS, tell=say)
    cells = [line for line in lines if line.cell.kind == "cell"]
    say(f"queue: one baseline job per horizon, then {len(cells)} cells x {TRIALS} trials x at most {EPOCHS} epochs")
    say("queue: then each winner is trained again for the last 2 of 3 folds of days, together with the baselines")
    say("queue: this is a small demo, too short for good models; a real study has 50 trials of 50 epochs per cell")


def demo_jobs(db: Database) -> list[Job]:
    return [job for job in own_jobs(db) if job.kind == "cell"]


def unfinished(db: Database) -> list[Job]:
    return [job for job in own_jobs(db) if job.status in ("queued", "running")]


def run_worker(places: Places, console: Console) -> int:
    from fts.jobs.worker.worker import work  # here, not above: huey

    return work(places, worker_settings(until_empty=True), console)


def tidy(db: Database, places: Places) -> None:
    """Deletes the checkpoints of ended trials (hundreds of megabytes)."""
    from fts.jobs.maintenance.cleanup import collect, free  # here, not above: only after a run

    freed, _ = free(collect(db, places), places)
    if freed:
        say(f"{formatting.size(freed)} of checkpoints freed, because no trial needs them any more")


def show(db: Database, places: Places) -> None:
    from fts.study.results import results_table

    print(results_table(db), flush=True)
    say('every number above is in the database: fts db query "select * from v_trials"')
    say(f"exports: {places.exports}, {places.results_csv}; monitor: make tui; a real study: fts enqueue --matrix")
