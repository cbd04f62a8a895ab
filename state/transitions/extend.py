"""Finds the job that asked the same question before, and gives it more trials in place: what it has found stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from peewee import fn

from fts.frozen import dataclass
from fts.state.models import ALL, JobRow, TrialRow
from fts.state.rows import to_object
from fts.state.scheduling import preference
from fts.state.ticket_rows import send_ticket
from fts.state.transitions.base import MAX_SPEC, Row, change_job, to_json
from fts.state.transitions.specification import difference
from fts.state.values import Amount, Enqueued, Verb

if TYPE_CHECKING:
    from fts.state.db import Database

Spec = Mapping[str, Any]
SEEDS, BASELINE = BESIDE = ("seeds", "baseline")  # fields of a specification that ask for trials beside the search
FOLLOWS = "winner_seeds"  # asks for a job that follows, of which the study knows
ENDED = ("done", "failed", "cancelled")
RESTORED = ("status", "rank", "cause", "message", "ended_at", "acknowledged_at", "hold_reason", "idle_attempts")


@dataclass(frozen=True)
class SameQuestion:
    """What this package cannot know: which specifications ask the same, and what one with more trials is called."""

    of: Callable[[Spec], str | None]  # a key of the question; None: the specification cannot be read
    md5: Callable[[Spec], str]  # identity of a specification


def same_question(db: Database, row: Row, rule: SameQuestion) -> Row | None:
    """The job that answers the row's question, or will."""
    asked = rule.of(json.loads(row["spec"]))
    if asked is None:
        return None
    # axes in another order make a text of the same length: it spares reading every job for every cell of a matrix
    may_be = fn.LENGTH(JobRow.labels) == len(row["labels"])
    if row["question_md5"] is not None:  # two that have one are compared by it alone
        may_be = (JobRow.question_md5 == row["question_md5"]) | (JobRow.question_md5.is_null() & may_be)
    alike = JobRow.select(ALL).where(JobRow.study == row["study"], JobRow.kind == row["kind"], may_be)
    found = [job for job in db.rows(alike) if _asks_the_same(job, row, asked, rule)]
    return min(found, key=lambda job: _preference(job, row["trials_wanted"]), default=None)


def _asks_the_same(job: Row, row: Row, asked: str, rule: SameQuestion) -> bool:
    """By the stored identity of the question where both have one, else by what their specifications say."""
    if job["question_md5"] is not None and row["question_md5"] is not None:
        same = job["question_md5"] == row["question_md5"]
        return same and _key(job, rule) is not None  # what cannot be read answers nothing
    return to_object(job["labels"]) == to_object(row["labels"]) and _key(job, rule) == asked


def _preference(job: Row, wanted: int) -> tuple[bool, int, int, int]:
    return preference(job["status"], job["trials_wanted"], job["id"], wanted)


def _key(job: Row, rule: SameQuestion) -> str | None:
    try:
        spec = json.loads(job["spec"])
    except (ValueError, RecursionError):
        return None
    return rule.of(spec)


def next_rank(db: Database) -> float:
    """The place behind everything in line."""
    last = JobRow.select(fn.MAX(JobRow.rank)).scalar(db)
    return float(last or 0.0) + 1.0


def extend_job(
    db: Database, job: Row, spec: Row, hold_reason: str | None, rule: SameQuestion
) -> tuple[Enqueued, Row, Row]:
    """More trials for a job that is there; one that has ended goes to the end of the line. Inside a transaction.

    `spec` is the specification as `extended` makes it. Returns what was done, its event, and its way back.
    """
    wanted = wanted_of(spec)
    changes: Row = {
        "trials_wanted": wanted,
        "spec": to_json(spec, "spec", MAX_SPEC),
        "spec_md5": rule.md5(spec),
    }
    if job["status"] in ENDED:
        changes |= dict.fromkeys(RESTORED) | {"status": "queued", "rank": next_rank(db), "idle_attempts": 0}
        changes["hold_reason"] = hold_reason
    changed = change_job(db, job, **changes)
    now = job | changes
    if job["status"] in ENDED and now["hold_reason"] is None:
        send_ticket(db)
    old = json.loads(job["spec"])
    had, has = amount_of(old, job["trials_wanted"]), amount_of(spec, wanted)
    told = [f"{wanted} trials instead of {job['trials_wanted']}"] if wanted > job["trials_wanted"] else []
    told += [f"its winner with {has.follows} seeds instead of {had.follows}"] if has.follows > had.follows else []
    words = f"{job['experiment']}: {', '.join(told)}"
    words += f"; it was {job['status']} and is back in line" if job["status"] in ENDED else ""
    event = {"verb": Verb.EXTENDED, "words": words, "job_id": job["id"], "data": changed}
    expect = {"status": now["status"], "attempt": job["attempt"], "trials_wanted": wanted}
    before = {name: job[name] for name in changes if name != "spec"}
    done = Enqueued(
        job["id"], False, job["status"], extended_from=job["trials_wanted"], had=had, has=has, held=now["hold_reason"]
    )
    back: Row = {"id": job["id"], "expect": expect, "set": before}
    if any(old.get(name) != spec.get(name) for name in (*BESIDE, FOLLOWS)):  # else its number of trials says it all
        back["spec"] = difference(spec, old)
    return done, event, back


def extended(job: Row, row: Row) -> Row | None:
    """The job's specification with the amounts of a new one where those are larger; None: it wants no more."""
    old, new = json.loads(job["spec"]), json.loads(row["spec"])
    before, asked = job["trials_wanted"] - beside_of(old), row["trials_wanted"] - beside_of(new)
    more: Row = {}
    for name in (SEEDS, FOLLOWS):
        if new.get(name, 1) > old.get(name, 1):
            more[name] = new[name]
    if new.get(BASELINE) and not old.get(BASELINE):
        more[BASELINE] = new[BASELINE]
    return old | {"trials": max(before, asked)} | more if more or asked > before else None


def wanted_of(spec: Row) -> int:
    """How many trials a specification asks for: those of its search, and those beside it."""
    return int(spec["trials"]) + beside_of(spec)


def beside_of(spec: Spec) -> int:
    return amount_of(spec, 0).beside


def amount_of(spec: Spec, wanted: int) -> Amount:
    """Of a job with so many trials in all."""
    seeds, follows = (many if isinstance(many := spec.get(name, 1), int) else 1 for name in (SEEDS, FOLLOWS))
    beside = Amount(0, seeds, bool(spec.get(BASELINE)), follows)
    return replace(beside, search=wanted - beside.beside)


def with_trials(job: Row, wanted: int) -> str:
    """The job's specification with another number of trials, and not a letter else changed."""
    spec = json.loads(job["spec"])
    return to_json(spec | {"trials": wanted - beside_of(spec)}, "spec", MAX_SPEC)


def begun(db: Database, job_id: int) -> int:
    """How many trials of the job have begun."""
    return _count(db, TrialRow.job_id == job_id)


def ended(db: Database, job_id: int) -> int:
    """How many trials of the job have ended."""
    return _count(db, TrialRow.job_id == job_id, TrialRow.status.in_(["complete", "pruned", "failed"]))


def _count(db: Database, *where: Any) -> int:
    return int(TrialRow.select(fn.COUNT(TrialRow.id)).where(*where).scalar(db))
