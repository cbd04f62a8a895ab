"""Reads trials: their epochs, attempts, checkpoints and usual speed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeVar

from peewee import fn

from fts.state.errors import NoSuchRow, UnreadableHistory
from fts.state.models import ALL, AttemptRow, CheckpointRow, EpochRow, TrialRow
from fts.state.rows import finite_or_none, to_attempt, to_epoch, to_trial, unreadable_in  # fmt: skip
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fts.state.db import Database
    from fts.state.values import Attempt, Epoch, Trial

T = TypeVar("T")
SEARCHED = {  # columns that decide the next trial's parameters
    "number", "status", "params", "effective", "objective", "direction", "value", "epochs", "badges"
}  # fmt: skip


def trials(db: Database, job_id: int, first: int = 0) -> tuple[Trial, ...]:
    """Returns a job's trials from number `first` on, by number."""
    query = TrialRow.select(ALL).where(*from_number(job_id, first)).order_by(TrialRow.number)
    return tuple(to_trial(row) for row in db.rows(query))


def readable_trials(db: Database, job_id: int, first: int = 0) -> tuple[Trial, ...]:
    """Returns a job's trials from number `first` on, for a search. Raises UnreadableHistory if it needs an unreadable
    column."""
    found = trials(db, job_id, first)
    for odd in unreadable_in({"trial": found}):
        if SEARCHED & {part.partition(" is ")[0] for part in odd.why.split(", ")}:
            raise UnreadableHistory(f"{odd}; `fts doctor` says what to do")
    return found


def trials_with_steps(db: Database, job_id: int) -> int:
    """Counts a job's trials that have reported at least one step."""
    return int(TrialRow.select().where(TrialRow.job_id == job_id, TrialRow.epochs > 0).count(db))


def shown_trials(db: Database, job_id: int) -> Iterator[Trial]:
    """Yields a job's trials by number, one row in memory, without what only a sampler needs (`effective`, `recipe`).

    Read them to the end without a pause: a read transaction is open until then.
    """
    query = TrialRow.select(ALL).where(TrialRow.job_id == job_id).order_by(TrialRow.number)
    for row in db.each_row(query):
        yield to_trial({**row, "effective": "{}", "effective_md5": "", "recipe": None})


def all_trials(db: Database) -> tuple[Trial, ...]:
    """Returns all trials, by job and number."""
    return tuple(to_trial(row) for row in db.rows(TrialRow.select(ALL).order_by(TrialRow.job_id, TrialRow.number)))


def trial(db: Database, job_id: int, number: int) -> Trial:
    """Returns trial `number` of a job. Raises NoSuchRow."""
    row = db.find(TrialRow, job_id=job_id, number=number)
    if row is None:
        raise NoSuchRow(f"job {job_id} has no trial {number}")
    return to_trial(row)


def trial_by_id(db: Database, trial_id: int) -> Trial:
    row = db.find(TrialRow, id=trial_id)
    if row is None:
        raise NoSuchRow(f"there is no trial with id {trial_id}")
    return to_trial(row)


def latest_trial(db: Database, job_id: int) -> Trial | None:
    """Returns a job's trial with the highest number, or None."""
    row = db.one(TrialRow.select(ALL).where(TrialRow.job_id == job_id).order_by(TrialRow.number.desc()))
    return None if row is None else to_trial(row)


def usual_step_s(db: Database, architecture: str, effective_batch: int, device: str, threads: int) -> float | None:
    """Returns the median seconds of past optimizer steps of this shape on this device; None without history."""
    query = (
        EpochRow.select(EpochRow.samples_per_s)
        .join(TrialRow, on=(TrialRow.id == EpochRow.trial_id))
        .where(
            TrialRow.architecture == architecture,
            TrialRow.device == device,
            TrialRow.threads == threads,
            EpochRow.samples_per_s > 0,
            fn.json_extract(TrialRow.effective, "$.effective_batch") == effective_batch,
        )
        .order_by(EpochRow.trial_id.desc(), EpochRow.epoch.desc())
        .limit(50)
    )
    from statistics import median  # here, not above: with fractions it takes 3 ms of `fts status`

    rates = [row["samples_per_s"] for row in db.rows(query)]
    usual = finite_or_none(effective_batch / median(rates)) if rates else None
    return usual or None


def longest_gap_s(db: Database, job_id: int, before: int) -> float:
    """Returns the longest time in seconds between two reports (or start and report) of the five trials before this
    number; 0 if there are none.

    Includes pauses and restarts, so that the result is too long rather than too short.
    """
    latest = (
        TrialRow.select(TrialRow.id, TrialRow.started_at)
        .where(TrialRow.job_id == job_id, TrialRow.number < before)
        .order_by(TrialRow.number.desc())
        .limit(5)
    )
    longest = 0.0
    for trial in db.rows(latest):
        reports = EpochRow.select(EpochRow.at).where(EpochRow.trial_id == trial["id"]).order_by(EpochRow.at)
        times = [trial["started_at"], *(row["at"] for row in db.rows(reports))]
        readable = [at for at in times if isinstance(at, int | float)]
        longest = max([longest, *(later - sooner for sooner, later in itertools.pairwise(readable))])
    return longest


