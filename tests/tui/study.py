"""A real database of a study half way through, written by the transitions under a clock of our own."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from fts.jobs.status.formatting import GB
from fts.state import transitions
from fts.state.db import Database, open_database
from fts.state.transitions.operator import acknowledge, pause
from fts.state.values import Claim, Trial
from tests.tui.values import HOUR, NOW

BUDGETS = ("2M", "20M", "200M", "2B")
TRIALS, EPOCHS = 10, 6
USER = "you@spark"


__all__ = ["NOW", "Trial", "build", "copy", "epoch_of", "write_log"]


class Clock:
    """The database's clock, moved by hand."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def pass_s(self, seconds: float) -> None:
        self.at += seconds


def specs(
    budgets: Sequence[str] = BUDGETS, horizons: Sequence[int] = (1, 3, 5), trials: int = TRIALS, epochs: int = EPOCHS
) -> list[dict]:
    return [
        {
            "experiment": f"phase6a_{budget}_h{horizon}_threshold_1pct", "kind": "cell", "budget": budget,
            "horizon": horizon, "task": "threshold_1pct", "tier": "a25", "trials_wanted": trials,
            "spec": {"objective": "val_auc", "epochs": epochs, "trials": trials, "budget": budget, "horizon": horizon},
        }
        for budget in budgets
        for horizon in horizons
    ]  # fmt: skip


def open_at(path: Path, clock: Clock) -> Database:
    """The database, telling our time."""
    db = open_database(path)
    db.now = clock  # type: ignore[method-assign]
    return db


def build(path: Path, now: float = NOW) -> None:
    """Four cells done, one failed, one running its trial 6, the rest in line; the reader was away for ten hours."""
    clock = Clock(now - 21 * HOUR)
    db = open_at(path, clock)
    with db.write():
        jobs = [made.job_id for made in transitions.enqueue(db, specs(), who=USER)]
        clock.at = now - 20 * HOUR
        worker = transitions.register_worker(db, "spark", 4242, now - 20 * HOUR, 1)
        transitions.set_guard(db, worker, "normal")
        for n, (top, hours) in enumerate(((0.6512, 1.5), (0.6604, 1.5), (0.6730, 4.0), (0.6549, 4.2))):
            run_cell(db, clock, worker, top, hours * HOUR)
            if n == 1:
                clock.at = now - 12 * HOUR
                transitions.record_heartbeat(db, worker, 60.0)
        clock.at = now - 10.5 * HOUR
        pause(db, jobs[10:12], who=USER)
        clock.at = now - 10.03 * HOUR
        acknowledge(db, USER)
        clock.at = now - 5.5 * HOUR
        run_cell(db, clock, worker, 0.6215, 1.5 * HOUR, fails_after=3)
        clock.at = now - 3.0 * HOUR
        guard(db, clock, worker)
        run_running(db, clock, worker, 0.6841, now)
        hardware(db, clock, worker, now)
        clock.at = now - 2
        transitions.record_heartbeat(db, worker, 60.0)
    db.close()


def guard(db: Database, clock: Clock, worker: int) -> None:
    transitions.set_guard(db, worker, "frozen", "88°C > 85°C")
    clock.pass_s(660)
    transitions.set_guard(db, worker, "normal", "74°C")


def run_cell(
    db: Database, clock: Clock, worker: int, top: float, seconds: float, trials: int = TRIALS, fails_after: int = 0
) -> None:
    """Claims the next job and runs its trials; the last-but-two is the best."""
    claim = transitions.claim(db, worker, 60.0)
    assert claim is not None
    each = seconds / trials
    for number in range(fails_after or trials):
        run_trial(db, clock, claim, number, value_of(top, number, trials), each)
    if fails_after:
        message = "asked 131 GB, 128 GB are there"
        transitions.fail_job(db, claim, "out of memory", message, "Traceback\nMemoryError")
        clock.pass_s(600)
    else:
        transitions.finish_job(db, claim)


def value_of(top: float, number: int, trials: int) -> float:
    """Reaches `top` at the third trial from the end, less before and after."""
    return top - 0.002 * abs(trials - 3 - number) - 0.001 * (number % 3)


