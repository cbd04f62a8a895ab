"""The command line of a child process that runs one of our modules, wherever the person stands.

`python -m` puts the current folder first in sys.path, so a person's own `jobs.py` or `torch.py` there would be imported
instead of ours; `-P` leaves that folder out. Every child of ours is started with these words (a test walks the code).
A module stands third, behind `-Pm`, where whoever reads a process list looks for it.
"""

from __future__ import annotations

import sys


def python(*words: str, interpreter: str | None = None) -> list[str]:
    """This interpreter, or another, with the words behind it and without the current folder in its module path."""
    if words[:1] == ("-m",):
        return [interpreter or sys.executable, "-Pm", *words[1:]]
    return [interpreter or sys.executable, "-P", *words]


def this_python() -> str:
    """Which interpreter runs this, for a sentence that says what to install in it."""
    return sys.executable