def epochs(db: Database, trial_id: int) -> tuple[Epoch, ...]:
    return epochs_of(db, [trial_id])


def last_epoch(db: Database, trial_id: int) -> Epoch | None:
    row = db.one(EpochRow.select(ALL).where(EpochRow.trial_id == trial_id).order_by(EpochRow.epoch.desc()))
    return None if row is None else to_epoch(row)


def from_number(job_id: int, first: int) -> list[Any]:
    """Returns the condition for a job's trials from number `first` on."""
    return [TrialRow.job_id == job_id, *([TrialRow.number >= first] if first > 0 else [])]


def attempts(db: Database, trial_id: int) -> tuple[Attempt, ...]:
    """Returns a trial's attempts in order."""
    query = AttemptRow.select(ALL).where(AttemptRow.trial_id == trial_id).order_by(AttemptRow.n)
    return tuple(to_attempt(row) for row in db.rows(query))


def failed_before(db: Database, job_id: int, token: int) -> frozenset[int]:
    """Returns the ids of a job's failed trials without an attempt under this token or a later one."""
    failed = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id, TrialRow.status == TrialStatus.FAILED)
    later = AttemptRow.select().where(AttemptRow.trial_id == TrialRow.id, AttemptRow.token >= token)
    return frozenset(row["id"] for row in db.rows(failed.where(~fn.EXISTS(later)))) if token else frozenset()


def attempts_by_trial(db: Database, job_id: int) -> dict[int, tuple[Attempt, ...]]:
    """Returns the attempts of each trial of a job, in order, by trial id."""
    of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id)
    query = AttemptRow.select(ALL).where(AttemptRow.trial_id.in_(of_job)).order_by(AttemptRow.trial_id, AttemptRow.n)
    return by_trial(db.rows(query), to_attempt)


def working_since(db: Database) -> float | None:
    """Returns the start of the first attempt of any trial that has not ended (or is retried); None if all have
    ended."""
    first = AttemptRow.select(fn.MIN(AttemptRow.began_at)).join(TrialRow, on=(AttemptRow.trial_id == TrialRow.id))
    return finite_or_none(first.where(TrialRow.ended_at.is_null()).scalar(db))


def by_trial(rows: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], T]) -> dict[int, tuple[T, ...]]:
    """Converts the rows with `read` and groups them by trial id, in order."""
    found: dict[int, list[T]] = {}
    for row in rows:
        found.setdefault(row["trial_id"], []).append(read(row))
    return {trial_id: tuple(listed) for trial_id, listed in found.items()}


def interrupted(db: Database, job_id: int, since: int = 0) -> dict[int, tuple[float, float | None]]:
    """Maps trial id to (seconds of the ended attempts, start of the open attempt or None), for a job's trials with
    several attempts, from trial id `since` on."""
    second = AttemptRow.select(AttemptRow.n).where(AttemptRow.trial_id == TrialRow.id, AttemptRow.n == 2)
    of_job = TrialRow.select(TrialRow.id).where(TrialRow.job_id == job_id, TrialRow.id >= since, fn.EXISTS(second))
    found: dict[int, tuple[float, float | None]] = {}
    for row in db.rows(AttemptRow.select(ALL).where(AttemptRow.trial_id.in_(of_job))):
        one, (seconds, began) = to_attempt(row), found.get(row["trial_id"], (0.0, None))
        ended = seconds if one.ended_at is None else seconds + max(0.0, one.ended_at - one.began_at)
        found[one.trial_id] = (ended, one.began_at if one.ended_at is None else began)
    return found


def latest_tries(db: Database) -> tuple[tuple[int, int, str, float], ...]:
    """Returns (job id, trial id, how its latest attempt ended, when) for each interrupted trial of a queued job."""
    # Plain SQL with both statuses: SQLite uses a partial index only if the query repeats its condition.
    latest = "SELECT MAX(n) FROM attempt WHERE trial_id = t.id"
    found = db.execute_sql(
        "SELECT t.job_id, t.id, a.how, a.ended_at FROM trial t JOIN job j ON j.id = t.job_id JOIN attempt a"
        f" ON a.trial_id = t.id AND a.n = ({latest}) WHERE t.status IN ('running', 'interrupted')"
        " AND t.status = 'interrupted' AND j.status = 'queued' AND a.ended_at IS NOT NULL"
    )
    return tuple((int(job), int(trial), str(how), float(at)) for job, trial, how, at in found.fetchall())


def checkpoints(db: Database, trial_id: int, limit: int | None = None) -> tuple[dict[str, Any], ...]:
    """Returns a trial's checkpoints, newest first; `limit`: at most so many."""
    query = CheckpointRow.select(ALL).where(CheckpointRow.trial_id == trial_id).order_by(CheckpointRow.id.desc())
    return tuple(db.rows(query.limit(limit)))


def epochs_of(db: Database, trial_ids: list[int]) -> tuple[Epoch, ...]:
    query = EpochRow.select(ALL).where(EpochRow.trial_id.in_(trial_ids)).order_by(EpochRow.trial_id, EpochRow.epoch)
    return tuple(to_epoch(row) for row in db.rows(query))
