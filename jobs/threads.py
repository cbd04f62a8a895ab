"""Starts a thread, or raises an OSError that says why this machine allows no more of them, as it does for a process.

`repeat` is the loop of a thread that must live as long as its process. `place_of` and `stack_of` say where a thread is.
"""

from __future__ import annotations

import errno
import logging
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from fts.raising import chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

log = logging.getLogger("fts.worker")

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


def repeat(
    step: Callable[[], float | None],
    over: threading.Event,
    what: str,
    after_error_s: float = 1.0,
    foreseen: tuple[type[Exception], ...] = (OSError,),
) -> None:
    """Calls `step`, which returns the seconds until its next call, until it returns None or `over` is set.

    Continues after any error, because no other thread does this work. Logs each different error once, and with its
    traceback unless it is `foreseen`.
    """
    logged = ""
    while True:
        try:
            wait_s, logged = step(), ""
        except Exception as error:  # see above
            wait_s = after_error_s
            if repr(error) != logged:
                logged = repr(error)
                log.warning("%s: %s", what, str(error) or logged, exc_info=not isinstance(error, foreseen))
        if wait_s is None or over.wait(wait_s):
            return


def stack_of(frame: FrameType) -> str:
    """Returns the lines of a stack, outermost first, without their source: its file may be on the disk that hangs."""
    codes = [(each.f_code, line) for each, line in traceback.walk_stack(frame)]
    return "\n".join(f'  File "{code.co_filename}", line {line}, in {code.co_name}' for code, line in reversed(codes))


def place_of(frame: FrameType) -> str:
    """Says where a thread is: `in wait (subprocess.py, line 1264), called by reap (supervisor/child.py, line 358)`."""
    caller: FrameType | None = frame
    while caller is not None and caller.f_globals.get("__name__", "").split(".")[0] in sys.stdlib_module_names:
        caller = caller.f_back
    text = f"in {_named(frame)}"
    return text if caller is None or caller is frame else f"{text}, called by {_named(caller)}"


def _named(frame: FrameType) -> str:
    return f"{frame.f_code.co_name} ({'/'.join(Path(frame.f_code.co_filename).parts[-2:])}, line {frame.f_lineno})"


class _Started(threading.Event):
    """Set by the new thread when it begins."""

    given_up = False

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(STARTS_S if timeout is None else timeout) and timeout is None:
            self.given_up = True
            raise RuntimeError(NO_THREAD)
        return True
