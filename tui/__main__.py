"""`fts-tui`: the monitor, full screen. It reads arguments first and imports Textual last."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.tui import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

THEMES = ("dark", "light", "ansi")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the monitor until it is left; the exit code: 0 left, 2 arguments or terminal, 130 interrupted at start."""
    given = arguments(argv)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("fts: the monitor needs a terminal; `fts status` and `fts snapshot` work in a pipe", file=sys.stderr)
        return 2
    if reason := terminal.refusal():
        print(f"fts: {reason}", file=sys.stderr)
        return 2
    try:
        return run(given)
    except KeyboardInterrupt:  # before the first frame; later ctrl+c is a key
        return 130


def run(given: argparse.Namespace) -> int:
    """The monitor with parsed arguments."""
    on_terminal = sys.stdin.isatty()  # asked once, at the start: one that hangs up meanwhile says that it is none
    os.environ.setdefault("TEXTUAL_FPS", "120")  # a key waits for half of this, not of a sixtieth of a second
    from fts.state.db import database_path  # here, not above: --help must not wait for peewee
    from fts.tui.app import Monitor
    from fts.tui.render import theme

    app = Monitor(
        database_path(given.db).expanduser(),
        readonly=given.readonly,
        ascii_only=given.ascii or not formatting.speaks_utf8(),
        palette=theme.fitting(given.theme, terminal.colours() if sys.stdout.isatty() else 2**24),  # a browser: all
        at=given.at,
        locked=getattr(given, "locked", False),
    )
    if on_terminal:  # a browser's monitor has none to lose
        terminal.leave_when_terminal_goes(app)
    with terminal.drawing():
        app.run(mouse=not given.no_mouse)
    with contextlib.suppress(OSError):  # the terminal may be gone
        for sentence in app.acting.finish():
            print(f"fts: {sentence}", file=sys.stderr)
    return app.return_code or 0


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """--db --readonly --no-mouse --ascii --theme --at."""
    parser = argparse.ArgumentParser("fts-tui", description="The monitor of the experiment queue.")
    parser.add_argument("--db", type=Path, help="the database  [default: $FTS_DB or outputs/fts.db]")
    parser.add_argument("--readonly", action="store_true", help="no key changes anything")
    parser.add_argument("--no-mouse", action="store_true", help="for slow links")
    parser.add_argument("--ascii", action="store_true", help="plain ASCII; automatic without UTF-8")
    parser.add_argument("--theme", choices=THEMES, default=default_theme())
    parser.add_argument("--at", type=moment, metavar="TIME", help="replay: 03:12, 2h (ago), 2026-11-20 22:00")
    return parser.parse_args(argv)


def default_theme() -> str:
    """$FTS_THEME, else dark; with NO_COLOR the terminal's own colours and none of ours."""
    chosen = os.environ.get("FTS_THEME", "dark")
    return chosen if chosen in THEMES else "dark"


def moment(text: str) -> float:
    """Seconds since the epoch of 03:12 (the latest such time), 2h or 30m (ago), or a date and time."""
    text = text.strip()
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text):
        return time.time() - float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    if found := re.fullmatch(r"(\d{1,2}):(\d\d)", text):
        now = time.time()
        today = time.localtime(now)
        at = time.mktime((today.tm_year, today.tm_mon, today.tm_mday, int(found[1]), int(found[2]), 0, 0, 0, -1))
        return at if at <= now else at - 86400
    from datetime import datetime  # here: only for dates

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; expected 03:12, 2h, or 2026-11-20 22:00") from None


if __name__ == "__main__":
    sys.exit(main())
