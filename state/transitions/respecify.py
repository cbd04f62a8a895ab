"""Gives a job that does not run another specification: how its trials run, or all of it while none has begun."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fts.state.errors import WrongStatus
from fts.state.ticket_rows import send_ticket
from fts.state.transitions.base import Row, change_job, emit, get_job, this_person, transaction
from fts.state.transitions.extend import ENDED, RESTORED, begun, next_rank
from fts.state.transitions.jobs import checked_row
from fts.state.values import Verb

if TYPE_CHECKING:
    from fts.state.db import Database

MAY_CHANGE = ("queued", "paused", "done", "failed", "cancelled")
WRITTEN = ("spec", "spec_md5", "question_md5", "trials_wanted", "metric", "direction", "cell")


@dataclass(frozen=True)
class Respecified:
    """What a job shall be from now on."""

    job_id: int
    row: Mapping[str, Any]  # as `enqueue` takes it, of the same study, labels and kind
    words: str  # what differs: "trial_timeout 2h -> 4h"
    unbegun: bool  # only while no trial of it has begun
    goes_on: bool = False  # where its time has ended it, it goes to the end of the line


def respecify(db: Database, changes: Iterable[Respecified], who: str | None = None, dry_run: bool = False) -> None:
    """All of them or none. Raises WrongStatus for a job that runs, has begun since, or is another cell.

    It cannot be undone: the earlier specification, enqueued again, is the way back.
    """
    with transaction(db, dry_run):
        for change in changes:
            _change(db, change, who or this_person())


def _change(db: Database, change: Respecified, who: str) -> None:
    job, row = get_job(db, change.job_id), checked_row(change.row)
    if job["status"] not in MAY_CHANGE:
        raise WrongStatus(f"job {job['id']} is {job['status']}; pause it, then enqueue again")
    if change.unbegun and begun(db, job["id"]):
        raise WrongStatus(f"a trial of job {job['id']} has begun since; enqueue again")
    for name in ("study", "kind", "experiment"):
        if job[name] != row[name]:
            raise WrongStatus(f"job {job['id']} has {name} {job[name]!r}, expected {row[name]!r}")
    if json.loads(job["labels"]) != json.loads(row["labels"]):
        raise WrongStatus(f"job {job['id']} is another cell than {row['cell']}")
    changes: Row = {name: row[name] for name in WRITTEN}
    words = f"{job['experiment']}: {change.words}"
    if goes_on := change.goes_on and job["status"] in ENDED:
        changes |= dict.fromkeys(RESTORED) | {"status": "queued", "rank": next_rank(db), "idle_attempts": 0}
        words += f"; it was {job['status']} and is back in line"
    changed: Row = change_job(db, job, **changes)
    if goes_on:
        send_ticket(db)
    emit(db, Verb.CHANGED, who, words, job_id=job["id"], data=changed)
