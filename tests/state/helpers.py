"""What the tests of the memory need again and again: a database, a specification, a claim, an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.transitions.base import transaction
from fts.state.transitions.jobs import interrupt_live_trials
from fts.state.values import Cause, Claim, Trial

LEASE_S = 60.0


def new_db(folder: Path) -> Database:
    return open_database(folder / "outputs" / "fts.db")


def spec(n: int, **changes: Any) -> dict[str, Any]:
    row = {
        "experiment": f"phase6a_2M_h{n}_threshold_1pct",
        "kind": "cell",
        "budget": "2M",
        "horizon": n,
        "task": "threshold_1pct",
        "tier": "a25",
        "trials_wanted": 3,
        "spec": {"horizon": n, "seed": 7},
    }
    return row | changes


def enqueued(db: Database, n: int = 1, who: str = "ada@lab") -> list[int]:
    return [result.job_id for result in transitions.enqueue(db, [spec(i) for i in range(1, n + 1)], who)]


def worker(db: Database, host: str = "lab", pid: int = 100, slots: int = 1) -> int:
    return transitions.register_worker(db, host, pid, 1.5, slots)


def claimed(db: Database, worker_id: int | None = None) -> Claim:
    claim = transitions.claim(db, worker_id or worker(db), LEASE_S)
    assert claim is not None
    return claim


def started(db: Database, claim: Claim, number: int = 0, **changes: Any) -> int:
    fields: dict[str, Any] = {
        "params": {"learning_rate": 0.001, "weight_decay": 0.002, "warmup_steps": 100, "dropout": 0.5},
        "effective": {"learning_rate": 0.001, "number": number},
        "architecture": "d64-L2-h4-ff128",
        "objective": "val_loss",
        "seed": 11,
    }
    return transitions.start_trial(db, claim, number, **(fields | changes))


def interrupt(db: Database, claim: Claim, cause: Cause) -> None:
    with transaction(db):
        interrupt_live_trials(db, claim.job_id, cause, f"worker {claim.worker_id}")


def live_trial(db: Database, job_id: int) -> Trial | None:
    """The running or interrupted trial of a job, the first of several."""
    live = (trial for trial in queries.trials(db, job_id) if trial.status in ("running", "interrupted"))
    return next(live, None)


def epoch(n: int = 1, **changes: Any) -> dict[str, Any]:
    row = {
        "epoch": n,
        "step": 10 * n,
        "train_loss": 0.7 / n,
        "val_loss": 0.69 / n,
        "train_auc": 0.6,
        "val_auc": 0.55,
        "val_brier": 0.24,
        "pred_min": 0.1,
        "pred_max": 0.9,
        "pred_sd": 0.05,
        "learning_rate": 1e-3,
        "samples_per_s": 400.0,
        "seconds": 2.0,
    }
    return row | changes


def verbs(db: Database, job_id: int | None = None) -> list[str]:
    return [event.verb for event in queries.events(db, since=0, limit=10_000, job_id=job_id)]


def line(db: Database) -> list[int]:
    """The jobs that wait, in order."""
    return [job.id for job in queries.jobs(db, ["queued", "paused"])]


def dump(db: Database) -> str:
    """Everything in the database, as text: equal dumps, equal contents."""
    return "\n".join(db.connection().iterdump())
