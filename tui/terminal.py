"""What the terminal can show, and leaving when it is gone, however it went: no monitor spins behind a closed window."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from textual.driver import Driver

CANNOT_MOVE = ("", "dumb", "unknown")  # values of $TERM: such a terminal only adds lines
LOOK_EVERY_S = 1.0
FOUND: list[list[Any]] = []  # the attributes of the terminal as the shell had it
GRACE_S = 2.0  # for an orderly exit, before the process ends itself


def ask_for_size() -> None:
    """The terminal says its size, not COLUMNS and LINES: a shell may export them, and a resize leaves them.

    They stay where the terminal does not know its own, such as a serial line.
    """
    with contextlib.suppress(OSError, ValueError):
        if all(os.get_terminal_size(sys.stdout.fileno())):
            for name in ("COLUMNS", "LINES"):
                os.environ.pop(name, None)


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What is typed before Textual listens is not echoed, and read as keys once it does, ctrl+c too: as a signal it
    could meet an event loop that is only half there and be lost. The terminal is left as it was."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    FOUND.append(before)
    silent = list(before)
    silent[3] &= ~(termios.ECHO | termios.ISIG)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error, OSError, ValueError):  # the terminal may be gone
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def suspending(kind: type[Driver]) -> type[Driver]:
    """That driver of Textual; while the monitor is suspended the terminal is as the shell had it, with its echo."""

    class Suspending(kind):  # type: ignore[valid-type, misc]  # the kind depends on where the monitor runs
        def suspend_application_mode(self) -> None:
            super().suspend_application_mode()
            with contextlib.suppress(termios.error, OSError, ValueError):
                self.silent = termios.tcgetattr(sys.stdin)
                if FOUND:
                    termios.tcsetattr(sys.stdin, termios.TCSANOW, FOUND[-1])

        def resume_application_mode(self) -> None:
            with contextlib.suppress(termios.error, OSError, ValueError):
                termios.tcsetattr(sys.stdin, termios.TCSANOW, self.silent)
            super().resume_application_mode()

    return Suspending


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Has Textual, which draws on stderr, draw on the terminal also when stderr goes to a file (`2>errors.txt`)."""
    before, stdout = sys.__stderr__, sys.__stdout__
    if stdout is None or (before is not None and before.isatty()):
        yield
        return
    if hasattr(stdout, "reconfigure"):
        stdout.reconfigure(errors="backslashreplace")  # as stderr has it: no character may end the drawing
    sys.__stderr__ = stdout  # type: ignore[misc]  # what Textual takes for the terminal
    try:
        yield
    finally:
        sys.__stderr__ = before  # type: ignore[misc]


def _leave(app: Any) -> None:
    """Asks the app to exit; ends the process when a dead terminal keeps it from doing so. Nothing here can be lost."""
    threading.Thread(target=_end, daemon=True).start()
    threading.Thread(target=app.exit, daemon=True).start()  # from another thread it also wakes an app that waits


def _end() -> None:
    time.sleep(GRACE_S)
    os._exit(0)


def refusal(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why this terminal cannot show the monitor, and what does the same there; None: it can."""
    term = environ.get("TERM", "")
    if term not in CANNOT_MOVE:
        return None
    named = f"TERM={term} names a terminal" if term else "TERM is not set: this seems to be a terminal"
    return f"{named} that cannot move its cursor; `fts status --plain` and `fts watch` show the same in lines"


def colours(environ: Mapping[str, str] = os.environ) -> int:
    """How many colours the terminal shows: 2**24, 256, 16, 8 or 0; 0 also where $NO_COLOR asks for none.

    The same answer as Rich gives, except that where Rich says 16 the terminal's own description is asked.
    """
    if environ.get("NO_COLOR"):
        return 0
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return 2**24
    term = environ.get("TERM", "").strip().lower()
    if term in CANNOT_MOVE:
        return 0
    if term.rpartition("-")[2] in ("256color", "kitty"):
        return 256
    try:
        import curses  # here, not above: some Pythons are built without it
    except ImportError:
        return 8
    try:
        curses.setupterm(term, 1)  # answers for the first name it is given in a process, which is all we need
    except curses.error:  # no description of it is installed
        return 0 if term.startswith("vt") else 8
    return min(max(curses.tigetnum("colors"), 0), 16)
