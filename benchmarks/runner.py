"""Measures the cost of a `kill -9` and of bookkeeping, here and under Optuna's own runner, with the same trial.

python -m benchmarks.runner [--full]

Optuna's runner is used as its documentation recommends for long searches: `study.optimize` on an SQLite storage with a
heartbeat, stale trials retried by its callback. Both are killed, every process at once as in a power cut,
one second after the third of four epochs, and restarted at once.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from benchmarks import Row, median_and_spread
from benchmarks.memory import TRAINING
from benchmarks.overhead import SHAPE, one_cell, trial_of
from fts.jobs.settings import Places
from fts.state import transitions
from fts.state.db import Database, open_database
from fts.state.values import Cause, Claim
from fts.study import dataset
from fts.study.build import build_trial
from fts.study.cell import TrialSpec
from fts.study.matrix import write
from fts.training.results import EpochDone

EPOCHS, KILLED_AFTER = 4, 3
HEARTBEAT_S = 1  # Optuna's smallest; a trial is stale after two of them
TOLD = re.compile(r"\bep (\d+)/")  # an epoch in a log of either runner
PATIENCE_S = 600.0
RECORDED, LOSS = 10, 0.39  # epochs of the trial whose bookkeeping is timed; the loss that each reports
EPOCH = {
    "train_loss": LOSS, "val_loss": LOSS, "train_auc": 0.7, "val_auc": 0.7, "val_brier": 0.1, "pred_min": 0.0,
    "pred_max": 1.0, "pred_sd": 0.1, "learning_rate": 1e-4, "samples_per_s": 600.0, "seconds": 6.0,
}  # fmt: skip
SPACE: dict[str, BaseDistribution] = {
    "architecture": CategoricalDistribution([SHAPE]),
    "dropout": FloatDistribution(0.1, 0.6),
    "learning_rate": FloatDistribution(1e-4, 1e-3, log=True),
    "warmup_steps": CategoricalDistribution([100, 200, 300, 500]),
    "weight_decay": FloatDistribution(1e-4, 5e-3, log=True),
}


def rows(quick: bool = True) -> list[Row]:
    """Two minutes; in full ten."""
    with tempfile.TemporaryDirectory() as folder:
        return [killed(Path(folder), 1 if quick else 5), bookkeeping(Path(folder), 20 if quick else 100)]


# -- kill -9


def killed(folder: Path, repeats: int) -> Row:
    """Returns seconds from the kill to the trial's end, in turns, and the number of epochs trained twice."""
    ours, theirs = [], []
    for n in range(repeats):
        places = Places(folder / f"kill_{n}" / "outputs" / "fts.db", folder / f"kill_{n}" / "data")
        dataset.build(places.data, "bundled")
        ours.append(under_fts(places))
        theirs.append(under_optuna(places))
    seconds, spread = median_and_spread([s for s, _ in ours])
    seconds_theirs, _ = median_and_spread([s for s, _ in theirs])
    note = f"epochs trained again: {max(e for _, e in ours)} here, {max(e for _, e in theirs)} there"
    return Row(
        f"kill -9 in the last of {EPOCHS} epochs, until the trial has ended", seconds, "s", seconds_theirs,
        "Optuna's runner with heartbeat and retry", True, repeats=repeats, spread=spread, note=note,
    )  # fmt: skip


def under_fts(places: Places) -> tuple[float, int]:
    db = open_database(places.db)
    write(db, [cell_of(places)], "benchmark")
    db.close()
    argv = ["-m", "fts.jobs.cli", "--db", str(places.db), "worker", "--slots", "1", "--threads", "1", "--until-empty"]
    return kill_and_restart(argv, places, "*_t0000.log")


def under_optuna(places: Places) -> tuple[float, int]:
    spec = replace(trial_of(places, cell_of(places), 0, threads=1), folder=str(places.outputs / "optuna"))
    asked = places.outputs / "spec.json"
    asked.write_text(json.dumps(spec.to_json()))
    return kill_and_restart(["-m", "benchmarks.runner", "--optuna", str(asked)], places, "trial_0.log")


def cell_of(places: Places) -> Any:
    """Returns one trial: equal parameters, recipe and precision on both sides."""
    cell = replace(one_cell(places, trials=1, epochs=EPOCHS), patience=EPOCHS, precision="fp32")
    fixed = {
        name: {"kind": "choice", "choices": [value]} for name, value in (TRAINING | {"architecture": SHAPE}).items()
    }
    return replace(cell, space=fixed)