def run_trial(
    db: Database, clock: Clock, claim: Claim, number: int, top: float, seconds: float, epochs: int = EPOCHS
) -> int:
    """One trial with its epochs; every fifth is pruned half way."""
    trial = start_trial(db, clock, claim, number)
    pruned = number % 5 == 4
    for epoch in range(1, (epochs // 2 if pruned else epochs) + 1):
        clock.pass_s(seconds / epochs)
        transitions.record_epoch(db, claim, trial, epoch_of(epoch, top, seconds / epochs))
    status, cause = ("pruned", "pruned") if pruned else ("complete", "finished")
    reached = auc_at(epochs // 2, top) if pruned else auc_at(epochs, top)
    transitions.finish_trial(
        db, claim, trial, status, cause, value=reached, best_epoch=epochs, last_value=reached, val_loss=0.61,
        val_auc=reached, auc_low=reached - 0.03, auc_high=reached + 0.03,
    )  # fmt: skip
    return trial


def start_trial(db: Database, clock: Clock, claim: Claim, number: int, log_path: str | None = None) -> int:
    params = {
        "learning_rate": 1e-4 * (1 + number), "dropout": 0.1 + 0.02 * (number % 5), "weight_decay": 1e-3,
        "warmup_steps": 100 + 100 * (number % 3),
        "architecture": f"d{64 + 64 * (number % 4)}-L{2 + number % 5}-h8-ff512",
    }  # fmt: skip
    trial = transitions.start_trial(
        db, claim, number, params=params, effective=params | {"horizon": claim.job.horizon},
        architecture=str(params["architecture"]), objective="val_auc", seed=number,
        effective_md5=f"{claim.job_id:016x}{number:016x}",
    )  # fmt: skip
    facts = {
        "n_params": 2_000_000 + 1000 * number, "n_train": 3000, "n_val": 442, "n_pos": 95, "prior_loss": 0.62,
        "label_md5": f"{claim.job.horizon:032x}", "base_rate": 0.215, "data_md5": "cd" * 16, "host": "spark",
        "device": "cpu", "threads": 1, "micro_batch": 64, "accumulation": 4, "predicted_bytes": 2 * GB,
        "code_commit": "d14fcee0", "code_dirty": False, "torch_version": "2.13.0",
    }  # fmt: skip
    transitions.record_started(db, claim, trial, facts | ({"log_path": log_path} if log_path else {}))
    return trial


def auc_at(epoch: int, top: float) -> float:
    return round(top - 0.09 * math.exp(-epoch / 2) + 0.09 * math.exp(-EPOCHS / 2), 6)


def epoch_of(epoch: int, top: float, seconds: float) -> dict:
    return {
        "epoch": epoch, "step": epoch * 40, "train_loss": 0.7 - 0.01 * epoch, "val_loss": 0.65 - 0.005 * epoch,
        "train_auc": 0.6, "val_auc": auc_at(epoch, top), "val_brier": 0.2, "pred_min": 0.1, "pred_max": 0.8,
        "pred_sd": 0.1, "learning_rate": 2.8e-4, "samples_per_s": 875.0, "seconds": seconds,
    }  # fmt: skip


def run_running(db: Database, clock: Clock, worker: int, top: float, now: float) -> None:
    """Six trials of the cell ended, the seventh is at epoch 4."""
    claim = transitions.claim(db, worker, 600.0)
    assert claim is not None
    each = (now - 17 * 60 - clock.at) / 6
    for number in range(6):
        run_trial(db, clock, claim, number, value_of(top, number, 10), each)
    log = f"logs/phase6a_20M_h5_{claim.job_id}_t0006.log"
    trial = start_trial(db, clock, claim, 6, log_path=f"outputs/{log}")
    clock.at = now - 16 * 60
    for epoch in range(1, 5):
        transitions.record_epoch(db, claim, trial, epoch_of(epoch, top - 0.004, 180.0))
        clock.pass_s(180)


def hardware(db: Database, clock: Clock, worker: int, now: float) -> None:
    """One sample each three minutes over 20 hours, as a day is read, with a warm spell."""
    for n in range(400):
        clock.at = now - 20 * HOUR + (n + 1) * 180 - 2
        hot = 27 * math.exp(-(((n - 340) / 10) ** 2))
        transitions.add_sample(
            db, worker, trial_rss=40 * GB, available=(60 - n * 3 // 50) * GB, total=128 * GB, swap_used=0,
            cpu_percent=88.0, temperature=61.0 + hot, gpu_percent=74.0, power_w=61.0,
            disk_free=522 * GB - n * GB * 3 // 100, step_s=0.07,
        )  # fmt: skip


LOG = """08:08:02 batch=64x4 d128-L2-h8-ff512 on cpu, 1 thread
08:10:07 ep 3/8 val auc .6531
08:11:27 warning: step took 3.1x the usual time
08:12:08 ep 4/8 step 160 loss .5950 lr 2.3e-4 875 samples/s
08:13:31 ep 5/8 val auc .6789 (best of trial)
"""


def write_log(path: Path) -> None:
    """The running trial's log beside the database."""
    logs = path.parent / "logs"
    logs.mkdir(exist_ok=True)
    for number in (5, 6):
        (logs / f"phase6a_20M_h5_{number}_t0006.log").write_text(LOG)


def copy(built: Path, folder: Path) -> Path:
    """A database of one's own to act on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fts.db"
    shutil.copyfile(built, path)
    write_log(path)
    return path
