"""Ends a worker that was asked to stop while a slot does not return from a study's hook, an export or a disk.

For trials and jobs this is kill -9, which loses nothing; but the jobs are released at once, and an event says what the
worker did not wait for. Its thread does not depend on the heartbeat, which waits for the database if the hook that
does not return holds a transaction open.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.status.event_groups import SLOT_LEFT
from fts.jobs.supervisor.progress_events import Note
from fts.jobs.threads import begin, repeat
from fts.jobs.worker.startup import remove_pid_file
from fts.state import transitions
from fts.state.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.worker.worker import Worker

log = logging.getLogger("fts.worker")

LOOK_S = 1.0
WRITES_S = 10.0  # how long a locked database may delay each of its last writes
ENDS_S = 30.0  # the process ends then, whatever could not be written


def watch(worker: Worker) -> None:
    """Starts the thread that ends the process when there is nothing left to wait for."""

    def look() -> float:
        worker.slot_watch.observe()
        if left := worker.slot_watch.gives_up():
            _leave(worker, left)
        return LOOK_S

    step = threading.Thread(target=repeat, args=(look, worker.is_closing, "last resort", LOOK_S), daemon=True)
    begin(step)


def _leave(worker: Worker, left: Sequence[str]) -> None:
    words = f"stopped without waiting for {'; '.join(left)}"
    with contextlib.suppress(OSError):  # no further thread can be started
        begin(threading.Thread(target=_end_anyway, daemon=True))
    worker.progress.tell(Note(f"worker {worker.id} {words}; nothing is lost"))
    worker.heartbeat.over.set()
    worker.db.patience_s = WRITES_S
    try:
        worker.executor.close()
        transitions.record_intervention(worker.db, worker.id, SLOT_LEFT, f"worker {worker.id} {words}")
        transitions.stop_worker(worker.db, worker.id, words)
        worker.raise_database_error()
    except StateError as error:
        log.error("%s", error)  # noqa: TRY400  # the sentence says all
    except Exception:
        log.exception("the next worker puts back what could not be written")
    if worker.settings.detached:
        remove_pid_file(worker.places, os.getpid())
    worker.progress.close()
    os._exit(worker.exit_code())


def _end_anyway() -> None:
    time.sleep(ENDS_S)
    os._exit(1)
