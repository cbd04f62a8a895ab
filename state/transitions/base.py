"""The parts of every transition: one write transaction, its event, and the check of a worker's claim."""

from __future__ import annotations

import getpass
import json
import math
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from peewee import IntegrityError

from fts.state.columns import DEPTH, is_too_deep
from fts.state.errors import BadRow, NoSuchRow, StaleToken, WrongStatus
from fts.state.models import EventRow, FlagRow, JobRow, TrialRow, WorkerRow
from fts.state.values import Cause, Claim, Direction

if TYPE_CHECKING:
    from fts.state.db import Database

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")  # becomes a folder name: not "..", not an option
VERB = re.compile(r"[a-z_]{1,40}")
MAX_SPEC = 256_000  # characters of JSON
MAX_JSON = 64_000
MAX_CHANGE = 64 * MAX_JSON  # for a person's change: it may be about thousands of jobs
MAX_MESSAGE = 4_000
MAX_LOG_TAIL = 20_000

Row = dict[str, Any]


class _RollBack(Exception):
    """Ends a dry run, so that its transaction is rolled back."""


@contextmanager
def transaction(db: Database, dry_run: bool = False, urgent: bool = False) -> Iterator[None]:
    """Runs one write transaction; a dry run is rolled back at its end, so its result is what would happen.

    `urgent`: for heartbeats and claims, which go before the other writes of the worker's slots.
    """
    if dry_run and db.in_transaction():
        raise ValueError("a dry run rolls everything back, so it cannot run inside another transaction")
    try:
        with db.write(urgent):
            yield
            if dry_run:
                raise _RollBack
    except _RollBack:
        pass


def emit(
    db: Database,
    verb: str,
    who: str,
    message: str,
    *,
    job_id: int | None = None,
    trial_id: int | None = None,
    data: Mapping[str, Any] | None = None,
    inverse: Mapping[str, Any] | None = None,
    limit: int = MAX_JSON,
) -> int:
    """Writes one event in the transaction of its change; returns its id.

    `limit`: most characters of its data as JSON; with an undo step MAX_CHANGE.
    """
    row = {
        "at": db.now(),
        "who": who[:120],
        "verb": verb,
        "job_id": job_id,
        "trial_id": trial_id,
        "message": message[:MAX_MESSAGE],
        "data": to_json(finite(dict(data or {})), "event data", limit if inverse is None else MAX_CHANGE),
        "inverse": None if inverse is None else to_json(inverse, "inverse", MAX_CHANGE),
    }
    return db.insert(EventRow, row)


def this_person() -> str:
    """Returns user@host, for events of a person at this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{platform.node()}"


def get_job(db: Database, job_id: int) -> Row:
    row = db.find(JobRow, id=job_id)
    if row is None:
        raise NoSuchRow(f"there is no job {job_id}")
    return row


def get_trial(db: Database, trial_id: int) -> Row:
    row = db.find(TrialRow, id=trial_id)
    if row is None:
        raise NoSuchRow(f"there is no trial with id {trial_id}")
    return row


def get_worker(db: Database, worker_id: int) -> Row:
    row = db.find(WorkerRow, id=worker_id)
    if row is None:
        raise NoSuchRow(f"there is no worker {worker_id}")
    return row


def get_flag(db: Database, name: str) -> Row | None:
    """Returns the flag's row; None if it is not set."""
    return db.find(FlagRow, name=name)


OF_RUNNING = ("lease_until", "worker_id", "asked")  # columns that the schema's CHECKs allow only for a running job


def fenced_job(db: Database, claim: Claim) -> Row:
    """Returns the job of a claim; raises StaleToken if the claim is no longer valid. Call it inside the transaction.

    A claim with an expired lease is still valid: only a newer token or another status ends it.
    """
    job = get_job(db, claim.job_id)
    if job["token"] != claim.token:
        raise StaleToken(
            f"job {claim.job_id} is no longer with worker {claim.worker_id}: it was claimed again "
            f"(this claim has token {claim.token}, the latest {job['token']})"
        )
    if job["status"] != "running" or job["worker_id"] != claim.worker_id:
        raise StaleToken(f"job {claim.job_id} is {job['status']} now and no longer with worker {claim.worker_id}")
    return job


def fenced_trial(db: Database, claim: Claim, trial_id: int, starts_from: str = "running") -> Row:
    """Returns a trial of the claimed job; raises WrongStatus unless its status is `starts_from`, or StaleToken."""
    fenced_job(db, claim)
    trial = get_trial(db, trial_id)
    if trial["job_id"] != claim.job_id:
        raise WrongStatus(f"trial id {trial_id} belongs to job {trial['job_id']}, not to job {claim.job_id}")
    if trial["status"] != starts_from:
        raise WrongStatus(f"trial {trial['number']} of job {claim.job_id} is {trial['status']}, expected {starts_from}")
    return trial


