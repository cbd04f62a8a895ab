"""Waits for the last exports of a worker that leaves, and prints so: the tables of thousands of cells take long."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.supervisor.progress_events import Note
from fts.jobs.threads import begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.records.pending_exports import PendingExports

log = logging.getLogger("fts.worker")

TOLD_S = 10.0  # the wait is printed after this time
LOOK_S = 0.5  # between two looks for an order


def wait(is_over: Callable[[float], bool], gives_up: Callable[[], bool], tell: Callable[[Note], object]) -> None:
    """Waits until `is_over`, which is called with the seconds that it may wait, or `gives_up` returns True."""
    tells_at = time.monotonic() + TOLD_S
    while not gives_up() and not is_over(LOOK_S):
        if time.monotonic() > tells_at:
            tell(Note("the last exports are still being written; Ctrl-C leaves them to the next worker"))
            tells_at = math.inf


def write(owed: PendingExports, hurries: Callable[[], bool], grace_s: float, tell: Callable[[Note], object]) -> None:
    """Writes the exports that are missing. If the worker `hurries`, it waits for them as long as for a trial."""
    if not owed:
        return
    written = threading.Event()

    def step() -> None:
        if owed.write():
            written.set()

    try:
        thread = begin(threading.Thread(target=step, name="last exports", daemon=True))
    except OSError:  # no thread can be started
        step()
    else:
        until = time.monotonic() + grace_s

        def is_over(seconds: float) -> bool:
            thread.join(seconds)
            return not thread.is_alive()

        wait(is_over, lambda: hurries() and time.monotonic() > until, tell)
    if not written.is_set():
        log.warning("some exports could not be written; the next worker or `fts export` writes them")
