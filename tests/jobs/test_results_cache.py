"""The end of a job costs no more after a thousand jobs, and the tables say the same as if all were read again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.records import exports
from fts.jobs.records.energy import energies
from fts.jobs.records.exports import export_results, results_file
from fts.jobs.records.pending_exports import PendingExports
from fts.jobs.records.results_cache import RowCache
from fts.jobs.settings import Places
from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.transitions.enqueuing import enqueue
from fts.state.values import Cause, Claim
from tests.cli.study import (
    add_epoch,
    finish_trial,
    finished_cell,
    make_study,
    places_of,
    start_trial,
)
from tests.state.helpers import spec

HORIZONS = tuple(range(1, 21))


@pytest.fixture
def study(tmp_path: Path) -> Iterator[tuple[Database, Places]]:
    """Forty cells in line."""
    db = make_study(tmp_path, horizons=HORIZONS)
    yield db, places_of(tmp_path)
    db.close()


def read_by(monkeypatch: pytest.MonkeyPatch, act: Any) -> set[int]:
    """The jobs whose trials are read meanwhile."""
    read: set[int] = set()
    for name in ("trials", "history", "attempts_by_trial"):
        real = getattr(queries, name)
        monkeypatch.setattr(queries, name, lambda db, job, *more, real=real: (read.add(job), real(db, job, *more))[1])
    act()
    monkeypatch.undo()
    return read


def ended(db: Database) -> Any:
    return queries.job(db, finished_cell(db).job_id)


def test_the_end_of_a_job_reads_the_trials_of_no_other_one(
    study: tuple[Database, Places], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, places = study
    owed = PendingExports(db, places)
    for _ in range(5):
        owed.export(ended(db))
    owed.write()
    owed._tables_after = 0.0
    job = ended(db)
    assert read_by(monkeypatch, lambda: owed.export(job)) == {job.id}
    assert places.results_csv.read_text().count("\n") == 7


def test_a_job_that_has_changed_since_is_read_again(
    study: tuple[Database, Places], monkeypatch: pytest.MonkeyPatch
) -> None:
    db, places = study
    rows = RowCache(db)
    first, second = ended(db), ended(db)
    exports.export_tables(db, places, rows)
    db.execute_sql("UPDATE job SET message = 'another', trials_failed = 1 WHERE id = ?", (first.id,))
    assert read_by(monkeypatch, lambda: exports.export_tables(db, places, rows)) == {first.id}
    told = places.results_csv.read_text()
    assert told == export_results(db, places).read_text()
    assert second.experiment in told


def test_a_table_is_written_a_while_later_where_others_still_come_and_at_once_after_the_last(
    study: tuple[Database, Places],
) -> None:
    db, places = study
    owed = PendingExports(db, places)
    owed.export(ended(db))
    owed._tables_after = time.monotonic() + 1000
    job = ended(db)
    owed.export(job)
    assert places.results_csv.read_text().count("\n") == 2 and len(owed) == 1
    assert (places.exports / job.experiment / "best_params.json").exists(), "its own files wait for nothing"
    assert not owed.write(now=False), "not yet"
    assert owed.write() and not owed, "a worker that leaves"
    assert places.results_csv.read_text().count("\n") == 3
    owed._tables_after = time.monotonic() + 1000
    while queries.has_unfinished(db):
        owed.export(ended(db))
    assert places.results_csv.read_text().count("\n") == 41 and not owed


def test_a_table_that_could_not_be_written_is_still_owed(
    study: tuple[Database, Places], caplog: pytest.LogCaptureFixture
) -> None:
    db, places = study
    owed = PendingExports(db, places)
    owed.export(ended(db))
    owed._tables_after = time.monotonic() + 1000
    owed.export(ended(db))
    places.results_csv.unlink()
    places.results_csv.mkdir()
    assert not owed.write() and len(owed) == 1
    assert any("exports not written" in line for line in caplog.messages)
    places.results_csv.rmdir()
    assert owed.write() and places.results_csv.read_text().count("\n") == 3


def test_what_a_killed_worker_owed_is_written_at_the_next_start(study: tuple[Database, Places]) -> None:
    db, places = study
    owed = PendingExports(db, places)
    owed.export(ended(db))
    owed._tables_after = time.monotonic() + 1000
    for _ in range(3):
        owed.export(ended(db))
    exports.catch_up(db, places)
    assert places.results_csv.read_text().count("\n") == 5


def test_the_end_of_a_job_writes_the_table_of_its_own_study_alone(study: tuple[Database, Places]) -> None:
    db, places = study
    other = enqueue(db, [spec(1, study="other", experiment="other_1", cell="1")], "test")[0]
    owed = PendingExports(db, places)
    owed.export(ended(db))
    claimed = transitions.claim(db, transitions.register_worker(db, "here", 1, 1.0, 1), 60.0, 3, other.job_id)
    assert claimed is not None
    finish_trial(db, claimed, start_trial(db, claimed), 0.5)
    transitions.finish_job(db, claimed)
    before = places.results_csv.stat().st_ino
    owed._tables_after = 0.0
    owed.export(queries.job(db, other.job_id))
    assert results_file(places, queries.job(db, other.job_id)).read_text().count("\n") == 2
    assert places.results_csv.stat().st_ino == before


# -- where sensors know the power


class Hours:
    """A day of three slots of one machine: trials side by side, samples, retries; the clock is ours."""

    def __init__(self, db: Database, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.db, self.random, self.now = db, random.Random(seed), 1_700_000_000.0
        monkeypatch.setattr(Database, "now", lambda _: self.now)
        self.worker = transitions.register_worker(db, "lab", 1, 1.0, 3)
        self.live: dict[int, tuple[Claim, int]] = {}  # job -> its claim and its trial
        self.failed: list[int] = []

    def step(self) -> bool:
        """Something happens; True: a job has ended."""
        for _ in range(self.random.choice((1, 1, 2, 20))):
            self.now += self.random.choice((1, 5, 20, 60, 60, 60, 60, 300))
            if self.random.random() < 0.9:
                transitions.add_sample(self.db, self.worker, power_w=self.random.uniform(50.0, 300.0))
        kind = self.random.choice(("begin", "begin", "report", "report", "end", "fail", "retry"))
        if kind == "begin" and len(self.live) < 3:
            self.begin()
        elif kind == "report" and self.live:
            claimed, trial = self.random.choice(list(self.live.values()))
            if trial % 3:  # others are known by their processes
                self.report(claimed, trial)
        elif kind in ("end", "fail") and self.live:
            claimed, trial = self.live.pop(self.random.choice(list(self.live)))
            self.end(claimed, trial, kind)
            return True
        elif kind == "retry" and self.failed:
            job_id = self.failed.pop(self.random.randrange(len(self.failed)))
            transitions.retry(self.db, [job_id], "test")
        return False

    def begin(self) -> None:
        claimed = transitions.claim(self.db, self.worker, 1e9)
        if claimed is None:
            return
        there = queries.trials(self.db, claimed.job_id)
        if there and there[-1].ended_at is None:
            transitions.rerun_trial(self.db, claimed, there[-1].id)
            trial = there[-1].id
        else:
            trial = start_trial(self.db, claimed, len(there))
        transitions.record_progress(self.db, claimed, trial, {"host": "lab"})
        self.live[claimed.job_id] = claimed, trial

    def report(self, claimed: Claim, trial: int) -> None:
        known = queries.epochs(self.db, trial)
        add_epoch(self.db, claimed, trial, len(known) + 1, 0.5)
        self.db.execute_sql(
            "UPDATE epoch SET seconds = ? WHERE trial_id = ? AND epoch = ?",
            (self.random.choice((0.5, 1.0)), trial, len(known) + 1),
        )

    def end(self, claimed: Claim, trial: int, kind: str) -> None:
        if kind == "end":
            finish_trial(self.db, claimed, trial, self.random.random())
            transitions.finish_job(self.db, claimed)
            return
        transitions.finish_trial(self.db, claimed, trial, "failed", Cause.CODE_ERROR)
        transitions.fail_job(self.db, claimed, Cause.CODE_ERROR, "broken")
        self.failed.append(claimed.job_id)


@pytest.mark.parametrize("seed", [3, 5])
def test_kept_rows_say_what_the_whole_database_says(
    study: tuple[Database, Places], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Also where trials run beside each other and share the power, and a retry takes back what one has used."""
    db, places = study
    rows, hours = RowCache(db), Hours(db, seed, monkeypatch)
    told = set()
    for _ in range(120):
        if hours.step():
            exports.export_tables(db, places, rows)
            kept = places.results_csv.read_text()
            assert kept == export_results(db, places).read_text()
            told |= {line.split(",")[30] for line in kept.splitlines()[1:]}
    assert len(told) > 3, "watt hours of different jobs"
    whole = energies(db)
    for since in (job.started_at for job in queries.jobs(db) if job.started_at is not None):
        later = [job.id for job in queries.jobs(db) if (job.started_at or 0.0) >= since]
        part = {trial: watts for trial, watts in energies(db, since).items() if job_of(db, trial) in later}
        assert part == {trial: watts for trial, watts in whole.items() if job_of(db, trial) in later}


def job_of(db: Database, trial: int) -> int:
    return queries.trial_by_id(db, trial).job_id
