"""A matrix of finished searches on a real SQLite file, with truths planted in it, made by a worker's transitions."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from fts.jobs import axis_words, functions
from fts.jobs.api.function import FunctionStudy
from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.values import Cause, Claim
from tests.cli.study import places_of

SPACE: dict[str, dict[str, Any]] = {
    "lr": {"kind": "float", "low": 1e-5, "high": 0.1, "log": True},
    "layers": {"kind": "int", "low": 1, "high": 8, "log": False},
    "opt": {"kind": "choice", "choices": ["adam", "sgd"]},
    "nothing": {"kind": "float", "low": 0.0, "high": 1.0, "log": False},
}
CODE = "def objective(lr, layers, opt, nothing, data='a', size='S'):\n    return lr\ndef mean():\n    return 0.6\n"
BEST_LR = {"S": 1e-4, "M": 1e-2}  # planted: the best lr depends on size, and on nothing else
FLOOR = {"S": 0.2, "M": 0.5}  # planted: S is better than M, and no data set differs from another


def planted(
    folder: Path, datasets: int = 6, trials: int = 24, effect: bool = True, seed: int = 0, **fields: Any
) -> Database:
    """A study `train` with cells data x size; without `effect`, nothing depends on any axis."""
    (folder / "train.py").write_text(CODE)
    axes: dict[str, list[axis_words.Value]] = {"data": [f"d{n}" for n in range(datasets)], "size": ["S", "M"]}
    fields = {"metric": "loss", "space": SPACE, "pruner": "median"} | fields
    cells = functions.cells("train.py:objective", folder, trials, axes=axes, **fields)
    db = open_database(places_of(folder).db)
    transitions.enqueue(db, [FunctionStudy(cell.study).row(cell) for cell in cells])
    transitions.declare_study(db, cells[0].study, functions.declaration(cells))
    worker = transitions.register_worker(db, "elsewhere", 4242, 1.0, 1)
    chance = random.Random(seed)
    for _ in cells:
        claimed = transitions.claim(db, worker, lease_s=60.0)
        assert claimed is not None
        size = str(claimed.job.labels["size"]) if effect else "S"
        for number in range(trials):
            search_trial(db, claimed, number, size, chance)
        if claimed.job.spec.get("baseline"):
            beside(db, claimed, trials, 0.6, {"role": "baseline"}, "baseline")
        best = queries.job(db, claimed.job_id)
        for n in range(claimed.job.spec.get("seeds", 1) - 1):
            number = trials + n + bool(claimed.job.spec.get("baseline"))
            worse = (best.best_value or 0.0) + 0.05 + chance.gauss(0, 0.005)  # planted: the winner was lucky by 0.05
            beside(db, claimed, number, worse, {"role": "replicate", "replicates": best.best_trial}, "replicate")
        transitions.finish_job(db, claimed)
    return db


def search_trial(db: Database, claimed: Claim, number: int, size: str, chance: random.Random) -> None:
    """lr decides, layers helps a little, `nothing` does nothing; one in six is pruned, one in twelve fails."""
    params = {
        "lr": 10 ** chance.uniform(-5, -1), "layers": chance.randint(1, 8), "opt": chance.choice(["adam", "sgd"]),
        "nothing": chance.random(),
    }  # fmt: skip
    value = FLOOR[size] + 0.1 * abs(math.log10(params["lr"] / BEST_LR[size])) + 0.004 * params["layers"]
    value += chance.gauss(0, 0.01)
    metrics = {"loss": value, "acc": 1 - value, "latency": params["layers"] * 2.0}
    trial = transitions.start_trial(db, claimed, number, params=params, effective=params, seed=number)
    if number % 12 == 11:
        message = f"ZeroDivisionError: <script>alert({number})</script>"
        transitions.finish_trial(db, claimed, trial, "failed", Cause.CODE_ERROR, message=message)
        return
    whole = 5 if claimed.job_id <= 2 else 0  # steps take most of the time
    pruned = number % 6 == 5
    steps = min(2, whole) if pruned else whole
    for step in range(steps):
        told = {"epoch": step, "value": value + 0.3 / (1 + step), "metrics": {"acc": 1 - value}, "seconds": 12.0}
        transitions.record_epoch(db, claimed, trial, told)
    ended = "pruned" if pruned else "complete"
    transitions.finish_trial(
        db, claimed, trial, ended, Cause.PRUNED if pruned else Cause.FINISHED, value=value, best_epoch=4,
        last_value=value, peak_bytes=10**8, facts={"metrics": metrics},
    )  # fmt: skip


def beside(db: Database, claimed: Claim, number: int, value: float, facts: dict[str, Any], badge: str) -> None:
    trial = transitions.start_trial(db, claimed, number, params={}, effective={}, seed=number, **facts)
    transitions.finish_trial(db, claimed, trial, "complete", Cause.FINISHED, value=value, badges=[badge])