def change_job(db: Database, job: Row, **changes: Any) -> Row:
    """Writes the changes if the job still has the status and token of `job`; returns the old and new columns.

    Raises WrongStatus if not, or if another job of the new specification waits or runs. The conditions are in the
    database itself, so that two writers cannot both succeed. Any status but running clears the
    columns OF_RUNNING: a value that was written there without the CHECKs would make every later change fail.
    """
    if changes.get("status", job["status"]) != "running":
        changes = {name: None for name in OF_RUNNING if job[name] is not None} | changes
    query = JobRow.update(changes).where(
        JobRow.id == job["id"], JobRow.status == job["status"], JobRow.token == job["token"]
    )
    try:
        changed = query.execute(db)
    except IntegrityError as error:
        if "job.spec_md5" not in str(error):
            raise
        raise WrongStatus(f"the specification of job {job['id']} is already in the queue as another job") from error
    if changed != 1:
        raise WrongStatus(f"job {job['id']} is no longer {job['status']}")
    return {"old": _state_columns(job, changes), "new": _state_columns(job | changes, changes)}


def change_trial(db: Database, trial: Row, **changes: Any) -> None:
    if db.change(TrialRow, changes, id=trial["id"], status=trial["status"]) != 1:
        raise WrongStatus(f"trial {trial['number']} of job {trial['job_id']} is no longer {trial['status']}")


def _state_columns(job: Mapping[str, Any], changes: Mapping[str, Any]) -> Row:
    """Returns the job's columns that an event keeps, so that fts.state.replay can rebuild the queue of a past time."""
    kept = ("status", "rank", "hold_reason", "asked", "cause", "worker_id", "attempt", "ended_at")
    rarer = ("trials_wanted", "message", "idle_attempts")
    return {name: job[name] for name in (*kept, *(name for name in rarer if name in changes))}


BEYOND = 10**300  # no float holds a much larger integer


def finite(value: Any) -> Any:
    """Returns the value with None for nan, infinities and integers beyond any float: they would be unreadable."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not -BEYOND < value < BEYOND:
        return None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


def to_json(value: Any, name: str, limit: int = MAX_JSON) -> str:
    """Returns canonical JSON. Raises BadRow for what no reader accepts: nan, too many levels, too many characters."""
    try:
        text = json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        text.encode()  # Python allows a lone surrogate, the database does not
    except UnicodeEncodeError as error:  # for example a folder name in an old encoding
        near = error.object[max(0, error.start - 60) : error.end]
        raise BadRow(f"{name} holds a name or text that is not UTF-8: ...{near!r}; rename it") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRow(f"{name} cannot be stored as JSON: {error}") from error
    if len(text) > limit:
        raise BadRow(f"{name} is {len(text)} characters of JSON, at most {limit} are stored")
    if is_too_deep(text):
        raise BadRow(f"{name} has more than {DEPTH} levels of lists and objects, at most {DEPTH} are stored")
    return text


def checked_name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise BadRow(
            f"{what} is {str(value)[:80]!r}; expected 1 to 80 of A-Z a-z 0-9 _ . - and not beginning with . or -"
        )
    return value


def checked_int(value: Any, what: str, low: int, high: int = 2**62) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadRow(f"{what} is {str(value)[:80]!r}; expected a whole number from {low} to {high}")
    return value


def checked_direction(value: Direction | str) -> str:
    try:
        return Direction(value).value
    except ValueError as error:
        raise BadRow(f"direction is {str(value)[:80]!r}; expected one of: {', '.join(Direction)}") from error


def checked_cause(value: Cause | str) -> str:
    try:
        return Cause(value).value
    except ValueError as error:
        raise BadRow(f"cause is {str(value)[:80]!r}; expected one of: {', '.join(Cause)}") from error


def short(message: str | None, limit: int = MAX_MESSAGE) -> str | None:
    """Cuts text to `limit` characters and replaces what SQLite or UTF-8 cannot hold."""
    return None if message is None else message[:limit].encode(errors="replace").decode().replace("\0", "?")


def tail(text: str | None) -> str | None:
    return None if text is None else short(text[-MAX_LOG_TAIL:], MAX_LOG_TAIL)


def numbers(ids: Iterable[int]) -> str:
    """Returns "job 3" or "jobs 3, 5 and 2 more"."""
    listed = list(ids)
    if len(listed) == 1:
        return f"job {listed[0]}"
    shown = ", ".join(map(str, listed[:5]))
    return f"jobs {shown}" + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
