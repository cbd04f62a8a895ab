"""`fts-tui`: the monitor, full screen. Parses its arguments before it imports Textual."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import sys
import threading
from typing import TYPE_CHECKING

from fts.jobs.interrupts import ends_as_interrupted, sigint_kills_silently

with sigint_kills_silently():
    from fts.jobs.api.amounts import read_time
    from fts.jobs.status import formatting
    from fts.jobs.threads import no_room
    from fts.tui import cost, terminal

    with cost.without_openssl():
        import hashlib  # noqa: F401  # here, before peewee does

        from fts.tui import settings
        from fts.tui.render import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.tui.settings import MonitorSettings


HANDED_OVER = "the database is locked: a process in the background makes the last change as soon as it is free"
M_ARENA_MAX = -8  # of glibc's malloc.h


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the monitor until the user leaves. Returns the exit code.

    0: the user left. 1: the machine failed. 2: bad arguments, settings or terminal. 130: interrupted.
    """
    try:
        return _main(argv)
    except KeyboardInterrupt:  # before terminal.quiet(), or by a signal before the monitor draws; then ctrl+c is a key
        return 130


def _main(argv: Sequence[str] | None) -> int:
    given = arguments(argv)
    try:
        chosen = settings.read(settings.file())
        if given.keys:
            print(settings.written(chosen, settings.file()), end="")
            return 0
        given = with_settings(given, chosen)
    except settings.BadSettings as error:
        print(f"fts: {error}", file=sys.stderr)
        return 2
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("fts: the monitor needs a terminal; `fts status` and `fts snapshot` work in a pipe", file=sys.stderr)
        return 2
    terminal.ask_for_size()
    if reason := terminal.refusal():
        print(f"fts: {reason}", file=sys.stderr)
        return 2
    try:
        with ends_as_interrupted(terminal.end_soon), terminal.quiet():  # the shell must get its echo back
            return run(given)
    except Exception as error:  # outermost handler: prints a sentence; FTS_DEBUG=1 shows the traceback
        if os.environ.get("FTS_DEBUG"):
            raise
        return report(error)


def report(error: Exception) -> int:
    """Prints why the monitor ended. Returns the exit code."""
    say(sentence_of(error))
    return 1


def say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"fts: {sentence}", file=sys.stderr)


def sentence_of(error: Exception) -> str:
    """Returns one line for any error that ended the monitor: what was found and what to do."""
    if (sentence := no_room(error)) is not None:
        return sentence
    from fts.state.errors import StateError  # here, not above: for an error only

    words = " ".join(str(error).split())[:300]
    if isinstance(error, OSError | StateError) and words:  # a TimeoutError may have no words
        return words
    if isinstance(error, ImportError):
        from fts.installing import installing  # here, not above: for this error only

        again = installing("--force-reinstall", "fts-hpo")
        return f"the monitor is not completely installed: {words}; `{again}` installs it again"
    try:
        from fts.tui.render.export import keep_fault  # here, not above: the monitor needs it for faults only

        where = keep_fault(f"the monitor ended: {error!r}", error)
    except Exception:  # noqa: BLE001  # the sentence matters more
        where = "FTS_DEBUG=1 shows where"
    what = ": ".join(filter(None, (type(error).__name__, words)))
    return f"a fault in fts itself ended the monitor: {what} ({where}); the study is not affected"


def run(given: argparse.Namespace) -> int:
    """Runs the monitor with parsed arguments. Returns the exit code."""
    on_terminal = sys.stdin.isatty()  # asked once at the start: a terminal that has hung up answers False
    os.environ.setdefault("TEXTUAL_FPS", "120")  # a key waits for half a frame: 4 ms instead of 8 ms at 60 fps
    if not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # an empty value means colours, but Textual would turn them off
    use_one_heap()
    gc.disable()  # the modules loaded below stay for good, so no garbage collection searches them, now or later
    from fts.state.db import database_path  # here, not above: --help must not wait for peewee
    from fts.state.files import expanded
    from fts.tui.app import Monitor

    app = Monitor(
        expanded(database_path(given.db)),
        readonly=given.readonly,
        ascii_only=given.ascii or not formatting.speaks_utf8(),
        palette=theme.fit_to_terminal(
            given.theme, terminal.colours() if sys.stdout.isatty() else 2**24
        ),  # a browser: all
        at=given.at,
        locked=getattr(given, "locked", False),
        keymap=given.keymap,
    )
    gc.freeze()
    gc.enable()
    changes = threading.Lock()  # held by the thread that makes them, for good

    def finish() -> bool:
        """Makes the changes that were asked for; returns False if another thread makes them."""
        if not changes.acquire(blocking=False):
            return False
        app.presence.finish()
        for sentence in app.action_runner.finish(lambda: say(HANDED_OVER)):
            say(sentence)
        return True

    if on_terminal:  # the monitor of a browser has no terminal that could vanish
        terminal.leave_when_terminal_goes(app)
        app.on_leave = lambda: terminal.end_soon(0, terminal.LEAVE_S, finish)
    try:
        with terminal.drawing(), terminal.restoring():
            app.run(mouse=given.mouse)
    finally:  # a fault of the screen must not drop a change that was asked for
        gc.freeze()  # Python would search all objects once more at its end, which takes 50 ms
        finish()
    if terminal.ASKED_TO_LEAVE.is_set():  # Textual fails if it is to exit while it mounts: that is no fault
        return 0
    return (app.return_code or 0) if app.fault is None else report(app.fault)


def use_one_heap() -> None:
    """Makes all threads allocate from one heap; with 2,000 jobs this saves 4 MB. Linux with glibc only."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser("fts-tui", description="The monitor of the experiment queue.")
    parser.add_argument("--db", help="the database  [default: $FTS_DB or outputs/fts.db]")
    parser.add_argument("--readonly", action="store_true", help="no key changes anything")
    either = argparse.BooleanOptionalAction
    parser.add_argument("--mouse", action=either, help="--no-mouse for slow links and the terminal's own selection")
    parser.add_argument("--ascii", action=either, help="plain ASCII; automatic without UTF-8")
    parser.add_argument("--theme", type=colours_named, help="dark, light, ansi, or a theme of Textual such as nord")
    parser.add_argument(
        "--at", type=moment, metavar="TIME", help="replay: 03:12, 2h (ago), 2026-11-20 22:00  [default: live]"
    )
    keys = f"print all keys and colours as a file to change, for {settings.file()}"
    parser.add_argument("--keys", action="store_true", help=keys.replace("%", "%%"))
    return parser.parse_args(argv)


def with_settings(given: argparse.Namespace, chosen: MonitorSettings) -> argparse.Namespace:
    """Fills in what the command line does not set: from $FTS_THEME, then the user's file, then the defaults."""
    if given.ascii is None:
        given.ascii = bool(chosen.ascii)
    if given.mouse is None:
        given.mouse = chosen.mouse is not False
    given.theme = given.theme or of_environment() or chosen.theme or "dark"
    given.keymap = chosen.keymap
    return given


def of_environment() -> str | None:
    """Returns $FTS_THEME if it names a theme, else None."""
    try:
        return colours_named(os.environ["FTS_THEME"])
    except (KeyError, argparse.ArgumentTypeError):
        return None


def colours_named(name: str) -> str:
    """Checks the name of a theme. Raises ArgumentTypeError."""
    try:
        return theme.named(name).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def moment(text: str) -> float:
    """Parses 03:12 (the latest such time), 2h or 30m (ago), or a date and time. Returns seconds since the epoch."""
    try:
        return read_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
