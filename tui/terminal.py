"""Detects the terminal's size and colours, sets its modes, and ends the monitor when the terminal has gone."""

from __future__ import annotations

import codecs
import contextlib
import functools
import itertools
import os
import selectors
import signal
import sys
import termios
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fts.jobs.interrupts import ENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from textual.driver import Driver
    from textual.geometry import Size

CANNOT_MOVE = ("", "dumb", "unknown")  # values of $TERM of terminals that cannot move the cursor
LOOK_EVERY_S = 1.0
FOUND: list[list[Any]] = []  # the terminal attributes that the shell had set
# what LinuxDriver.stop_application_mode sends: paste, wrap, sizes, mouse, keys of kitty, screen, cursor, focus
LEAVES = (
    b"\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)
ASKED_TO_LEAVE = threading.Event()  # by a signal, or as the terminal has gone
MOST_UNREADABLE = 1000  # sequences that a terminal sends and Textual cannot parse, until the monitor ends
GRACE_S = 2.0  # the app has this long to exit before the process is ended
LARGEST = (2000, 1000)  # columns and rows that are drawn on: more than any screen has pixels for
LEAVE_S = 10.0  # after `q`: a thread, such as one that starts a worker, may take some seconds
WRITE_S = 0.5  # to write to a terminal that may take nothing


def ask_for_size() -> None:
    """Removes COLUMNS and LINES, so that Textual asks the terminal: an exported value stays the same after a resize.

    They stay if the terminal does not know its size, such as a serial line.
    """
    with contextlib.suppress(OSError, ValueError):
        if all(os.get_terminal_size(sys.stdout.fileno())):
            for name in ("COLUMNS", "LINES"):
                os.environ.pop(name, None)


def within_largest(size: Size) -> Size:
    """Returns the size with at most LARGEST columns and rows.

    A broken terminal or link may claim 65,535 of each; one frame of that takes minutes, in which no key is read.
    """
    return type(size)(*map(min, size, LARGEST))


def leave_when_terminal_goes(app: Any) -> None:
    """Exits the app on signals that would end it; a thread notices a terminal that goes without a signal (nohup)."""
    for number in ENDING:
        if number in (signal.SIGTERM, signal.SIGQUIT) or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: _leave(app))
    threading.Thread(target=_watch, args=(app,), name="terminal", daemon=True).start()


def _watch(app: Any) -> None:
    fd = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
    while is_there(fd):
        time.sleep(LOOK_EVERY_S)
    _leave(app)


