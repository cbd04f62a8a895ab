"""Implements `fts enqueue FILE.py:FUNCTION`: one job per combination of the axes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs import axis_words, functions
from fts.jobs.api.bare_cell import CHOICES, BareCell
from fts.jobs.api.command import BareStudy, question_of
from fts.jobs.api.function import VALUE
from fts.jobs.api.halving import PERCENTILE, BadHalving, Halving
from fts.jobs.api.lag import PRICE
from fts.jobs.api.spec import BadSpec
from fts.jobs.cli import limits
from fts.jobs.cli.app import AS_JSON, COUNT, ROW, Fraction, Whole, here
from fts.jobs.cli.newcomer import which_queue
from fts.jobs.cli.output import emit_json, say
from fts.jobs.cli.paths import FileType
from fts.jobs.own_search import not_taken_over, refuse_other_direction
from fts.jobs.study_file import warm
from fts.jobs.study_file.chosen import chosen
from fts.jobs.unused_names import unread
from fts.state.files import expanded
from fts.state.location import has_study
from fts.state.values import Enqueued

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.jobs.api.function import FunctionCell
    from fts.state.values import Job


@click.command()
@click.argument("objective", type=FileType(), metavar="FILE.py:FUNCTION")
@click.option(
    "--trials",
    default=20,
    show_default=True,
    type=limits.whole("trials"),
    help="total trials per cell; more extend it",
)
@click.option("-m", "--axis", "axes", multiple=True, metavar="NAME=A,B", help="axis of the matrix; repeat it")
@click.option(
    "--cell", "wanted", multiple=True, metavar="CELL", help="only these cells: mnist/S, size:S or S; repeat it"
)
@click.option(
    "--direction",
    type=click.Choice(CHOICES["direction"]),
    default="minimize",
    show_default=True,
    help="direction of the metric",
)
@click.option("--metric", default="value", show_default=True, help="metric that decides, of several")
@click.option(
    "--space", "parameters", multiple=True, metavar="NAME=LOW:HIGH", help="declare a parameter; also NAME=A,B, ...:log"
)
@click.option(
    "--goal",
    "goals",
    multiple=True,
    metavar="NAME=minimize",
    help="one of several goals, in the order in which the function returns them; repeat it",
)
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="NAME<=NUMBER",
    help="constraint, e.g. n_params<=2e6: a trial that violates it is never the best; repeat it",
)
@click.option("--prune-by", metavar="NAME", help="goal that decides pruning, of several  [default: the first]")
@click.option("--name", metavar="STUDY", help="name of the study  [default: the file's name]")
@click.option("--seed", type=ROW, default=0, show_default=True, help="seed of the study: same seed, same search")
@click.option(
    "--sampler",
    type=click.Choice(CHOICES["sampler"]),
    default="tpe",
    show_default=True,
    help="algorithm that draws the parameters",
)
@click.option(
    "--warm-start",
    "warm_start",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="parameters of the first trial, e.g. lr=0.001,depth=3; missing ones are drawn; repeat it",
)
@click.option(
    "--pruner",
    type=click.Choice(CHOICES["pruner"]),
    default="median",
    show_default=True,
    help="rule that ends bad trials when the function calls trial.should_prune()",
)
@click.option(
    "--halving", metavar="RULE", help="numbers of the halving pruner, such as 2,3,0.5,2  [default: the pruner's own]"
)
@click.option(
    "--percentile",
    type=Fraction(0.0, 100.0),
    help="percentage of trials that the percentile pruner keeps  [default: 25]",
)
@click.option("--seeds", default=1, type=Whole(1, 1000), help="run the winner with this many seeds  [default: 1]")
@click.option(
    "--baseline",
    type=FileType(),
    metavar="FILE.py:FUNCTION",
    help="baseline: one trial per cell, compared with its search  [default: none]",
)
@click.option(
    "--parallel",
    type=limits.whole("parallel"),
    default=1,
    show_default=True,
    metavar="K",
    help=f"trials of a cell that run at once, in idle slots of one worker. {PRICE}",
)
@click.option("--steps", type=COUNT, help="number of reports per trial, for the forecast  [default: learned]")
@limits.options
@click.option(
    "--python", "interpreter", metavar="PATH", help="interpreter that runs the trials  [default: the worker's]"
)
@click.option(
    "--process",
    type=click.Choice(CHOICES["process"]),
    default="fresh",
    show_default=True,
    help="process per trial: a fresh one; or reused, which is faster and keeps global state between trials",
)
@click.option("--again", is_flag=True, help="search again, even if a job has searched the same")
@click.option("-n", "--dry-run", is_flag=True, help="show what would be enqueued, write nothing")
@AS_JSON
def enqueue(
    objective: str,
    trials: int,
    axes: tuple[str, ...],
    wanted: tuple[str, ...],
    parameters: tuple[str, ...],
    name: str | None,
    halving: str | None,
    interpreter: str | None,
    again: bool,
    dry_run: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Enqueue a function: each combination of the axes becomes a job with --trials trials.

    The function takes an Optuna trial, may report, and returns a number or a dict of numbers (--metric names the one
    that decides). It receives the axes as arguments, by name. Enqueuing the same again changes nothing; more --trials
    extend the jobs. A changed file makes new jobs; the earlier ones stay.

    Other options: fts enqueue study.toml --help, fts enqueue --help -- COMMAND
    """
    made = cells_of(objective, trials, axes, parameters, name, halving, interpreter, **fields)
    made = only(made, wanted)
    for sentence in unread(made) + not_taken_over(made, limits.typed_fields()):
        say(sentence)
    print_outcome(enqueue_cells(made, again=again, dry_run=dry_run), dry_run=dry_run, as_json=as_json, again=again)


