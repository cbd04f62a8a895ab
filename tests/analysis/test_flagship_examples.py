"""The comparisons of the flagship judge each variant on the same days, and their tables pair them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import optuna
import pytest

from fts.study.walk_forward_objective import on_fold
from tests.data.made import build, make_bars, write_csv

FLAGSHIP = Path(__file__).resolve().parents[2] / "examples" / "flagship"
sys.path.append(str(FLAGSHIP))  # where a worker finds them too

import comparisons  # noqa: E402
import folds  # noqa: E402
import windows  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("windows")
    bars = write_csv(make_bars(1400), root / "SPX.csv")
    for tier in ("r20", "a20"):
        build(root / "data", "csv", "SPX", tier, path=bars, horizon=1, context=20)
    return root / "data"


@pytest.fixture
def quick(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTS_DATA", str(data))
    for name, value in {"LONGEST": 20, "EPOCHS": 2, "SHAPE": "d16-L1-h2-ff32"}.items():
        monkeypatch.setattr(folds, name, value)
    return windows


def predicted(quick: ModuleType, variant: str, folder: Path) -> tuple[np.ndarray, np.ndarray, float]:
    trial = optuna.create_study(study_name=variant, direction="maximize").ask()
    value = quick.objective(trial, variant)
    (file,) = folder.rglob("predictions.npz")
    with np.load(file) as stored:
        found = stored["index"], stored["y_pred"], value
    shutil.rmtree(folder / "checkpoints")
    return found


def test_every_variant_is_judged_on_the_same_days(quick: ModuleType, tmp_path: Path) -> None:
    runs = [predicted(quick, variant, tmp_path) for variant in ("logistic-r20", "10-none-r20", "20-partial+stats-a20")]
    for days, p, value in runs:
        assert np.array_equal(days, runs[0][0]) and len(p) == len(days) and 0 < value < 1
        assert ((p > 0) & (p < 1)).all()
    again = predicted(quick, "10-none-r20", tmp_path)
    assert np.array_equal(again[1], runs[1][1]), "the same seed, the same numbers"


def test_no_fold_trains_or_stops_on_what_it_is_judged_on(quick: ModuleType) -> None:
    data, parts = folds.folds_of("SPX", "r20", 10, 1)
    assert len(parts) == folds.JUDGED
    for fold in parts:
        assert fold.train_ends[-1] + data.horizon < fold.val_ends[0] - data.span + 1


CASES = [(comparison, variant) for comparison, variants in comparisons.COMPARISONS.items() for variant in variants]


@pytest.fixture
def toy(quick: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of a few days, the least training."""
    monkeypatch.setattr(comparisons, "LONGEST", {"context": 50})
    monkeypatch.setattr(comparisons, "BASES", {"r20": {"context": 20, "norm": "none"}})
    context = {name: {"context": days} for name, days in {"80": 20, "60": 15, "120": 25, "250": 50}.items()}
    monkeypatch.setitem(comparisons.COMPARISONS, "context", context)
    monkeypatch.setattr(folds, "EPOCHS", 1)


@pytest.mark.parametrize(("comparison", "variant"), CASES)
@pytest.mark.usefixtures("toy")
def test_each_variant_of_each_comparison_trains(comparison: str, variant: str) -> None:
    trial = optuna.create_study(direction="maximize").ask()
    horizon = 2 if comparison == "horizon" else 1
    assert 0 < comparisons.objective(trial, comparison, variant, horizon=horizon) < 1


@pytest.mark.usefixtures("toy")
def test_what_a_comparison_varies_changes_the_numbers() -> None:
    data, parts = folds.folds_of("SPX", "r20", 20, 1)
    part = on_fold(data, parts[-1])
    usual = folds.transformer(part, "none", "r20", 0)[0]
    changes = ({"dropout": 0.5}, {"seed": 1}, {"loss": "focal"}, {"loss": "softauc"}, {"pos_weight": 3.0})
    for norm, choices in (("revin", {}), ("revin+stats", {}), *(("none", change) for change in changes)):
        other = folds.transformer(part, norm, "r20", **{"seed": 0} | choices)[0]
        assert np.abs(other - usual).max() > 1e-4, (norm, choices)


@pytest.mark.slow  # a worker, 24 trials
def test_one_command_runs_a_comparison_and_again_prints_the_same_table(data: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "FTS_DATA": str(data), "FTS_DB": str(tmp_path / "outputs" / "fts.db")}
    for comparison in comparisons.COMPARISONS:
        words = [str(FLAGSHIP / "comparisons.py"), comparison, "--base", "r20", "--horizons", "1"]
        if comparison == "context":
            continue  # 1,400 days are too few for windows of 250
        once, again = (
            subprocess.run([sys.executable, *words], cwd=tmp_path, env=environ, capture_output=True, text=True)
            for _ in range(2)
        )
        assert (once.returncode, again.returncode) == (0, 0), once.stderr + again.stderr
        rows = [[line for line in done.stdout.splitlines() if line.startswith("| r20")] for done in (once, again)]
        assert len(rows[0]) == len(comparisons.COMPARISONS[comparison]) and rows[0] == rows[1]
        assert all("[" in line or " - |" in line for line in rows[0])


@pytest.mark.slow  # a worker, two trials
def test_the_commands_of_the_example_end_in_a_table(data: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "FTS_DATA": str(data), "FTS_DB": str(tmp_path / "outputs" / "fts.db")}
    file = FLAGSHIP / "windows.py"
    words = ["--trials", "1", "--direction", "maximize", "--metric", "auc", "-m", "variant=logistic-r20,logistic-a20"]
    for command in (["-m", "fts.jobs.cli", "enqueue", f"{file}:objective", *words, "-m", "horizon=1"],
                    ["-m", "fts.jobs.cli", "worker", "--until-empty", "--slots", "1", "--threads", "1"],
                    [str(file)]):  # fmt: skip
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert re.search(r"\| logistic-r20 \| 1 \| 0\.\d{3} \| 0\.\d{4} \| - \| - \|", done.stdout), done.stdout
    assert re.search(r"\| logistic-a20 \| 1 \| .* [+-]0\.\d{3} \[[+-]0\.\d{3}, [+-]0\.\d{3}\] \|", done.stdout)
