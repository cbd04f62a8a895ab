"""Implements `fts import`: imports the recorded trials of an Optuna study as a job that is done."""

from __future__ import annotations

from pathlib import Path

import click

from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.paths import FileType
from fts.jobs.status import formatting
from fts.state import queries
from fts.state.db import open_for_person
from fts.state.files import shell_path


@click.command()
@click.argument("storage", metavar="STORAGE", type=FileType())
@click.option("--study", "study", metavar="NAME", help="name of the Optuna study  [default: the only one]")
@click.option("--name", metavar="NEW", help="name of the study here  [default: the same]")
@click.option(
    "--objective",
    type=FileType(),
    metavar="FILE.py:FUNCTION",
    help="function that ran the trials, so that more trials continue this history  [default: none]",
)
@AS_JSON
def import_(storage: str, study: str | None, name: str | None, objective: str | None, as_json: bool) -> None:
    """Import the ended trials of a study in an Optuna STORAGE, such as optuna.db or sqlite:///optuna.db.

    They become a job that is done, with their parameters, distributions, values, reports and states. None runs again.
    """
    from fts.jobs.library import from_optuna  # here, not above: --help does not need it

    found = from_optuna.read(storage, study)
    for sentence in found.left_out:
        say(f"left out: {sentence}")
    renumbered = {old: new for new, old in enumerate(found.numbers) if old != new}
    if renumbered:
        old, new = next(iter(renumbered.items()))
        more = f", and so on for {formatting.count(len(renumbered), 'trial')}" if len(renumbered) > 1 else ""
        say(f"numbers here have no gap: trial {old} of the storage is t{new}{more}")
    made = from_optuna.prepare(found, name, objective, Path.cwd())  # before a database is created
    db = open_for_person(here().db)
    try:
        number = from_optuna.take_over(db, found, made)
        job = queries.job(db, number)
    finally:
        db.close()
    if as_json:
        best_of = {"best_value": job.best_value, "best_trial": job.best_trial, "front": list(job.front)}
        told = {"job": number, "study": job.study, "cell": job.cell, "trials": len(found.trials)}
        return emit_json("imported", told | best_of | {"left_out": list(found.left_out), "renumbered": renumbered})
    best = "" if job.best_value is None else f", best {formatting.score(job.best_value)} (t{job.best_trial})"
    best = best if len(job.goals) == 1 else f", {formatting.best_or_front(job)}"
    emit(f"{found.name} is job {number} ({job.cell}): {formatting.count(len(found.trials), 'trial')}{best}")
    if objective is None:
        say(f"`fts trials {number}` lists it; for more trials, import it with --objective FILE.py:FUNCTION --name NEW")
    else:
        goal = "" if job.direction == "minimize" else f" --direction {job.direction}"
        if len(job.goals) > 1:
            goal = "".join(f" --goal {name}={one}" for name, one in job.goals.items())
        more = " ".join([shell_path(objective), f"--name {job.study}{goal}", f"--trials {2 * len(found.trials)}"])
        say(f"`fts enqueue {more}` continues it: --trials is the total")
    return None
