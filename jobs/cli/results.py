"""`fts results`: the best value of each cell, one table for each study, as the study itself tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fts.jobs.cli.output import emit, emit_json, emit_table, name_unreadable, say
from fts.jobs.cli.selection import choose
from fts.jobs.cli.show import name_lost, reading
from fts.state import queries
from fts.state.rows import unreadable_in
from fts.state.values import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job


@click.command()
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@click.option("--csv", "form", flag_value="csv", help="comma-separated, every digit")
@click.option("--md", "form", flag_value="md", help="a Markdown table")
@click.option("--json", "form", flag_value="json", help="one JSON object, with schema and taken_at")
@click.option("--wide", is_flag=True, help="every column, even if the terminal is narrower")
def results(wanted: tuple[str, ...], form: str | None, wide: bool) -> None:
    """Best value per cell, one table per study: with its trial, and what the study knows of how sure it is.

    A narrow terminal shows the columns that carry the conclusion; --wide shows all.
    """
    from fts.jobs.records.results import as_markdown, tables  # here: after the flags were read

    with reading() as db:
        jobs = queries.jobs(db)
        chosen = choose(jobs, wanted).jobs if wanted else jobs
        found = tables(db, chosen)
        name_lost(db, chosen)
    name_unreadable(unreadable_in({"job": jobs}))
    if form == "json":
        return emit_json("results", [row for _, table in found for row in table.records])
    several = len(found) > 1
    if form == "csv" and found:
        return emit("\n\n".join(table.csv.rstrip("\n") for _, table in found))
    if not any(table.rows for _, table in found):
        return say(_nothing(chosen) if chosen else "there is no cell yet: `fts enqueue` puts one in line")
    for n, (name, table) in enumerate(found):
        if several:
            emit(("\n" if n else "") + (f"## {name}\n" if form == "md" else name))
        if form == "md":
            emit(as_markdown(table))
            continue
        emit_table(table.columns, table.rows, right=table.right, least=() if wide else table.least, cut=not wide)
        for note in table.notes:
            say(note)
    return None


def _nothing(chosen: Sequence[Job]) -> str:
    """Of jobs that are no cells, or not in any more."""
    told = [
        f"job {job.id} ({job.cell}) {'was cancelled' if job.status is JobStatus.CANCELLED else f'is a {job.kind}'}"
        for job in chosen[:3]
    ]
    more = f" and {len(chosen) - 3} more" if len(chosen) > 3 else ""
    return f"there is no result of a cell: {', '.join(told)}{more}; `fts trials {chosen[0].id}` shows its trials"
