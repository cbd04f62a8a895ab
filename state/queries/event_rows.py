"""Reads events and flags: margins, openings of test sets, acknowledged forecasts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from peewee import SQL, fn

from fts.state.columns import LATEST, MANY
from fts.state.models import ALL, EventRow, FlagRow, JobRow
from fts.state.rows import read_time, to_event, to_margin, to_object, to_opening  # fmt: skip
from fts.state.values import Event, Margin, Opening, SeenForecast, UnreadableRow, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.db import Database

EVENTS_IN_SNAPSHOT = 200
OLDER = (  # kinds of events from which `fts status` judges; all others tell about one moment
    Verb.ACKNOWLEDGED, Verb.WORKER_LOST, Verb.WORKER_STOPPED, Verb.WORKER_ASKED, Verb.GUARD, Verb.RETRIED, Verb.FAILED,
    Verb.PARKED, "trial_restarted", "slot_stuck", "slot_works",
)  # fmt: skip
OF_EACH = 20  # older events of each of these kinds
STOPPED = (Verb.PAUSED, Verb.CANCELLED)  # kinds of events that have the name of the status of their job
OF_STOPPED = 100  # events of each of these kinds, of jobs that have that status
STOPPED_BY = """
    SELECT id FROM (SELECT id, job_id FROM event WHERE verb = ? AND id < ? ORDER BY id DESC LIMIT ?)
    WHERE job_id IN (SELECT id FROM job WHERE status = ?)
