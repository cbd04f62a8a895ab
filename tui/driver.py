"""Draws on the terminal the reader looks at, also when stderr goes to a file (`fts-tui 2>errors.txt`).

Textual draws on stderr. The first frame goes to stdout, so without this it would stand there for ever and call itself
live, while every later one went into the file.
"""

from __future__ import annotations

import sys
from typing import Any

from textual.drivers.linux_driver import LinuxDriver


class OnTerminal(LinuxDriver):
    """Textual's driver for a terminal, writing to stderr where that is one, else to stdout."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        stdout = sys.__stdout__
        if stdout is not None and not (sys.__stderr__ is not None and sys.__stderr__.isatty()):
            if hasattr(stdout, "reconfigure"):
                stdout.reconfigure(errors="backslashreplace")  # as stderr has it: no character may end the drawing
            self._file = stdout
