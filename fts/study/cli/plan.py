"""`fts plan`: the expected cost and gain of each remaining cell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.app import AS_JSON, COUNT
from fts.jobs.cli.output import emit_json, emit_table, say
from fts.jobs.cli.selection import choose
from fts.jobs.cli.show import reading
from fts.jobs.cli.work import machine_options
from fts.jobs.status import formatting
from fts.state import queries
from fts.state.daily_bars import PATCHTST
from fts.study.cli.enqueue import Listed, cell_options
from fts.study.cli.plan_memory import plan_memory
from fts.study.outlook import Outlook, campaign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.state.values import Job


@click.command()
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--memory", is_flag=True, help="recipe, micro-batch, bytes and seconds of each cell on this machine")
@click.option("--matrix", "whole", is_flag=True, help="with --memory: the whole matrix, not only the queue")
@click.option(
    "--budgets", type=Listed(str, "2M,20M"), metavar="2M,20M", help="with --matrix: only these sizes  [default: all]"
)
@click.option("--shapes", "each", is_flag=True, help="with --memory: print a line for every architecture")
@click.option("--slots", type=COUNT, help="with --memory: number of jobs at once  [default: as fts worker]")
@machine_options
@cell_options
@AS_JSON
def plan(memory: bool, as_json: bool, **flags: Any) -> None:
    """Expected cost and gain of each cell that has not ended, estimated from finished trials.

    Column `then`: the time for its winner after the search, with other seeds and on walk-forward folds.

    A gain below the noise of the validation set may be luck: use the trials elsewhere.
    --memory: memory and time of each CELL on this machine, before it has run (default: the queue, else the matrix).
    """
    if memory:
        return plan_memory(as_json=as_json, **flags)
    with reading() as db:
        jobs = queries.jobs(db)
        chosen = choose(jobs, flags["cells"]).jobs if flags["cells"] else jobs
        wanted = {job.id for job in chosen}
        found = [outlook for outlook in campaign(db, time.time()) if outlook.job in wanted]
    if as_json:
        return emit_json("plan", found)
    if not found:
        return say(nothing_left(flags["cells"], chosen))
    columns = (
        "job",
        "cell",
        "state",
        "trials left",
        "takes",
        "80 %",
        "then",
        "best",
        "chance",
        "gain",
        "noise",
        "based on",
    )
    emit_table(
        columns, [row(outlook) for outlook in found], right=("job", "trials left", "takes", "then", "best", "gain")
    )
    known = [outlook.seconds + (outlook.then or 0.0) for outlook in found if outlook.seconds is not None]
    return say(
        f"{formatting.count(len(found), 'job')}, {formatting.spell(sum(known))} in all on one slot"
        + ("" if len(known) == len(found) else f", and {len(found) - len(known)} of unknown cost")
        + "; chance: that a remaining trial beats the best; gain: expected improvement of the objective"
    )


def nothing_left(words: tuple[str, ...], chosen: Sequence[Job]) -> str:
    """Says why the plan is empty; jobs of other studies have no plan, because their cost is unknown before they run."""
    others = [job for job in chosen if job.study != PATCHTST and job.status not in formatting.ENDED]
    if others:
        names = ", ".join(dict.fromkeys(job.study for job in others))
        return f"no plan for {names}: its cost is unknown until trials have ended; `fts status` forecasts the end"
    return f"nothing is left to run of {', '.join(words)}" if words else "no cell is left to run"


def row(outlook: Outlook) -> tuple[object, ...]:
    low, high = outlook.seconds_low, outlook.seconds_high
    return (
        outlook.job,
        outlook.cell,
        outlook.status,
        outlook.left,
        None if outlook.seconds is None else formatting.spell(outlook.seconds),
        None if low is None or high is None else formatting.spell_range(low, high),
        formatting.spell(outlook.then) if outlook.then else None,
        formatting.score(outlook.best),
        None if outlook.chance is None else f"{outlook.chance:.0%}",
        None if outlook.gain is None else f"{outlook.gain:+.4f}" + (" (noise)" if outlook.worth_it is False else ""),
        None if outlook.noise is None else f"{outlook.noise:.4f}",
        outlook.basis,
    )
