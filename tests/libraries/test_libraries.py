"""Real libraries, bit for bit: as under plain Optuna, and as undisturbed however often trial and worker are killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import fts
from fts.jobs.python import python
from tests.fts_process import ROOT, Study
from tests.libraries.kinds import ENVIRON, KINDS, PYTHON, Kind, enqueued, lacking, plain, storm, told, work

QUICK = ("branches", "function", "sklearn")
OTHERS = [name for name in KINDS if name not in QUICK]  # torch and its optimizers alone take 8 s to import


def skip_without(kind: Kind) -> None:
    if missing := lacking(kind):
        pytest.skip(f"{PYTHON} has no {missing}; FTS_LIBRARIES names an interpreter that has (extra `examples`)")


def forked(*names: str) -> list[dict[str, Any]]:
    environ = os.environ | ENVIRON | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = python("-m", "tests.libraries.forked", *names, interpreter=PYTHON)
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"kind"')]


def assert_equal(found: dict[str, Any]) -> None:
    assert found["end"] == "result", found
    assert found["equals plain Optuna"] and found["killed equals undisturbed"], found
    assert found["kind"] == "branches" or (found["kills"] >= 4 and found["resumed"] >= 3), found


def test_a_trial_of_each_quick_kind_equals_plain_optuna_and_survives_kills() -> None:
    for found in forked(*QUICK):
        assert_equal(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_trial_of_every_other_library_too(name: str) -> None:
    skip_without(KINDS[name])
    (found,) = forked(name)
    assert_equal(found)


UNPRUNED = [name for name in OTHERS if name not in ("torch", "keras")]  # every trial is killed in its middle


@pytest.mark.slow  # 2 to 7 minutes each: every trial imports its library
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "kind", [*KINDS.values(), *(replace(KINDS[name], pruner="none", trials=3) for name in UNPRUNED)], ids=str
)
def test_a_study_of_each_kind_through_the_queue_and_through_a_storm(kind: Kind, tmp_path: Path) -> None:
    skip_without(kind)
    undisturbed, disturbed = (enqueued(kind, tmp_path / one, kind.trials) for one in ("undisturbed", "disturbed"))
    work(undisturbed)
    assert told(undisturbed) == plain(kind, tmp_path / "plain", kind.trials), "parameters, values, epochs, pruning"
    kills = storm(disturbed, kills=8, seed=kind.seed)
    assert told(disturbed) == told(undisturbed)
    assert kills >= 4 and disturbed.one("SELECT count(*) FROM event WHERE verb = 'resume_mismatch'") == 0


def commands(folder: Path) -> Study:
    study = Study(folder, **ENVIRON)
    shutil.copy(ROOT / "examples" / "command" / "descent.sh", folder)
    study.ok("enqueue", "--metric", "loss", "--trials", "4", "--seed", "3",
             "--", "bash", "descent.sh", "{rate:0.01..0.9:log}", "{checkpoint_dir}")  # fmt: skip
    return study


@pytest.mark.slow
def test_a_command_in_bash_with_a_checkpoint_of_its_own_goes_through_a_storm(tmp_path: Path) -> None:
    undisturbed, disturbed = commands(tmp_path / "undisturbed"), commands(tmp_path / "disturbed")
    work(undisturbed)
    kills = storm(disturbed, kills=8, seed=1)
    assert told(disturbed) == told(undisturbed) and len(told(disturbed)[0]["epochs"]) == 20

    def objective(trial: optuna.Trial) -> float:
        x, rate = 10.0, trial.suggest_float("rate", 0.01, 0.9, log=True)
        for step in range(20):
            x -= rate * 2 * (x - 2)
            trial.report((x - 2) ** 2, step)
        return float((x - 2) ** 2)

    study = optuna.create_study(sampler=fts.PureSampler("tpe", 3))
    study.optimize(objective, n_trials=4)
    for mine, theirs in zip(told(disturbed), study.trials, strict=True):
        assert (mine["params"], mine["value"]) == (theirs.params, theirs.value)
    assert kills >= 3
