"""Runs examples in forks of one process that has their libraries: undisturbed, under plain Optuna, and killed -9.

    python -P tests/libraries/forked.py sklearn torch      prints one JSON object per example

A fork costs 20 ms, a process that imports torch three seconds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import optuna

import fts
from fts.jobs.api.spec import seed_for
from fts.jobs.trial.function import seed_everything
from tests.libraries.kinds import KINDS, Kind
from tests.trial.harness import Record, attempt, cell_of, log_of, run_one, spec_of
from tests.trial.test_kill import kills_at

EXAMPLES = Path(__file__).parents[2] / "examples"
NUMBER, SEED = 2, 3
MOMENTS = (("epoch", 2), ("checkpoint", 1), ("epoch", 3), ("checkpoint", 1), ("checkpoint", 2), ("checkpoint", 1))
LOADED = {  # beforehand, where a library imports parts of itself when they are used
    "torch": ("torch._dynamo",),
    "transformers": ("transformers.trainer", "transformers.models.bert.modeling_bert"),
    "lightning": ("lightning.pytorch",),
    "sklearn": ("sklearn.datasets", "sklearn.model_selection", "sklearn.ensemble", "sklearn.svm"),
}


def compared(kind: Kind, folder: Path) -> dict[str, Any]:
    body = (EXAMPLES / kind.file).read_text()
    fields = {"metric": kind.metric, "direction": kind.direction, "seed": SEED, "sampler": "random"}
    cells = []
    for name in ("undisturbed", "disturbed"):
        (folder / name).mkdir(parents=True)
        cells.append(cell_of(folder / name, body, **fields))
    undisturbed, disturbed = run_one(cells[0], NUMBER), Record(NUMBER)
    kills = 0
    for moment in MOMENTS:
        attempt(spec_of(cells[1], disturbed, ()), disturbed, (), kills_at(*moment))
        if disturbed.end:
            break
        kills += 1
    if not disturbed.end:
        attempt(spec_of(cells[1], disturbed, ()), disturbed)
    optuna_says = plain(kind, body, folder)
    mine = {"params": undisturbed.params, "value": undisturbed.end.get("value"), "epochs": undisturbed.curve}
    return {
        "end": undisturbed.end["fact"],
        "message": undisturbed.end.get("message"),
        "equals plain Optuna": json.loads(json.dumps(mine)) == optuna_says,
        "killed equals undisturbed": disturbed.outcome == undisturbed.outcome,
        "kills": kills,
        "resumed": log_of(cells[1], NUMBER).count("resumed from checkpoint-"),
    }


def plain(kind: Kind, body: str, folder: Path) -> Any:
    """The same trial under plain Optuna, in a fork."""
    told = folder / "plain.json"
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        module: dict[str, Any] = {"__name__": "plain"}
        exec(compile(body, kind.file, "exec"), module)
        study = optuna.create_study(direction=kind.direction, sampler=fts.PureSampler("random", SEED))
        for _ in range(NUMBER):
            study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
        trial = study.ask()
        seed_everything(seed_for(SEED, NUMBER, "train"))
        value = module["objective"](trial)
        told.write_text(
            json.dumps({"params": trial.params, "value": value, "epochs": study.trials[-1].intermediate_values})
        )
        os._exit(0)
    os.waitpid(pid, 0)
    return json.loads(told.read_text()) if told.exists() else "failed"


def main(names: list[str]) -> None:
    for needed in dict.fromkeys(needed for name in names for needed in KINDS[name].needs):
        for module in (needed, *LOADED.get(needed, ())):
            importlib.import_module(module)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found = compared(KINDS[name], Path(folder))
        print(json.dumps({"kind": name} | found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
