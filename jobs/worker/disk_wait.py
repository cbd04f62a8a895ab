"""Lets jobs start again, unasked, after a worker paused the queue because of the disk: once files can be written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fts.jobs.status.formatting import size, spell
from fts.jobs.supervisor.machine_errors import DISK_FAILS, takes_files
from fts.jobs.supervisor.progress_events import Note
from fts.state import queries, transitions
from fts.state.files import room
from fts.state.scheduling import resumes_by_itself

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.supervisor.progress_events import Tell
    from fts.state.db import Database

LONGEST_S = 600.0  # between two tries of a disk that takes a file, but not what a trial writes
BY_WORKER = "worker "  # begins who did it


class DiskWait:
    """Of one worker; `look` as often as you like. Whoever paused the queue by hand resumes it by hand."""

    def __init__(self, db: Database, outputs: Path, worker_id: int, tell: Tell, first_s: float) -> None:
        self.db, self.outputs, self.worker_id, self.tell = db, outputs, worker_id, tell
        self.first_s = first_s  # to the first try; doubles with each one in vain
        self._tries = 0
        self._resumed = float("-inf")  # monotonic, as the next
        self._paused: float | None = None  # since when this worker has known

    def look(self) -> None:
        """Resumes the queue if it waits for the disk only, and the disk takes files."""
        flag = queries.flag(self.db, "queue_paused")
        if not is_of_disk(flag):
            self._paused = None
            return
        now = time.monotonic()
        if self._paused is None:
            self._tries = self._tries + 1 if now - self._resumed < LONGEST_S else 0
            self._paused = now
            self.tell(Note("no job starts until files can be written; then the worker goes on by itself"))
        wait_s = min(self.first_s * 2.0 ** min(self._tries, 30), LONGEST_S)
        if now - self._paused < wait_s or not takes_files(self.outputs):
            return
        try:
            transitions.resume_queue(self.db, who=f"{BY_WORKER}{self.worker_id}")
        except DISK_FAILS:  # the database has less room than a file
            return
        waited = spell(now - self._paused)
        self._resumed, self._paused = now, None
        self.tell(Note(f"files can be written again ({size(room(self.outputs)[0])} free): goes on after {waited}"))


def is_of_disk(flag: dict[str, Any] | None) -> bool:
    """Did a worker pause the queue for something that will do again without a person?"""
    return flag is not None and str(flag["who"]).startswith(BY_WORKER) and resumes_by_itself(flag["reason"])
