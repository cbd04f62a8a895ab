"""Provides the help of `fts log`, which runs without importing the rest of the command line."""

from __future__ import annotations

import click

from fts.jobs.cli.log import log


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("metrics", metavar="NAME=NUMBER...", nargs=-1, required=True, type=click.UNPROCESSED)
def log_command(metrics: tuple[str, ...]) -> None:
    """Report metrics from a command that fts runs as a trial: appends one line to the file $FTS_REPORT.

    `epoch` or `step` is the number of the report; without it, reports are counted.
    """
    code = log(metrics)
    if code:
        raise click.exceptions.Exit(code)
