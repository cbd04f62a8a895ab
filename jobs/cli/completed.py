"""The words that name something here, cells and jobs, functions and studies, for a shell that completes them."""

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

ARGUMENTS = ("cell", "cells", "job", "wanted", "objective")  # what the arguments are called that name jobs
OPTIONS = ("CELL", "JOB")  # metavars
MOST = 500


class Word(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    """Any text; a shell is offered what `ask` finds here: words, and what each means."""

    name = "text"

    def __init__(self, ask: Callable[[click.Context, str], Iterable[tuple[str, str]]]) -> None:
        self.ask = ask

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = [each for each in self.ask(ctx, incomplete) if each[0].lower().startswith(incomplete.lower())]
        except Exception:  # noqa: BLE001  # a shell must never show an error of ours between two keys
            found = []
        if not found and isinstance(param, click.Argument) and ctx.info_name in TAKE_FILES:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(word, help=told) for word, told in found]


def with_jobs(command: click.Command) -> None:
    """Gives the parameters of a command that name something here a type that completes."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        with_jobs(inner)
    for parameter in command.params:
        ask = OTHERS.get((command.name or "", parameter.name or ""))
        named = parameter.name in ARGUMENTS if isinstance(parameter, click.Argument) else parameter.metavar in OPTIONS
        if ask is None and named:
            ask = of_trials if ":tN" in (parameter.metavar or "") else words
            if isinstance(parameter, click.Argument) and command.name in TAKE_FILES:
                ask = with_beginnings
        if ask is not None and isinstance(parameter.type, click.types.StringParamType | click.Path):
            parameter.type = Word(ask)


def with_beginnings(ctx: click.Context, incomplete: str) -> list[tuple[str, str]]:
    """What can be put in line here; then cells and jobs, where there are some."""
    try:
        known = words(ctx, incomplete) if ctx.info_name != "check" else []
    except Exception:  # noqa: BLE001  # no study yet is no reason to offer no function
        known = []
    return [*beginnings(), *known]


def beginnings() -> list[tuple[str, str]]:
    """`study.toml` and `train.py:objective` of this folder."""
    files = sorted(path.name for path in Path.cwd().glob("*.toml") if names_a_study([path.name]))
    return [(name, "a study") for name in files if name != "pyproject.toml"] + [
        (name, "a function") for name in objectives_in(Path.cwd())
    ]


def of_trials(ctx: click.Context, incomplete: str) -> list[tuple[str, str]]:
    """Cells; behind `S:` its trials."""
    cell, colon, _ = incomplete.rpartition(":")
    if not colon or cell == "state":
        return words(ctx)
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


def words(ctx: click.Context, _incomplete: str = "") -> list[tuple[str, str]]:
    """Each word and what it means: cells, states that some job has, then numbers."""
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
    """The database that the words before name."""
    from fts.state.db import open_for_reading

    db = open_for_reading(places(ctx.find_root().params.get("db")).db)
    try:
        yield db
    finally:
        db.close()
