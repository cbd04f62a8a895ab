"""Implements `fts results`: prints the best value of each cell, in one table per study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fts.jobs.cli.output import emit, emit_csv, emit_json, emit_table, say, warn_unreadable
from fts.jobs.cli.selection import choose
from fts.jobs.cli.show import reading, warn_lost
from fts.state import queries
from fts.state.rows import unreadable_in
from fts.state.values import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job


@click.command()
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@click.option("--csv", "form", flag_value="csv", help="comma-separated values with all digits")
@click.option("--md", "form", flag_value="md", help="a Markdown table")
@click.option("--json", "form", flag_value="json", help="one JSON object, with schema and taken_at")
@click.option("--wide", is_flag=True, help="show every column, even if the terminal is narrower")
def results(wanted: tuple[str, ...], form: str | None, wide: bool) -> None:
    """Show the best value per cell, one table per study: with its trial and what the study knows of its uncertainty.

    A narrow terminal shows the most important columns; --wide shows all.
    """
    from fts.jobs.records.results import as_markdown, tables  # here, not above: --help does not need it

    with reading() as db:
        jobs = queries.jobs(db)
        chosen = choose(jobs, wanted).jobs if wanted else jobs
        found = [(name, table) for name, table in tables(db, chosen) if table.rows]  # none if all are cancelled
        warn_lost(db, chosen)
    warn_unreadable(unreadable_in({"job": jobs}))
    if form == "json":
        return emit_json("results", [row for _, table in found for row in table.records])
    several = len(found) > 1
    if form == "csv" and found:
        return emit_csv("\n\n".join(table.csv.rstrip("\n") for _, table in found))
    if not found:
        return say(_nothing(chosen) if chosen else "there is no cell yet: `fts enqueue` adds one")
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
    """Says why these jobs have no results: they are cancelled, or no cells."""
    told = [
        f"job {job.id} ({job.cell}) {'was cancelled' if job.status is JobStatus.CANCELLED else f'is a {job.kind}'}"
        for job in chosen[:3]
    ]
    more = f" and {len(chosen) - 3} more" if len(chosen) > 3 else ""
    return f"there is no result of a cell: {', '.join(told)}{more}; `fts trials {chosen[0].id}` shows its trials"
