"""Claims the next runnable job for a worker, with a new token; fails a job that makes no progress.

Also records why jobs before it are passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from peewee import SQL

from fts.state.models import JobRow
from fts.state.rows import to_job
from fts.state.scheduling import MAX_IDLE_ATTEMPTS, WAITS_SQL, attempts_allowed
from fts.state.ticket_rows import next_runnable
from fts.state.transitions.base import (
    MAX_CHANGE,
    Row,
    change_job,
    emit,
    get_flag,
    get_job,
    get_worker,
    numbers,
    short,
    transaction,
)
from fts.state.transitions.retrying import recount
from fts.state.values import Cause, Claim, Verb
from fts.state.values.job import LEFT_SLOT, PASSED, own_message, passed_message

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fts.state.db import Database

PASSED_AT_ONCE = 500  # jobs in one transaction: 10 ms


def claim(
    db: Database,
    worker_id: int,
    lease_s: float,
    max_idle_attempts: int = MAX_IDLE_ATTEMPTS,
    job_id: int | None = None,
    excluded: Collection[int] = (),
) -> Claim | None:
    """Claims the runnable job with the smallest rank; changes status, attempt, token and lease in one UPDATE.

    Returns None if no job is runnable, the queue is paused, or the worker was asked to stop, has stopped or is lost.
    With `job_id` claims only that job, at any rank and also in a paused queue: `fts run` has no queue.

    Marks a job as failed (event `parked`) if its row is unreadable, or if `max_idle_attempts` attempts in a row ended
    without an epoch or a trial; after a lost worker the limit is MAX_LOST_WORKERS, after a machine error MAX_OUTAGES.
    Skips the jobs in `excluded`, for example those that back off.
    """
    if job_id is not None:
        return _claim_this(db, worker_id, lease_s, job_id)
    if next_runnable(db, excluded) is None:  # an idle poll must not take the write lock
        return None
    with transaction(db, urgent=True):
        if not _takes_work(db, worker_id) or get_flag(db, "queue_paused") is not None:
            return None
        while (job_id := next_runnable(db, excluded)) is not None:
            job = get_job(db, job_id)
            if (odd := to_job(job).unreadable) is not None:
                _park_unreadable(db, job, worker_id, odd)
            elif job["idle_attempts"] < attempts_allowed(job["cause"], max_idle_attempts):
                return _claim(db, job, worker_id, lease_s)
            else:
                _park(db, job, worker_id)
    return None


def _claim_this(db: Database, worker_id: int, lease_s: float, job_id: int) -> Claim | None:
    with transaction(db, urgent=True):
        if not _takes_work(db, worker_id):
            return None
        job = get_job(db, job_id)
        readable = job["status"] == "queued" and to_job(job).unreadable is None
        return _claim(db, job, worker_id, lease_s) if readable else None


def _takes_work(db: Database, worker_id: int) -> bool:
    """Whether the worker runs and was not asked to stop. A worker marked as lost gets no job until its next heartbeat,
    because nobody would notice if it stopped."""
    worker = get_worker(db, worker_id)
    return worker["status"] == "running" and worker["asked"] is None


def _claim(db: Database, job: Row, worker_id: int, lease_s: float) -> Claim:
    now = db.now()
    changed = change_job(
        db,
        job,
        status="running",
        worker_id=worker_id,
        lease_until=now + lease_s,
        attempt=job["attempt"] + 1,
        idle_attempts=job["idle_attempts"] + 1,
        token=job["token"] + 1,
        started_at=job["started_at"] or now,
        cause=None,
        message=None,
        acknowledged_at=None,
        **recount(db, job),
    )
    fresh = to_job(get_job(db, job["id"]))
    words = f"worker {worker_id} takes {fresh.experiment}, attempt {fresh.attempt}"
    emit(db, Verb.CLAIMED, f"worker {worker_id}", words, job_id=fresh.id, data=changed | {"token": fresh.token})
    return Claim(fresh, fresh.token, fresh.attempt, worker_id)


def _park(db: Database, job: Row, worker_id: int) -> None:
    cause = job["cause"] or Cause.LOST_WORKER.value
    message = f"{job['idle_attempts']} attempts without an epoch; the last one ended with: {cause}"
    if own := own_message(job["message"]):
        message += f" ({own})"
    message += f"; `fts retry {job['id']}` continues the same trials"
    ended = db.now()
    changed = change_job(db, job, status="failed", cause=cause, message=short(message), ended_at=ended)
    emit(db, Verb.PARKED, f"worker {worker_id}", message, job_id=job["id"], data=changed)


def _park_unreadable(db: Database, job: Row, worker_id: int, odd: str) -> None:
    """Marks a job with an unreadable row as failed, so that it does not block the other jobs."""
    message = f"unreadable, {odd}; `fts doctor` says what to do"
    changed = change_job(db, job, status="failed", cause=Cause.DATA_ERROR.value, message=message, ended_at=db.now())
    emit(db, Verb.PARKED, f"worker {worker_id}", message, job_id=job["id"], data=changed)


def pass_over(db: Database, worker_id: int, reasons: Mapping[int, str | None], *, again: bool = False) -> None:
    """Records why a worker starts later jobs before these waiting ones: in their messages, and one event per reason.

    None: the reason is gone. A job that has left a slot keeps its message, which says more. `again`: this worker has
    recorded these reasons before, so that of another worker stays; otherwise two would overwrite each other for ever.
    """
    for why in dict.fromkeys(reasons.values()):
        ids = [job_id for job_id, reason in reasons.items() if reason == why]
        for at in range(0, len(ids), PASSED_AT_ONCE):
            _pass_over(db, worker_id, ids[at : at + PASSED_AT_ONCE], why, again)


def _pass_over(db: Database, worker_id: int, job_ids: list[int], why: str | None, again: bool) -> None:
    def keeps(message: str) -> bool:
        return LEFT_SLOT in message or (again and PASSED in message)

    def told(message: str | None) -> str | None:
        before = own_message(message)
        return before if why is None else short(passed_message(why, before))

    with transaction(db):
        there = JobRow.select(JobRow.id, JobRow.message).where(JobRow.id.in_(job_ids), SQL(WAITS_SQL))
        old = {
            row["id"]: row["message"]
            for row in db.rows(there.order_by(JobRow.rank, JobRow.id))
            if row["message"] != told(row["message"]) and not keeps(row["message"] or "")
        }
        if not old:
            return
        new = {job_id: told(message) for job_id, message in old.items()}
        for message in dict.fromkeys(new.values()):
            alike = [job_id for job_id in old if new[job_id] == message]
            JobRow.update(message=message).where(JobRow.id.in_(alike)).execute(db)
        words = f"{numbers(old)}: {'no longer passed over' if why is None else passed_message(why, None)}"
        changes = [{"job_id": job_id, "old": {"message": text}} for job_id, text in old.items()]
        data, one = {"worker_id": worker_id, "changes": changes}, next(iter(old)) if len(old) == 1 else None
        emit(db, Verb.PASSED_OVER, f"worker {worker_id}", words, job_id=one, data=data, limit=MAX_CHANGE)


def claim_name(claim: Claim) -> str:
    return f"worker {claim.worker_id}"


def off_worker() -> Row:
    return {"worker_id": None, "lease_until": None, "asked": None}
