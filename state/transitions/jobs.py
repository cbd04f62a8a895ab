"""A job's way through the queue: enqueued, claimed, released, ended. Every write of a worker shows its claim."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state.daily_bars import AXES, DECLARATION, PATCHTST, cell_name, direction_of, metric_of
from fts.state.errors import BadRow
from fts.state.models import ALL, EventRow, JobRow, StudyRow, TrialRow
from fts.state.rows import to_job
from fts.state.scheduling import MAX_IDLE_ATTEMPTS, RUN_AGAIN_SQL, RUNNABLE_SQL, attempts_allowed
from fts.state.ticket_rows import send_ticket
from fts.state.transitions.again import recount
from fts.state.transitions.attempts import end_attempt
from fts.state.transitions.base import (
    MAX_SPEC,
    Row,
    change_job,
    checked_cause,
    checked_direction,
    checked_int,
    checked_name,
    emit,
    fenced_job,
    finite,
    get_flag,
    get_job,
    get_worker,
    short,
    tail,
    this_person,
    to_json,
    transaction,
)
from fts.state.transitions.extend import SameQuestion, extend_job, extended, next_rank, same_question
from fts.state.values import HUGE, Cause, Claim, Direction, Enqueued, JobStatus, Verb, status_of

if TYPE_CHECKING:
    from fts.state.db import Database

MAX_NAME = 200  # characters of what people call a cell, a metric or an axis
MD5 = re.compile(r"[0-9a-f]{32}")
OF_WORKER = re.compile(r"worker \d+")  # who did something

# The job did nothing wrong: such an attempt does not count towards "too many attempts without progress".
GRACEFUL = {Cause.DRAINED, Cause.PAUSED, Cause.DISK, Cause.OVERHEATED, Cause.KILLED}


def enqueue(
    db: Database,
    specs: Iterable[Mapping[str, Any]],
    who: str | None = None,
    *,
    rule: SameQuestion | None = None,
    again: bool = False,
    dry_run: bool = False,
    by_a_person: bool = True,
) -> list[Enqueued]:
    """Puts specifications in line, all of them or none; one already waiting, running or paused is not put in twice.

    Each is a mapping of experiment, kind, study, labels (axis -> value), trials_wanted, spec (dict or JSON), metric,
    direction, and optionally cell (what people call it), question_md5, spec_md5, hold_reason. A row without `study` is
    one of the study of daily bars: budget, horizon, task and tier are its labels, and the rest follows from them.
    Raises BadRow, naming the field. One undo takes back the whole call; none takes back what no person did.

    With a `rule`, a job of the same question is found whatever its status, and extended where it has fewer trials than
    are wanted now; `again` makes a new job all the same, unless just this specification waits or runs.
    """
    who = who or this_person()
    rows = [checked_row(spec) for spec in specs]
    with transaction(db, dry_run):
        if any(row["study"] == PATCHTST for row in rows):
            declare(db, PATCHTST, DECLARATION, anew=False)
        results, ways_back = [], []
        events: list[dict[str, Any]] = []
        for row in rows:
            result, event, way_back = _enqueue_one(db, row, None if again else rule)
            results.append(result)
            events += [event] if event else []
            ways_back += [way_back] if way_back else []
        for n, event in enumerate(events):
            last = n == len(events) - 1
            inverse = {"jobs": ways_back} if last and ways_back and by_a_person else None
            emit(db, event.pop("verb"), who, event.pop("words"), **event, inverse=inverse)
    return results


Step = tuple[Enqueued, Row | None, Row | None]  # what became of a row, its event, its way back


def _enqueue_one(db: Database, row: Row, rule: SameQuestion | None) -> Step:
    same = None if rule is None else same_question(db, row, rule)
    if same is None:
        live = JobRow.select(ALL).where(
            JobRow.spec_md5 == row["spec_md5"], SQL("status IN ('queued', 'running', 'paused')")
        )
        same = db.one(live)
    if same is None:
        return _create(db, row)
    if rule is not None and (spec := extended(same, row)) is not None:
        return extend_job(db, same, spec, row["hold_reason"], rule)
    found = Enqueued(same["id"], created=False, status=same["status"], held=same["hold_reason"])
    return found, None, None


def _create(db: Database, row: Row) -> Step:
    row = row | {"status": "queued", "rank": next_rank(db), "created_at": db.now()}
    job_id = int(JobRow.insert(row | _ZEROS).execute(db))
    if row["hold_reason"] is None:
        send_ticket(db)
    words = f"{row['experiment']} is job {job_id}"
    words += f", held: {row['hold_reason']}" if row["hold_reason"] else ""
    data = {"old": None, "new": {name: row[name] for name in ("status", "rank", "hold_reason")}}
    event = {"verb": Verb.ENQUEUED, "words": words, "job_id": job_id, "data": data}
    expect, cancelled = {"status": "queued", "attempt": 0}, {"status": "cancelled", "cause": Cause.KILLED.value}
    return (
        Enqueued(job_id, created=True, held=row["hold_reason"]),
        event,
        {"id": job_id, "expect": expect, "set": cancelled},
    )


_ZEROS = dict.fromkeys(("trials_complete", "trials_pruned", "trials_failed", "attempt", "idle_attempts", "token"), 0)


def claim(
    db: Database,
    worker_id: int,
    lease_s: float,
    max_idle_attempts: int = MAX_IDLE_ATTEMPTS,
    job_id: int | None = None,
) -> Claim | None:
    """The best runnable job, if there is one for this worker; status, attempt, token and lease change in one UPDATE.

    A job whose row cannot be read is parked as failed.

    A job that ended `max_idle_attempts` attempts without an epoch or a trial is parked as failed with its last cause;
    where that is a lost worker, after MAX_LOST_WORKERS.
    None: nothing runnable, the queue is paused, or the worker was asked to stop, has stopped or is lost. With `job_id`
    only that job is handed out, whatever its rank and although the queue may be paused: `fts run` has no queue.
    """
    if job_id is not None:
        return _claim_this(db, worker_id, lease_s, job_id)
    if _next_runnable(db) is None:  # an idle poll must not take the write lock
        return None
    with transaction(db, urgent=True):
        if not _takes_work(db, worker_id) or get_flag(db, "queue_paused") is not None:
            return None
        while (job_id := _next_runnable(db)) is not None:
            job = get_job(db, job_id)
            if (odd := to_job(job).unreadable) is not None:
                _park_unreadable(db, job, worker_id, odd)
            elif job["idle_attempts"] < attempts_allowed(job["cause"], max_idle_attempts):
                return _hand_out(db, job, worker_id, lease_s)
            else:
                _park(db, job, worker_id)
    return None


def _claim_this(db: Database, worker_id: int, lease_s: float, job_id: int) -> Claim | None:
    with transaction(db, urgent=True):
        if not _takes_work(db, worker_id):
            return None
        job = get_job(db, job_id)
        readable = job["status"] == "queued" and to_job(job).unreadable is None
        return _hand_out(db, job, worker_id, lease_s) if readable else None


def _takes_work(db: Database, worker_id: int) -> bool:
    """Not one that was asked to leave, has left, or is taken for lost: nobody would miss its beats, until it beats."""
    worker = get_worker(db, worker_id)
    return worker["status"] == "running" and worker["asked"] is None


def _next_runnable(db: Database) -> int | None:
    # Plain SQL: with a parameter in place of 'queued', SQLite may not use the partial index.
    row = db.execute_sql(f"SELECT id FROM job WHERE {RUNNABLE_SQL} ORDER BY rank, id LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def _hand_out(db: Database, job: Row, worker_id: int, lease_s: float) -> Claim:
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
    if job["message"]:
        message += f" ({job['message']})"
    message += f"; `fts retry {job['id']}` continues the same trials"
    ended = db.now()
    changed = change_job(db, job, status="failed", cause=cause, message=short(message), ended_at=ended)
    emit(db, Verb.PARKED, f"worker {worker_id}", message, job_id=job["id"], data=changed)


def _park_unreadable(db: Database, job: Row, worker_id: int, odd: str) -> None:
    """A row that somebody wrote by hand must not keep a worker from the other jobs."""
    message = f"unreadable, {odd}; `fts doctor` says what to do"
    changed = change_job(db, job, status="failed", cause=Cause.DATA_ERROR.value, message=message, ended_at=db.now())
    emit(db, Verb.PARKED, f"worker {worker_id}", message, job_id=job["id"], data=changed)


ALL_ENDED = "all trials have ended"


def finish_job(
    db: Database,
    claim: Claim,
    message: str = ALL_ENDED,
    wanted: int | None = None,
    spec: Mapping[str, Any] | None = None,
) -> JobStatus | None:
    """running -> done; or failed, with what became of its trials, when none of them is complete.

    Returns None, and writes nothing, where not just `wanted` trials are wanted any more, or `spec` is another one now.
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
        changes = _off_worker() | {"status": "done", "cause": Cause.FINISHED.value, "message": short(message)}
        changed = change_job(db, job, **changes, ended_at=db.now())
        emit(db, Verb.FINISHED, claim_name(claim), message, job_id=job["id"], data=changed)
    return JobStatus.DONE


