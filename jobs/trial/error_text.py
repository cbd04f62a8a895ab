"""Formats an exception for people: one sentence for the trial's row, and the traceback for its log."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import fts
from fts.jobs.api.nearest import nearest
from fts.jobs.trial.cause import message_of
from fts.raising import chain
from fts.state.files import shell_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

OURS = ("fts.",)  # packages that raise errors with sentences for people
RUNNER = "fts.jobs."  # its errors describe mistakes in the user's code
PACKAGE = Path(fts.__file__).parent
NO_NAME = "cannot import name"  # Python's words
ASKS = re.compile(r"\b(?:pip|conda|mamba) install\b")  # words of a library that needs another one


def sentence_of(error: BaseException, near: Path | None = None) -> str:
    """Returns an error as one sentence, with its class unless it is one of ours, and its place.

    `near` is the folder of the user's code. The place is then the last line there, not a line inside a library.
    """
    error = _of_import(error)
    lines = message_of(error).splitlines()
    if type(error).__module__.startswith(OURS) and lines:
        return with_place(lines[0][:1000], own_place(error, near) if near is not None else None)
    place = f", {where}" if (where := place_of(error, near)) else ""
    return f"{(lines or ['no message'])[0][:900]} ({type(error).__name__}{place})"


def _of_import(error: BaseException) -> BaseException:
    """Returns the error of one line that a failed import followed; numpy's own begins with "IMPORTANT: PLEASE READ"."""
    for one in chain(error):
        error = one
        found = isinstance(one, ImportError) and isinstance(one.__cause__, ImportError)
        if not found or len(message_of(one).splitlines()) < 2:
            break
    return error


def with_place(sentence: str, place: str | None) -> str:
    """Inserts a place into a sentence, before the part after "; ". Does nothing if it already names the file."""
    if place is None or place.partition(" line ")[0] in sentence:
        return sentence
    fault, semicolon, cure = sentence.partition("; ")
    return f"{fault} ({place}){semicolon}{cure}"


def own_place(error: BaseException, folder: Path) -> str | None:
    """Returns the last line of the user's code in the traceback, or None."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if is_own(Path(one.filename), folder)]
    return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else None


def place_of(error: BaseException, near: Path | None = None) -> str:
    """Returns where an error was raised, `train.py line 12`; the last line in `near` if there is one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name} line {error.lineno}"
    if near is not None and (own := own_place(error, near)) is not None:
        return own
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""


def current_line(folder: Path) -> str | None:
    """Returns the line of the user's code that is being executed."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_own(Path(frame.f_code.co_filename), folder):
            return f"{Path(frame.f_code.co_filename).name} line {frame.f_lineno}"
        frame = frame.f_back
    return None


def is_own(file: Path, folder: Path) -> bool:
    """Is the file in the folder, but not in a Python environment inside it?"""
    return file.is_relative_to(folder) and "site-packages" not in file.relative_to(folder).parts


def lacking_package(error: BaseException) -> ImportError | None:
    """Returns the failed import that only an installation repairs: of a missing package, or of a name not in it.

    Libraries raise an ImportError of their own after it. None for a shared library that cannot be loaded: its disk or
    its driver may be there again at the next try.
    """
    for one in chain(error):
        if not isinstance(one, ImportError):
            return None
        if isinstance(one, ModuleNotFoundError) or message_of(one).startswith(NO_NAME) or ASKS.search(message_of(one)):
            return one
        if one.name or one.path:  # of the loader
            return None
    return None


def how_to_import(error: ImportError, folders: Iterable[Path], interpreter: str) -> str:
    """Says how an import that only an installation repairs will work."""
    if not message_of(error).startswith(NO_NAME):
        return how_to_find(error.name, folders, interpreter)
    package = (error.name or "").partition(".")[0]
    if package in sys.stdlib_module_names:
        return f"correct the name, or use a newer Python than {interpreter}"
    return f"correct the name, or install a version of {package} that has it for {interpreter}"


def how_to_find(module: str | None, folders: Iterable[Path], interpreter: str) -> str:
    """Says how an import finds a module: it is installed, or the user's own folder that contains it is searched."""
    package, _, missing = (module or "").rpartition(".")
    if package:  # Python has found it, but not what it should contain
        there = [Path(each) for each in getattr(sys.modules.get(package), "__path__", ())]
        there += [folder / package.replace(".", "/") for folder in folders]
        if (place := next((each for each in there if each.is_dir()), None)) is not None:
            near = nearest(missing, [each.stem for each in place.iterdir()])
            return f"{place} has no {missing}" + (f"; did you mean {near}?" if near else "")
    elif module:
        for folder in dict.fromkeys(near for each in folders for near in (each, each.parent)):
            for place in (folder, folder / "src"):
                if _has_module(place, module):
                    return (
                        f"{module} is in {place}, which is not searched: install your package for {interpreter}, or "
                        f"start `fts check` and `fts worker` with PYTHONPATH={shell_path(place)}"
                    )
    return f"install it for {interpreter}"


def _has_module(folder: Path, name: str) -> bool:
    try:
        return (folder / f"{name}.py").is_file() or any(
            next((folder / name).glob(pattern), None) for pattern in ("*.py", "*/*.py")
        )
    except OSError:
        return False


def print_error(error: BaseException) -> None:
    """Writes the traceback to the log, starting at the user's own code.

    An error of the runner is written without its class and without frames of fts. FTS_DEBUG=1 shows everything.
    """
    frames = traceback.extract_tb(error.__traceback__)
    first = next((n for n, frame in enumerate(frames) if not _is_ours(frame.filename)), None)
    if os.environ.get("FTS_DEBUG"):
        traceback.print_exception(error)
    elif type(error).__module__.startswith(RUNNER):
        sys.stderr.writelines(traceback.format_list([frame for frame in frames if not _is_ours(frame.filename)]))
        print(f"{sentence_of(error)}\n", end="", file=sys.stderr)
    elif first is None:
        traceback.print_exception(error)  # only code of fts: show all of it
    else:
        shown = traceback.TracebackException.from_exception(error)
        shown.stack = traceback.StackSummary.from_list(frames[first:])
        sys.stderr.writelines(shown.format())
    sys.stderr.flush()


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(PACKAGE)
