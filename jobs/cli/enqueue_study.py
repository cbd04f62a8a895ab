"""Implements `fts enqueue study.toml`: one job per cell of the matrix that the file declares."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.newcomer import which_queue
from fts.jobs.cli.output import emit_json, say
from fts.jobs.cli.paths import PathType
from fts.jobs.own_search import not_taken_over
from fts.jobs.status import formatting
from fts.jobs.study_file.cells import cells_of
from fts.jobs.study_file.study import StudyFile
from fts.jobs.unused_names import unread
from fts.state.location import has_study

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.study_file.enqueue import EnqueuedCell

LISTED = 40  # cells printed one by one; more are counted
FILE = click.argument("file", metavar="STUDY.toml", type=PathType(path_type=Path))


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose cells of the file and override its keys."""
    for option in (
        click.option("--again", is_flag=True, help="search again, even if the cells have jobs"),
        click.option("--name", metavar="STUDY", help="name of the study  [default: the one in the file]"),
        click.option(
            "--warm-start",
            "--warm-start-from",
            "warm",
            multiple=True,
            metavar="NAME=VALUE,...",
            help="first trial: parameters, lr=0.001,depth=3, or an earlier trial, STUDY/CELL:t5; repeat it",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="override a key of the file, e.g. budget.trials=80; repeat it",
        ),
        click.option(
            "--cell", "wanted", multiple=True, metavar="CELL", help="only these cells: mnist/S, size:S or S; repeat it"
        ),
    ):
        command = option(command)
    return command


@click.command()
@FILE
@study_options
@click.option("-n", "--dry-run", is_flag=True, help="show what would be enqueued, write nothing")
@AS_JSON
def enqueue_study(
    file: Path,
    wanted: tuple[str, ...],
    settings: tuple[str, ...],
    warm: tuple[str, ...],
    name: str | None,
    again: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Enqueue a study: each cell of its matrix becomes a job.

    Enqueuing the same study again changes nothing; more trials extend its jobs, fewer delete nothing. A job that is not
    running takes over changed times, memory and threads. If the file now defines another search than the recorded
    trials, nothing is enqueued: give --name or --again.
    """
    study = StudyFile.read(file, settings).named(name).warmed(warm)
    cells = cells_of(study, here().db, wanted)
    lines = enqueue_cells(study, cells, again=again, dry_run=dry_run)
    print_outcome(lines, cells, dry_run=dry_run, as_json=as_json, again=again)


def enqueue_file(
    file: Path,
    wanted: Sequence[str],
    settings: Sequence[str],
    warm: Sequence[str] = (),
    name: str | None = None,
    *,
    again: bool = False,
    dry_run: bool = False,
    one: bool = False,
) -> list[EnqueuedCell]:
    """Reads and checks the file and writes the jobs. With `one`, refuses several cells. Raises BadSpec first."""
    from fts.jobs.study_file import enqueue  # here, not above: peewee, which --help need not load

    study = StudyFile.read(file, settings).named(name).warmed(warm)
    cells = cells_of(study, here().db, wanted)
    if one and len(cells) > 1:
        names = ", ".join(enqueue.titles(cells))
        raise click.UsageError(f"{file.name} has {len(cells)} cells: {names:.200}; name one with --cell")
    return enqueue_cells(study, cells, again=again, dry_run=dry_run)


def enqueue_cells(study: StudyFile, cells: Sequence[BareCell], *, again: bool, dry_run: bool) -> list[EnqueuedCell]:
    """Checks the cells of a file that was read and writes the jobs. Raises BadSpec before it writes anything."""
    from fts.jobs.study_file import enqueue  # here: see enqueue_file
    from fts.state.db import open_for_person

    enqueue.check_here(cells)
    for sentence in (*unread(cells), *not_taken_over(cells, None), *enqueue.too_small_here(cells)):
        if sentence:
            say(sentence)
    began = not has_study(here().db)
    new = enqueue.preview(cells) if began else []  # raises BadSpec before a database is created
    if dry_run and began:
        return new
    db = open_for_person(here().db)
    try:
        lines = enqueue.enqueue_cells(db, cells, study.metrics, study.messages, again=again, dry_run=dry_run)
    finally:
        db.close()
    if not dry_run and (place := which_queue(here().db, study.folder, began)):
        say(place)
    return lines


def print_outcome(
    lines: Sequence[EnqueuedCell], cells: Sequence[BareCell], *, dry_run: bool, as_json: bool, again: bool = False
) -> None:
    """Prints what happened to each cell, or one JSON object; a dry run also prints the cost."""
    takes = _cost(cells, again) if dry_run else None
    if as_json:
        rows = [
            {"cell": each.cell, "experiment": each.experiment, "job": each.job_id, "state": each.state}
            | {"extended_from": each.extended_from, "told": each.told}
            for each in lines
        ]
        return emit_json("cells", rows, takes=takes)
    for each in lines[:LISTED]:
        say(each.told)
    if more := Counter(each.state for each in lines[LISTED:]):
        counts = ", ".join(f"{count} {state}" for state, count in more.items())
        say(f"and {formatting.count(more.total(), 'more cell')}: {counts}; --json has them all")
    for sentence in takes["told"] if takes else ():
        say(sentence)
    if dry_run:
        say("Nothing was enqueued: this was a dry run.")
    elif any(each.state in ("new", "extended", "changed") for each in lines):
        say("`fts worker` runs it, `fts status` shows the progress.")
    return None


def _cost(cells: Sequence[BareCell], again: bool) -> Mapping[str, Any]:
    from fts.jobs.form import cost  # here, not above: see enqueue_file

    return cost.as_dict(*cost.of_file(here(), cells, again=again))
