"""Ends a trial as complete, pruned or failed, and updates the job's counts and best trial."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.state.errors import BadRow
from fts.state.models import JobRow
from fts.state.transitions.attempts import end_attempt
from fts.state.transitions.base import (
    Row,
    change_trial,
    checked_cause,
    emit,
    fenced_trial,
    finite,
    get_job,
    short,
    to_json,
    transaction,
)
from fts.state.transitions.claims import claim_name
from fts.state.transitions.reported_facts import checked_facts, with_facts
from fts.state.transitions.retrying import COUNTS, best_trial, front_of, is_unranked
from fts.state.trial_usage import seconds_worked
from fts.state.values import HUGE, Cause, Claim, Direction, TrialStatus, Verb, bounded, in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.db import Database


def finish_trial(
    db: Database,
    claim: Claim,
    trial_id: int,
    status: TrialStatus | str,
    cause: Cause | str,
    *,
    value: float | None = None,
    best_epoch: int | None = None,
    last_value: float | None = None,
    val_loss: float | None = None,
    val_auc: float | None = None,
    auc_low: float | None = None,
    auc_high: float | None = None,
    badges: Iterable[str] = (),
    peak_bytes: int | None = None,
    reused_from: int | None = None,
    message: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> bool:
    """running -> complete | pruned | failed. Returns whether it is the job's new best (event `new_best`).

    `facts`: its further results; each goes into its column, else into the trial's `facts`.
    """
    status = TrialStatus(status)
    if status not in (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED):
        raise BadRow(f"a trial ends complete, pruned or failed, not {status.value}")
    if status is TrialStatus.COMPLETE and (value is None or not math.isfinite(bounded(value))):
        raise BadRow(f"a complete trial has a finite value, at most {HUGE:g}, not {value}")
    scores = {
        "value": value, "best_epoch": best_epoch, "last_value": last_value, "val_loss": val_loss, "val_auc": val_auc,
        "auc_low": auc_low, "auc_high": auc_high,
    }  # fmt: skip
    scores = {name: None if score is None else bounded(score) for name, score in scores.items()}
    changes = (
        checked_facts(facts or {})
        | finite(scores)
        | {
            "status": status.value,
            "cause": checked_cause(cause),
            "badges": to_json(list(badges), "badges", 2000),
            "reused_from": reused_from,
            "message": short(message),
        }
    )
    with transaction(db):
        trial = fenced_trial(db, claim, trial_id)
        if peak_bytes is not None:
            changes["peak_bytes"] = peak_bytes
        end_attempt(db, trial_id, status.value)
        changes["train_seconds"] = seconds_worked(db, trial | {"reused_from": reused_from})
        change_trial(db, trial, **with_facts(trial, changes), ended_at=db.now())
        result = f", {in_words(value)}" if value else ""
        words = f"trial {trial['number']} {status.value}: {changes['cause']}{result}"
        if status is TrialStatus.PRUNED and message:  # names its value, the epoch and the threshold
            words = f"trial {trial['number']} pruned: {changes['message']}"
        data = {"number": trial["number"], "value": value, "cause": changes["cause"], "message": changes["message"]}
        data["epochs"] = trial["epochs"]
        who = claim_name(claim)
        emit(db, _END_VERBS[status], who, words, job_id=claim.job_id, trial_id=trial_id, data=data)
        return _refresh_job(db, claim, trial | changes)


_END_VERBS = {
    TrialStatus.COMPLETE: Verb.TRIAL_COMPLETE,
    TrialStatus.PRUNED: Verb.TRIAL_PRUNED,
    TrialStatus.FAILED: Verb.TRIAL_FAILED,
}


def _refresh_job(db: Database, claim: Claim, ended: Row) -> bool:
    """Adds the trial that has just ended to the job's counts and best; `recount` read all the others at the claim."""
    job = get_job(db, claim.job_id)
    count = COUNTS[ended["status"]]
    changes: Row = {count: job[count] + 1, "idle_attempts": 0}
    front = front_of(db, job, job["trials_complete"] + (ended["status"] == "complete"))
    if front:
        best = best_trial(db, claim.job_id, Direction(ended["direction"]), front)
        changes |= {"best_value": best and best["value"], "best_trial": best and best["number"]}
        improved = ended["number"] in front
    elif improved := is_better(ended, job["best_value"], job["best_trial"]):
        changes |= {"best_value": ended["value"], "best_trial": ended["number"]}
    JobRow.update(changes).where(JobRow.id == claim.job_id).execute(db)
    if improved:
        number, value = changes["best_trial"], changes["best_value"]
        words = f"new best of {claim.job.experiment}: {ended['objective']} {in_words(value)} (trial {number})"
        data = {"number": number, "value": value, "before": job["best_value"]}
        if front:
            several = f"{len(front)} trial{'' if len(front) == 1 else 's'}"
            words = f"trial {ended['number']} joins the front of {claim.job.experiment}: {several}"
            data |= {"number": ended["number"], "value": ended["value"], "front": list(front)}
        who = claim_name(claim)
        emit(db, Verb.NEW_BEST, who, words, job_id=claim.job_id, trial_id=ended["id"], data=data)
    return improved


def is_better(ended: Row, value: float | None, number: int | None) -> bool:
    """Whether an ended trial beats the job's best one so far (value, number); of equal values the lower number wins."""
    if ended["status"] != "complete" or is_unranked(ended["badges"]):
        return False
    if value is None or number is None:
        return True
    key = Direction(ended["direction"]).key
    return (key(ended["value"]), ended["number"]) < (key(value), number)