"""
OF_TRIALS = (  # kinds of which each trial has some
    Verb.TRIAL_STARTED, Verb.TRIAL_RESUMED, Verb.TRIAL_FACTS, Verb.TRIAL_INTERRUPTED, Verb.TRIAL_COMPLETE,
    Verb.TRIAL_PRUNED, Verb.TRIAL_FAILED,
)  # fmt: skip
MOST_OF_ABSENCE = 20_000
# An imported job is enqueued and done at once, by no attempt. That cannot be undone, and must not hide other changes.
IMPORTED = "verb = 'enqueued' AND (SELECT status = 'done' AND attempt = 0 FROM job WHERE job.id = job_id)"
_OPEN = "SELECT id FROM event WHERE inverse IS NOT NULL AND undone_by IS NULL AND id < ? AND verb"
TO_UNDO = f"{_OPEN} <> 'undone' AND ({IMPORTED}) IS NOT TRUE ORDER BY id DESC LIMIT ?"
TO_REDO = f"{_OPEN} = 'undone' ORDER BY id DESC LIMIT ?"


def claimed_since(db: Database, job_id: int, verbs: Iterable[str]) -> int:
    """Returns the first token with which the job was claimed after its last event of these kinds; 0 if it has none.

    Uses the order of the events, not their times: a clock may have been set back.
    """
    of_job = EventRow.job_id == job_id
    last = EventRow.select(fn.MAX(EventRow.id)).where(of_job, EventRow.verb.in_(list(verbs))).scalar(db)
    if last is None:
        return 0
    claims = EventRow.select(EventRow.data).where(of_job, EventRow.verb == Verb.CLAIMED, EventRow.id > last)
    first = db.one(claims.order_by(EventRow.id))
    if first is None:
        return 1 + int(JobRow.select(JobRow.token).where(JobRow.id == job_id).scalar(db) or 0)
    token = to_object(first["data"]).get("token")
    return token if isinstance(token, int) else 0


def events(
    db: Database,
    since: int | None = None,
    limit: int = EVENTS_IN_SNAPSHOT,
    job_id: int | None = None,
    verbs: Iterable[str] | None = None,
    trial_id: int | None = None,
    until: float | None = None,
) -> tuple[Event, ...]:
    """Returns at most `limit` events, oldest first: those after event id `since`, else the latest, until `until`."""
    query = EventRow.select(ALL)
    if until is not None:
        query = query.where(EventRow.at <= until)
    if since is not None:
        query = query.where(EventRow.id > since)
    if job_id is not None:
        query = query.where(EventRow.job_id == job_id)
    if trial_id is not None:
        query = query.where(EventRow.trial_id == trial_id)
    if verbs is not None:
        query = query.where(EventRow.verb.in_([str(verb) for verb in verbs]))
    order = EventRow.id if since is not None else EventRow.id.desc()
    rows = db.rows(query.order_by(order).limit(limit))
    return tuple(to_event(row) for row in sorted(rows, key=lambda row: row["id"]))


def has_event(db: Database, event_id: int, at: float) -> bool:
    """Returns whether the journal has exactly this event: after a restore another one may have its number."""
    found = events(db, since=event_id - 1, limit=1)
    return bool(found) and (found[0].id, found[0].at) == (event_id, at)


def last_read(db: Database, event_id: int, at: float) -> int:
    """Returns the last event that a reader knows who has read up to this one: after a restore, the last one until then.

    `at` is 0 if the reader does not know the time of its event.
    """
    newest = max((event.id for event in events(db, limit=1)), default=0)
    if not at or has_event(db, event_id, at):
        return min(event_id, newest)
    return max((event.id for event in events(db, until=at, limit=1)), default=0)


def older_events(db: Database, latest: tuple[Event, ...]) -> tuple[Event, ...]:
    """Returns the events of the kinds OLDER before the snapshot's latest ones, and what undo and redo revert.

    Also who paused or cancelled the jobs that are, of the latest of these events.
    """
    if len(latest) < EVENTS_IN_SNAPSHOT:
        return ()
    before = latest[0].id
    of_kind = "SELECT id FROM (SELECT id FROM event WHERE verb = ? AND id < ? ORDER BY id DESC LIMIT ?)"
    chosen = [of_kind] * len(OLDER) + [f"SELECT id FROM ({of})" for of in (TO_UNDO, TO_REDO)]
    given = [value for verb in OLDER for value in (str(verb), before, OF_EACH)] + [before, 1, before, 1]
    chosen += [STOPPED_BY] * len(STOPPED)
    given += [value for verb in STOPPED for value in (str(verb), before, OF_STOPPED, str(verb))]
    ids = " UNION ALL ".join(chosen)
    query = EventRow.select(ALL).where(SQL(f"id IN ({ids})", given)).order_by(EventRow.id)
    return tuple(to_event(row) for row in db.rows(query))


def events_to_revert(db: Database, redo: bool = False, n: int = 1) -> tuple[Event, ...]:
    """Returns the `n` events that `undo` would undo, or the undos that `redo` would take back, newest first."""
    of = SQL(f"id IN ({TO_REDO if redo else TO_UNDO})", [sys.maxsize, n])
    return tuple(to_event(row) for row in db.rows(EventRow.select(ALL).where(of).order_by(EventRow.id.desc())))


def absence(db: Database, since: float, until: float | None = None) -> tuple[tuple[Event, ...], dict[str, int]]:
    """Returns the latest events of the time since then without those of single trials, and how many there are of each
    kind."""
    these = EventRow.at > since if until is None else (EventRow.at > since) & (EventRow.at <= until)
    query = EventRow.select(ALL).where(these, EventRow.verb.not_in(OF_TRIALS)).order_by(EventRow.id.desc())
    found = [to_event(row) for row in db.rows(query.limit(MOST_OF_ABSENCE))]
    return tuple(reversed(found)), count_events(db, since, until)[0]


def count_events(db: Database, since: float, until: float | None = None, after: int = 0) -> tuple[dict[str, int], int]:
    """Counts the events of each kind since then, and after event id `after`; also returns the last id."""
    at = "+at" if after else "at"  # with a few new events, the index of the times is the slower way
    sql = f"SELECT verb, COUNT(*), MAX(id) FROM event WHERE {at} > ? AND id > ? AND at <= ? GROUP BY verb"
    rows = db.execute_sql(sql, (since, after, LATEST if until is None else until)).fetchall()
    return {verb: n for verb, n, _ in rows}, max((last for *_, last in rows), default=after)


def events_by(db: Database, who: str, after: int) -> dict[str, int]:
    """Counts the events of each kind by this author after an event id."""
    sql = "SELECT verb, COUNT(*) FROM event WHERE id > ? AND who = ? GROUP BY verb"
    return dict(db.execute_sql(sql, (after, who)).fetchall())


def trials_left_at(db: Database, who: str, after: int, verb: str, verbs: Iterable[str]) -> int:
    """Counts the trials whose latest event of the kinds `verbs`, by this author after an event id, is of kind `verb`.

    Reads only the trials that have such an event.
    """
    asked = [str(each) for each in verbs]
    marks = ", ".join("?" * len(asked))
    mine = "SELECT DISTINCT trial_id FROM event WHERE verb = ? AND id > ? AND who = ? AND trial_id IS NOT NULL"
    last = f"id > ? AND who = ? AND verb IN ({marks}) AND trial_id IN ({mine}) GROUP BY trial_id"
    sql = f"SELECT COUNT(*) FROM (SELECT verb, MAX(id) FROM event WHERE {last}) WHERE verb = ?"
    given = (after, who, *asked, str(verb), after, who, str(verb))
    return int(db.execute_sql(sql, given).fetchone()[0])


def flag(db: Database, name: str) -> dict[str, Any] | None:
    """Returns a flag's row (name, value, reason, who, at); None if it is not set."""
    return db.one(FlagRow.select(ALL).where(FlagRow.name == name))


