"""A study with two goals, a constraint, branches and a grid, from a study file to every place that names the best."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import fts
from tests.fts_process import Study, wait_until

TRAIN = """
def train(width, kind="plain", power=None, data="a"):
    loss = 1 / width + (0 if power is None else power)
    return {"loss": loss, "latency": width * (2 if kind == "wide" else 1), "n_params": 1000 * width}
"""
TOML = """
[study]
name = "nets"
objective = "train.py:train"
[space]
width = { low = 1, high = 4 }
kind = ["plain", "wide"]
power = { low = 0.0, high = 0.5, step = 0.5, when = "kind == 'wide'" }
[forbid]
slow = "width >= 3 and kind == 'wide'"
[budget]
trials = 50
[metrics]
loss = { goal = "minimize" }
latency = { goal = "minimize" }
n_params = { constraint = "<= 3e3" }
[search]
sampler = "grid"
pruner = "none"
"""
FRONT = {1: (1.0, 1), 2: (0.5, 2), 3: (1 / 3, 3)}  # width of a plain net -> loss, latency; 4 violates the constraint


def test_two_goals_and_a_constraint_from_the_command_line_to_the_best(tmp_path: Path) -> None:
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "study.toml").write_text(TOML)
    study.ok("enqueue", "study.toml")
    worker = study.start("worker", "--until-empty")
    wait_until(lambda: study.one("SELECT count(*) FROM trial WHERE status = 'complete'") > 1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    study.ok("worker", "--until-empty")

    points = [json.loads(row["params"]) for row in study.query("SELECT params FROM trial ORDER BY number")]
    assert len(points) == 4 + 2 * 2, "each allowed point of each branch once"
    assert study.one("SELECT message FROM job") == "all trials have ended"
    table = study.ok("trials", "nets", "--json")
    trials = {trial["trial"]: trial for trial in json.loads(table)["trials"]}
    assert [n for n, trial in trials.items() if "infeasible" in trial["badges"]] == [
        points.index({"kind": "plain", "width": 4})
    ]

    found = json.loads(study.ok("best", "nets", "--json"))["best"]
    told = {one["params"]["width"]: (one["metrics"]["loss"], one["metrics"]["latency"]) for one in found["front"]}
    assert told == FRONT
    assert found["params"] == {"kind": "plain", "width": 3}, "of the front the best in the first goal"
    assert study.ok("best", "nets", "--by", "latency", "--args").strip() == "--kind=plain --width=1"
    assert "front 3" in study.ok("status")
    assert "front" in study.ok("results")
    exported = json.loads((tmp_path / "outputs" / "hpo" / "nets" / "best_params.json").read_text())
    assert sorted(exported["front"]) == sorted(one["trial"] for one in found["front"])

    loaded = fts.load(tmp_path / "outputs" / "fts.db")
    assert [row["params.width"] for row in loaded.best.records("nets")] == [3, 2, 1]
    as_optuna = loaded.optuna("nets")
    assert sorted(one.params["width"] for one in as_optuna.best_trials) == [1, 2, 3]


def test_a_function_that_suggests_gets_the_points_of_a_grid(tmp_path: Path) -> None:
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text("def objective(trial):\n    return trial.suggest_int('n', 0, 4, step=2)\n")
    (tmp_path / "study.toml").write_text(
        '[study]\nobjective = "train:objective"\n[metrics]\nvalue = { goal = "minimize" }\n'
        '[search]\nsampler = "grid"\n[space]\nn = { low = 0, high = 4, step = 2 }\n'
    )
    study.ok("enqueue", "study.toml")
    study.ok("worker", "--slots", "1", "--until-empty")
    assert sorted(row["value"] for row in study.query("SELECT value FROM trial")) == [0.0, 2.0, 4.0]
