"""Releases a job after an error, even when the disk is full, so that no job stays `running` without a worker.

A disk error also pauses the queue, so that the next jobs do not fail on the same disk. The space for these rows comes
from the reserve file; without it, we try again until there is room.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.api.spec import BadSpec
from fts.jobs.supervisor.backoff import Rests
from fts.jobs.supervisor.machine_errors import DISK_FAILS, is_disk_trouble, pause_s
from fts.jobs.supervisor.progress_events import Note
from fts.jobs.trial.cause import cause_of
from fts.jobs.trial.error_text import sentence_of
from fts.state import transitions
from fts.state.errors import (
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseGone,
    NotFresh,
    StaleToken,
    UnreadableHistory,
)
from fts.state.files import CannotWrite, reason_of
from fts.state.scheduling import OF_DISK
from fts.state.values import Cause, Claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.supervisor.orders import Orders
    from fts.jobs.supervisor.progress_events import Tell
    from fts.jobs.worker.reserve import DiskReserve
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

RETRY_S = 2.0  # between two tries to write to a full disk
FORESEEN = (OSError, *DISK_FAILS, DatabaseBusy, DatabaseCorrupt, DatabaseGone, NotFresh, UnreadableHistory, BadSpec)


class Emergency:
    """Writes of one worker after errors; each method blocks until it has written, was refused, or the worker leaves."""

    def __init__(
        self,
        db: Database,
        ballast: DiskReserve,
        board: Orders,
        worker_id: int,
        tell: Tell,
        outage_pause_s: float = 1.0,
        rests: Rests | None = None,
    ) -> None:
        self.db, self.ballast, self.board, self.worker_id, self.tell = db, ballast, board, worker_id, tell
        self.outage_pause_s, self.rests = outage_pause_s, rests or Rests()

    def give_back(self, claim: Claim, error: Exception) -> None:
        """Releases the job to the queue; pauses the queue first after a disk error. An invalid spec fails the job."""
        error = self._of_files(error)
        message = sentence_of(error)
        fails = isinstance(error, BadSpec)
        self.tell(Note(f"{'has failed' if fails else 'is back in line'}: {message}", claim.job))
        if fails:
            self._insist(lambda: transitions.fail_job(self.db, claim, Cause.DATA_ERROR, message))
            return
        cause = Cause.DRAINED if isinstance(error, DatabaseBusy) else Cause(cause_of(error))
        if is_disk_trouble(error):
            cause = Cause.DISK
            self.pause_queue(error)
        if cause is Cause.MACHINE_ERROR:
            self.rests.begin(claim.job_id, pause_s(claim.job.idle_attempts, self.outage_pause_s))
        self._insist(lambda: transitions.release_job(self.db, claim, cause, message))

    def _of_files(self, error: Exception) -> Exception:
        """Turns a PermissionError below the outputs folder into CannotWrite, which counts as a disk error."""
        outputs = self.db.path.absolute().parent
        if isinstance(error, PermissionError) and outputs in Path(str(error.filename)).parents:
            return CannotWrite(error.errno, reason_of(error, Path(str(error.filename))))
        return error

    def pause_queue(self, error: Exception) -> None:
        reason = f"{OF_DISK} {error}"
        self._insist(lambda: transitions.pause_queue(self.db, reason, who=f"worker {self.worker_id}"))

    def _insist(self, write: Callable[[], object]) -> None:
        while True:
            try:
                write()
                return
            except StaleToken as refused:
                self.tell(Note(str(refused)))
                return
            except (*DISK_FAILS, DatabaseBusy) as error:
                if self.ballast.drop():
                    continue
                log.warning("%s; trying again every %.0f s", error, RETRY_S)
                if self.board.order is not None:  # the next worker's reconcile will correct what we could not write
                    return
                time.sleep(RETRY_S)


def is_foreseen(error: BaseException) -> bool:
    """Is the message enough, without a traceback? True for errors of disk, database or rows, not of our code."""
    return isinstance(error, FORESEEN)
