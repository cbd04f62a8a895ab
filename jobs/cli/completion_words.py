"""offers a shell the words that complete an argument: cells, jobs, trials, functions, studies, targets."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fts.jobs.cli.newcomer import objectives_in
from fts.jobs.settings import places
from fts.jobs.study_file.words import names_a_study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fts.state.db import Database
    from fts.state.values import Job

ARGUMENTS = ("cell", "cells", "job", "wanted", "objective")  # names of arguments that take jobs
OPTIONS = ("CELL", "JOB")  # metavars of options that take jobs
MOST = 500  # most words offered


class CompletedWord(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    """Accepts any text; offers a shell the (word, description) pairs that `ask` returns."""

    name = "text"

    def __init__(self, ask: Callable[[click.Context, str], Iterable[tuple[str, str]]]) -> None:
        self.ask = ask

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = [each for each in self.ask(ctx, incomplete) if each[0].lower().startswith(incomplete.lower())]
        except Exception:  # noqa: BLE001  # Tab must never print an error into the command line
            found = []
        if not found and isinstance(param, click.Argument) and ctx.info_name in TAKE_FILES:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(word, help=told) for word, told in found]


def add_completion(command: click.Command) -> None:
    """Makes the parameters of a command that name jobs, targets or studies complete with Tab."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        add_completion(inner)
    for parameter in command.params:
        ask = OTHERS.get((command.name or "", parameter.name or ""))
        named = parameter.name in ARGUMENTS if isinstance(parameter, click.Argument) else parameter.metavar in OPTIONS
        if ask is None and named:
            ask = trial_words if ":tN" in (parameter.metavar or "") else job_words
            if isinstance(parameter, click.Argument) and command.name in TAKE_FILES:
                ask = enqueueable_words
        if ask is not None and isinstance(parameter.type, click.types.StringParamType | click.Path):
            parameter.type = CompletedWord(ask)


def enqueueable_words(ctx: click.Context, incomplete: str) -> list[tuple[str, str]]:
    """Returns what can be enqueued here, then cells and jobs (not for `fts check`)."""
    try:
        known = job_words(ctx, incomplete) if ctx.info_name != "check" else []
    except Exception:  # noqa: BLE001  # without a study, functions are still offered
        known = []
    return [*studies_and_functions(), *known]


def studies_and_functions() -> list[tuple[str, str]]:
    """Returns the study files and functions of this folder: `study.toml`, `train.py:objective`."""
    files = sorted(path.name for path in Path.cwd().glob("*.toml") if names_a_study([path.name]))
    return [(name, "a study") for name in files if name != "pyproject.toml"] + [
        (name, "a function") for name in objectives_in(Path.cwd())
    ]


def trial_words(ctx: click.Context, incomplete: str) -> list[tuple[str, str]]:
    """Returns cells, or after `S:` the trials of cell S."""
    cell, colon, _ = incomplete.rpartition(":")
    if not colon or cell == "state":
        return job_words(ctx)
    from fts.jobs.cli.selection import one_job
    from fts.state import queries

    with reading(ctx) as db:
        job = one_job(queries.jobs(db), cell)
        return [(f"{cell}:t{trial.number}", str(trial.status)) for trial in queries.trials(db, job.id)][:MOST]


def targets_here(_ctx: click.Context, _incomplete: str) -> list[tuple[str, str]]:
    from fts.jobs.notify import targets

    return [(each.name, each.service) for each in targets.read().targets]


def kinds_of_message(_ctx: click.Context, _incomplete: str) -> list[tuple[str, str]]:
    from fts.jobs.status.concern import About

    return [(str(each), "a message") for each in About if " " not in each]


def studies_here(ctx: click.Context, _incomplete: str) -> list[tuple[str, str]]:
    from fts.state import queries

    with reading(ctx) as db:
        return [(name, "a study") for name in dict.fromkeys(job.study for job in queries.jobs(db))]


def starters(_ctx: click.Context, _incomplete: str) -> list[tuple[str, str]]:
    from fts.jobs.starters.kinds import KINDS

    return [(kind.name, kind.what) for kind in KINDS.values()]


TAKE_FILES = ("enqueue", "check")
OTHERS: dict[tuple[str, str], Callable[[click.Context, str], list[tuple[str, str]]]] = {
    ("remove", "name"): targets_here,
    ("test", "names"): targets_here,
    ("quiet", "urgent"): kinds_of_message,
    ("report", "study"): studies_here,
    ("init", "kind"): starters,
}


def job_words(ctx: click.Context, _incomplete: str = "") -> list[tuple[str, str]]:
    """Returns (word, description) pairs: cells, states that a job has, then job numbers."""
    from fts.jobs.status.naming import with_task
    from fts.state import queries

    with reading(ctx) as db:
        jobs = queries.jobs(db)
    names = with_task(jobs)
    found = {names[job.id]: _state(job) for job in jobs}
    found |= {f"state:{state}": "all of this state" for state in dict.fromkeys(str(job.status) for job in jobs)}
    found |= {str(job.id): f"{names[job.id]}, {_state(job)}" for job in jobs}
    return list(found.items())[:MOST]


def _state(job: Job) -> str:
    return f"{job.status}, {job.trials_wanted} trials"


@contextmanager
def reading(ctx: click.Context) -> Iterator[Database]:
    """Opens the database that the command line names, for reading."""
    from fts.state.db import open_for_reading

    db = open_for_reading(places(ctx.find_root().params.get("db")).db)
    try:
        yield db
    finally:
        db.close()
