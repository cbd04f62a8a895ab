"""Exports ended jobs, and retries exports that failed: a failed export never fails a job.

Writing the table of results of thousands of cells takes long. It is written after each job if that takes little of the
total time, at once if no other job waits or runs, and otherwise later.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.records import exports
from fts.jobs.records.results_cache import RowCache
from fts.state import queries
from fts.state.errors import DatabaseCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database
    from fts.state.values import Job

log = logging.getLogger("fts.worker")

AGAIN_S = 30.0  # between two tries
SHARE = 0.05  # share of the time that the tables may take while jobs wait or run


class PendingExports:
    """The pending exports of one worker: its slots add to them, and one thread writes them."""

    def __init__(self, db: Database, places: Places) -> None:
        self.db, self.places = db, places
        self._jobs: dict[int, int] = {}  # job id -> how often its export was postponed
        self._tables: set[Path] = set()  # tables with outdated rows
        self._tables_after = 0.0  # monotonic time of the next write of the tables
        self._rows = RowCache(db)
        self._logged: str | None = None  # the last logged error
        self._lock = threading.Lock()
        self.is_over = False  # nothing more is written

    def __len__(self) -> int:
        return len(self._jobs) + len(self._tables)

    def export(self, job: Job) -> None:
        """Exports an ended job. Writes the table last, because its row means that the other files exist.

        Raises CannotWrite.
        """
        if self.is_over:
            return
        exports.export_job(self.db, self.places, job)
        with self._lock:
            self._tables.add(exports.results_file(self.places, job))
        if time.monotonic() >= self._tables_after or not queries.has_unfinished(self.db):
            self._write_tables()

    def postpone(self, job_id: int, error: Exception) -> None:
        """Adds the job's export to the pending ones, and logs each different error once."""
        with self._lock:
            self._jobs[job_id] = self._jobs.get(job_id, 0) + 1
        self._log_once(error)

    def write(self, now: bool = True) -> bool:
        """Writes the pending exports; returns whether none is left. Without `now`, a table may be written later."""
        if self.is_over:
            return True
        with self._lock:
            due = sorted(self._jobs.items())
        for job_id, times in due:
            try:
                self.export(queries.job(self.db, job_id))
            except DatabaseCorrupt:
                return False  # the heartbeat finds it too, and stops the worker
            except Exception as error:  # noqa: BLE001  # whatever failed: it must not fail the job
                self.postpone(job_id, error)
                continue
            with self._lock:
                if self._jobs.get(job_id) == times:  # else a slot postponed it again meanwhile
                    del self._jobs[job_id]
            log.info("exports of job %d written", job_id)
        if self._tables and (now or time.monotonic() >= self._tables_after):
            try:
                self._write_tables()
            except DatabaseCorrupt:
                return False
            except Exception as error:  # noqa: BLE001  # the same
                self._log_once(error)
        return not self

    def _write_tables(self) -> None:
        with self._lock:
            due, self._tables = self._tables, set()
        began = time.monotonic()
        try:
            exports.export_tables(self.db, self.places, self._rows, due)
        except BaseException:
            with self._lock:
                self._tables |= due
            raise
        self._tables_after = time.monotonic() + (time.monotonic() - began) / SHARE

    def _log_once(self, error: Exception) -> None:
        if self._logged != str(error):
            self._logged = str(error)
            log.warning(
                "exports not written: %s; nothing is lost, the database has all of it; trying again every %.0f s",
                error,
                AGAIN_S,
            )
