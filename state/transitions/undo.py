"""Undoes and redoes changes. An undo is a transition of its own with an event, so it works across processes.

The undo step is data in the event: {"jobs": [{"id", "expect", "set", "spec"}], "trials": [...], "flags": [...],
"workers": [...]}.
`expect` holds the values that must still be true; otherwise the undo is refused with the reason. Only the columns and
status changes listed here can be set, and a specification only by its fields, while the job does not run and no trial
has begun since: a hostile event row can do no more than a person at the keyboard.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from peewee import SQL, IntegrityError, fn

from fts.state.errors import BadRow, CannotUndo, NoSuchRow, WrongStatus
from fts.state.models import ALL, EventRow, FlagRow, WorkerRow
from fts.state.queries.event_rows import IMPORTED
from fts.state.ticket_rows import missing_tickets, send_ticket
from fts.state.transitions import specification
from fts.state.transitions.base import (
    MAX_CHANGE,
    Row,
    change_job,
    checked_direction,
    checked_int,
    emit,
    get_flag,
    get_job,
    get_worker,
    numbers,
    this_person,
    to_json,
    transaction,
)
from fts.state.transitions.enqueuing import checked_text
from fts.state.transitions.extend import begun, ended, wanted_of, with_trials
from fts.state.transitions.operator import has_died, set_flag
from fts.state.transitions.respecify import MAY_CHANGE
from fts.state.transitions.retrying import restore
from fts.state.values import Change, Verb
from fts.state.values.job import own_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.state.db import Database

JOB_COLUMNS = {
    "status", "rank", "hold_reason", "asked", "cause", "message", "ended_at", "acknowledged_at", "idle_attempts",
    "trials_wanted", "spec_md5",
}  # fmt: skip
OF_SPEC = {"question_md5", "metric", "direction", "cell"}  # columns that follow from the specification
STATUS_CHANGES = {
    ("queued", "paused"), ("paused", "queued"), ("queued", "cancelled"), ("paused", "cancelled"),
    ("cancelled", "queued"), ("cancelled", "paused"), ("queued", "failed"), ("failed", "queued"),
    ("queued", "done"), ("done", "queued"),  # an extension and its undo
}  # fmt: skip
FLAGS = {"queue_paused"}
NOT_IMPORTED = SQL(f"({IMPORTED}) IS NOT TRUE")
MD5 = re.compile(r"[0-9a-f]{32}")


def undo(db: Database, n: int = 1, who: str | None = None, dry_run: bool = False) -> list[Change]:
    """Undoes the last `n` changes that can be undone, newest first, all or none; returns what it did.

    Raises CannotUndo if there is nothing to undo, or a later change prevents it.
    """
    with transaction(db, dry_run):
        return [_revert(db, _latest_undoable(db), Verb.UNDONE, who or this_person(), dry_run) for _ in range(n)]


def redo(db: Database, n: int = 1, who: str | None = None, dry_run: bool = False) -> list[Change]:
    """Redoes the last `n` undos. Raises CannotUndo if something else was changed since."""
    with transaction(db, dry_run):
        return [_revert(db, _latest_undone(db), Verb.REDONE, who or this_person(), dry_run) for _ in range(n)]


@contextmanager
def one_undo(db: Database) -> Iterator[None]:
    """Makes one undo revert all changes of jobs inside the block. Call it inside a transaction."""
    before = EventRow.select(fn.MAX(EventRow.id)).scalar(db) or 0
    yield
    new = EventRow.select(ALL).where(EventRow.id > before, EventRow.inverse.is_null(False)).order_by(EventRow.id.desc())
    events = list(db.rows(new))
    steps = [json.loads(event["inverse"]) for event in events]
    if len(steps) < 2 or any(set(step) != {"jobs"} for step in steps):
        return
    whole = to_json({"jobs": [entry for step in steps for entry in step["jobs"]]}, "inverse", MAX_CHANGE)
    EventRow.update(inverse=None).where(EventRow.id.in_([event["id"] for event in events[1:]])).execute(db)
    EventRow.update(inverse=whole).where(EventRow.id == events[0]["id"]).execute(db)


def _latest_undoable(db: Database) -> Row:
    open_ones = EventRow.select(ALL).where(
        SQL("inverse IS NOT NULL AND undone_by IS NULL"), EventRow.verb != Verb.UNDONE, NOT_IMPORTED
    )
    event = db.one(open_ones.order_by(EventRow.id.desc()))
    if event is None:
        raise CannotUndo("there is nothing to undo")
    return event


def _latest_undone(db: Database) -> Row:
    undone = EventRow.select(ALL).where(SQL("inverse IS NOT NULL AND undone_by IS NULL"), EventRow.verb == Verb.UNDONE)
    event = db.one(undone.order_by(EventRow.id.desc()))
    if event is None:
        raise CannotUndo("there is nothing to redo")
    newer = EventRow.select(ALL).where(
        EventRow.id > event["id"],
        EventRow.inverse.is_null(False),
        EventRow.verb.not_in([Verb.UNDONE, Verb.REDONE]),
        NOT_IMPORTED,
    )
    if since := db.one(newer):
        raise CannotUndo(f"cannot redo: something else was changed since ({since['message']})")
    return event


def _revert(db: Database, event: Row, verb: Verb, who: str, dry_run: bool) -> Change:
    doing = "undo" if verb is Verb.UNDONE else "redo"
    what = f"'{event['message']}'"
    try:
        inverse = json.loads(event["inverse"])
        ids = list(dict.fromkeys(int(entry["id"]) for entry in inverse.get("jobs", [])))
        if len(ids) > 1:  # the event's message names only one of them
            what = f"the change of {numbers(ids)} ({event['verb']})"
        said, forward = _apply(db, inverse)
    except (CannotUndo, NoSuchRow, WrongStatus) as error:
        raise CannotUndo(f"cannot {doing} {what}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IntegrityError, BadRow) as error:
        raise CannotUndo(f"cannot {doing} event {event['id']}: its stored undo step is unreadable ({error})") from error
    root = json.loads(event["data"]).get("root") or f"{event['message']}' by {event['who']}"
    message = f"{doing} of '{root}: {said}"
    data = {"of": event["id"], "verb": event["verb"], "root": root, "changes": forward["changes"]}
    if "flags" in inverse:
        data["flags"] = inverse["flags"]
    undo_step = {name: entries for name, entries in forward.items() if name != "changes"}
    job_id = ids[0] if len(ids) == 1 else None
    event_id = emit(db, verb, who, message, job_id=job_id, data=data, inverse=undo_step)
    EventRow.update(undone_by=event_id).where(EventRow.id == event["id"]).execute(db)
    return Change(message, None if dry_run else event_id, tuple(ids), dry_run)


def _apply(db: Database, inverse: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Applies an undo step; returns a sentence, and the step that reverts this one."""
    unknown = set(inverse) - {"jobs", "flags", "workers", "trials"}
    if unknown or not inverse:
        raise CannotUndo(f"its stored undo step names {sorted(unknown) or 'nothing'}, which cannot be changed")
    said: list[str] = []
    forward: dict[str, Any] = {"changes": []}
    for entry in inverse.get("jobs", []):
        words, back, change = _restore_job(db, entry)
        said.append(words)
        forward.setdefault("jobs", []).append(back)
        forward["changes"].append(change)
    forward.get("jobs", []).reverse()  # a job that was changed twice goes back in two steps, the last change first
    if "trials" in inverse:  # after the jobs: a job that has started since gives the better reason for a refusal
        forward["trials"] = restore(db, inverse["trials"])
    for entry in inverse.get("flags", []):
        words, back = _restore_flag(db, entry)
        said.append(words)
        forward.setdefault("flags", []).append(back)
    for entry in inverse.get("workers", []):
        said.append(_restore_worker(db, entry))
        back = {"id": entry["id"], "expect": entry["set"], "set": entry["expect"]}
        forward.setdefault("workers", []).append(back)
    return "; ".join(said[:5]) + (f"; and {len(said) - 5} more" if len(said) > 5 else ""), forward


