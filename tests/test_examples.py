"""Every file of examples/ runs through queue and worker, as its first lines say."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from fts.jobs.study_file import keys

ROOT = Path(__file__).parent.parent


def fts(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "fts.jobs.cli", "--db", str(folder / "outputs" / "fts.db"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=240).stdout


def test_digits_learns_and_its_parameters_are_on_record(tmp_path: Path) -> None:
    fts(tmp_path, "enqueue", "examples/function/digits.py:objective", "--trials", "3", "--direction", "maximize",
        "--metric", "accuracy")  # fmt: skip
    fts(tmp_path, "worker", "--until-empty", "--slots", "1", "--threads", "1")
    (job,) = json.loads(fts(tmp_path, "queue", "--json"))["jobs"]
    trials = json.loads(fts(tmp_path, "trials", "digits", "--json"))["trials"]
    assert job["status"] == "done" and len(trials) == 3
    assert all(set(trial["params"]) == {"width", "learning_rate", "decay"} for trial in trials)
    assert job["best_value"] == max(trial["value"] for trial in trials if trial["status"] == "complete") > 0.1


def test_a_study_file_with_every_table_runs_with_winner_again_and_baseline(tmp_path: Path) -> None:
    file = ROOT / "examples" / "study" / "study.toml"
    assert set(tomllib.loads(file.read_text())) == set(keys.TABLES) - {"notify"}
    cells = json.loads(fts(tmp_path, "enqueue", str(file), "--dry-run", "--json"))["cells"]
    assert [cell["cell"] for cell in cells] == ["sine/S", "sine/M", "sine/L", "steps/S", "steps/M", "line/S"]
    fts(tmp_path, "run", str(file), "--cell", "line/S", "--set", "budget.trials=2")
    trials = json.loads(fts(tmp_path, "trials", "line/S", "--json"))["trials"]
    assert [trial["status"] for trial in trials] == ["complete"] * 4
    assert trials[0]["params"] == {"degree": 2, "lr": 0.1, "optimizer": "plain"}
    assert trials[0]["value"] < trials[2]["value"] / 10, "a line is no mean"
