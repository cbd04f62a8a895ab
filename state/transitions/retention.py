"""Keeps the memory small: old samples are thinned, old events of ended jobs go. Short transactions, so nobody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.state.transitions.base import emit, transaction
from fts.state.values import Verb

if TYPE_CHECKING:
    from fts.state.db import Database

CHUNK = 5_000  # rows a transaction: about 50 ms, far below the busy timeout of a beat
# What a person may want to read years later stays.
KEPT_VERBS = (Verb.ENQUEUED, Verb.FINISHED, Verb.FAILED, Verb.PARKED, Verb.CANCELLED, Verb.NEW_BEST, Verb.NOTED,
              Verb.RESUME_MISMATCH, Verb.PRUNED_ROWS, Verb.UNSEALED, Verb.TESTED, Verb.DRIFTED)  # fmt: skip


def prune_samples(db: Database, older_than_s: float, keep_every_s: float = 60.0, who: str = "retention") -> int:
    """Of the samples older than that, one per `keep_every_s` seconds and worker stays. Returns how many went."""
    cutoff = db.now() - older_than_s
    sql = (
        "DELETE FROM sample WHERE id IN (SELECT id FROM sample WHERE at < ? AND id NOT IN ("
        "SELECT MIN(id) FROM sample WHERE at < ? GROUP BY worker_id, CAST(at / ? AS INTEGER)) LIMIT ?)"
    )
    gone = _in_chunks(db, sql, (cutoff, cutoff, keep_every_s, CHUNK))
    return _told(db, gone, "hardware samples", who)


def prune_events(db: Database, older_than_s: float, who: str = "retention") -> int:
    """Events older than that go, except milestones and what can still be undone. Returns how many went."""
    cutoff = db.now() - older_than_s
    marks = ", ".join("?" for _ in KEPT_VERBS)
    sql = (
        f"DELETE FROM event WHERE id IN (SELECT id FROM event WHERE at < ? AND verb NOT IN ({marks}) "
        "AND (inverse IS NULL OR undone_by IS NOT NULL) "
        "AND id NOT IN (SELECT undone_by FROM event WHERE undone_by IS NOT NULL) LIMIT ?)"
    )
    gone = _in_chunks(db, sql, (cutoff, *KEPT_VERBS, CHUNK))
    return _told(db, gone, "events", who)


def _in_chunks(db: Database, sql: str, params: tuple[object, ...]) -> int:
    gone = 0
    while True:
        with transaction(db):
            count = int(db.execute_sql(sql, params).rowcount)
        gone += count
        if count < CHUNK:
            return gone


def _told(db: Database, gone: int, what: str, who: str) -> int:
    if gone:
        with transaction(db):
            emit(db, Verb.PRUNED_ROWS, who, f"{gone} old {what} removed", data={"rows": gone, "what": what})
    return gone
