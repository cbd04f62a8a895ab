"""What a person reads of an exception in a trial: one sentence in its row, and the way to it in its log."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import fts
from fts.jobs.trial.cause import said_by

OURS = ("fts.",)  # packages whose errors are sentences for a person
RUNNER = "fts.jobs."  # raises what a person's code did wrong
PACKAGE = Path(fts.__file__).parent


def sentence_of(error: BaseException, near: Path | None = None) -> str:
    """What to tell of an error: our own classes speak for themselves, others are named with their place.

    `near`: the folder of a person's code; the place is the last line there, not one inside a library.
    """
    lines = said_by(error).splitlines()
    if type(error).__module__.startswith(OURS) and lines:
        return lines[0][:1000]
    place = f", {where}" if (where := place_of(error, near)) else ""
    return f"{(lines or ['no message'])[0][:900]} ({type(error).__name__}{place})"


def place_of(error: BaseException, near: Path | None = None) -> str:
    """`train.py line 12`: where an error arose; the last line in `near` where there is one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name} line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if near is not None and is_own(Path(one.filename), near)]
    where = (own or frames)[-1:]
    return f"{Path(where[0].filename).name} line {where[0].lineno}" if where else ""


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
        print(sentence_of(error), file=sys.stderr)
    elif first is None:
        traceback.print_exception(error)  # of nobody's code but ours: all of it helps
    else:
        told = traceback.TracebackException.from_exception(error)
        told.stack = traceback.StackSummary.from_list(frames[first:])
        sys.stderr.writelines(told.format())
    sys.stderr.flush()


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(PACKAGE)