def withdraw(db: Database, job_ids: Iterable[int], why: str, who: str) -> None:
    """Takes jobs out of the line that no person touched and that have not begun; `fts retry` brings one back."""
    with transaction(db):
        for job in [get_job(db, job_id) for job_id in job_ids]:
            told = EventRow.select(EventRow.who).where(EventRow.job_id == job["id"]).tuples().execute(db)
            if job["status"] != "queued" or job["attempt"] or not all(OF_WORKER.fullmatch(one) for (one,) in told):
                continue
            changes = {"status": "cancelled", "cause": Cause.FINISHED.value, "message": short(why)}
            changed = change_job(db, job, **changes, ended_at=db.now())
            words = f"job {job['id']} ({job['experiment']}): cancelled, {why}"
            emit(db, Verb.CANCELLED, who, words, job_id=job["id"], data=changed)


def _without_result(db: Database, job_id: int) -> tuple[Cause, str]:
    """The cause and the words of a job without a complete trial: "4 trials: 4 diverged; none is complete"."""
    causes = TrialRow.select(TrialRow.cause, fn.COUNT(TrialRow.id)).where(TrialRow.job_id == job_id)
    counts = dict(causes.group_by(TrialRow.cause).order_by(fn.COUNT(TrialRow.id).desc()).tuples().execute(db))
    told = ", ".join(f"{n} {cause or 'of unknown cause'}" for cause, n in counts.items())
    n = sum(counts.values())
    known = next((Cause(cause) for cause in counts if cause), Cause.CODE_ERROR)
    mended = TrialRow.select(TrialRow.number, TrialRow.message).where(TrialRow.job_id == job_id, SQL(RUN_AGAIN_SQL))
    last = db.one(mended.where(TrialRow.message.is_null(False)).order_by(TrialRow.number.desc()))
    why = f"; t{last['number']} failed: {last['message']}" if last else ""
    return known, f"{n} trial{'' if n == 1 else 's'}: {told}; none is complete{why}"


