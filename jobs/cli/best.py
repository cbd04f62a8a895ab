"""`fts best`: the best trial of a cell, as words of a command line, as Python, or as JSON."""

from __future__ import annotations

import keyword
import shlex
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.api.spec import BadSpec
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.selection import one_cell
from fts.jobs.cli.show import reading
from fts.jobs.status import formatting, naming, trial_facts
from fts.state import queries
from fts.state.front import first_of, front

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.values import Job, Trial


@click.command()
@click.argument("cell")
@click.option("--args", "form", flag_value="args", help="words of a command line: --lr=0.01 --layers=3 (as without it)")
@click.option("--python", "form", flag_value="python", help="an expression of Python: dict(lr=0.01, layers=3)")
@click.option("--json", "form", flag_value="json", help="one JSON object: parameters, value, trial, axes")
@click.option("--by", metavar="GOAL", help="of several goals the one to take the best trial of  [default: the first]")
def best(cell: str, form: str | None, by: str | None) -> None:
    """The best trial of one CELL (2M/h1, mnist/S, its experiment name, or its job number), to be used again.

    The parameters stand alone on stdout: `python train.py $(fts best mnist/S)`.
    """
    with reading() as db:
        job = one_cell(queries.jobs(db), cell)
        every = front(job, queries.trials(db, job.id))
    found = best_by(job, every, by)
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
        if len(job.goals) > 1:
            fields["goals"] = {name: str(goal) for name, goal in job.goals.items()}
            fields["front"] = [
                {"trial": one.number, "params": one.params, "metrics": trial_facts.metrics_of(one), "seed": one.seed}
                for one in every
            ]
        return emit_json("best", fields)
    if not found.params:
        say("it has no parameters: its function draws none")
    emit(as_python(found.params) if form == "python" else as_words(found.params))
    if len(job.goals) == 1:
        return say(f"t{found.number} of {naming.cell_name(job)}: {job.metric} {formatting.score(found.value)}")
    told = ", ".join(f"{name} {formatting.number(trial_facts.metrics_of(found)[name])}" for name in job.goals)
    say(f"t{found.number} of {naming.cell_name(job)}: {told}")
    numbers = " ".join(f"t{one.number}" for one in every)
    count = formatting.count(len(every), "trial")
    return say(f"front: {count} that no other beats in every goal: {numbers}; --by {list(job.goals)[-1]}, --json")


def best_by(job: Job, found: Sequence[Trial], by: str | None) -> Trial | None:
    """The trial of the front that is best in one goal. Raises BadSpec for another name."""
    if by is None or not found:
        return first_of(found)
    if by not in job.goals:
        raise BadSpec(f"--by names {by!r:.80}, expected one of the goals: {', '.join(job.goals)}")
    if by == job.metric:
        return first_of(found)
    return min(found, key=lambda trial: (job.goals[by].key(trial_facts.metrics_of(trial)[by]), trial.number))


def as_words(params: Mapping[str, Any]) -> str:
    """`--lr=0.01 --opt='a b'`, as a shell reads it back."""
    return " ".join(shlex.quote(f"--{name}={value}") for name, value in params.items())


def as_python(params: Mapping[str, Any]) -> str:
    """`dict(lr=0.01, layers=3)`; with braces where a name is none of Python's."""
    if all(name.isidentifier() and not keyword.iskeyword(name) for name in params):
        return f"dict({', '.join(f'{name}={value!r}' for name, value in params.items())})"
    return repr(dict(params))
