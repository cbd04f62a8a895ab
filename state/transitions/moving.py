"""Moves waiting jobs in the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peewee import SQL, ModelSelect, fn

from fts.state.errors import BadRow, WrongStatus
from fts.state.models import JobRow
from fts.state.transitions import order
from fts.state.transitions.base import Row, emit, get_job, numbers, this_person, transaction
from fts.state.values import Change, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.state.db import Database


def move(
    db: Database,
    job_ids: Iterable[int],
    to: str | None = None,
    *,
    place: int | None = None,
    before: int | None = None,
    who: str | None = None,
    dry_run: bool = False,
) -> Change:
    """Moves waiting jobs: `to` top, bottom, up or down; or to a `place` (1 is the head); or `before` a job."""
    ids = listed(job_ids)
    with transaction(db, dry_run):
        refuse_if_not_waiting(db, [*ids, *([before] if before is not None else [])])
        line = _waiting_jobs(db, ids, to)
        ranks = order.new_ranks(line, _wanted_order(line, ids, to, place, before), ids)
        if set(ranks) - set(ids):  # no gap between two ranks is left: all waiting jobs get new ranks
            line = _waiting_jobs(db)
            ranks = order.new_ranks(line, _wanted_order(line, ids, to, place, before), ids)
        if not ranks:
            are = "is" if len(ids) == 1 else "are"
            return Change(f"nothing to do: {numbers(ids)} {are} already at that place", None, tuple(ids), dry_run)
        old = dict(line)
        for job_id, rank in ranks.items():
            JobRow.update(rank=rank).where(JobRow.id == job_id).execute(db)
        places = {job_id: _place(db, job_id, ranks.get(job_id, old[job_id])) for job_id in ids}
        inverse = {"jobs": [{"id": j, "expect": {"rank": r}, "set": {"rank": old[j]}} for j, r in ranks.items()]}
        renumbered = {str(j): [old[j], r] for j, r in ranks.items()} if len(ranks) > len(ids) else None
        message = f"{numbers(ids)} moved to place {', '.join(str(places[j]) for j in ids[:5])}"
        event_id = None
        for job_id in ids:
            last = job_id == ids[-1]  # its event holds the undo step of all
            data: Row = {"old": {"rank": old[job_id]}, "new": {"rank": ranks.get(job_id, old[job_id])}}
            if last and renumbered:
                data["ranks"] = renumbered
            words = message if last else f"job {job_id} moved to place {places[job_id]}"
            undo_step = inverse if last else None
            event_id = emit(db, Verb.MOVED, who or this_person(), words, job_id=job_id, data=data, inverse=undo_step)
    return Change(message, None if dry_run else event_id, tuple(ids), dry_run)


def _wanted_order(line: order.Line, ids: list[int], to: str | None, place: int | None, before: int | None) -> list[int]:
    if (to is not None) + (place is not None) + (before is not None) != 1:
        raise ValueError("move needs exactly one of to, place, before")
    if before is not None:
        if before in ids:
            raise BadRow(f"job {before} cannot be moved before itself")
        return order.before(line, ids, before)
    if place is not None:
        return order.to_place(line, ids, place)
    if to in ("top", "bottom"):
        return order.to_place(line, ids, 1 if to == "top" else len(line))
    if to in ("up", "down"):
        return order.up(line, ids) if to == "up" else order.down(line, ids)
    raise BadRow(f"cannot move to {str(to)[:40]!r}; expected top, bottom, up, down, a place or before a job")


WAITING = "status IN ('queued', 'paused')"  # literals, so that SQLite uses the partial index


def refuse_if_not_waiting(db: Database, job_ids: list[int]) -> None:
    for job_id in job_ids:
        status = get_job(db, job_id)["status"]
        if status not in ("queued", "paused"):
            raise WrongStatus(f"job {job_id} is {status}; only queued and paused jobs have a place in the queue")


def _waiting_jobs(db: Database, ids: list[int] | None = None, to: str | None = None) -> list[tuple[int, float]]:
    """Returns (job id, rank) of the waiting jobs; for a move to the top, the bottom or by one, of those it affects."""
    waiting = JobRow.select(JobRow.id, JobRow.rank).where(SQL(WAITING))
    first_to_last, last_to_first = (JobRow.rank, JobRow.id), (JobRow.rank.desc(), JobRow.id.desc())
    if ids is None or to not in ("top", "bottom", "up", "down"):
        return _pairs(db, waiting.order_by(*first_to_last))
    moved = _pairs(db, waiting.where(JobRow.id.in_(ids)))
    low, high = min(rank for _, rank in moved), max(rank for _, rank in moved)
    if to == "top":
        part = _pairs(db, waiting.order_by(*first_to_last).limit(len(ids) + 1))
    elif to == "bottom":
        part = _pairs(db, waiting.order_by(*last_to_first).limit(len(ids) + 1))
    else:
        part = _pairs(db, waiting.where(JobRow.rank.between(low, high)))
        part += _pairs(db, waiting.where(JobRow.rank < low).order_by(*last_to_first).limit(2))
        part += _pairs(db, waiting.where(JobRow.rank > high).order_by(*first_to_last).limit(2))
    return sorted(set(moved + part), key=lambda pair: (pair[1], pair[0]))


def _pairs(db: Database, query: ModelSelect[JobRow]) -> list[tuple[int, float]]:
    return [(job, rank) for job, rank in query.tuples().execute(db)]


def _place(db: Database, job_id: int, rank: float) -> int:
    earlier = (JobRow.rank < rank) | ((JobRow.rank == rank) & (JobRow.id < job_id))
    return 1 + int(JobRow.select(fn.COUNT(JobRow.id)).where(SQL(WAITING), earlier).scalar(db))


def listed(job_ids: Iterable[int]) -> list[int]:
    ids = list(dict.fromkeys(job_ids))
    if not ids:
        raise BadRow("no job was named")
    return ids
