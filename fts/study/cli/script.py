"""`fts script`: writes a cell of the matrix as a Python file to read, keep with a paper, and run by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.output import emit, emit_json
from fts.jobs.cli.paths import PathType
from fts.jobs.records.exports import write_text
from fts.state.errors import WrongStatus
from fts.state.location import has_study
from fts.study import choices
from fts.study.cell import CellSpec
from fts.study.cli.enqueue import cell_options, parse_cell, specs_of
from fts.study.naming import with_unique_names
from fts.study.own import own_jobs
from fts.study.script import script_name, script_text

if TYPE_CHECKING:
    from fts.state.db import Database
    from fts.state.values import Job


@click.command()
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--matrix", "whole", is_flag=True, help="write scripts of all budgets x all horizons")
@click.option(
    "--out", type=PathType(file_okay=False, path_type=Path), help="folder for the scripts  [default: outputs/scripts]"
)
@cell_options
@AS_JSON
def script(cells: tuple[str, ...], whole: bool, out: Path | None, task: str, as_json: bool, **fields: Any) -> None:
    """Write hpo_{budget}_h{horizon}_{task}.py for each CELL, and train_... once it has a winner.

    A cell in the queue is written as it was frozen there (--tier or --data choose among several); any other cell is
    written from the options. A cell that is evaluated on folds is a different cell: add --cv.
    """
    if bool(cells) == whole:
        raise click.UsageError("name cells such as 2M/h1, or give --matrix")
    wanted = [parse_cell(cell, task) for cell in cells] or [
        (budget, horizon, task) for budget in choices.BUDGETS for horizon in choices.HORIZONS
    ]
    known = of_named_data(known_specs(), fields)
    specs: list[CellSpec] = []
    for cell, word in zip(wanted, cells or [""] * len(wanted), strict=True):
        frozen = [spec for spec in known if word in (spec.experiment, spec.origin.get("experiment"))]
        frozen = frozen or [spec for spec in known if cell_key(spec) == (*cell, fields.get("cv"))]
        specs += frozen or with_queue_names(specs_of([cell], **fields))
    folder = out or here().outputs / "scripts"
    written = [folder / script_name(spec) for spec in specs]
    for path, spec in zip(written, specs, strict=True):
        write_text(path, script_text(spec), here().outputs)
    return emit_json("written", [str(path) for path in written]) if as_json else emit("\n".join(map(str, written)))


def cell_key(spec: CellSpec) -> tuple[str, int, str, str | None]:
    return spec.budget, spec.horizon, spec.task, spec.cv


def with_queue_names(cells: list[CellSpec]) -> list[CellSpec]:
    """Names new cells as the queue would name them."""
    if not has_study(here().db):
        return cells
    from fts.jobs.cli.show import reading

    with reading() as db:
        return with_unique_names(db, cells)


def of_named_data(known: list[CellSpec], fields: dict[str, Any]) -> list[CellSpec]:
    """Returns the known cells of the named tier and data set. An option's default must not exclude queued cells."""
    context = click.get_current_context()
    named = {
        field: fields[field]
        for field in ("tier", "dataset")
        if context.get_parameter_source(field) is not ParameterSource.DEFAULT
    }
    return [spec for spec in known if all(getattr(spec, field) == value for field, value in named.items())]


def known_specs() -> list[CellSpec]:
    """Returns the newest frozen cell of every name and, if it has a winner, its final training."""
    if not has_study(here().db):
        return []
    from fts.jobs.cli.show import reading
    from fts.jobs.records.searches import newest_cells

    with reading() as db:
        return [spec for job in newest_cells(own_jobs(db)) for spec in (CellSpec.from_json(job.spec), *_final(db, job))]


def _final(db: Database, job: Job) -> list[CellSpec]:
    from fts.study.winners import train_spec, winner

    try:
        return [train_spec(job, winner(db, job))]
    except WrongStatus:  # no complete trial yet
        return []