def _restore_job(db: Database, entry: Row) -> tuple[str, Row, Row]:
    job = get_job(db, int(entry["id"]))
    changes = dict(entry["set"])
    if "message" in changes:  # whether a worker still passes it over is for the worker to say
        changes["message"] = own_message(changes["message"])
    for name, value in sorted(dict(entry["expect"]).items(), key=lambda pair: pair[0] != "status"):
        if job[name] != value:
            raise CannotUndo(_why_not(job, name, value))
    step = entry.get("spec")
    if strange := set(changes) - JOB_COLUMNS - (OF_SPEC if step else set()):
        raise CannotUndo(f"its stored undo step changes {sorted(strange)} of a job, which is not allowed")
    status = changes.get("status", job["status"])
    if status != job["status"] and (job["status"], status) not in STATUS_CHANGES:
        raise CannotUndo(f"job {job['id']} cannot go from {job['status']} to {status}")
    if status == "done" != job["status"] and not _was_done(db, job | changes):
        raise CannotUndo(f"job {job['id']} has not run all its trials, and was never done")
    if status == "cancelled" != job["status"] and changes.get("ended_at") is None:
        changes["ended_at"] = db.now()
    spec = _specification(db, job, changes, step)
    change = change_job(db, job, **changes, **spec)
    now = job | changes
    if status == "queued" and status != job["status"] and now["hold_reason"] is None:
        send_ticket(db)
    expect = {"attempt": job["attempt"]} | {name: now[name] for name in KEPT if name in changes}
    back = {"id": job["id"], "expect": expect, "set": {name: job[name] for name in changes}}
    if step is None:
        return _what_changed(job, changes), back, {"job_id": job["id"]} | change
    back["spec"] = specification.difference(json.loads(spec["spec"]), json.loads(job["spec"]))
    text = f"job {job['id']}: {specification.words(job['spec'], step)}"
    return text, back, {"job_id": job["id"]} | change


