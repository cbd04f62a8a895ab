"""Implements `fts enqueue -- COMMAND`: one job per combination of the axes, for a command in any language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs import axis_words, commands
from fts.jobs.api.bare_cell import CHOICES
from fts.jobs.cli import enqueue, limits
from fts.jobs.cli.app import Fraction
from fts.jobs.cli.output import say
from fts.jobs.study_file import warm
from fts.jobs.unused_names import unread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.api.command import CommandCell

SHARED = (
    "trials", "axes", "wanted", "direction", "goals", "constraints", "prune_by", "parameters", "name", "seed",
    "sampler", "warm_start", "halving", "percentile", "seeds", "baseline", "parallel", "steps", "again", "dry_run",
    "as_json",
    *limits.NAMES,
)  # fmt: skip

OF_MANY_PROGRAMS = ("--seed", "--name", "--steps", "--csv", "--best")  # a module of the script may read them


@click.command(params=[one for one in enqueue.enqueue.params if one.name in SHARED])
@click.argument("words", metavar="-- COMMAND [WORD]...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--metric", help="reported metric that decides; needed without --goal  [default: that of --goal]")
@click.option(
    "--pruner",
    type=click.Choice(CHOICES["pruner"]),
    default="median",
    show_default=True,
    help="rule that ends bad trials, after any report",
)
@click.option("--shell", is_flag=True, help="run the command with /bin/sh: give it as one quoted word")
@click.option(
    "--regex",
    metavar="RE",
    help="read the metric from the output, with a pattern like 'val_loss=([-0-9.eE+]+)'  [default: none]",
)
@click.option("--stdout", is_flag=True, help="read the reports from the output, as JSON lines")
@click.option(
    "--csv", metavar="PATH", help="read the metrics from a CSV file like '{folder}/**/metrics.csv'  [default: none]"
)
@click.option(
    "--tensorboard", metavar="DIR", help="read the metrics from event files in e.g. '{folder}/logs'  [default: none]"
)
@click.option(
    "--results", metavar="PATH", help="read the metrics from a JSON file like '{folder}/results.json'  [default: none]"
)
@click.option("--best", is_flag=True, help="use a trial's best report as its value  [default: the last]")
@click.option(
    "--grace",
    "grace_s",
    type=Fraction(0.0, 86_400.0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="time from SIGTERM to SIGKILL",
)
def enqueue_command(
    words: tuple[str, ...],
    trials: int,
    axes: tuple[str, ...],
    wanted: tuple[str, ...],
    parameters: tuple[str, ...],
    name: str | None,
    halving: str | None,
    again: bool,
    dry_run: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Enqueue a command: each combination of the axes becomes a job with --trials trials.

    Declare parameters in the command: {lr:1e-5..1e-1:log}, {layers:1..4}, '{opt:adam,sgd}'. Also {size} for an axis,
    {args} for all as --lr=0.01, {params} for a JSON file of them, {seed} {number} {checkpoint_dir} {folder} {threads}.
    Variables have the same: FTS_PARAM_LR, FTS_CELL_SIZE, FTS_PARAMS, FTS_SEED, FTS_TRIAL, FTS_CHECKPOINT_DIR.

    The command reports with `fts log epoch=3 val_loss=0.41`, or appends JSON lines to the file $FTS_REPORT; or fts
    reads its output (--regex, --stdout) or a file that it writes into {folder}, which is also $FTS_FOLDER. On SIGTERM
    it may write a checkpoint; it runs again later with the same FTS_CHECKPOINT_DIR. So it does after exit code 75.
    """
    made = cells_of(words, trials, axes, parameters, name, halving, **fields)
    made = enqueue.only(made, wanted)
    for sentence in misplaced(made[0]) + unread(made):
        say(sentence)
    put = enqueue.enqueue_cells(made, again=again, dry_run=dry_run)
    enqueue.print_outcome(put, dry_run=dry_run, as_json=as_json, again=again)


def cells_of(
    words: Sequence[str],
    trials: int,
    axes: Sequence[str],
    parameters: Sequence[str],
    name: str | None,
    halving: str | None,
    **fields: Any,
) -> list[CommandCell]:
    """Returns the cells that this command line defines. Raises BadSpec."""
    fields["halving"] = enqueue.halving_of(halving, fields["pruner"])
    fields["percentile"] = enqueue.percentile_of(fields["percentile"], fields["pruner"])
    fields |= enqueue.goals_and_constraints(fields)
    first = [warm.parsed(word) for word in fields.pop("warm_start")]
    made = commands.cells(
        words,
        Path.cwd(),
        trials,
        axes=enqueue.named(axes, axis_words.parse_axis),
        study=name,
        space=enqueue.named(parameters, axis_words.parse_parameter),
        **limits.read(fields),
    )
    return warm.started(made, first, trials)


def misplaced(cell: CommandCell) -> list[str]:
    """Warns about options of this command that stand after `--`, unless the script's text names them."""
    if cell.script is None or cell.shell:
        return []
    try:
        text = (Path(cell.folder) / cell.script).read_text(errors="replace")
    except OSError:
        return []
    words = [word.partition("=")[0] for word in cell.command]
    return [
        f"{option} stands after --, so it goes to {cell.script}, which does not name it; write it before --"
        for one in enqueue_command.params
        for option in one.opts
        if option in words and len(option) > len("-m") and option not in OF_MANY_PROGRAMS
        if option[2:] not in text and option[2:].replace("-", "_") not in text
    ]
