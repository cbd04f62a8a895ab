"""Leaves when the terminal is gone, however it went: no monitor spins on behind a closed window."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import time
from typing import Any

LOOK_EVERY_S = 1.0
GRACE_S = 2.0  # for an orderly exit, before the process ends itself


def leave_when_terminal_goes(app: Any) -> None:
    """SIGHUP and SIGTERM exit the app; a watch thread covers terminals that vanish without a signal (nohup)."""
    signal.signal(signal.SIGTERM, lambda *_: _leave(app))
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: _leave(app))
    threading.Thread(target=_watch, args=(app,), name="terminal", daemon=True).start()


def _watch(app: Any) -> None:
    fd = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
    while is_there(fd):
        time.sleep(LOOK_EVERY_S)
    _leave(app)


def is_there(fd: int) -> bool:
    """Whether the terminal behind a descriptor still answers."""
    try:
        termios.tcgetattr(fd)
    except (termios.error, OSError):
        return False
    return True


def _leave(app: Any) -> None:
    """Asks the app to exit; ends the process when a dead terminal keeps it from doing so. Nothing here can be lost."""
    threading.Thread(target=_end, daemon=True).start()
    loop = getattr(app, "_loop", None)
    if loop is not None and loop.is_running():
        loop.call_soon_threadsafe(app.exit)


def _end() -> None:
    time.sleep(GRACE_S)
    os._exit(0)
