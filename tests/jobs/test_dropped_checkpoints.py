"""A study that drops checkpoints: only those of complete and pruned trials go; other studies keep all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fts.jobs.api.study import Study as AnyStudy
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor import shared_checkpoints
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from tests.fts_process import Study

FILE = """
from pathlib import Path

import fts
import optuna


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    fts.checkpoint(trial).save({"x": x})
    trial.report(x, 1)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ValueError("no")
    return x
"""


@pytest.mark.parametrize("drops", [True, False])
def test_checkpoints_of_complete_and_pruned_trials_go_if_the_study_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drops: bool
) -> None:
    """Those of a failed trial stay: a retry may continue it. Files on the shared file system go, too."""
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text(FILE)
    study.ok("enqueue", "train.py:objective", "--trials", "4")
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    monkeypatch.setattr(AnyStudy, "drops_checkpoints", drops)
    forgotten: list[str] = []
    monkeypatch.setattr(shared_checkpoints, "forget", lambda folder: forgotten.append(folder.parent.name))
    places = Places(study.outputs / "fts.db", tmp_path / "data")
    assert run_job(places, WorkerSettings(poll_s=0.1, stall={}), 1, Console(live=False)) == 0
    trials = sorted((study.outputs / "trials").glob("*/*"))
    kept = [(trial / "checkpoint").exists() for trial in trials]
    assert [row["status"] for row in study.query("SELECT status FROM trial ORDER BY number")] == [
        "complete", "pruned", "failed", "complete"
    ]  # fmt: skip
    assert kept == ([False, False, True, False] if drops else [True] * 4)
    assert forgotten == ([f"trial_{number:04}" for number in (0, 1, 3)] if drops else [])
