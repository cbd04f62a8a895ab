"""2B for real: three trials of 1.5 to 2.4 billion parameters on 24 GiB, paused and resumed in between.

Needs 14 GiB of free memory and 40 GB of disk; takes half an hour on two cores. The numbers it prints belong into
docs/LOG.md (`pytest -m slow -s tests/slow/test_2b.py`).
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fts_process import Study, wait_until

GiB = 1 << 30
RUN = (
    "run", "phase6a_2B_h1_threshold_1pct", "--trials", "3", "--max-steps", "2", "--epochs", "1",
    "--effective-batch", "16", "--space", "dropout=0.1:0.3", "--memory-limit", "11.5GiB",
)  # fmt: skip
PATIENCE_S = 7000.0


@pytest.mark.slow
def test_three_trials_of_2b_parameters_fit_into_12_gib(tmp_path: Path):
    if psutil.virtual_memory().available < 14 * GiB or shutil.disk_usage(tmp_path).free < 40e9:
        pytest.skip("2B needs 14 GiB of free memory and 40 GB of disk")
    study = Study(tmp_path / "study")
    study.ok("data", "build", timeout_s=600)
    swap = psutil.swap_memory().used
    study.json("data", "list")
    first = study.start(*RUN)
    seconds = pause_within_trial(study, 1)
    wait_until(lambda: first.poll() is not None, 60)
    assert study.one("select status from job") == "paused"
    assert study.one("select status from trial where number = 1") == "interrupted"

    study.ok("resume", "1")
    second = study.start("run", "1", "--memory-limit", "11.5GiB")
    wait_for_the_end(study, second)
    trials = study.query("select * from trial order by number")
    print(json.dumps(facts(study, trials) | {"pause_to_paused_s": seconds}, indent=1))

    assert [trial["status"] for trial in trials] == ["complete"] * 3
    assert all(1.5e9 <= trial["n_params"] <= 2.5e9 for trial in trials)
    assert max(trial["peak_bytes"] for trial in trials) < 12 * GiB
    assert all(trial["peak_bytes"] == pytest.approx(trial["predicted_bytes"], rel=0.15) for trial in trials)
    assert psutil.swap_memory().used - swap < GiB // 4
    for trial in trials:
        log = Path(trial["log_path"]).read_text()
        assert "batch=16x1" in log
        dropout = float(log.split("dropout=")[1].split()[0])
        assert 0.1 <= dropout <= 0.3
    assert "resumed at step" in Path(trials[1]["log_path"]).read_text()


def pause_within_trial(study: Study, number: int) -> float:
    """Asks for a pause after the first step of that trial; seconds until it is paused with a checkpoint on disk."""
    wait_until(lambda: log_of(study, number).count("batch="), PATIENCE_S, 1.0)
    tidy(study, number)
    study.ok("pause", "1")
    asked = time.monotonic()
    wait_until(lambda: study.one("select status from job") == "paused", 1200, 0.5)
    return time.monotonic() - asked


def wait_for_the_end(study: Study, run: Any) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while run.poll() is None and time.monotonic() < give_up:
        time.sleep(2.0)
        tidy(study, study.one("select count(*) from trial") - 1)
    said = (study.folder / "said.txt").read_text()[-3000:]
    assert run.poll() == 0, said


def tidy(study: Study, current: int) -> None:
    """Free the disk of trials that have ended: 16 GB each."""
    for number in range(current):
        for folder in (study.outputs / "trials").glob(f"*/trial_{number:04d}"):
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
            (folder / "best.safetensors").unlink(missing_ok=True)


def log_of(study: Study, number: int) -> str:
    return "".join(path.read_text() for path in (study.outputs / "logs").glob(f"*_t{number:04d}.log"))


def facts(study: Study, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """What a person wants to know, for docs/LOG.md."""
    return {
        "trials": [
            {
                "architecture": trial["architecture"],
                "n_params": trial["n_params"],
                "recipe": json.loads(trial["recipe"]),
                "predicted_gib": round(trial["predicted_bytes"] / GiB, 2),
                "peak_gib": round(trial["peak_bytes"] / GiB, 2),
                "minutes": round((trial["ended_at"] - trial["started_at"]) / 60, 1),
                "train_seconds": trial["train_seconds"],
                "val_loss": trial["val_loss"],
            }
            for trial in trials
        ],
        "samples_per_s": [row["samples_per_s"] for row in study.query("select samples_per_s from epoch")],
        "checkpoints": study.query("select trial_id, step, bytes, seconds from checkpoint"),
    }
