"""Builds the command line of a child process that runs one of our modules, in any current folder.

`python -m` puts the current folder first in sys.path, so that a user's own `jobs.py` or `torch.py` there would be
imported instead of ours; `-P` leaves that folder out. All our child processes are started like this (a test checks the
code). The module is the third word, after `-Pm`; code that reads a process list looks for it there.
"""

from __future__ import annotations

import sys


def python(*words: str, interpreter: str | None = None) -> list[str]:
    """Returns the command: this or another interpreter, without the current folder in sys.path, then the words."""
    if words[:1] == ("-m",):
        return [interpreter or sys.executable, "-Pm", *words[1:]]
    return [interpreter or sys.executable, "-P", *words]


def this_python() -> str:
    """Returns the path of this interpreter, for messages about missing packages."""
    return sys.executable
