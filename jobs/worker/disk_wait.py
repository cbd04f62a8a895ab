"""Resumes the queue after a worker has paused it because of the disk, as soon as files can be written again."""

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

LONGEST_S = 600.0  # longest wait between two tries on a disk that takes the test file, but not a trial's files
BY_WORKER = "worker "  # prefix of `who` in events of a worker


class DiskWait:
    """Checks the disk for one worker; call `look` at any rate. A person's pause stays until a person resumes."""

    def __init__(self, db: Database, outputs: Path, worker_id: int, tell: Tell, first_s: float) -> None:
        self.db, self.outputs, self.worker_id, self.tell = db, outputs, worker_id, tell
        self.first_s = first_s  # wait before the first try; doubles after each failed one
        self._tries = 0
        self._resumed = float("-inf")  # monotonic
        self._paused: float | None = None  # monotonic time when this worker saw the pause

    def look(self) -> None:
        """Resumes the queue if a worker paused it because of the disk and files can be written now."""
        flag = queries.flag(self.db, "queue_paused")
        if not is_of_disk(flag):
            self._paused = None
            return
        now = time.monotonic()
        if self._paused is None:
            self._tries = self._tries + 1 if now - self._resumed < LONGEST_S else 0
            self._paused = now
            self.tell(Note("no job starts until files can be written; then the worker continues by itself"))
        wait_s = min(self.first_s * 2.0 ** min(self._tries, 30), LONGEST_S)
        if now - self._paused < wait_s or not takes_files(self.outputs):
            return
        try:
            transitions.resume_queue(self.db, who=f"{BY_WORKER}{self.worker_id}")
        except DISK_FAILS:  # a file fits, but the database cannot be written
            return
        waited = spell(now - self._paused)
        self._resumed, self._paused = now, None
        self.tell(Note(f"files can be written again ({size(room(self.outputs)[0])} free): continues after {waited}"))


def is_of_disk(flag: dict[str, Any] | None) -> bool:
    """Did a worker pause the queue for a reason that can end without a person?"""
    return flag is not None and str(flag["who"]).startswith(BY_WORKER) and resumes_by_itself(flag["reason"])
