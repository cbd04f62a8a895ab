"""Keeps the rows of the tables of results: what a job that has ended says is made anew only where it may have changed.

Of a job with a thousand others on record, the end would else cost the reading of all their trials.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.records import columns, results
from fts.jobs.records.energy import energies, total
from fts.state import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fts.state.db import Database
    from fts.state.values import Job, Margin

Row = dict[str, Any]
SILENT_S = 3600.0  # a sensor that has told nothing for so long is not waited for


@dataclass(frozen=True)
class Kept:
    """A row, what it was made of, and whether its watt hours stay."""

    job: Job
    margin: Margin | None
    row: Row
    settled: bool

    @property
    def began(self) -> float:
        return began(self.job)

    @property
    def ended(self) -> float:
        return self.job.ended_at or 0.0


class KeptRows:
    """Of one process. A row says the same as one that is made of the whole database."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._kept: dict[int, Kept] = {}
        self._power = False  # did any sensor know it when the rows were made?
        self._lock = threading.Lock()

    def of(self, wanted: Sequence[Job], ended: Iterable[Job], margins: Mapping[int, Margin]) -> list[Row]:
        """One row for each job that is wanted, in their order; `ended`: every cell that has ended, of any study."""
        with self._lock:
            self._forget_changed(ended, margins)
            new = [job for job in wanted if job.id not in self._kept]
            if new:
                self._make(new, margins)
            return [self._kept[job.id].row for job in wanted]

    def _forget_changed(self, ended: Iterable[Job], margins: Mapping[int, Margin]) -> None:
        """Where watts are known, jobs of the same time, too: they shared the power with what has changed."""
        if (power := queries.knows_power(self.db)) != self._power:
            self._power = power
            self._kept.clear()
        now = {job.id: (job, margins.get(job.id)) for job in ended}
        gone = [kept for kept in self._kept.values() if now.get(kept.job.id) != (kept.job, kept.margin)]
        if power:
            gone += [
                kept
                for kept in self._kept.values()
                if not kept.settled or any(kept.began <= one.ended and one.began <= kept.ended for one in gone)
            ]
        for kept in gone:
            self._kept.pop(kept.job.id, None)

    def _make(self, new: Sequence[Job], margins: Mapping[int, Margin]) -> None:
        measured = energies(self.db, min(map(began, new)) if self._kept else 0.0) if self._power else {}
        settled = self._settled_before()
        for job in new:
            trials = queries.trials(self.db, job.id)
            margin = margins.get(job.id)
            row = columns.study_of(job).result_row(job, trials, total(measured, trials), margin)
            made = results.row_of(self.db, job, trials, measured) if row is None else row
            self._kept[job.id] = Kept(job, margin, made, (job.ended_at or 0.0) < settled)

    def _settled_before(self) -> float:
        """Of a job that ended before that, nothing that is still to come changes the watt hours.

        A trial that has not ended may have shared the power with it; how long a sample holds is known with the next.
        """
        if not self._power:
            return 0.0
        told, working = queries.powers_until(self.db), queries.working_since(self.db)
        measured = max(told or 0.0, self.db.now() - SILENT_S)
        return measured if working is None else min(working, measured)


def began(job: Job) -> float:
    """No trial of a job runs before that."""
    return job.created_at if job.started_at is None else job.started_at
