"""Paints the first frame before Textual is imported: a reader waits for the data, not for a library.

The same lines go to the app, whose own first frame then changes nothing on the screen.
"""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.color import ColorSystem

from fts.jobs.actions.run import this_person
from fts.jobs.status import formatting
from fts.state.errors import StateError
from fts.tui import bindings, pictures
from fts.tui.render import layout, theme

if TYPE_CHECKING:
    from fts.tui.render.text import Line

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the alternate screen, without a cursor


@contextmanager
def painted(
    path: Path, *, palette: str, colours: int, ascii_only: bool = False, readonly: bool = False, at: float | None = None
) -> Iterator[list[Line] | None]:
    """The lines of the first frame, shown by now, for the block that makes the app of them and runs it.

    None where there is nothing to show yet or no terminal to show it on: the app says why. What is typed before the app
    takes the terminal is not echoed, and read by the app, ctrl+c too: as a signal it could meet an event loop that is
    only half there and be lost. The terminal is left as it was.
    """
    lines = frame(path, ascii_only, readonly, at) if sys.stdout.isatty() and sys.stdin.isatty() else None
    if lines is None:
        yield None
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = list(before)
    quiet[3] &= ~(termios.ECHO | termios.ISIG)
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        _send(ENTER + escaped(lines, palette, colours, ascii_only))
        yield lines
    except BaseException:
        _send(LEAVE)
        raise
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def frame(path: Path, ascii_only: bool, readonly: bool, at: float | None) -> list[Line] | None:
    """Home, as the monitor opens; None when the database cannot be read."""
    width, height = os.get_terminal_size(sys.stdout.fileno())
    if not width or not height:
        return None
    try:
        view = pictures.look(path, "queue", (width, height), at, user=this_person())
    except (StateError, OSError):  # the app finds the same, and has the words for it
        return None
    chosen = [view.job] if view.job else []
    hints = bindings.hints(view.screen, width, view.snapshot, chosen, readonly, ascii_only)
    return layout.frame(replace(view, hints=hints, readonly=readonly), width, height)


def escaped(lines: Sequence[Line], palette: str, colours: int, ascii_only: bool = False) -> str:
    """The frame as escape codes, each line at its place; colours of `palette` as the terminal shows so many."""
    system = {2**24: ColorSystem.TRUECOLOR, 256: ColorSystem.EIGHT_BIT}.get(colours, ColorSystem.STANDARD)
    plain = "NO_COLOR" in os.environ
    rows = []
    for y, line in enumerate(lines, 1):
        row = [f"\x1b[{y};1H"]
        for text, role in line:
            style = theme.style(role, palette)
            shown = formatting.to_ascii(text) if ascii_only else text
            row.append((style.without_color if plain else style).render(shown, color_system=system))
        rows.append("".join(row))
    return "".join(rows)


def _send(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