def _was_done(db: Database, job: Row) -> bool:
    """Whether the job has ended as done before, perhaps with trials left because its time was up; or could have."""
    finished = EventRow.select(EventRow.id).where(EventRow.job_id == job["id"], EventRow.verb == Verb.FINISHED)
    return db.one(finished) is not None or ended(db, job["id"]) >= int(job["trials_wanted"])


# changed columns whose new values a later undo or redo must still find
KEPT = ("status", "rank", "asked", "trials_wanted", "spec_md5")


def _specification(db: Database, job: Row, changes: Row, step: Row | None) -> Row:
    """Returns the `spec` column that goes with the changes; {} if it stays."""
    if ("trials_wanted" in changes) != ("spec_md5" in changes):
        raise CannotUndo("its stored undo step must set both the number of trials and the specification of a job")
    if "trials_wanted" not in changes:
        return {}
    wanted = checked_int(changes["trials_wanted"], "trials_wanted", 1, 1_000_000)
    if not MD5.fullmatch(str(changes["spec_md5"])):
        raise CannotUndo("its stored undo step names no specification")
    if (there := begun(db, job["id"])) > wanted:
        raise CannotUndo(f"trial {there - 1} of job {job['id']} has begun since")
    if step is None:
        return {"spec": with_trials(job, wanted)}
    if changes.get("status", job["status"]) not in MAY_CHANGE or job["status"] not in MAY_CHANGE:
        raise CannotUndo(f"job {job['id']} is {job['status']}; pause it first")
    text = specification.changed(job["spec"], step)
    if wanted_of(json.loads(text)) != wanted:
        raise CannotUndo("its stored undo step names another number of trials than its specification")
    if not MD5.fullmatch(str(changes.get("question_md5") or "0" * 32)):
        raise CannotUndo("its stored undo step names no question")
    checked_direction(str(changes.get("direction", job["direction"])))
    for name in ("metric", "cell"):
        checked_text(changes.get(name, job[name]), name)
    return {"spec": text}