def is_there(fd: int) -> bool:
    """Returns whether the terminal of a file descriptor still exists."""
    try:
        termios.tcgetattr(fd)
    except (termios.error, OSError):
        return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Turns off echo and signal keys inside the block, and restores the terminal after it.

    Keys typed before Textual listens are then read as keys, ctrl+c too: as a signal it could reach an event loop that
    is only half set up and be lost.
    """
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    FOUND.append(before)
    try:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, without(before, termios.ECHO | termios.ISIG))
        yield
    finally:
        with contextlib.suppress(termios.error, OSError, ValueError):  # the terminal may be gone
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def without(found: list[Any], flags: int) -> list[Any]:
    """Returns terminal attributes without these local flags."""
    return [*found[:3], found[3] & ~flags, *found[4:]]


class Wake(threading.Event):
    """An event that also makes a file descriptor readable, so that a `select` on it returns at once."""

    def __init__(self) -> None:
        super().__init__()
        self.readable, self._writable = os.pipe()

    def set(self) -> None:
        if not self.is_set():
            os.write(self._writable, b"x")
        super().set()

    def clear(self) -> None:
        if self.is_set():
            os.read(self.readable, 1)
        super().clear()


def waking(wake: Wake) -> type[selectors.SelectSelector]:
    """Returns a selector of which `select` returns at once while the event is set."""

    class Waking(selectors.SelectSelector):
        def __init__(self) -> None:
            super().__init__()
            self.register(wake.readable, selectors.EVENT_READ)

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            return [found for found in super().select(timeout) if found[0].fd != wake.readable]

    return Waking


def replacing(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """Returns what makes a decoder that replaces bytes of another encoding, such as pasted ISO-8859-1, by U+FFFD.

    Textual's own decoder raises, and the thread that reads keys ends.
    """
    return functools.partial(codecs.getincrementaldecoder(encoding), errors="replace")


STARTED: list[Any] = []  # drivers that have switched the terminal to the monitor's screen


def suspending(
    kind: type[Driver],
    ends: Callable[[Exception], object],
    unreadable: Callable[[Exception], object],
    redraw: Callable[[], object],
) -> type[Driver]:
    """Returns a subclass of Textual's driver that leaves at once and gives the shell its terminal back during ctrl+z.

    Textual's own waits up to 0.2 s for its thread that reads keys, and prints a traceback if that thread fails. Here
    `unreadable` is called with the error of a sequence that Textual cannot parse, and reading goes on; `ends` is called
    with any other. `redraw` is called when the monitor continues after a SIGSTOP.
    """
    from textual.drivers import linux_driver  # here, not above: `--help` must not wait for Textual

    class Suspending(kind):  # type: ignore[valid-type, misc]  # the kind depends on where the monitor runs
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.stopped = False
            self.suspended = False
            if isinstance(self, linux_driver.LinuxDriver):
                self.exit_event = Wake()
                used = {**vars(selectors), "SelectSelector": waking(self.exit_event)}
                vars(linux_driver)["selectors"] = SimpleNamespace(**used)
                vars(linux_driver)["getincrementaldecoder"] = replacing

        def start_application_mode(self) -> None:
            self.stopped = False
            STARTED.append(self)
            super().start_application_mode()

        def stop_application_mode(self) -> None:
            super().stop_application_mode()
            self.stopped = True
            with contextlib.suppress(termios.error, OSError, ValueError):  # a thread may still work for some time
                for found in FOUND[-1:]:
                    termios.tcsetattr(sys.stdin, termios.TCSANOW, without(found, termios.ISIG))

        def write(self, data: str) -> None:
            if not self.stopped:  # 8.2.8 paints a last frame on the shell's screen if an app fails while it starts
                super().write(data)

        def _run_input_thread(self) -> None:
            for count in itertools.count(1):
                try:
                    self.run_input_thread()
                except (ValueError, LookupError, ArithmeticError) as error:  # of the parser
                    if count > MOST_UNREADABLE:
                        ends(error)
                        return
                    unreadable(error)
                except Exception as error:  # noqa: BLE001  # without this thread no key arrives
                    ends(error)
                    return
                if self.exit_event.is_set():
                    return

        def suspend_application_mode(self) -> None:
            super().suspend_application_mode()
            self.suspended = True
            with contextlib.suppress(termios.error, OSError, ValueError):  # the terminal may be gone
                for found in FOUND[-1:]:
                    termios.tcsetattr(sys.stdin, termios.TCSANOW, found)

        def resume_application_mode(self) -> None:
            """Continues after ctrl+z.

            Only draws again if the monitor was not suspended: after SIGSTOP the shell has written over its screen.
            SIGCONT also comes together with SIGHUP, from a terminal that closes.
            """
            if not self.suspended:
                redraw()
                return
            self.suspended = False
            with contextlib.suppress(termios.error, OSError, ValueError):
                for found in FOUND[-1:]:
                    termios.tcsetattr(sys.stdin, termios.TCSANOW, without(found, termios.ECHO | termios.ISIG))
            super().resume_application_mode()

    return Suspending


@contextlib.contextmanager
def restoring() -> Iterator[None]:
    """Gives the shell its screen, cursor and mouse back if Textual has failed before it did."""
    try:
        yield
    finally:
        for driver in STARTED[-1:]:
            with contextlib.suppress(Exception):  # the writing thread may never have started
                driver.close()  # waits until everything is written
            _leave_screen(driver)
        STARTED.clear()


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Makes Textual draw on stdout if stderr, where it draws, is redirected (`2>errors.txt`)."""
    before, stdout = sys.__stderr__, sys.__stdout__
    if stdout is None or (before is not None and before.isatty()):
        yield
        return
    if hasattr(stdout, "reconfigure"):
        stdout.reconfigure(errors="backslashreplace")  # as on stderr: no character may raise UnicodeEncodeError
    sys.__stderr__ = stdout  # type: ignore[misc]  # Textual writes to sys.__stderr__
    try:
        yield
    finally:
        sys.__stderr__ = before  # type: ignore[misc]


def _leave(app: Any) -> None:
    """Makes the app exit; ends the process if that takes longer than GRACE_S. The monitor holds no unsaved data."""
    ASKED_TO_LEAVE.set()
    end_soon(0)
    threading.Thread(target=app.exit, daemon=True).start()  # from another thread it also wakes a waiting app


def end_soon(code: int = 130, after_s: float | None = None, first: Callable[[], bool] = lambda: True) -> None:
    """Ends the process after GRACE_S if it still runs and `first` returns True; gives the shell its terminal back."""
    threading.Thread(target=_end, args=(code, GRACE_S if after_s is None else after_s, first), daemon=True).start()


def _end(code: int, after_s: float, first: Callable[[], bool]) -> None:
    time.sleep(after_s)
    if not first():
        return
    giving = threading.Thread(target=give_back, daemon=True)
    giving.start()
    giving.join(WRITE_S)
    os._exit(code)


def give_back() -> None:
    """Gives the shell its echo, screen, cursor and mouse back where the monitor has not done that."""
    with contextlib.suppress(termios.error, OSError, ValueError):  # the terminal may be gone
        for found in FOUND[:1]:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, found)
    for driver in STARTED[-1:]:
        _leave_screen(driver)


def _leave_screen(driver: Any) -> None:
    with contextlib.suppress(Exception):  # the terminal may be gone
        if not driver.stopped and sys.__stderr__ is not None:  # on which Textual draws
            driver.stopped = True
            os.write(sys.__stderr__.fileno(), LEAVES)


def refusal(environ: Mapping[str, str] = os.environ) -> str | None:
    """Returns why this terminal cannot show the monitor, with an alternative; None if it can."""
    term = environ.get("TERM", "")
    if term not in CANNOT_MOVE:
        return None
    named = f"TERM={term} names a terminal" if term else "TERM is not set: this seems to be a terminal"
    return f"{named} that cannot move its cursor; `fts status --plain` and `fts watch` show the same in lines"


def colours(environ: Mapping[str, str] = os.environ) -> int:
    """Returns how many colours the terminal shows: 2**24, 256, 16, 8 or 0; 0 also if $NO_COLOR is set.

    As Rich does, but where Rich returns 16 this asks terminfo.
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
        curses.setupterm(term, 1)  # works for the first name per process only, which is enough here
    except curses.error:  # terminfo has no entry for it
        return 0 if term.startswith("vt") else 8
    return min(max(curses.tigetnum("colors"), 0), 16)