def margins(db: Database) -> tuple[Margin, ...]:
    """Returns each cell's margin over the best baseline, by job id."""
    return margins_and_odd(db)[0]


def margins_and_odd(db: Database) -> tuple[tuple[Margin, ...], list[UnreadableRow]]:
    """Returns the readable margins, and the unreadable rows."""
    found, odd = [], []
    for row in db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith("margin:"))):
        try:
            found.append(to_margin(row))
        except ValueError as error:
            odd.append(UnreadableRow("flag", f"flag {row['name']}", str(error)))
    return tuple(sorted(found, key=lambda margin: margin.job_id)), odd


def openings(db: Database) -> tuple[Opening, ...]:
    """Returns all cells with an opened test set, the earliest first."""
    rows = list(db.rows(FlagRow.select(ALL).where(FlagRow.name.startswith("unsealed:")).order_by(FlagRow.at)))
    return tuple(to_opening(row, flag(db, _tested(row))) for row in rows)


def opening(db: Database, experiment: str) -> Opening | None:
    """Returns who opened the test set of a cell, and when; None while it is sealed."""
    row = flag(db, f"unsealed:{experiment}")
    return None if row is None else to_opening(row, flag(db, _tested(row)))


def _tested(row: dict[str, Any]) -> str:
    return f"tested:{row['name'].removeprefix('unsealed:')}"


def last_key_at(db: Database, user: str) -> float | None:
    """Returns when this user last pressed a key in a monitor, or acknowledged."""
    row = flag(db, f"last_key:{user}")
    return None if row is None else read_time(row["at"])


def seen_forecast(db: Database, user: str, before: float | None = None) -> SeenForecast | None:
    """Returns the forecast that this user saw when they last acknowledged everything (by `before`), or None."""
    acknowledged = EventRow.select(EventRow.data).where(EventRow.verb == Verb.ACKNOWLEDGED, EventRow.who == user)
    if before is not None:
        acknowledged = acknowledged.where(EventRow.at <= before)
    for row in db.rows(acknowledged.order_by(EventRow.id.desc()).limit(20)):  # skips those of single jobs
        if (forecast := to_object(row["data"]).get("forecast")) is not None:
            return _to_forecast(forecast)
    return None


def _to_forecast(data: Any) -> SeenForecast | None:
    """Reads a forecast; returns None if it is unreadable: a foreign event must not break a snapshot."""
    try:
        jobs = tuple(int(job) for job in data["jobs"])
        paces = {str(name): float(pace) for name, pace in data["paces"].items() if 0 <= float(pace) <= LATEST}
        taken_at, finish_at, slots = float(data["taken_at"]), float(data["finish_at"]), int(data["slots"])
        if not (0 <= taken_at <= LATEST and 0 <= finish_at <= LATEST and 0 < slots <= MANY):
            return None
        trials = {int(job): int(count) for job, count in data.get("trials", {}).items()}
        return SeenForecast(taken_at, finish_at, jobs, paces, slots, trials)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None
