"""Thins old samples of the hardware, in short transactions, so that nobody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.state.transitions.base import emit, transaction
from fts.state.values import Verb

if TYPE_CHECKING:
    from fts.state.db import Database

CHUNK = 5_000  # rows a transaction: about 50 ms, far below the busy timeout of a beat


def prune_samples(db: Database, older_than_s: float, keep_every_s: float = 60.0) -> int:
    """Of the samples older than that, one per `keep_every_s` seconds and worker stays. Returns how many went."""
    cutoff = db.now() - older_than_s
    sql = (
        "DELETE FROM sample WHERE id IN (SELECT id FROM sample WHERE at < ? AND id NOT IN ("
        "SELECT MIN(id) FROM sample WHERE at < ? GROUP BY worker_id, CAST(at / ? AS INTEGER)) LIMIT ?)"
    )
    gone = 0
    while True:
        with transaction(db):
            count = int(db.execute_sql(sql, (cutoff, cutoff, keep_every_s, CHUNK)).rowcount)
        gone += count
        if count < CHUNK:
            break
    if gone:
        words, data = f"{gone} old hardware samples removed", {"rows": gone, "what": "hardware samples"}
        with transaction(db):
            emit(db, Verb.PRUNED_ROWS, "retention", words, data=data)
    return gone
