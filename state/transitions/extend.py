"""Finds an existing job of the same question and gives it more trials; its results are kept."""

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
SEEDS, BASELINE = EXTRA = ("seeds", "baseline")  # fields of a specification that ask for trials outside the search
FOLLOWS = "winner_seeds"  # the field that asks for a following job, which the study enqueues
ENDED = ("done", "failed", "cancelled")
RESTORED = ("status", "rank", "cause", "message", "ended_at", "acknowledged_at", "hold_reason", "idle_attempts")


@dataclass(frozen=True)
class SameQuestion:
    """The study's rule for which specifications ask the same question, and its hash of a specification."""

    of: Callable[[Spec], str | None]  # specification -> key of its question; None: unreadable
    md5: Callable[[Spec], str]  # specification -> its hash


def same_question(db: Database, row: Row, rule: SameQuestion, by_hash: bool = False) -> Row | None:
    """Returns the best job of the row's question in any status, or None. `by_hash`: each job of its study has the hash
    of its question, so an index finds it."""
    # the same axes in another order make a text of the same length: so not every job is read for each cell of a matrix
    may_be = fn.LENGTH(JobRow.labels) == len(row["labels"])
    if row["question_md5"] is not None:  # two jobs that have one are compared by it alone
        hashed = JobRow.question_md5 == row["question_md5"]
        may_be = hashed if by_hash else hashed | (JobRow.question_md5.is_null() & may_be)
    alike = JobRow.select(ALL).where(JobRow.study == row["study"], JobRow.kind == row["kind"], may_be)
    jobs = db.rows(alike)
    asked = rule.of(json.loads(row["spec"])) if jobs else None
    found = [] if asked is None else [job for job in jobs if _is_same_question(job, row, asked, rule)]
    return min(found, key=lambda job: _preference(job, row["trials_wanted"]), default=None)


def _is_same_question(job: Row, row: Row, asked: str, rule: SameQuestion) -> bool:
    """Compares the stored hashes of the question if both have one, else the keys of the specifications."""
    if job["question_md5"] is not None and row["question_md5"] is not None:
        same = job["question_md5"] == row["question_md5"]
        return same and _key(job, rule) is not None  # an unreadable specification matches no question
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
    """Returns a rank behind all jobs."""
    last = JobRow.select(fn.MAX(JobRow.rank)).scalar(db)
    return float(last or 0.0) + 1.0


def extend_job(
    db: Database, job: Row, spec: Row, hold_reason: str | None, rule: SameQuestion
) -> tuple[Enqueued, Row, Row]:
    """Gives a job more trials; queues an ended one again, at the end. Call it inside a transaction.

    `spec` is the specification from `extended_spec`. Returns the result, its event, and its undo step.
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
    parts = [f"{wanted} trials instead of {job['trials_wanted']}"] if wanted > job["trials_wanted"] else []
    parts += [f"its winner with {has.follows} seeds instead of {had.follows}"] if has.follows > had.follows else []
    words = f"{job['experiment']}: {', '.join(parts)}"
    words += f"; it was {job['status']} and is queued again" if job["status"] in ENDED else ""
    event = {"verb": Verb.EXTENDED, "words": words, "job_id": job["id"], "data": changed}
    expect = {"status": now["status"], "attempt": job["attempt"], "trials_wanted": wanted}
    before = {name: job[name] for name in changes if name != "spec"}
    done = Enqueued(
        job["id"], False, job["status"], extended_from=job["trials_wanted"], had=had, has=has, held=now["hold_reason"]
    )
    undo_step: Row = {"id": job["id"], "expect": expect, "set": before}
    if any(old.get(name) != spec.get(name) for name in (*EXTRA, FOLLOWS)):  # else only the number of trials differs
        undo_step["spec"] = difference(spec, old)
    return done, event, undo_step


def extended_spec(job: Row, row: Row) -> Row | None:
    """Returns the job's specification with the larger amounts of the row's; None if the row wants no more."""
    old, new = json.loads(job["spec"]), json.loads(row["spec"])
    before, asked = job["trials_wanted"] - extra_of(old), row["trials_wanted"] - extra_of(new)
    more: Row = {}
    for name in (SEEDS, FOLLOWS):
        if new.get(name, 1) > old.get(name, 1):
            more[name] = new[name]
    if new.get(BASELINE) and not old.get(BASELINE):
        more[BASELINE] = new[BASELINE]
    return old | {"trials": max(before, asked)} | more if more or asked > before else None


def wanted_of(spec: Row) -> int:
    """Returns how many trials a specification asks for, with the extra ones outside the search."""
    return int(spec["trials"]) + extra_of(spec)


def extra_of(spec: Spec) -> int:
    return amount_of(spec, 0).extra


def amount_of(spec: Spec, wanted: int) -> Amount:
    """Splits a job's number of trials `wanted` into those of the search and the extra ones."""
    seeds, follows = (many if isinstance(many := spec.get(name, 1), int) else 1 for name in (SEEDS, FOLLOWS))
    amount = Amount(0, seeds, bool(spec.get(BASELINE)), follows)
    return replace(amount, search=wanted - amount.extra)


def with_trials(job: Row, wanted: int) -> str:
    """Returns the job's specification with another number of trials, otherwise unchanged."""
    spec = json.loads(job["spec"])
    return to_json(spec | {"trials": wanted - extra_of(spec)}, "spec", MAX_SPEC)


def begun(db: Database, job_id: int) -> int:
    """Counts the job's trials that have begun."""
    return _count(db, TrialRow.job_id == job_id)


def ended(db: Database, job_id: int) -> int:
    """Counts the job's trials that have ended."""
    return _count(db, TrialRow.job_id == job_id, TrialRow.status.in_(["complete", "pruned", "failed"]))


def _count(db: Database, *where: Any) -> int:
    return int(TrialRow.select(fn.COUNT(TrialRow.id)).where(*where).scalar(db))
