"""Measures the cost of exports after a trial in a job of 5,000 trials and in one of 50, and of a whole export.

python -m benchmarks.exports
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import Row, median_and_spread
from fts.jobs.records import exports
from fts.jobs.settings import Places
from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.values import Claim
from tests.jobs.many import multiply_trials

FEW, MANY = 50, 5_000
EPOCHS = 10


def rows(quick: bool = True) -> list[Row]:
    """Runs trials in both studies in turns; about a minute."""
    times = 100 if quick else 400
    with tempfile.TemporaryDirectory() as folder:
        few, many = job_of(Path(folder) / "few", FEW), job_of(Path(folder) / "many", MANY)
        pairs = [(exported(few, FEW + n), exported(many, MANY + n)) for n in range(times)]
        small, large = ([pair[k] for pair in pairs] for k in (0, 1))
        whole = [took(lambda: exports.export_job(many[0], many[1], many[2].job)) for _ in range(2)]
        for db, *_ in (few, many):
            db.close()
    mean_few, mean_many = sum(small) / times, sum(large) / times
    _, spread = median_and_spread(large)
    return [
        Row(f"exports after a trial, mean, {MANY:,} trials", 1000 * mean_many, "ms", 1000 * mean_few,
            f"ms with {FEW} trials", True, repeats=times, spread=spread),
        Row("the longest of these", 1000 * max(large), "ms", 1000 * max(small), f"ms with {FEW} trials",
            True, repeats=times),
        Row(f"`fts export` of {MANY:,} unchanged trials", whole[-1], "s", note="files that say the same stay"),
    ]  # fmt: skip


Job = tuple[Database, Places, Claim]


def job_of(folder: Path, count: int) -> Job:
    """Makes a running job with `count` ended trials, exported."""
    places = Places(folder / "outputs" / "fts.db", folder / "data")
    db = open_database(places.db)
    transitions.enqueue(db, [spec()], "benchmark")
    worker = transitions.register_worker(db, "here", 1, 1.0, 1)
    claim = transitions.claim(db, worker, 3600.0)
    assert claim is not None
    end_trial((db, places, claim), 0)
    multiply_trials(db, claim.job_id, count)
    exports.export_job(db, places, queries.job(db, claim.job_id))
    return db, places, claim


def exported(job: Job, number: int) -> float:
    """Returns the seconds of the exports after one more trial."""
    db, places, claim = job
    end_trial(job, number)
    return took(lambda: exports.export_trials(db, places, claim.job, [number]))


def took(act: object) -> float:
    start = time.perf_counter()
    act()  # type: ignore[operator]  # a lambda
    return time.perf_counter() - start


def end_trial(job: Job, number: int) -> None:
    db, _, claim = job
    params = {"learning_rate": 3e-4, "weight_decay": 1e-3, "warmup_steps": 100, "dropout": 0.3}
    trial = transitions.start_trial(
        db, claim, number, params=params, effective={"n": number, **params}, architecture="d64-L2-h4-ff128",
        objective="val_loss", seed=number,
    )  # fmt: skip
    for n in range(1, EPOCHS + 1):
        epoch = dict.fromkeys(("train_loss", "val_loss", "train_auc", "val_auc", "val_brier", "pred_min"), 0.5)
        rest = dict.fromkeys(("pred_max", "pred_sd", "learning_rate", "samples_per_s", "seconds"), 0.5)
        transitions.record_epoch(db, claim, trial, {"epoch": n, "step": n, **epoch, **rest})
    transitions.finish_trial(db, claim, trial, "complete", "finished", value=0.5, best_epoch=1, val_loss=0.5)


def spec() -> dict[str, object]:
    words = {"experiment": "phase6a_2M_h1_threshold_1pct", "kind": "cell", "budget": "2M", "task": "threshold_1pct"}
    return words | {"horizon": 1, "tier": "a25", "trials_wanted": 3 * MANY, "spec": {"horizon": 1, "seed": 7}}


if __name__ == "__main__":
    for row in rows(quick="--full" not in sys.argv):
        print(row.line())
