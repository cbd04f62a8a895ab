"""`fts results`: the best value of each cell, with its interval and the best baseline."""

from __future__ import annotations

import click

from fts.jobs.cli.output import emit, emit_json, emit_table, name_unreadable, say
from fts.jobs.cli.selection import choose
from fts.jobs.cli.show import reading
from fts.state import queries
from fts.state.rows import unreadable_in
from fts.study import results as results_table


@click.command()
@click.argument("wanted", nargs=-1, metavar="[JOB]...")
@click.option("--csv", "form", flag_value="csv", help="comma-separated, every digit")
@click.option("--md", "form", flag_value="md", help="a Markdown table")
@click.option("--json", "form", flag_value="json", help="one JSON object, with schema and taken_at")
@click.option("--wide", is_flag=True, help="every column, even if the terminal is narrower")
def results(wanted: tuple[str, ...], form: str | None, wide: bool) -> None:
    """Best value per cell: with its 95 % interval, the class prior's loss and the size of the validation set.

    A narrow terminal shows the columns that carry the conclusion; --wide shows all.
    """
    with reading() as db:
        jobs = queries.jobs(db)
        rows = results_table.results(db, choose(jobs, wanted).jobs if wanted else jobs)
    name_unreadable(unreadable_in({"job": jobs}))
    if form == "json":
        return emit_json("results", rows)
    if form == "csv":
        return emit(results_table.as_csv(rows).rstrip("\n"))
    if not rows:
        return say("there is no cell yet: `fts enqueue --matrix` puts the matrix in line")
    if form == "md":
        return emit(results_table.as_markdown(rows))
    least = () if wide else results_table.LEAST
    emit_table(results_table.COLUMNS, results_table.table(rows), right=results_table.NUMBERS, least=least, cut=not wide)
    if note := results_table.data_note(rows):
        say(note)
    return say(
        "validation data only. 95%: interval of the AUC. prior: loss of always predicting the base rate. vs base: "
        "AUC minus that of the best baseline on the same days. Wh: energy of the training, where a sensor measures it"
    )
