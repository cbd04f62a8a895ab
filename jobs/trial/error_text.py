"""What a person reads of an exception in a trial: one sentence in its row, and the way to it in its log."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import fts
from fts.jobs.trial.cause import said_by

if TYPE_CHECKING:
    from types import FrameType

OURS = ("fts.",)  # packages whose errors are sentences for a person
RUNNER = "fts.jobs."  # raises what a person's code did wrong
PACKAGE = Path(fts.__file__).parent


def sentence_of(error: BaseException, near: Path | None = None) -> str:
    """What to tell of an error: our own classes speak for themselves, others are named with their place.

    `near`: the folder of a person's code; the place is the last line there, not one inside a library.
    """
    lines = said_by(error).splitlines()
    if type(error).__module__.startswith(OURS) and lines:
        return with_place(lines[0][:1000], own_place(error, near) if near is not None else None)
    place = f", {where}" if (where := place_of(error, near)) else ""
    return f"{(lines or ['no message'])[0][:900]} ({type(error).__name__}{place})"


def with_place(said: str, place: str | None) -> str:
    """A sentence with its place before its cure; one that names the file already stays."""
    if place is None or place.partition(" line ")[0] in said:
        return said
    fault, semicolon, cure = said.partition("; ")
    return f"{fault} ({place}){semicolon}{cure}"


def own_place(error: BaseException, folder: Path) -> str | None:
    """The last line of a person's code that the error came through; None: it came through none."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if is_own(Path(one.filename), folder)]
    return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else None


def place_of(error: BaseException, near: Path | None = None) -> str:
    """`train.py line 12`: where an error arose; the last line in `near` where there is one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name} line {error.lineno}"
    if near is not None and (own := own_place(error, near)) is not None:
        return own
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""


def asked_from(folder: Path) -> str | None:
    """The line of a person's code that is at work now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_own(Path(frame.f_code.co_filename), folder):
            return f"{Path(frame.f_code.co_filename).name} line {frame.f_lineno}"
        frame = frame.f_back
    return None


def is_own(file: Path, folder: Path) -> bool:
    """Is it a person's file below the folder, and none of an environment that lies there too?"""
    return file.is_relative_to(folder) and "site-packages" not in file.relative_to(folder).parts


def print_error(error: BaseException) -> None:
    """Writes into the log where an error arose, from the person's own code on: they did not write what called it.

    A sentence of the runner stands without its class and without our files; FTS_DEBUG=1 shows everything.
    """
    frames = traceback.extract_tb(error.__traceback__)
    first = next((n for n, frame in enumerate(frames) if not _is_ours(frame.filename)), None)
    if os.environ.get("FTS_DEBUG"):
        traceback.print_exception(error)
    elif type(error).__module__.startswith(RUNNER):
        sys.stderr.writelines(traceback.format_list([frame for frame in frames if not _is_ours(frame.filename)]))
        print(f"{sentence_of(error)}\n", end="", file=sys.stderr)
    elif first is None:
        traceback.print_exception(error)  # of nobody's code but ours: all of it helps
    else:
        told = traceback.TracebackException.from_exception(error)
        told.stack = traceback.StackSummary.from_list(frames[first:])
        sys.stderr.writelines(told.format())
    sys.stderr.flush()


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(PACKAGE)