def fail_job(db: Database, claim: Claim, cause: Cause | str, message: str, log_tail: str | None = None) -> None:
    """running -> failed, with its cause, a sentence, and the last lines of the log. Its live trials are interrupted."""
    cause = checked_cause(cause)
    with transaction(db):
        _fail(db, claim, fenced_job(db, claim), cause, message, log_tail)


def _fail(db: Database, claim: Claim, job: Row, cause: Cause | str, message: str, log_tail: str | None = None) -> None:
    interrupt_live_trials(db, job["id"], cause, claim_name(claim))
    changes = _off_worker() | {"status": "failed", "cause": str(cause), "message": short(message)}
    changed = change_job(db, job, **changes, ended_at=db.now())
    emit(db, Verb.FAILED, claim_name(claim), message, job_id=job["id"], data=changed | {"log_tail": tail(log_tail)})


def release_job(db: Database, claim: Claim, cause: Cause | str, message: str = "") -> None:
    """running -> queued, to go on later from the checkpoint; what a person asked meanwhile (pause, cancel) is done."""
    with transaction(db):
        job = fenced_job(db, claim)
        put_back(db, job, checked_cause(cause), message, claim_name(claim))


def pause_running(db: Database, claim: Claim, message: str = "checkpoint written, memory freed") -> None:
    """running -> paused, at a person's wish: the trial is interrupted at its checkpoint.

    Back in line where the wish was withdrawn while the trial stopped: the latest word counts.
    """
    _as_asked(db, claim, Cause.PAUSED, message)


def cancel_running(db: Database, claim: Claim, message: str = "stopped at a checkpoint") -> None:
    """running -> cancelled, at a person's wish; retry continues it. Back in line where the wish was withdrawn."""
    _as_asked(db, claim, Cause.KILLED, message)


def _as_asked(db: Database, claim: Claim, cause: Cause, message: str) -> None:
    with transaction(db):
        job = fenced_job(db, claim)
        if job["asked"] is None:
            cause, message = Cause.DRAINED, "the request was withdrawn while the job stopped"
        put_back(db, job, cause.value, message, claim_name(claim))