def _what_changed(job: Row, changes: Row) -> str:
    if "trials_wanted" in changes:
        status = (
            f", {job['status']} -> {changes['status']}" if changes.get("status", job["status"]) != job["status"] else ""
        )
        return f"job {job['id']}: {changes['trials_wanted']} trials instead of {job['trials_wanted']}{status}"
    if "status" in changes and changes["status"] != job["status"]:
        return f"job {job['id']}: {job['status']} -> {changes['status']}"
    if "rank" in changes:
        return f"job {job['id']}: back to its place in the queue"
    if "asked" in changes:
        asked = f"asked to {changes['asked']}" if changes["asked"] else f"the request to {job['asked']} was withdrawn"
        return f"job {job['id']}: {asked}"
    return f"job {job['id']}: {', '.join(f'{name} {value}' for name, value in changes.items())}"


def _why_not(job: Row, name: str, expected: Any) -> str:
    if name == "status":
        started = "has started since and is" if job["status"] == "running" else "is"
        return f"job {job['id']} {started} {job['status']} now, not {expected}"
    if name == "trials_wanted":
        return f"job {job['id']} has {job[name]} trials now, not {expected}"
    if name == "spec_md5":
        return f"job {job['id']} was changed since"
    if name == "attempt":
        return f"job {job['id']} has started since (attempt {job['attempt']})"
    if name == "rank":
        return f"job {job['id']} was moved since"
    if name == "asked":
        asked = f"asked to {job['asked']}" if job["asked"] else "no longer asked to stop"
        return f"job {job['id']} is {asked} now"
    return f"{name} of job {job['id']} is {job[name]} now, not {expected}"


def _restore_flag(db: Database, entry: Row) -> tuple[str, Row]:
    name, wanted = entry["name"], entry["set"]
    if name not in FLAGS:
        raise CannotUndo(f"its stored undo step sets the flag {str(name)[:40]!r}, which cannot be changed")
    row = get_flag(db, name)
    if (row and row["value"]) != entry["expect"]:
        raise CannotUndo("the queue was resumed since" if row is None else "the queue was paused since")
    was = None if row is None else {"value": row["value"], "reason": row["reason"]}
    if wanted is None:
        FlagRow.delete().where(FlagRow.name == name).execute(db)
        missing_tickets(db)
        return "the queue is resumed", {"name": name, "expect": None, "set": was}
    set_flag(db, name, str(wanted["value"]), wanted["reason"], "undo")
    return f"the queue is paused again ({wanted['reason']})", {"name": name, "expect": wanted["value"], "set": was}


def _restore_worker(db: Database, entry: Row) -> str:
    """Gives a worker its earlier request back. One that has left keeps none: otherwise no undo could pass this one."""
    worker = get_worker(db, int(entry["id"]))
    wanted, expected = entry["set"]["asked"], entry["expect"]["asked"]
    if worker["status"] == "stopped" or has_died(db, worker):
        nothing = "nothing is withdrawn, `fts worker` starts another" if wanted is None else "nothing is asked of it"
        return f"worker {worker['id']} has left, so {nothing}"
    if worker["asked"] != expected:
        raise CannotUndo(f"worker {worker['id']} got another request since ({worker['asked'] or 'withdrawn'})")
    WorkerRow.update(asked=wanted).where(WorkerRow.id == worker["id"]).execute(db)
    if wanted is None:
        missing_tickets(db)
    return f"worker {worker['id']}: {wanted or 'the request to stop was withdrawn'}"
