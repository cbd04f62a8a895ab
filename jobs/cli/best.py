"""`fts best`: the best trial of a cell, as words of a command line, as Python, or as JSON."""

from __future__ import annotations

import keyword
import shlex
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.selection import one_cell
from fts.jobs.cli.show import reading
from fts.jobs.status import formatting, naming, trial_facts
from fts.state import queries

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command()
@click.argument("cell")
@click.option("--args", "form", flag_value="args", help="words of a command line: --lr=0.01 --layers=3 (as without it)")
@click.option("--python", "form", flag_value="python", help="an expression of Python: dict(lr=0.01, layers=3)")
@click.option("--json", "form", flag_value="json", help="one JSON object: parameters, value, trial, axes")
def best(cell: str, form: str | None) -> None:
    """The best trial of one CELL (2M/h1, mnist/S, its experiment name, or its job number), to be used again.

    The parameters stand alone on stdout: `python train.py $(fts best mnist/S)`.
    """
    from fts.jobs.records.results import best_of  # here: after the flags were read

    with reading() as db:
        job = one_cell(queries.jobs(db), cell)
        found = best_of(queries.trials(db, job.id))
    if found is None:
        raise NothingThere(
            f"job {job.id} ({naming.cell_name(job)}) has no complete trial; `fts trials {job.id}` lists what it has"
        )
    if form == "json":
        fields = {
            "job": job.id, "study": job.study, "experiment": job.experiment, "cell": job.cell, "axes": job.labels,
            "trial": found.number, "metric": job.metric, "direction": str(job.direction), "value": found.value,
            "params": found.params, "metrics": trial_facts.metrics_of(found), "seed": found.seed,
        }  # fmt: skip
        return emit_json("best", fields)
    if not found.params:
        say("it has no parameters: its function draws none")
    emit(as_python(found.params) if form == "python" else as_words(found.params))
    return say(f"t{found.number} of {naming.cell_name(job)}: {job.metric} {formatting.score(found.value)}")


def as_words(params: Mapping[str, Any]) -> str:
    """`--lr=0.01 --opt='a b'`, as a shell reads it back."""
    return " ".join(shlex.quote(f"--{name}={value}") for name, value in params.items())


def as_python(params: Mapping[str, Any]) -> str:
    """`dict(lr=0.01, layers=3)`; with braces where a name is none of Python's."""
    if all(name.isidentifier() and not keyword.iskeyword(name) for name in params):
        return f"dict({', '.join(f'{name}={value!r}' for name, value in params.items())})"
    return repr(dict(params))
