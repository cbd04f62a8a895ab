"""A study of a bare function on a real SQLite file, made by the transitions a worker would use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fts.jobs import axis_words, functions
from fts.jobs.api.function import FunctionStudy
from fts.jobs.api.study import Fact
from fts.state import transitions
from fts.state.db import Database, open_database
from fts.state.values import Cause, Claim
from tests.cli.study import places_of

CODE = """
def objective(trial, data="mnist", size="S"):
    return trial.suggest_float("lr", 1e-5, 0.1, log=True)
"""
AXES: dict[str, list[axis_words.Value]] = {"data": ["mnist", "cifar"], "size": ["S", "M"]}
FLOAT = {"kind": "float", "low": 1e-5, "high": 0.9, "log": True, "step": None}
CHOICE = {"kind": "choice", "choices": ["adam", "sgd"]}
N_TOKENS = Fact("n_tokens", "tokens", format=",", shown=("table", "screen", "csv", "json", "frame", "report"))


def make_toy(
    folder: Path, trials: int = 3, axes: Mapping[str, list[axis_words.Value]] = AXES, **fields: Any
) -> Database:
    """Jobs 1 to 4: mnist/S, mnist/M, cifar/S, cifar/M of the study train, all waiting."""
    (folder / "train.py").write_text(CODE)
    fields = {"metric": "acc", "direction": "maximize"} | fields
    cells = functions.cells("train.py:objective", folder, trials, axes=axes, **fields)
    db = open_database(places_of(folder).db)
    transitions.enqueue(db, [FunctionStudy(cell.study).row(cell) for cell in cells])
    transitions.declare_study(db, cells[0].study, functions.declaration(cells))
    return db


def declare_fact(db: Database, fact: Fact = N_TOKENS) -> None:
    """The study has one more fact, and nothing else in the world knows of it."""
    from dataclasses import asdict

    from fts.state import queries

    known = dict(queries.studies(db)["train"].declaration)
    transitions.declare_study(db, "train", known | {"facts": [asdict(fact)]})


def claim(db: Database) -> Claim:
    claimed = transitions.claim(db, transitions.register_worker(db, "elsewhere", 4242, 1.0, 1), lease_s=60.0)
    assert claimed is not None
    return claimed


def run_trial(
    db: Database, claimed: Claim, number: int, acc: float, draws: Mapping[str, Any] | None = None, **facts: Any
) -> None:
    """A complete trial of two reports."""
    trial = transitions.start_trial(db, claimed, number, params={}, effective={}, seed=number)
    draws = {"lr": 0.01, "optimizer": "adam"} if draws is None else draws
    for k, (name, value) in enumerate(draws.items()):
        transitions.record_draw(db, claimed, trial, k, name, value, CHOICE if isinstance(value, str) else FLOAT)
    for step in range(2):
        told = {"epoch": step, "value": acc - 0.1 + 0.1 * step, "metrics": {"loss": 1 - acc}}
        transitions.record_epoch(db, claimed, trial, told)
    transitions.finish_trial(
        db, claimed, trial, "complete", Cause.FINISHED, value=acc, best_epoch=1, last_value=acc,
        facts={"metrics": {"acc": acc, "loss": 1 - acc}, **facts},
    )  # fmt: skip


def fail_trial(db: Database, claimed: Claim, number: int) -> None:
    trial = transitions.start_trial(db, claimed, number, params={}, effective={}, seed=number)
    transitions.record_draw(db, claimed, trial, 0, "lr", 0.05, FLOAT)
    transitions.finish_trial(db, claimed, trial, "failed", Cause.DIVERGED, message="it broke")


def finished_toy(db: Database) -> Claim:
    """mnist/S is done: t0 with adam, t1 the best with sgd, t2 failed."""
    claimed = claim(db)
    run_trial(db, claimed, 0, 0.6, n_tokens=1200)
    run_trial(db, claimed, 1, 0.8, {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.5}, n_tokens=2400)
    fail_trial(db, claimed, 2)
    transitions.finish_job(db, claimed)
    return claimed
