"""What signals do to a command while it starts, and to one that must restore a terminal or delete its files."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@contextlib.contextmanager
def ends_as_interrupted() -> Iterator[None]:
    """Makes SIGTERM and the end of the terminal work like Ctrl-C inside the block, so that it can clean up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
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
