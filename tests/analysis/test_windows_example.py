"""The comparison of windows and norms judges each variant on the same days, and its table pairs them."""

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

from examples.flagship import windows
from fts.study import dataset
from tests.data.made import make_bars, write_csv


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("windows")
    bars = write_csv(make_bars(1400), root / "SPX.csv")
    for tier in ("r20", "a20"):
        dataset.build(root / "data", "csv", "SPX", tier, path=bars, horizon=1, context=20)
    return root / "data"


@pytest.fixture
def quick(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTS_DATA", str(data))
    for name, value in {"LONGEST": 20, "EPOCHS": 2, "SHAPE": "d16-L1-h2-ff32"}.items():
        monkeypatch.setattr(windows, name, value)
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
    data, folds = quick.folds_of("SPX", "r20", 10, 1)
    assert len(folds) == quick.JUDGED
    for fold in folds:
        assert fold.train_ends[-1] + data.horizon < fold.val_ends[0] - data.span + 1


def test_a_pair_of_equal_predictions_differs_by_nothing_and_seeds_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.4).astype(float)
    good, bad = (np.clip(0.4 + k * (y - 0.4) + rng.normal(0, 0.2, (2, 400)), 0.01, 0.99) for k in (0.5, 0.0))
    assert windows.paired(y, good, good, 1, "auc", 0.0) == (0.0, 0.0, 0.0)
    value, low, high = windows.paired(y, good, bad, 1, "auc", 0.0)
    assert low > 0.1 and low < value < high
    wider = windows.paired(y, good, bad, 1, "auc", 0.1)
    assert wider[0] == value and wider[1] < low - 0.05 and wider[2] > high + 0.05


@pytest.mark.slow  # a worker, two trials
def test_the_commands_of_the_example_end_in_a_table(data: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "FTS_DATA": str(data), "FTS_DB": str(tmp_path / "outputs" / "fts.db")}
    file = Path(windows.__file__)
    words = ["--trials", "1", "--direction", "maximize", "--metric", "auc", "-m", "variant=logistic-r20,logistic-a20"]
    for command in (["-m", "fts.jobs.cli", "enqueue", f"{file}:objective", *words, "-m", "horizon=1"],
                    ["-m", "fts.jobs.cli", "worker", "--until-empty", "--slots", "1", "--threads", "1"],
                    [str(file)]):  # fmt: skip
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert re.search(r"\| logistic-r20 \| 1 \| 0\.\d{3} \| 0\.\d{4} \| - \| - \|", done.stdout), done.stdout
    assert re.search(r"\| logistic-a20 \| 1 \| .* [+-]0\.\d{3} \[[+-]0\.\d{3}, [+-]0\.\d{3}\] \|", done.stdout)
