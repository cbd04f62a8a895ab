"""Caches the rows of the tables of results: the row of an ended job is made again only if it may have changed.

Without the cache, the end of a job would read the trials of all other jobs, which may be a thousand.
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
SILENT_S = 3600.0  # the cache does not wait for a power sensor that was silent for this long


@dataclass(frozen=True)
class CachedRow:
    """A row, what it was made from, and whether its watt hours are final."""

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


class RowCache:
    """The rows that one process has made. A cached row equals one that is made from the whole database."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._kept: dict[int, CachedRow] = {}
        self._power = False  # whether any sensor measured watts when the rows were made
        self._lock = threading.Lock()

    def of(self, wanted: Sequence[Job], ended: Iterable[Job], margins: Mapping[int, Margin]) -> list[Row]:
        """Returns one row for each wanted job, in their order; `ended`: all ended cells of all studies."""
        with self._lock:
            self._forget_changed(ended, margins)
            new = [job for job in wanted if job.id not in self._kept]
            if new:
                self._make(new, margins)
            return [self._kept[job.id].row for job in wanted]

    def _forget_changed(self, ended: Iterable[Job], margins: Mapping[int, Margin]) -> None:
        """Removes rows of changed jobs. With measured watts, also rows of jobs that ran at the same time: they shared
        the power with the changed ones."""
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
            self._kept[job.id] = CachedRow(job, margin, made, (job.ended_at or 0.0) < settled)

    def _settled_before(self) -> float:
        """Returns the time before which watt hours are final: no later measurement changes a job that ended before.

        A trial that has not ended may have shared the power with it; the length of a sample is known with the next one.
        """
        if not self._power:
            return 0.0
        known, working = queries.power_known_until(self.db), queries.working_since(self.db)
        measured = max(known or 0.0, self.db.now() - SILENT_S)
        return measured if working is None else min(working, measured)


def began(job: Job) -> float:
    """Returns a time before which no trial of the job ran."""
    return job.created_at if job.started_at is None else job.started_at