def hold_job(db: Database, claim: Claim, reason: str) -> None:
    """running -> queued, but held: it may not start until a person resumes it ("needs 91 GB, 20 GB allowed")."""
    with transaction(db):
        job = fenced_job(db, claim)
        who = claim_name(claim)
        interrupt_live_trials(db, job["id"], Cause.CANNOT_FIT, who)
        changes = _off_worker() | {"status": "queued", "hold_reason": short(reason), "idle_attempts": 0}
        changed = change_job(db, job, **changes, cause=Cause.CANNOT_FIT.value, message=short(reason))
        emit(db, Verb.HELD, who, reason, job_id=job["id"], data=changed)


def put_back(db: Database, job: Row, cause: str, message: str, who: str) -> None:
    """A running job leaves its worker: back in line, or where a person asked it to go. Inside a transaction."""
    interrupt_live_trials(db, job["id"], cause, who)
    changes = _off_worker() | {"cause": cause, "message": short(message) or None}
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
    # `job` may carry a wish that is not in the row; the condition is on status and token only.
    changed = change_job(db, job, **changes)
    words = f"{verb.value}: {cause}" + (f", {message}" if message else "")
    data = changed | ({"asked_by": _who_asked(db, job["id"])} if job["asked"] else {})
    inverse = _back_in_line(job, changes) if job["asked"] else None
    event_id = emit(db, verb, who, words, job_id=job["id"], data=data, inverse=inverse)
    if job["asked"]:
        _wish_fulfilled(db, event_id)
    if changes["status"] == "queued" and job["hold_reason"] is None:
        send_ticket(db)


def _who_asked(db: Database, job_id: int) -> str | None:
    asked = EventRow.select(EventRow.who).where(
        EventRow.job_id == job_id, EventRow.verb.in_([Verb.PAUSE_ASKED, Verb.CANCEL_ASKED])
    )
    row = db.one(asked.order_by(EventRow.id.desc()))
    return row["who"] if row else None


def _back_in_line(job: Row, changes: Row) -> Row:
    """What undo does once a running job has been paused or cancelled: it continues from its checkpoint."""
    expect = {"status": changes["status"], "attempt": job["attempt"]}
    queued = {"status": "queued", "cause": None, "message": None, "ended_at": None}
    return {"jobs": [{"id": job["id"], "expect": expect, "set": queued}]}


def _wish_fulfilled(db: Database, event_id: int) -> None:
    """A wish that has been done can no longer be withdrawn: the event that did it takes its place for undo."""
    wishes = EventRow.select(EventRow.id, EventRow.inverse).where(
        SQL("inverse IS NOT NULL AND undone_by IS NULL"),
        EventRow.verb.in_([Verb.PAUSE_ASKED, Verb.CANCEL_ASKED, Verb.REDONE, Verb.UNDONE]),
    )
    asked = {row["id"] for row in db.rows(JobRow.select(JobRow.id).where(JobRow.asked.is_null(False)))}
    for event in db.rows(wishes.order_by(EventRow.id.desc()).limit(100)):
        entries = json.loads(event["inverse"]).get("jobs", [])
        if entries and all("asked" in entry["expect"] and entry["id"] not in asked for entry in entries):
            EventRow.update(undone_by=event_id).where(EventRow.id == event["id"]).execute(db)


def interrupt_live_trials(db: Database, job_id: int, cause: Cause | str, who: str) -> None:
    """The running trials of a job, if any, become interrupted: they continue under their own numbers."""
    name = Cause(cause).value
    running = TrialRow.select(ALL).where(TrialRow.job_id == job_id, TrialRow.status == "running")
    for live in db.rows(running.order_by(TrialRow.number)):
        TrialRow.update(status="interrupted", cause=name).where(TrialRow.id == live["id"]).execute(db)
        end_attempt(db, live["id"], name)
        words = f"trial {live['number']} interrupted after epoch {live['epochs']}: {name}"
        emit(db, Verb.TRIAL_INTERRUPTED, who, words, job_id=job_id, trial_id=live["id"], data={"cause": name})


def claim_name(claim: Claim) -> str:
    return f"worker {claim.worker_id}"


def _off_worker() -> Row:
    return {"worker_id": None, "lease_until": None, "asked": None}


def checked_row(given: Mapping[str, Any]) -> Row:
    unknown = set(given) - _FIELDS
    missing = _REQUIRED - set(given)
    if unknown or missing:
        raise BadRow(f"a job row has unknown fields {sorted(unknown)}, has no {sorted(missing)}")
    spec = _as_object(given["spec"])
    text = to_json(spec, "spec", MAX_SPEC)
    row = {
        "experiment": checked_name(given["experiment"], "experiment"),
        "kind": checked_name(given["kind"], "kind"),
        "trials_wanted": checked_int(given["trials_wanted"], "trials_wanted", 0, 1_000_000),
        "hold_reason": short(given.get("hold_reason")),
        "spec": text,
        "spec_md5": given.get("spec_md5") or hashlib.md5(text.encode()).hexdigest(),
        "question_md5": _checked_md5(given.get("question_md5")),
    }
    return row | _named(row, given, spec)


