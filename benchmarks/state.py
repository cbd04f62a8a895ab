"""Measures the database: transitions with few and many jobs in the table, reads with a million events.

python -m benchmarks.state
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import Row, median_and_spread
from fts.state import queries, tickets, transitions
from fts.state.db import Database, open_database
from fts.state.values import Cause

FEW, MANY = 10, 100_000  # jobs waiting
FEW_EVENTS, MANY_EVENTS = 1_000, 1_000_000
LEASE_S = 60.0
Act = Callable[[Database], Any]


def rows(quick: bool = True) -> list[Row]:
    """Transitions and reads; about a minute, in full five."""
    repeats = 5 if quick else 25
    with tempfile.TemporaryDirectory() as folder:
        return transition_rows(Path(folder), repeats) + read_rows(Path(folder), repeats)


def transition_rows(folder: Path, repeats: int) -> list[Row]:
    """Measures each transition in a table of 100,000 waiting jobs and in one of 10, in turns."""
    times = 10
    few, many = filled(folder / "few.db", FEW), filled(folder / "many.db", MANY)
    measured = []
    for name, act in TRANSITIONS.items():
        small, large = in_turns(act, few, many, repeats, times)
        name = f"{name}, {MANY:,} jobs wait"
        ratio = (1000 * small[0], f"ms with {FEW} jobs", True)
        measured.append(Row(name, 1000 * large[0], "ms", *ratio, repeats=repeats * times, spread=large[1]))
    for db in (few, many):
        db.close()
    return measured


def read_rows(folder: Path, repeats: int) -> list[Row]:
    """Measures each read with a million events and with a thousand, in turns."""
    times = 20
    few, many = filled(folder / "short.db", 12), filled(folder / "long.db", 12)
    add_events(few, FEW_EVENTS)
    add_events(many, MANY_EVENTS)
    measured = []
    for name, act in READS.items():
        small, large = in_turns(act, few, many, repeats, times)
        name = f"{name}, {MANY_EVENTS:,} events"
        ratio = (1000 * small[0], f"ms with {FEW_EVENTS:,} events", True)
        measured.append(Row(name, 1000 * large[0], "ms", *ratio, repeats=repeats * times, spread=large[1]))
    for db in (few, many):
        db.close()
    return measured


def _claim_and_release(db: Database) -> None:
    claim = transitions.claim(db, 1, LEASE_S)
    assert claim is not None
    transitions.release_job(db, claim, Cause.DRAINED)


TRANSITIONS: dict[str, Act] = {
    "claim and release": _claim_and_release,
    "beat": lambda db: transitions.record_heartbeat(db, 1, LEASE_S),
    "pause and resume a job": lambda db: (transitions.pause(db, [5]), transitions.resume(db, [5])),
    "pause and undo": lambda db: (transitions.pause(db, [5]), transitions.undo(db)),
    "to the top and to the end of the line": lambda db: (
        transitions.move(db, [7], "top"),
        transitions.move(db, [7], "bottom"),
    ),
    "look at the queue (one ticket)": lambda db: tickets.make_huey(db).storage._next(),
}
READS: dict[str, Act] = {
    "snapshot of 12 jobs": lambda db: queries.snapshot(db, "ada"),
    "the latest 200 events": lambda db: queries.events(db),
    "events of one job": lambda db: queries.events(db, job_id=3),
    "events of a rare kind": lambda db: queries.events(db, verbs=["new_best"]),
    "events since the last look": lambda db: queries.events(db, since=queries.events(db, limit=1)[-1].id - 5),
    "nothing new (data_version)": lambda db: queries.data_version(db),
}


def in_turns(act: Act, few: Database, many: Database, repeats: int, times: int) -> tuple[Any, Any]:
    """Returns seconds per call with the small and the large table: median and spread of runs taken in turns."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for kept, db in zip(spent, (few, many), strict=True):
            act(db)
            for _ in range(times):  # each call separately: the median then ignores what other programs took
                start = time.perf_counter()
                act(db)
                kept.append(time.perf_counter() - start)
    return median_and_spread(spent[0]), median_and_spread(spent[1])


def filled(path: Path, n_jobs: int) -> Database:
    """Makes a database with this many waiting jobs and one worker."""
    db = open_database(path)
    transitions.register_worker(db, "bench", 1, 1.0, 1)
    with db.write():
        db.execute_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO job (experiment, kind, study, cell, labels, metric, direction, status, rank, trials_wanted, "
            "spec, spec_md5, created_at) "
            "SELECT 'phase6a_2M_h1_threshold_1pct', 'cell', 'patchtst', '2M/h1', "
            """'{"budget":"2M","horizon":1,"task":"threshold_1pct","tier":"a25"}', 'val_loss', 'minimize',"""
            " 'queued', i, 50, '{}', 'md5-' || i, 0 FROM n",
            (n_jobs,),
        )
        tickets.missing_tickets(db)
    return db


def add_events(db: Database, n: int) -> None:
    """Adds events as in a long study: mostly of trials, the first 200 and one in 10,000 a new best."""
    with db.write():
        db.execute_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO event (at, who, verb, job_id, trial_id, message, data) "
            "SELECT i, 'worker 1', CASE WHEN i % 10000 = 0 OR i <= 200 THEN 'new_best' ELSE 'trial_facts' END, "
            "1 + i % 12, i / 20, 'trial 7: n_params 2000001, n_val 442, n_pos 99, device cpu', "
            '\'{"number":7,"n_val":442}\' FROM n',
            (n,),
        )


def main() -> None:
    for row in rows(quick="--full" not in sys.argv):
        print(row.line())


if __name__ == "__main__":
    main()
