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
from fts.jobs.supervisor.backoff import Backoff
from fts.jobs.supervisor.machine_errors import DISK_FAILS, is_disk_trouble, pause_s
from fts.jobs.supervisor.progress_events import JobLeft, Note
from fts.jobs.supervisor.study_calls import NotReturned
from fts.jobs.threads import no_room
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
FORESEEN = (
    OSError,
    MemoryError,
    *DISK_FAILS,
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseGone,
    NotFresh,
    UnreadableHistory,
    BadSpec,
)


class Emergency:
    """Writes of one worker after errors; each method blocks until it has written, was refused, or the worker leaves."""

    def __init__(
        self,
        db: Database,
        reserve: DiskReserve,
        orders: Orders,
        worker_id: int,
        tell: Tell,
        outage_pause_s: float = 1.0,
        backoff: Backoff | None = None,
    ) -> None:
        self.db, self.reserve, self.orders, self.worker_id, self.tell = db, reserve, orders, worker_id, tell
        self.outage_pause_s, self.backoff = outage_pause_s, backoff or Backoff()

    def release_job(self, claim: Claim, error: Exception) -> None:
        """Releases the job to the queue; pauses the queue first after a disk error. An invalid spec fails the job."""
        error = self._as_disk_error(error)
        message = no_room(error) or sentence_of(error)
        fails = isinstance(error, BadSpec)
        self.tell(JobLeft(claim.job, f"{'failed' if fails else 'back in the queue'}: {message}"))
        if fails:
            self._write_with_retries(lambda: transitions.fail_job(self.db, claim, Cause.DATA_ERROR, message))
            return
        cause = Cause.DRAINED if isinstance(error, DatabaseBusy | NotReturned) else Cause(cause_of(error))
        if cause is Cause.OUT_OF_MEMORY or no_room(error) is not None:  # in this worker: no fault of the trials
            cause = Cause.MACHINE_ERROR
        if is_disk_trouble(error):
            cause = Cause.DISK
            self.pause_queue(error)
        if cause is Cause.MACHINE_ERROR:
            self.backoff.begin(claim.job_id, pause_s(claim.job.idle_attempts, self.outage_pause_s))
        self._write_with_retries(lambda: transitions.release_job(self.db, claim, cause, message))

    def _as_disk_error(self, error: Exception) -> Exception:
        """Turns a PermissionError below the outputs folder into CannotWrite, which counts as a disk error."""
        outputs = self.db.path.absolute().parent
        if isinstance(error, PermissionError) and outputs in Path(str(error.filename)).parents:
            return CannotWrite(error.errno, reason_of(error, Path(str(error.filename))))
        return error

    def pause_queue(self, error: Exception) -> None:
        reason = f"{OF_DISK} {error}"
        self._write_with_retries(lambda: transitions.pause_queue(self.db, reason, who=f"worker {self.worker_id}"))

    def _write_with_retries(self, write: Callable[[], object]) -> None:
        while True:
            try:
                write()
                return
            except StaleToken as refused:
                self.tell(Note(str(refused)))
                return
            except (*DISK_FAILS, DatabaseBusy) as error:
                if self.reserve.drop():
                    continue
                log.warning("%s; trying again every %.0f s", error, RETRY_S)
                if self.orders.order is not None:  # the next worker's reconcile will correct what we could not write
                    return
                time.sleep(RETRY_S)


def is_foreseen(error: BaseException) -> bool:
    """Is the message enough, without a traceback? True for errors of disk, database or rows, not of our code."""
    return isinstance(error, FORESEEN) or no_room(error) is not None