def kill_and_restart(argv: Sequence[str], places: Places, log: str) -> tuple[float, int]:
    """Returns seconds from the kill to the end of the next run, and the number of epochs reported twice."""
    process = started(argv, places)
    try:
        wait_for_epoch(process, places, log)
        time.sleep(1.0)
        kill_tree(process)
        begun = time.monotonic()
        process = started(argv, places)
        if process.wait(PATIENCE_S) != 0:
            raise RuntimeError(f"{argv[1]}: {(places.outputs / 'benchmark.log').read_text()[-1000:]}")
        return time.monotonic() - begun, len(epochs_told(places, log)) - EPOCHS
    finally:
        kill_tree(process)


def started(argv: Sequence[str], places: Places) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "FTS_DATA": str(places.data), "OMP_NUM_THREADS": "1"}
    with (places.outputs / "benchmark.log").open("ab") as out:
        return subprocess.Popen([sys.executable, *argv], env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def wait_for_epoch(process: subprocess.Popen[bytes], places: Places, log: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while KILLED_AFTER not in epochs_told(places, log):
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"no epoch {KILLED_AFTER}: {(places.outputs / 'benchmark.log').read_text()[-1000:]}")
        time.sleep(0.05)


def epochs_told(places: Places, log: str) -> list[int]:
    return [int(n) for path in places.logs.glob(log) for n in TOLD.findall(path.read_text())]


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in tree:
        one.kill()
    psutil.wait_procs(tree, timeout=10)
    process.wait()


def run_with_optuna(spec: TrialSpec) -> None:
    """What a user of Optuna's runner writes; runs again after a kill, until one trial is complete."""
    study = optuna_study(Path(spec.folder).parent / "optuna.db")

    def objective(trial: optuna.Trial) -> float:
        best = float("inf")
        with Path(spec.log_path).open("a") as log:
            for event in build_trial(spec).trainer.run():
                if isinstance(event, EpochDone) and event.result.val_loss is not None:
                    trial.report(event.result.val_loss, event.result.epoch)
                    best = min(best, event.result.val_loss)
                    print(f"ep {event.result.epoch}/{EPOCHS}", file=log, flush=True)
        return best

    while not study.get_trials(states=(TrialState.COMPLETE,)):
        study.optimize(objective, n_trials=1)


def optuna_study(path: Path) -> optuna.Study:
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    retry = RetryHeartbeatStaleTrialCallback()
    storage = RDBStorage(f"sqlite:///{path}", heartbeat_interval=HEARTBEAT_S, heartbeat_stale_trial_callback=retry)
    return optuna.create_study(storage=storage, study_name="runner", sampler=RandomSampler(seed=0), load_if_exists=True)


# -- bookkeeping


def bookkeeping(folder: Path, repeats: int) -> Row:
    """Returns milliseconds to record one trial, with every epoch durable when reported, in turns."""
    ours, theirs = [], []
    places = Places(folder / "books" / "outputs" / "fts.db", folder / "books" / "data")
    dataset.build(places.data, "bundled")
    db, study = open_database(places.db), optuna_study(folder / "books" / "optuna.db")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    write(db, [one_cell(places, trials=repeats, epochs=RECORDED)], "benchmark")
    claim = transitions.claim(db, transitions.register_worker(db, "benchmark", os.getpid(), 1.0, 1), 3600.0)
    assert claim is not None
    for number in range(repeats):
        ours.append(timed_ms(partial(record_here, db, claim, number)))
        theirs.append(timed_ms(partial(record_there, study)))
    db.close()
    took, spread = median_and_spread(ours)
    took_theirs, _ = median_and_spread(theirs)
    return Row(
        f"to record a trial of {RECORDED} epochs", took, "ms", took_theirs, "Optuna's SQLite storage", True,
        repeats=repeats, spread=spread, note="every epoch durable when told; sampling and model not counted",
    )  # fmt: skip


def timed_ms(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began)


def record_here(db: Database, claim: Claim, number: int) -> None:
    drawn = TRAINING | {"architecture": SHAPE}
    given: dict[str, Any] = {
        "params": drawn,
        "effective": drawn,
        "architecture": SHAPE,
        "objective": "val_loss",
        "seed": number,
    }
    trial = transitions.start_trial(db, claim, number, **given)
    for epoch in range(1, RECORDED + 1):
        transitions.record_epoch(db, claim, trial, EPOCH | {"epoch": epoch, "step": 13 * epoch})
    transitions.finish_trial(db, claim, trial, "complete", Cause.FINISHED, value=LOSS, best_epoch=1, val_loss=LOSS)


def record_there(study: optuna.Study) -> None:
    trial = study.ask(SPACE)
    for epoch in range(1, RECORDED + 1):
        trial.report(LOSS, epoch)
    study.tell(trial, LOSS)


def main() -> None:
    if "--optuna" in sys.argv:
        run_with_optuna(TrialSpec.from_json(json.loads(Path(sys.argv[-1]).read_text())))
        return
    for row in rows(quick="--full" not in sys.argv[1:]):
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
