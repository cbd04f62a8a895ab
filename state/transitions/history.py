"""Imports trials that another program has recorded, as the history of a job that is done; all of them or none."""

from __future__ import annotations

import hashlib
from dataclasses import field
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.state import columns
from fts.state.errors import BadRow, WrongStatus
from fts.state.models import DrawRow, EpochRow, JobRow, TrialRow
from fts.state.scheduling import IMPORTED
from fts.state.transitions.attempts import draw_row
from fts.state.transitions.base import (
    Row,
    change_job,
    checked_cause,
    emit,
    finite,
    get_job,
    short,
    this_person,
    to_json,
    transaction,
)
from fts.state.transitions.enqueuing import enqueue
from fts.state.transitions.retrying import best_trial, count_trials
from fts.state.values import Cause, Direction, TrialStatus, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.db import Database

ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED)


@dataclass(frozen=True)
class PastDraw:
    name: str
    value: Any
    distribution: dict[str, Any]


@dataclass(frozen=True)
class RecordedTrial:
    """One ended trial that another program recorded."""

    status: TrialStatus
    value: float | None
    draws: tuple[PastDraw, ...]
    reports: dict[int, float | None]  # step -> value of the metric; None: it was nan
    started_at: float
    ended_at: float
    cause: Cause
    best_epoch: int | None = None
    message: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def import_history(
    db: Database, row: Mapping[str, Any], trials: Iterable[RecordedTrial], source: str, who: str | None = None
) -> int:
    """Creates a job that is done, with these trials numbered from 0; returns its id. No worker ever claims it.

    Raises BadRow, and WrongStatus if a job of the same specification waits or runs.
    """
    who = who or this_person()
    with transaction(db):
        made = enqueue(db, [row], who)[0]
        if not made.created:
            raise WrongStatus(f"job {made.job_id} has the same specification and is {made.status}")
        job = get_job(db, made.job_id)
        n = 0
        for n, trial in enumerate(trials, start=1):  # n: how many there are
            _add(db, job, n - 1, trial)
        if n != job["trials_wanted"]:
            raise BadRow(f"the job wants {job['trials_wanted']} trials, and {n} were recorded")
        count_trials(db, job["id"])
        best = best_trial(db, job["id"], Direction(job["direction"]))
        found = {"best_value": best and best["value"], "best_trial": best and best["number"]}
        JobRow.update(found).where(JobRow.id == job["id"]).execute(db)
        words = f"{n} trial{'' if n == 1 else 's'} taken over from {source}"
        now = db.now()
        changes = {"status": "done", "cause": Cause.FINISHED.value, "message": short(words)}
        changed = change_job(db, job, **changes, started_at=now, ended_at=now)
        emit(db, Verb.FINISHED, who, f"{job['experiment']}: {words}", job_id=job["id"], data=changed)
    return int(job["id"])


def _is_infeasible(trial: RecordedTrial) -> bool:
    violations = trial.facts.get("constraints", {})
    return trial.status is TrialStatus.COMPLETE and any(value > 0 for value in violations.values())


def check_recorded(trial: RecordedTrial) -> None:
    """Raises BadRow for a trial with a value that no reader of the database accepts, such as a parameter of 1e200."""
    _rows(trial)


def _add(db: Database, job: Mapping[str, Any], number: int, trial: RecordedTrial) -> None:
    if trial.status not in ENDED:
        raise BadRow(f"trial {number} is {trial.status}; only ended ones are history")
    row, draws = _rows(trial)
    own = {"job_id": job["id"], "number": number, "objective": job["metric"], "direction": job["direction"]}
    trial_id = int(TrialRow.insert(row | own).execute(db))
    for k, draw in enumerate(draws):
        DrawRow.insert(draw | {"trial_id": trial_id, "k": k}).execute(db)
    for step, value in trial.reports.items():
        epoch = {"epoch": step, "step": step, "value": value, "metrics": "{}", "at": trial.ended_at}
        EpochRow.insert(epoch | {"trial_id": trial_id}).execute(db)


def _rows(trial: RecordedTrial) -> tuple[Row, list[Row]]:
    """Returns the trial's own columns, and those of its draws. Raises BadRow."""
    draws = [draw_row(k, draw.name, draw.value, draw.distribution) for k, draw in enumerate(trial.draws)]
    params = to_json({draw.name: draw.value for draw in trial.draws}, "params")
    reported = list(trial.reports.values())
    row = {
        "status": trial.status.value, "params": params, "effective": params,
        "effective_md5": hashlib.md5(params.encode()).hexdigest(), "architecture": "", "value": trial.value,
        "best_epoch": trial.best_epoch, "last_value": reported[-1] if reported else None, "epochs": len(reported),
        "seed": 0, "badges": to_json([IMPORTED, *(["infeasible"] if _is_infeasible(trial) else [])], "badges"),
        "cause": checked_cause(trial.cause), "message": short(trial.message), "started_at": trial.started_at,
        "ended_at": trial.ended_at, "train_seconds": max(0.0, trial.ended_at - trial.started_at),
        "facts": to_json(finite(trial.facts), "facts"),
    }  # fmt: skip
    for name, value in row.items():
        try:
            columns.read(columns.TRIAL[name], value)
        except ValueError:
            raise BadRow(f"its {name} is {columns.shown(value)}, which the database does not accept") from None
    return row, draws
