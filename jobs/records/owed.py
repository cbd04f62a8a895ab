"""Keeps the jobs of which an export failed, and writes it again: an export never decides over a job."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fts.jobs.records import exports
from fts.state import queries
from fts.state.errors import DatabaseCorrupt

if TYPE_CHECKING:
    from fts.jobs.settings import Places
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

AGAIN_S = 30.0  # between two tries


class Owed:
    """Of one worker; its slots add to it, and one thread settles."""

    def __init__(self, db: Database, places: Places) -> None:
        self.db, self.places = db, places
        self._jobs: dict[int, int] = {}  # job -> how often it was owed
        self._said: str | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def owe(self, job_id: int, error: Exception) -> None:
        """Remembers the job, and says why once for each reason."""
        with self._lock:
            self._jobs[job_id] = self._jobs.get(job_id, 0) + 1
        if self._said != str(error):
            self._said = str(error)
            log.warning(
                "exports not written: %s; nothing is lost, the database has all of it; trying again every %.0f s",
                error,
                AGAIN_S,
            )

    def settle(self) -> bool:
        """Writes what is owed; False when something still is."""
        with self._lock:
            due = sorted(self._jobs.items())
        for job_id, times in due:
            try:
                exports.export_ended(self.db, self.places, queries.job(self.db, job_id))
            except DatabaseCorrupt:
                return False  # the beat finds it, too, and the worker leaves
            except Exception as error:  # noqa: BLE001  # whatever broke: the job has nothing to do with it
                self.owe(job_id, error)
                continue
            with self._lock:
                if self._jobs.get(job_id) == times:  # a slot may have failed to write more of it meanwhile
                    del self._jobs[job_id]
            log.info("exports of job %d written", job_id)
        return not self._jobs
