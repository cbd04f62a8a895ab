"""Changes the specification of a job that does not run: how its trials run, or all of it while none has begun."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.state.errors import WrongStatus
from fts.state.ticket_rows import send_ticket
from fts.state.transitions.base import Row, change_job, emit, get_job, this_person, transaction
from fts.state.transitions.enqueuing import checked_row
from fts.state.transitions.extend import ENDED, RESTORED, begun, next_rank
from fts.state.transitions.specification import difference
from fts.state.values import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fts.state.db import Database

MAY_CHANGE = ("queued", "paused", "done", "failed", "cancelled")
WRITTEN = ("spec", "spec_md5", "question_md5", "trials_wanted", "metric", "direction", "cell")


@dataclass(frozen=True)
class Respecified:
    """The new specification of a job."""

    job_id: int
    row: Mapping[str, Any]  # a row as for `enqueue`, with the same study, labels and kind
    words: str  # what differs: "trial_timeout 2h -> 4h"
    unbegun: bool  # allowed only while none of its trials has begun
    goes_on: bool = False  # queue it again, at the end, if it has ended by its time limit


def respecify(db: Database, changes: Iterable[Respecified]) -> None:
    """Changes all of these jobs or none; one undo reverts the whole call. Raises WrongStatus for a job that runs, has
    begun since, or is another cell.
    """
    with transaction(db):
        steps = [_change(db, change) for change in changes]
        for n, (event, _) in enumerate(steps):
            inverse = {"jobs": [undo_step for _, undo_step in steps]} if n == len(steps) - 1 else None
            emit(db, Verb.CHANGED, this_person(), event.pop("words"), **event, inverse=inverse)


def _change(db: Database, change: Respecified) -> tuple[Row, Row]:
    """Changes one job; returns its event and its undo step."""
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
        words += f"; it was {job['status']} and is queued again"
    changed: Row = change_job(db, job, **changes)
    if goes_on:
        send_ticket(db)
    event = {"words": words, "job_id": job["id"], "data": changed}
    expect = {name: (job | changes)[name] for name in ("status", "attempt", "trials_wanted", "spec_md5")}
    before = {name: job[name] for name in changes if name != "spec" and job[name] != changes[name]}
    before |= {name: job[name] for name in ("trials_wanted", "spec_md5")}
    old_spec = difference(json.loads(row["spec"]), json.loads(job["spec"]))
    return event, {"id": job["id"], "expect": expect, "set": before, "spec": old_spec}
