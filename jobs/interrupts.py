"""What signals do to a command while it starts, and to one that must restore a terminal or delete its files."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def sigint_kills_silently() -> Iterator[None]:
    """Lets Ctrl-C end the process without a traceback while modules are imported: nothing was done yet."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, or another handler is set
        yield
        return
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)


# what ends a process that does not handle it, without being a fault of its own; SIGUSR1 also comes from Slurm
ENDING = (
    signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM,
    signal.SIGPROF, signal.SIGXCPU,
)  # fmt: skip
CLEAN_UP_S = 1.0  # no second signal interrupts in this time after the first


@contextlib.contextmanager
def ends_as_interrupted(then: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Makes SIGTERM, the end of the terminal and the like work as Ctrl-C inside the block, so that it can clean up.

    `then` is called first.
    """
    latest = -math.inf

    def interrupt(*_: object) -> None:
        nonlocal latest
        if time.monotonic() - latest > CLEAN_UP_S:  # a terminal that closes may send SIGHUP and SIGTERM
            latest = time.monotonic()
            then()
            raise KeyboardInterrupt

    before = {one: signal.getsignal(one) for one in ENDING}
    before = {one: handler for one, handler in before.items() if handler is not signal.SIG_IGN}
    with contextlib.suppress(ValueError):  # not in the main thread
        for one in before:
            signal.signal(one, interrupt)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            for one, handler in before.items():
                signal.signal(one, handler)
