"""A study with every kind of trial, a mirror that remembers, and `fts mirror` as a person types it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fts.jobs.mirrors.follow import Mirror
from fts.jobs.mirrors.runs import MirroredCell, Run
from fts.state import transitions
from fts.state.db import Database
from fts.state.values import Cause, Claim
from tests.cli.toy import CHOICE, FLOAT, fail_trial, make_toy, run_trial
from tests.state.helpers import interrupt

Made = tuple[Database, Claim, int]  # the study, its claim, its live trial
AXES = {"data": ["mnist", "a b"], "size": ["S"]}


def begin(db: Database, claimed: Claim, number: int, steps: int, **params: Any) -> int:
    """A live trial with so many reports."""
    trial = transitions.start_trial(db, claimed, number, params={}, effective={}, seed=number)
    for k, (name, value) in enumerate({"lr": 0.02, "optimizer": "sgd", **params}.items()):
        transitions.record_draw(db, claimed, trial, k, name, value, CHOICE if isinstance(value, str) else FLOAT)
    report(db, claimed, trial, 0, steps)
    return trial


def report(db: Database, claimed: Claim, trial: int, first: int, last: int) -> None:
    for step in range(first, last):
        told = {"epoch": step, "value": 0.1 + 0.7 * step / 9, "metrics": {"loss": 1 / (step + 3), "train/f1": step}}
        transitions.record_epoch(db, claimed, trial, told)


def claim(db: Database) -> Claim:
    claimed = transitions.claim(db, transitions.register_worker(db, "elsewhere", 4242, 1.0, 1), lease_s=60.0)
    assert claimed is not None
    return claimed


def make_study(folder: Path) -> Made:
    """t0 complete, t1 the best, t2 failed, t3 pruned, t4 interrupted once and running; with the live one's id."""
    db = make_toy(folder, trials=9, axes=AXES)
    claimed = claim(db)
    run_trial(db, claimed, 0, 0.6, n_tokens=1200, note="a | b\nc")
    run_trial(db, claimed, 1, 0.8, {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.5})
    fail_trial(db, claimed, 2)
    pruned = begin(db, claimed, 3, 4)
    transitions.finish_trial(db, claimed, pruned, "pruned", Cause.PRUNED, last_value=0.3)
    live = begin(db, claimed, 4, 2)
    interrupt(db, claimed, Cause.LOST_WORKER)
    transitions.resume_trial(db, claimed, live)
    report(db, claimed, live, 2, 5)
    return db, claimed, live


def end(db: Database, claimed: Claim, trial: int, value: float = 0.9) -> None:
    transitions.finish_trial(
        db, claimed, trial, "complete", Cause.FINISHED, value=value, best_epoch=8, last_value=value,
        facts={"metrics": {"acc": value, "loss": float(1 - value)}},
    )  # fmt: skip


class Memory:
    """Shows runs in a dictionary."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.puts: list[str] = []

    def begin(self, cells: Sequence[MirroredCell]) -> None:
        """Nothing to prepare."""

    def put(self, run: Run) -> bool:
        self.puts.append(f"{run.cell.name} {run.name}")
        changed = self.runs.get(run.key) != run
        self.runs[run.key] = run
        return changed

    def keep(self, cell: MirroredCell, numbers: set[int]) -> int:
        strange = [key for key, run in self.runs.items() if run.cell.key == cell.key and run.number not in numbers]
        for key in strange:
            del self.runs[key]
        return len(strange)

    def forget(self) -> None:
        """It remembers what it shows, as a server does."""

    def close(self) -> None:
        """Nothing is open."""


def everything(jobs: Sequence[Any]) -> Sequence[Any]:
    return jobs


def fresh(db: Database) -> dict[str, Run]:
    """What a new mirror shows."""
    memory = Memory()
    Mirror(memory, everything).bring_up_to_date(db)
    return memory.runs


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
