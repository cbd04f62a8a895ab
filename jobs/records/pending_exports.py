"""Writes what a job leaves when it has ended, and again what could not be written: an export never decides over a job.

The table of results of thousands of cells takes its time. It is written after each job where that takes little of the
time, at once when nothing else waits or runs, and else a while later.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.records import exports
from fts.jobs.records.results_cache import KeptRows
from fts.state import queries
from fts.state.errors import DatabaseCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database
    from fts.state.values import Job

log = logging.getLogger("fts.worker")

AGAIN_S = 30.0  # between two tries
SHARE = 0.05  # of the time, that exports may take while jobs wait or run


class Owed:
    """Of one worker; its slots add to it, and one thread settles."""

    def __init__(self, db: Database, places: Places) -> None:
        self.db, self.places = db, places
        self._jobs: dict[int, int] = {}  # job -> how often it was owed
        self._tables: set[Path] = set()  # whose rows are behind the database
        self._tables_after = 0.0  # monotonic
        self._rows = KeptRows(db)
        self._said: str | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs) + len(self._tables)

    def export(self, job: Job) -> None:
        """All of a job that has ended; the table comes last, because its row says that the rest is there.

        Raises CannotWrite.
        """
        exports.export_job(self.db, self.places, job)
        with self._lock:
            self._tables.add(exports.results_file(self.places, job))
        if time.monotonic() >= self._tables_after or not queries.more_ends(self.db):
            self._write_tables()

    def owe(self, job_id: int, error: Exception) -> None:
        """Remembers the job, and says why once for each reason."""
        with self._lock:
            self._jobs[job_id] = self._jobs.get(job_id, 0) + 1
        self._say(error)

    def settle(self, now: bool = True) -> bool:
        """Writes what is owed; False when something still is. Without `now` a table waits for its time."""
        with self._lock:
            due = sorted(self._jobs.items())
        for job_id, times in due:
            try:
                self.export(queries.job(self.db, job_id))
            except DatabaseCorrupt:
                return False  # the beat finds it, too, and the worker leaves
            except Exception as error:  # noqa: BLE001  # whatever broke: the job has nothing to do with it
                self.owe(job_id, error)
                continue
            with self._lock:
                if self._jobs.get(job_id) == times:  # a slot may have failed to write more of it meanwhile
                    del self._jobs[job_id]
            log.info("exports of job %d written", job_id)
        if self._tables and (now or time.monotonic() >= self._tables_after):
            try:
                self._write_tables()
            except DatabaseCorrupt:
                return False
            except Exception as error:  # noqa: BLE001  # the same
                self._say(error)
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

    def _say(self, error: Exception) -> None:
        if self._said != str(error):
            self._said = str(error)
            log.warning(
                "exports not written: %s; nothing is lost, the database has all of it; trying again every %.0f s",
                error,
                AGAIN_S,
            )