_REQUIRED = {"experiment", "kind", "trials_wanted", "spec"}
_FIELDS = _REQUIRED | {"spec_md5", "hold_reason", "study", "cell", "labels", "metric", "direction", "question_md5"}
_FIELDS |= set(AXES)


def _named(row: Row, given: Mapping[str, Any], spec: dict[str, Any]) -> Row:
    """Study, cell, labels, metric and direction of a row."""
    study = checked_name(given.get("study", PATCHTST), "study")
    labels = _checked_labels(given, required=study == PATCHTST)
    if study == PATCHTST:
        metric = given.get("metric") or metric_of(spec)
        direction = given.get("direction") or direction_of(metric)
        cell = given.get("cell") or cell_name(row["kind"], labels, spec, row["experiment"])
    else:
        metric = given.get("metric") or str(spec.get("metric") or "value")
        direction = given.get("direction") or spec.get("direction") or Direction.MINIMIZE
        cell = given.get("cell") or "/".join(str(value) for value in labels.values()) or study
    return {
        "study": study,
        "cell": checked_text(cell, "cell"),
        "labels": _json_in_order(labels),
        "metric": checked_text(metric, "metric"),
        "direction": checked_direction(direction),
    }


def _checked_labels(given: Mapping[str, Any], required: bool) -> dict[str, Any]:
    """Where the job stands on each axis; in the order given, which is the order in which people name them."""
    labels = given.get("labels")
    if labels is not None and not isinstance(labels, Mapping):
        raise BadRow(f"labels is a {type(labels).__name__}, expected axes and their values")
    own = {name: given[name] for name in AXES if name in given}
    found = {**own, **(labels or {})}
    if missing := set(AXES) - set(found) if required else None:
        raise BadRow(f"a job row has no {sorted(missing)}")
    for name, value in found.items():
        if required and name == "horizon":
            checked_int(value, "horizon", 1, 10_000)
        elif required and name in AXES:
            checked_name(value, name)
        else:
            checked_text(name, "the name of an axis")
            _checked_label(name, value)
    return found


def _checked_label(axis: str, value: Any) -> None:
    if isinstance(value, str):
        checked_text(value, axis)
    elif not isinstance(value, bool | int | float) or not abs(value) < HUGE:
        raise BadRow(f"{axis} is {str(value)[:80]!r}; expected a text or a finite number")


def checked_text(value: Any, what: str) -> str:
    """One line that people read: it names no file."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise BadRow(f"{what} is {str(value)[:80]!r}; expected 1 to {MAX_NAME} printable characters")
    return value


def _checked_md5(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not MD5.fullmatch(value)):
        raise BadRow(f"question_md5 is {str(value)[:80]!r}; expected 32 hexadecimal digits")
    return value


def _json_in_order(labels: Mapping[str, Any]) -> str:
    to_json(labels, "labels")  # refuses what cannot be stored
    return json.dumps(labels, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def declare_study(db: Database, name: str, declaration: Mapping[str, Any]) -> None:
    """What a study declares of itself (axes, metrics, facts, step): a later declaration takes the place of the first.

    Written with its first job, so that a reader needs none of its code. No event.
    """
    text = to_json(finite(dict(declaration)), "declaration", MAX_SPEC)
    with transaction(db):
        declare(db, checked_name(name, "study"), text, anew=True)


def declare(db: Database, name: str, text: str, anew: bool) -> None:
    """Inside a transaction; `anew` replaces what is there."""
    row = {"name": name, "declaration": text, "created_at": db.now()}
    query = StudyRow.insert(row)
    if anew:
        query = query.on_conflict(conflict_target=[StudyRow.name], update={StudyRow.declaration: text})
    else:
        query = query.on_conflict_ignore()
    query.execute(db)


def _as_object(spec: Any) -> dict[str, Any]:
    if isinstance(spec, str):
        if len(spec) > MAX_SPEC:
            raise BadRow(f"spec is {len(spec)} characters of JSON, at most {MAX_SPEC} are stored")
        try:
            spec = json.loads(spec)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"spec is not JSON: {error}") from error
    if not isinstance(spec, Mapping):
        raise BadRow(f"spec is a {type(spec).__name__}, expected an object")
    return dict(spec)
