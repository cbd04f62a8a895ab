"""Keeps the jobs of which an export failed, and writes it again: an export never decides over a job."""

from __future__ import annotations

import logging
import threading
from typing import Any

from jobs import exports
from jobs.settings import Places
from state import queries
from state.errors import DatabaseCorrupt

log = logging.getLogger("fts.worker")

AGAIN_S = 30.0  # between two tries


class Owed:
    """Of one worker; its slots add to it, and one thread settles."""

    def __init__(self, db: Any, places: Places) -> None:
        self.db, self.places = db, places
        self._jobs: set[int] = set()
        self._said: str | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def owe(self, job_id: int, error: Exception) -> None:
        """Remembers the job, and says why once for each reason."""
        with self._lock:
            self._jobs.add(job_id)
        if self._said != str(error):
            self._said = str(error)
            log.warning(
                "exports not written: %s; nothing is lost, the database has all of it; trying again every %.0f s",
                error,
                AGAIN_S,
            )

    def settle(self) -> bool:
        """Writes what is owed; False when something still is."""
        for job_id in sorted(self._jobs):
            try:
                exports.export_job(self.db, self.places, queries.job(self.db, job_id))
                exports.export_results(self.db, self.places)
            except DatabaseCorrupt:
                return False  # the beat finds it, too, and the worker leaves
            except Exception as error:  # whatever broke: the job has nothing to do with it
                self.owe(job_id, error)
                continue
            with self._lock:
                self._jobs.discard(job_id)
            log.info("exports of job %d written", job_id)
        return not self._jobs
