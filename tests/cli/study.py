"""A study on a real SQLite file, made by the transitions a worker would use, and a way to run `fts` on it."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from fts.data.manifest import Manifest
from fts.jobs.cli import main
from fts.jobs.settings import Places
from fts.state import transitions
from fts.state.db import Database, open_database
from fts.state.files import make_folder
from fts.state.values import Cause, Claim
from fts.study.cell import CellSpec
from fts.study.matrix import write
from tests.data.made import make_bars
from tests.new_databases import place

SPACE = {"architecture": {"kind": "choice", "choices": ["d16-L1-h2-ff32"]}}
CELL = CellSpec(
    "phase6a_tiny_h1_threshold_1pct", "tiny", 1, "threshold_1pct", "a25", "SPX.dataset.a25", "0" * 32, 3, 2, SPACE
)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def places_of(folder: Path) -> Places:
    return Places(folder / "outputs" / "fts.db", folder / "data")


def make_study(
    folder: Path,
    budgets: tuple[str, ...] = ("2M", "20M"),
    horizons: tuple[int, ...] = (1, 3),
    data_md5: str = CELL.data_md5,  # of no file: see store_data
    another: bool = False,
) -> Database:
    """Jobs 1, 2, ... in the order budgets x horizons, all waiting: a copy of one study, or `another`."""
    path = places_of(folder).db
    make_folder(path.parent)
    made = _study.__wrapped__ if another else _study
    place(made(budgets, horizons, data_md5), path)
    return open_database(path)


@cache
def _study(budgets: tuple[str, ...], horizons: tuple[int, ...], data_md5: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fts.db")
        db = open_database(path)
        cells = [cell(budget, horizon) for budget in budgets for horizon in horizons]
        write(db, [replace(each, data_md5=data_md5) for each in cells], who="test")
        db.close()
        return path.read_bytes()


def store_data(folder: Path) -> str:
    """A data set of the study's name, too small to train on; its md5."""
    manifest = Manifest(places_of(folder).data)
    return manifest.store("processed", CELL.dataset, make_bars(30), tier=CELL.tier).md5


def cell(budget: str, horizon: int) -> CellSpec:
    return replace(CELL, experiment=f"phase6a_{budget}_h{horizon}_threshold_1pct", budget=budget, horizon=horizon)


def start_worker(db: Database, slots: int = 1) -> int:
    return transitions.register_worker(db, "elsewhere", 4242, 1.0, slots)


def claim(db: Database) -> Claim:
    claimed = transitions.claim(db, start_worker(db), lease_s=60.0)
    assert claimed is not None
    return claimed


def start_trial(db: Database, claimed: Claim, number: int = 0, log_path: str | None = None) -> int:
    return transitions.start_trial(
        db, claimed, number,
        params={"architecture": "d16-L1-h2-ff32", "learning_rate": 3e-4, "dropout": 0.25}, effective={"n": number},
        architecture="d16-L1-h2-ff32",
        objective="val_loss", seed=1, n_params=10_000, n_val=400, n_pos=90, prior_loss=0.53,
        label_md5=f"{claimed.job_id:032x}", log_path=log_path,
    )  # fmt: skip


def add_epoch(db: Database, claimed: Claim, trial_id: int, epoch: int, val_loss: float) -> None:
    result = {
        "epoch": epoch, "step": 10 * epoch, "train_loss": val_loss, "val_loss": val_loss, "train_auc": 0.6,
        "val_auc": 0.6, "val_brier": 0.2, "pred_min": 0.1, "pred_max": 0.4, "pred_sd": 0.1, "learning_rate": 1e-4,
        "samples_per_s": 100.0, "seconds": 2.0,
    }  # fmt: skip
    transitions.record_epoch(db, claimed, trial_id, result)


def finish_trial(db: Database, claimed: Claim, trial_id: int, val_loss: float, low: float = 0.55) -> None:
    transitions.finish_trial(
        db, claimed, trial_id, "complete", Cause.FINISHED, value=val_loss, best_epoch=1, last_value=val_loss,
        val_loss=val_loss, val_auc=0.6, auc_low=low, auc_high=0.65,
    )  # fmt: skip


def finished_cell(db: Database, val_loss: float = 0.5, low: float = 0.55) -> Claim:
    """The next job in line, done, with one trial of two epochs."""
    claimed = claim(db)
    trial = start_trial(db, claimed)
    add_epoch(db, claimed, trial, 1, val_loss)
    add_epoch(db, claimed, trial, 2, val_loss + 0.1)
    finish_trial(db, claimed, trial, val_loss, low)
    transitions.finish_job(db, claimed)
    return claimed


def failed_cell(db: Database, message: str = "something broke") -> Claim:
    claimed = claim(db)
    transitions.fail_job(db, claimed, Cause.CODE_ERROR, message)
    return claimed


def runner(folder: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]  # a closure
    """`fts(...)` on the study in `folder`, in this process: what it said and its exit code."""

    def fts(*words: str) -> Said:
        capsys.readouterr()
        code = main(["--db", str(places_of(folder).db), *words])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return fts


def csv_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
