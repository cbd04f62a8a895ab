"""The words that name cells and jobs of the database here, for a shell that completes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fts.jobs.settings import places

if TYPE_CHECKING:
    from fts.state.values import Job

ARGUMENTS = ("cell", "cells", "job", "wanted", "objective")  # what the arguments are called that name jobs
OPTIONS = ("CELL", "JOB")  # metavars
MOST = 500


class JobWord(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    """Any text; a shell is offered cells, states and numbers of the database here."""

    name = "text"

    def __init__(self, files: bool) -> None:
        self.files = files

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if self.files:  # a function or a study's file
            return [CompletionItem(incomplete, type="file")]
        try:
            found = words(ctx)
        except Exception:  # noqa: BLE001  # a shell must never show an error of ours between two keys
            return []
        return [CompletionItem(word, help=told) for word, told in found if word.lower().startswith(incomplete.lower())]


def with_jobs(command: click.Command) -> None:
    """Gives the parameters of a command that name jobs a type that completes."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        with_jobs(inner)
    for parameter in command.params:
        named = parameter.name in ARGUMENTS if isinstance(parameter, click.Argument) else parameter.metavar in OPTIONS
        if named and isinstance(parameter.type, click.types.StringParamType):
            parameter.type = JobWord(files=parameter.name == "objective")


def words(ctx: click.Context) -> list[tuple[str, str]]:
    """Each word and what it means: cells, states that some job has, then numbers."""
    from fts.jobs.status.naming import with_task
    from fts.state import queries
    from fts.state.db import open_for_reading

    given = ctx.find_root().params.get("db")
    db = open_for_reading(places(given).db)
    try:
        jobs = queries.jobs(db)
    finally:
        db.close()
    names = with_task(jobs)
    found = {names[job.id]: _state(job) for job in jobs}
    found |= {f"state:{state}": "all of this state" for state in dict.fromkeys(str(job.status) for job in jobs)}
    found |= {str(job.id): f"{names[job.id]}, {_state(job)}" for job in jobs}
    return list(found.items())[:MOST]


def _state(job: Job) -> str:
    return f"{job.status}, {job.trials_wanted} trials"
