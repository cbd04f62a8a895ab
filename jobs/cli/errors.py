"""Turns an exception into one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TypeGuard

import click

from fts.installing import installing
from fts.jobs.api.load import installed
from fts.jobs.api.nearest import nearest
from fts.jobs.cli.forms import help_of, of_another_form
from fts.jobs.cli.synonyms import option_hint, value_hint
from fts.jobs.threads import no_room
from fts.state.errors import NoDatabase, NoSuchRow, SchemaTooNew, SchemaTooOld
from fts.state.files import closed_folder, forbidden, reason_of

FAILED, USAGE, SCHEMA, NO_DATA = 1, 2, 5, 6
OURS = ("fts.",)
USAGE_ERRORS = {
    "BadSpec",
    "BadSetting",
    "BadSpace",
    "BadHalving",
    "NoStorage",
    "NoTablePackages",
    "CannotMirror",
    "NoSourceFile",
}


class NothingThere(click.ClickException):
    """The command was well formed, but there is no data for its answer."""

    exit_code = NO_DATA


def code_of(error: Exception) -> int:
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, SchemaTooNew | SchemaTooOld):
        return SCHEMA
    if isinstance(error, NoDatabase | NoSuchRow):
        return NO_DATA
    if type(error).__name__ in ("NoData", "UnknownDataset", "NoModel", "NoStudy"):  # names: their modules load pandas
        return NO_DATA
    if {kind.__name__ for kind in type(error).__mro__} & USAGE_ERRORS:  # also subclasses
        return USAGE
    return USAGE if is_missing_package(error) else FAILED


def sentence_of(error: Exception) -> str:
    """Returns one line for any error: what was found and what to do."""
    if isinstance(error, click.UsageError):
        return _usage(error)
    if isinstance(error, click.ClickException):
        return _one_line(error.format_message())
    if type(error).__module__.startswith(OURS):
        return _one_line(str(error)) or type(error).__name__
    if isinstance(error, OSError):
        return _of_system(error)
    if is_missing_package(error):
        return missing_package(error)
    if (sentence := no_room(error)) is not None:
        return sentence
    what = f"{type(error).__name__}: {_one_line(str(error))}"
    if (found := _place_in_study(error)) is not None:
        name, place = found
        return f"a fault in the installed study {name!r}: {what} ({place}; FTS_DEBUG=1 shows all of it)"
    return f"a fault in fts itself: {what} (run it again with FTS_DEBUG=1 to see where)"


def _place_in_study(error: Exception) -> tuple[str, str] | None:
    """Returns the installed study whose code raised the error, or called what did, and the line; None: it is ours."""
    studies = {found.value.partition(":")[0].partition(".")[0]: name for name, found in installed().items()}
    place, step = None, error.__traceback__
    while step is not None:
        package = str(step.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package in studies and package != "fts":
            place = studies[package], f"{Path(step.tb_frame.f_code.co_filename).name} line {step.tb_lineno}"
        step = step.tb_next
    return place


def is_missing_package(error: BaseException) -> TypeGuard[ModuleNotFoundError]:
    """Returns whether the import failed for a package outside fts, which only a study needs."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "fts").partition(".")[0] != "fts"


def missing_package(error: ModuleNotFoundError) -> str:
    cure = f"`{installing('fts-hpo[patchtst]')}` installs what the PatchTST study needs"
    return f"the package {error.name} is not installed; {cure}"


def _usage(error: click.UsageError) -> str:
    shown = help_of(error.ctx)
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        known = [word for option in error.ctx.command.params for word in option.opts]
        if (theirs := option_hint(error.option_name, known)) is not None:
            return f"there is no option {error.option_name}; {theirs} (see {shown})"
        if (elsewhere := of_another_form(error)) is not None:
            return f"{elsewhere} (see {shown})"
    message = _one_line(error.format_message()).rstrip(".")
    return f"{message}{_nearest_choice(error)}{_of_extra_word(error)} (see {shown})"


def _of_extra_word(error: click.UsageError) -> str:
    """Says what the first word too many may mean: `-n 20`, `-m size S,M`, `train.py objective`."""
    extra = re.match(r"Got unexpected extra arguments? \(([^ )]+)", error.message)
    options = [] if error.ctx is None else [word for option in error.ctx.command.params for word in option.opts]
    if extra is None:
        return ""
    if "--trials" in options and re.fullmatch(r"\d+", extra[1]):
        return f"; the number of trials is --trials {extra[1]}, and -n is a dry run"
    if "--axis" in options and error.ctx is not None and str(error.ctx.params.get("objective", "")).endswith(".py"):
        return "; write file and function as one word, such as train.py:objective"
    pairs = [] if error.ctx is None else [*error.ctx.params.get("axes", ()), *error.ctx.params.get("parameters", ())]
    is_split = any("=" not in word for word in pairs)
    return "; write -m size=S,M as one word, and so every NAME=VALUE" if is_split else ""


def _nearest_choice(error: click.UsageError) -> str:
    """Suggests the nearest allowed value for a wrong one."""
    kind = error.param.type if isinstance(error, click.BadParameter) and error.param is not None else None
    wrong = re.search(r"'([^']+)' is not one of", error.message)
    if not isinstance(kind, click.Choice) or wrong is None:
        return ""
    known = [str(choice) for choice in kind.choices]
    near = value_hint(wrong[1], known) or nearest(wrong[1], known)
    return f"; did you mean {near!r}?" if near else ""


def _of_system(error: OSError) -> str:
    if error.errno == errno.EROFS and error.filename:  # only a write fails with EROFS
        return _one_line(reason_of(error, Path(os.fsdecode(error.filename))))
    if isinstance(error, PermissionError) and isinstance(error.filename, str | bytes):
        return _one_line(_of_permissions(error, Path(os.fsdecode(error.filename))))
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    cure = "; free space, then try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return _one_line(f"{where}{what}{cure}")


def _of_permissions(error: PermissionError, path: Path) -> str:
    if (folder := closed_folder(path)) is not None:
        what = "" if folder == path.parent else f"{path}: "
        return f"{what}this user may not look into {folder}; check the owner and permissions of that folder"
    return f"{path}: {forbidden(path)}" if os.path.lexists(path) else reason_of(error, path)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:2000]