def cells_of(
    objective: str,
    trials: int,
    axes: Sequence[str],
    parameters: Sequence[str],
    name: str | None,
    halving: str | None,
    interpreter: str | None,
    **fields: Any,
) -> list[FunctionCell]:
    """Returns the cells that these options define. Raises BadSpec."""
    fields["halving"] = halving_of(halving, fields["pruner"])
    fields["percentile"] = percentile_of(fields["percentile"], fields["pruner"])
    fields |= goals_and_constraints(fields)
    first = [warm.parsed(word) for word in fields.pop("warm_start")]
    made = functions.cells(
        objective,
        Path.cwd(),
        trials,
        axes=named(axes, axis_words.parse_axis),
        study=name,
        space=named(parameters, axis_words.parse_parameter) or None,
        python=None if interpreter is None else _interpreter(interpreter),
        **limits.read(fields),
    )
    refuse_other_direction(made[0], limits.typed_fields())
    return warm.started(made, first, trials)


def only(cells: Sequence[Any], wanted: Sequence[str]) -> list[Any]:
    """Returns the cells that --cell names. Raises BadSpec for a word that names none."""
    meant = chosen([cell.axes for cell in cells], wanted)
    return [cell for cell in cells if meant is None or meant("", cell.axes)]


def print_outcome(
    put: Sequence[tuple[BareCell, Enqueued, str]], *, dry_run: bool, as_json: bool, again: bool = False
) -> None:
    """Prints what happened to each cell, or one JSON object; a dry run also prints the cost."""
    cells = [cell for cell, _, _ in put]
    takes = _cost(cells, again) if dry_run else None
    if as_json:
        rows = [
            {"cell": BareStudy(cell.study).title(cell), "experiment": cell.experiment, "job": found.job_id or None}
            | {"state": "new" if found.created else found.status, "extended_from": found.extended_from, "told": told}
            for cell, found, told in put
        ]
        return emit_json("cells", rows, takes=takes)
    for _, _, told in put:
        say(told)
    for sentence in takes["told"] if takes else ():
        say(sentence)
    if dry_run:
        say("Nothing was enqueued: this was a dry run.")
    elif any(found.created or found.extended_from is not None for _, found, _ in put):
        say("`fts worker` runs it, `fts status` shows the progress.")
    return None


def _cost(cells: Sequence[BareCell], again: bool) -> Mapping[str, Any]:
    from fts.jobs.form import cost  # here, not above: see enqueue_cells

    return cost.as_dict(*cost.of_words(here(), cells, again=again, typed=limits.typed_fields()))


