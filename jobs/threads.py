"""Starts a thread, or raises an OSError that says why this machine allows no more of them, as it does for a process."""

from __future__ import annotations

import errno
import threading

from fts.raising import chain

HALF_RAISED = "error return without exception set"  # Python's SystemError where it had no memory for a MemoryError
NO_THREAD = "can't start new thread"  # Python's RuntimeError
REFUSED = "no thread can be started: this user, container or machine has reached its limit of processes or memory"
STARTS_S = 30.0  # on a busy machine; Python itself would wait for ever for a thread that found no memory to begin with


def no_room(error: BaseException | None) -> str | None:
    """Returns a sentence if an error, or one that it followed, means too little memory or too many threads."""
    for one in chain(error):
        if isinstance(one, MemoryError) or (isinstance(one, SystemError) and HALF_RAISED in str(one)):
            return "this machine or container has not enough free memory for that"
        if isinstance(one, RuntimeError) and NO_THREAD in str(one):
            return REFUSED
    return None


def begin(thread: threading.Thread) -> threading.Thread:
    """Starts the thread and returns it. Raises OSError if there is no room for it: then it never runs."""
    started = _Started()
    thread._started = started  # type: ignore[attr-defined]  # Thread.start waits for it
    run = thread.run
    thread.run = lambda: None if started.given_up else run()  # type: ignore[method-assign]
    try:
        thread.start()
    except RuntimeError as error:
        if NO_THREAD not in str(error):
            raise
        raise OSError(errno.EAGAIN, REFUSED) from error
    return thread


class _Started(threading.Event):
    """Set by the new thread when it begins."""

    given_up = False

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(STARTS_S if timeout is None else timeout) and timeout is None:
            self.given_up = True
            raise RuntimeError(NO_THREAD)
        return True
