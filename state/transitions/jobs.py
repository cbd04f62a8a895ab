"""Ends a running job or returns it to the queue."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state.models import ALL, EventRow, JobRow, TrialRow
from fts.state.scheduling import RUN_AGAIN_SQL
from fts.state.ticket_rows import send_ticket
from fts.state.transitions.attempts import end_attempt, latest_attempt
from fts.state.transitions.base import (
    Row,
    change_job,
    checked_cause,
    emit,
    fenced_job,
    fenced_trial,
    get_job,
    short,
    tail,
    transaction,
)
from fts.state.transitions.claims import claim_name, off_worker
from fts.state.trial_usage import last_sign, seconds_worked
from fts.state.values import Cause, Claim, JobStatus, Verb, status_of
from fts.state.values.job import LEFT_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.db import Database

OF_WORKER = re.compile(r"worker \d+")  # `who` of a worker's events

# Not the job's fault: such an attempt does not count as an attempt without progress.
GRACEFUL = {Cause.DRAINED, Cause.PAUSED, Cause.DISK, Cause.OVERHEATED, Cause.KILLED}


ALL_ENDED = "all trials have ended"
INFEASIBLE = '"infeasible"'  # a badge in a trial's JSON


def finish_job(
    db: Database,
    claim: Claim,
    message: str = ALL_ENDED,
    wanted: int | None = None,
    spec: Mapping[str, Any] | None = None,
) -> JobStatus | None:
    """running -> done; or -> failed with a summary of its trials if none is complete. Returns the new status.

    Returns None and writes nothing if the job's number of trials is no longer `wanted`, or its spec no longer `spec`.
    """
    with transaction(db):
        job = fenced_job(db, claim)
        if wanted not in (None, job["trials_wanted"]) or spec not in (None, json.loads(job["spec"])):
            return None
        ended = job["trials_complete"] + job["trials_pruned"] + job["trials_failed"]
        if status_of("done", job["best_trial"], ended) is JobStatus.FAILED:
            cause, words = _without_result(db, job["id"])
            _fail(db, claim, job, cause, words if message == ALL_ENDED else f"{message}: {words}")
            return JobStatus.FAILED
        interrupt_live_trials(db, job["id"], Cause.FINISHED, claim_name(claim))
        changes = off_worker() | {"status": "done", "cause": Cause.FINISHED.value, "message": short(message)}
        changed = change_job(db, job, **changes, ended_at=db.now())
        emit(db, Verb.FINISHED, claim_name(claim), message, job_id=job["id"], data=changed)
    return JobStatus.DONE


def withdraw(db: Database, job_ids: Iterable[int], why: str, who: str) -> None:
    """Cancels queued jobs that have not begun and that only workers have changed; `fts retry` queues them again."""
    with transaction(db):
        for job in [get_job(db, job_id) for job_id in job_ids]:
            authors = EventRow.select(EventRow.who).where(EventRow.job_id == job["id"]).tuples().execute(db)
            if job["status"] != "queued" or job["attempt"] or not all(OF_WORKER.fullmatch(who) for (who,) in authors):
                continue
            changes = {"status": "cancelled", "cause": Cause.FINISHED.value, "message": short(why)}
            changed = change_job(db, job, **changes, ended_at=db.now())
            words = f"job {job['id']} ({job['experiment']}): cancelled, {why}"
            emit(db, Verb.CANCELLED, who, words, job_id=job["id"], data=changed)


def _without_result(db: Database, job_id: int) -> tuple[Cause, str]:
    """Returns cause and message of a job without a complete trial: "4 trials: 4 diverged; none is complete"."""
    causes = TrialRow.select(TrialRow.cause, fn.COUNT(TrialRow.id)).where(TrialRow.job_id == job_id)
    counts = dict(causes.group_by(TrialRow.cause).order_by(fn.COUNT(TrialRow.id).desc()).tuples().execute(db))
    violating = (TrialRow.job_id == job_id) & (TrialRow.status == "complete") & TrialRow.badges.contains(INFEASIBLE)
    infeasible = TrialRow.select(TrialRow.id).where(violating).count(db)
    words = {"infeasible": infeasible} | counts
    if infeasible and words.get(Cause.FINISHED.value):
        words[Cause.FINISHED.value] -= infeasible
    listed = ", ".join(f"{n} {cause or 'of unknown cause'}" for cause, n in words.items() if n)
    n = sum(counts.values())
    none = "none meets the constraints" if infeasible else "none is complete"
    known = next((Cause(cause) for cause in counts if cause), Cause.CODE_ERROR)
    retryable = TrialRow.select(TrialRow.number, TrialRow.message).where(TrialRow.job_id == job_id, SQL(RUN_AGAIN_SQL))
    last = db.one(retryable.where(TrialRow.message.is_null(False)).order_by(TrialRow.number.desc()))
    why = f"; t{last['number']} failed: {last['message']}" if last else ""
    return known, f"{n} trial{'' if n == 1 else 's'}: {listed}; {none}{why}"


def fail_job(db: Database, claim: Claim, cause: Cause | str, message: str, log_tail: str | None = None) -> None:
    """running -> failed, with a cause, a message and the last lines of the log. Interrupts its live trials."""
    cause = checked_cause(cause)
    with transaction(db):
        _fail(db, claim, fenced_job(db, claim), cause, message, log_tail)


def _fail(db: Database, claim: Claim, job: Row, cause: Cause | str, message: str, log_tail: str | None = None) -> None:
    interrupt_live_trials(db, job["id"], cause, claim_name(claim))
    changes = off_worker() | {"status": "failed", "cause": str(cause), "message": short(message)}
    changed = change_job(db, job, **changes, ended_at=db.now())
    emit(db, Verb.FAILED, claim_name(claim), message, job_id=job["id"], data=changed | {"log_tail": tail(log_tail)})


def release_job(db: Database, claim: Claim, cause: Cause | str, message: str = "") -> JobStatus:
    """running -> queued, to continue later from the checkpoint; or paused or cancelled if a person asked for that.

    Returns the new status, as the two functions below do.
    """
    with transaction(db):
        job = fenced_job(db, claim)
        return release_running(db, job, checked_cause(cause), message, claim_name(claim))


def pause_running(db: Database, claim: Claim, message: str = "checkpoint written, memory freed") -> JobStatus:
    """running -> paused, as a person asked; its trials are interrupted at their checkpoints.

    The job is queued again if the person withdrew the request while the trial stopped, or cancelled if asked meanwhile.
    """
    return _stop_as_asked(db, claim, Cause.PAUSED, message)


def cancel_running(db: Database, claim: Claim, message: str = "stopped at a checkpoint") -> JobStatus:
    """running -> cancelled, as a person asked; retry continues it. Queued again if the request was withdrawn."""
    return _stop_as_asked(db, claim, Cause.KILLED, message)


def _stop_as_asked(db: Database, claim: Claim, cause: Cause, message: str) -> JobStatus:
    with transaction(db):
        job = fenced_job(db, claim)
        if job["asked"] is None:
            cause, message = Cause.DRAINED, "the request was withdrawn while the job stopped"
        return release_running(db, job, cause.value, message, claim_name(claim))


def hold_job(db: Database, claim: Claim, reason: str) -> None:
    """running -> queued and held: it may not start until a person resumes it ("needs 91 GB, 20 GB allowed")."""
    with transaction(db):
        job = fenced_job(db, claim)
        who = claim_name(claim)
        interrupt_live_trials(db, job["id"], Cause.CANNOT_FIT, who)
        changes = off_worker() | {"status": "queued", "hold_reason": short(reason), "idle_attempts": 0}
        changed = change_job(db, job, **changes, cause=Cause.CANNOT_FIT.value, message=short(reason))
        emit(db, Verb.HELD, who, reason, job_id=job["id"], data=changed)


def release_running(
    db: Database, job: Row, cause: str, message: str, who: str, beat_at: float | None = None
) -> JobStatus:
    """running -> queued; or paused or cancelled if a person asked for that: the new status. Call it in a transaction.

    `beat_at`: the last heartbeat of a lost worker.
    """
    interrupt_live_trials(db, job["id"], cause, who, beat_at)
    changes = off_worker() | {"cause": cause, "message": short(message) or None}
    if cause in GRACEFUL:
        changes["idle_attempts"] = max(0, job["idle_attempts"] - 1)
    if job["asked"] == "cancel":
        changes |= {"status": "cancelled", "ended_at": db.now(), "cause": Cause.KILLED.value}
        verb = Verb.CANCELLED
    elif job["asked"] == "pause":
        changes |= {"status": "paused", "cause": Cause.PAUSED.value}
        verb = Verb.PAUSED
    else:
        changes |= {"status": "queued"}
        verb = Verb.RELEASED
    # the caller may have set `asked` in `job` only; the UPDATE compares status and token, not `asked`
    changed = change_job(db, job, **changes)
    causes = [] if LEFT_SLOT in message else [changes["cause"]]  # nobody has drained its worker
    ended_by = [*causes, *([cause] if cause not in GRACEFUL | {changes["cause"]} else []), message]
    words = f"{verb.value}: {', '.join(filter(None, ended_by))}"
    data = changed | ({"asked_by": _who_asked(db, job["id"])} if job["asked"] else {})
    inverse = _undo_step(job, changes) if job["asked"] else None
    event_id = emit(db, verb, who, words, job_id=job["id"], data=data, inverse=inverse)
    if job["asked"]:
        _close_requests(db, event_id)
    if changes["status"] == "queued" and job["hold_reason"] is None:
        send_ticket(db)
    return JobStatus(changes["status"])


def _who_asked(db: Database, job_id: int) -> str | None:
    asked = EventRow.select(EventRow.who).where(
        EventRow.job_id == job_id, EventRow.verb.in_([Verb.PAUSE_ASKED, Verb.CANCEL_ASKED])
    )
    row = db.one(asked.order_by(EventRow.id.desc()))
    return row["who"] if row else None


def _undo_step(job: Row, changes: Row) -> Row:
    """Returns the undo step of a pause or cancel of a running job: it is queued and continues from its checkpoint."""
    expect = {"status": changes["status"], "attempt": job["attempt"]}
    queued = {"status": "queued", "cause": None, "message": None, "ended_at": None}
    return {"jobs": [{"id": job["id"], "expect": expect, "set": queued}]}


def _close_requests(db: Database, event_id: int) -> None:
    """Marks the events of fulfilled requests as undone by `event_id`: undo then reverts that event, not the request."""
    requests = EventRow.select(EventRow.id, EventRow.inverse).where(
        SQL("inverse IS NOT NULL AND undone_by IS NULL"),
        EventRow.verb.in_([Verb.PAUSE_ASKED, Verb.CANCEL_ASKED, Verb.REDONE, Verb.UNDONE]),
    )
    asked = {row["id"] for row in db.rows(JobRow.select(JobRow.id).where(JobRow.asked.is_null(False)))}
    for event in db.rows(requests.order_by(EventRow.id.desc()).limit(100)):
        entries = json.loads(event["inverse"]).get("jobs", [])
        if entries and all("asked" in entry["expect"] and entry["id"] not in asked for entry in entries):
            EventRow.update(undone_by=event_id).where(EventRow.id == event["id"]).execute(db)


def interrupt_live_trials(
    db: Database, job_id: int, cause: Cause | str, who: str, beat_at: float | None = None
) -> None:
    """running -> interrupted, for all running trials of a job; they continue later under their own numbers."""
    running = TrialRow.select(ALL).where(TrialRow.job_id == job_id, TrialRow.status == "running")
    for live in db.rows(running.order_by(TrialRow.number)):
        _interrupt(db, live, Cause(cause).value, who, beat_at)


def interrupt_trial(db: Database, claim: Claim, trial_id: int, cause: Cause | str, message: str = "") -> None:
    """running -> interrupted, while its job goes on with other trials. `message`: says more than the cause."""
    with transaction(db):
        _interrupt(db, fenced_trial(db, claim, trial_id), Cause(cause).value, claim_name(claim), message=message)


def _interrupt(db: Database, live: Row, cause: str, who: str, beat_at: float | None = None, message: str = "") -> None:
    attempt = latest_attempt(db, live["id"]) if cause == Cause.LOST_WORKER else None
    # a loss may be noticed much later, after a night without power: that time does not count for the trial
    end_attempt(db, live["id"], cause, None if attempt is None else last_sign(db, attempt, beat_at))
    known = {"status": "interrupted", "cause": cause, "train_seconds": seconds_worked(db, live)}
    TrialRow.update(known).where(TrialRow.id == live["id"]).execute(db)
    words = f"trial {live['number']} interrupted after epoch {live['epochs']}: {message or cause}"
    data = {"cause": cause}
    emit(db, Verb.TRIAL_INTERRUPTED, who, words, job_id=live["job_id"], trial_id=live["id"], data=data)