def enqueue_cells(cells: Sequence[BareCell], *, again: bool, dry_run: bool) -> list[tuple[BareCell, Enqueued, str]]:
    """Writes the jobs, all or none. Returns for each cell the result and a sentence about it."""
    from fts.jobs.records.questions import enqueued_sentence  # here, as all below: see peewee
    from fts.jobs.study_file.enqueue import another_question, check_here, spelled_as_before, take_over, too_small_here
    from fts.state import queries, transitions  # here, not above: peewee, which --help need not load
    from fts.state.db import open_for_person
    from fts.state.transitions.base import transaction

    began = not has_study(here().db)
    study = BareStudy(cells[0].study)
    check_here(cells)
    for note in too_small_here(cells):
        say(note)
    if began:
        functions.refuse_name_of_jobs(study.name)  # before a database is created
    if dry_run and began:
        new = Enqueued(0, created=True)
        return [(cell, new, enqueued_sentence(study.title(cell), cell, new, None, dry_run)) for cell in cells]
    db = open_for_person(here().db)
    try:
        before = queries.jobs(db)
        cells = spelled_as_before(cells, before)
        rows = [study.row(cell) for cell in cells]
        functions.refuse_name_of_jobs(study.name, before)
        rule = transitions.SameQuestion(question_of, lambda spec: str(study.cell(spec).identity))
        with transaction(db, dry_run), transitions.one_undo(db):
            taken = [""] * len(cells) if again else take_over(db, cells, limits.typed_fields(), dry_run)
            found = transitions.enqueue(db, rows, rule=rule, again=again)
            known = queries.studies(db).get(study.name)
            declared = functions.declaration(cells, None if known is None else known.declaration)
            transitions.declare_study(db, study.name, declared)
        jobs = {job.id: job for job in queries.jobs(db)}
    finally:
        db.close()
    if not dry_run and (place := which_queue(here().db, None, began)):
        say(place)
    return [
        (
            cell,
            one,
            enqueued_sentence(study.title(cell), cell, one, _job(jobs, one, dry_run), dry_run)
            + over
            + (another_question(cell, before) if one.created and not again else ""),
        )
        for cell, one, over in zip(cells, found, taken, strict=True)
    ]


def _job(jobs: dict[int, Job], found: Enqueued, dry_run: bool) -> Job | None:
    return None if found.created and dry_run else jobs.get(found.job_id)


def named(words: Sequence[str], parse: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, value = parse(word)
        if name in found:
            raise BadSpec(f"{name!r} is given twice; give it once, with all its values")
        found[name] = value
    return found


def goals_and_constraints(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the cell's fields for goals and constraints; the first goal is its metric. Raises BadSpec."""
    goals = named(fields["goals"], axis_words.parse_goal)
    if fields["metric"] is None and not goals:
        raise BadSpec("no metric is named; give --metric NAME, or --goal NAME=minimize for each of several")
    found = {"constraints": named(fields["constraints"], axis_words.parse_constraint)}
    if not goals:
        return found | {"goals": {}}
    metric = next(iter(goals))
    if "direction" in limits.typed_fields() and fields["direction"] != goals[metric]:
        raise BadSpec(f"--direction is {fields['direction']}, but the --goal {metric} is {goals[metric]}; give one")
    if fields["metric"] not in (None, VALUE, metric):
        raise BadSpec(f"--metric names {fields['metric']}, the first --goal {metric}; leave --metric away")
    return found | {"metric": metric, "direction": goals[metric], "goals": goals if len(goals) > 1 else {}}


def halving_of(rule: str | None, pruner: str) -> Halving | None:
    if rule is None:
        return Halving() if pruner == "halving" else None
    if pruner != "halving":
        raise BadHalving("--halving has numbers, but the pruner is not halving; add --pruner halving")
    return Halving.parse(rule)


def percentile_of(given: float | None, pruner: str) -> float:
    if given is not None and pruner != "percentile":
        raise BadSpec("--percentile has a number, but the pruner is not percentile; add --pruner percentile")
    return PERCENTILE if given is None else given


def _interpreter(text: str) -> str:
    path = expanded(text).absolute()  # not resolved: a virtual environment's python is a link
    if not path.is_file():
        raise BadSpec(f"--python names {path}, which is no file; expected an interpreter such as .venv/bin/python")
    return str(path)
